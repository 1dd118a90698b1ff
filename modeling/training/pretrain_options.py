"""Everything that decides a pre-training run, in one typed place; saved with the encoder as `pretraining.json`.

No torch in here: the command line reads its defaults from this module, and its --help is not to wait for torch.
"""

from dataclasses import dataclass, field

from .options import CHOICES, Augmentation

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

    size: str = "tiny"
    views: tuple[str, ...] | None = None
    image_size: int | None = None
    patch_size: int | None = None
    mask_ratio: float = 0.6
    mask_size: int | None = None
    epochs: float = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    seed: int = 0
    bf16: bool | None = None
    compile: bool = False
    augmentation: Augmentation = field(default=LIGHT)

    def __post_init__(self):
        for name, good, expected in (
            ("size", self.size in CHOICES["size"], f"one of {', '.join(CHOICES['size'])}"),
            ("mask_ratio", 0 < self.mask_ratio < 1, "in (0, 1)"),
            ("epochs", self.epochs > 0, "above 0"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
        ):
            if not good:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {expected}")
