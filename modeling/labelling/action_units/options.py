"""What train-au may be told. No torch in here: the command line reads its defaults."""

from dataclasses import dataclass

from ...options import check_options, option
from ...training.options import Augmentation


@dataclass(frozen=True)
class ActionUnitOptions:
    """What is trained, and how; the network is a `ResNetConfig` with basic blocks."""

    view: str = option("default", help="view of the data, such as easy or 7-class", group="model")
    image_size: int | None = option(
        None, help="side of the pictures in pixels; without it, that of the first picture", low=1
    )
    embedding_size: int = option(32, help="channels of the first layer", low=1)
    hidden_sizes: tuple[int, ...] = option((64, 128, 256), help="channels of each stage", metavar="N", low=1)
    depths: tuple[int, ...] = option((2, 2, 2), help="blocks of each stage", metavar="N", low=1)
    epochs: float = option(20, help="times that every face is shown", above=0, group="optimisation")
    batch_size: int = option(32, help="faces on one device at a time", low=1)
    learning_rate: float = option(1e-3, help="peak learning rate", above=0)
    warmup: float = option(0.05, help="share of the steps in which the learning rate rises", low=0, high=1)
    weight_decay: float = option(0.05, help="weight decay of AdamW", low=0)
    seed: int = option(0, help="seed of everything that is random", low=0)
    augmentation: Augmentation = option(
        Augmentation().scaled(0.5),
        help="strength of all random changes together: 0 is none, 1 as given below",
        scaled=True,
        group="augmentation",
    )

    def __post_init__(self):
        check_options(self)
