"""Everything that decides a pre-training run, in one typed place; saved with the encoder as `pretraining.json`.

No torch in here: the command line reads its defaults from this module, and its --help is not to wait for torch.
"""

from dataclasses import dataclass

from ..options import check_options, option
from .options import SIZES, Augmentation

# Light alone: what is hidden is the task already, and SimMIM found mirror images and small crops to be enough.
LIGHT = Augmentation(rotation=0.0, scale=0.15, shift=0.08, contrast=0.0, brightness=0.0, erase=0.0)


@dataclass(frozen=True)
class PretrainingOptions:
    """Attributes, beside the obvious ones:

    size: mini, tiny, small or base.
    views: views of a prepared folder whose train splits are taken; None takes all of its faces that are not for
        validation, those that nobody has labelled included. They must not overlap.
    image_size: side in pixels; None takes the longer side of the first picture.
    patch_size: in pixels; None takes that of `patch_for`.
    mask_ratio: share of each picture that is hidden, in (0, 1).
    mask_size: side in pixels of the squares that are hidden, a multiple of `patch_size` that divides `image_size`;
        None takes the patch, or twice that where the picture has 12 patches or more along its side.
    batch_size: faces on one device at a time.
    bf16: None measures whether bfloat16 is the faster on this device, and uses it if so.
    compile: compile the model by torch.compile, which pays on a GPU.
    """

    size: str = option("tiny", help="size of the model", choices=tuple(SIZES), group="model")
    image_size: int | None = option(
        None, help="side of the pictures in pixels; without it, that of the first picture", low=1
    )
    patch_size: int | None = option(
        None, help="side of a patch in pixels; without it, 8 for pictures below 112 pixels, else 16", low=1
    )
    views: tuple[str, ...] | None = option(
        None, help="views of a prepared folder; without it, all faces but those for validation", metavar="VIEW"
    )
    mask_ratio: float = option(0.6, help="share of a picture that is hidden", above=0, below=1, group="what is learnt")
    mask_size: int | None = option(
        None, help="side of a hidden square in pixels; without it, about a sixth of the picture", low=1
    )
    epochs: float = option(100, help="times that every face is shown", above=0, group="optimisation")
    batch_size: int = option(128, help="faces on one device at a time", low=1)
    learning_rate: float = option(1e-3, help="peak learning rate", above=0)
    warmup: float = option(0.05, help="share of the steps in which the learning rate rises", low=0, high=1)
    weight_decay: float = option(0.05, help="weight decay of AdamW", low=0)
    seed: int = option(0, help="seed of everything that is random", low=0)
    augmentation: Augmentation = option(
        LIGHT,
        help="strength of all random changes together: 0 is none, 1 as given below",
        scaled=True,
        group="augmentation",
    )
    bf16: bool | None = option(None, help="compute in bfloat16; auto takes what is faster here", group="machine")
    compile: bool = option(False, help="compile the model by torch.compile, which pays on a GPU")

    def __post_init__(self):
        check_options(self)
