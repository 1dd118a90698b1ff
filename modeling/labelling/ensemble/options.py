"""Everything that decides how an ensemble is trained, in one typed place; saved with it as `training.json`.

No torch in here: the command line reads its defaults from this module, and its --help is not to wait for torch.
"""

from dataclasses import dataclass

from ...options import check_options, option
from ...training.options import SIZES, Augmentation

# A small ResNet with basic blocks (He et al. 2016), for small pictures and CPUs. The sizes of TrainingOptions are the
# others; everything else is a checkpoint.
RESNET = {
    "model_type": "resnet",
    "embedding_size": 32,
    "hidden_sizes": [64, 128, 256],
    "depths": [2, 2, 2],
    "layer_type": "basic",
}
# Two that a public repository says the paper's ensemble is made of, as `transformers` has them, with nothing learnt;
# it has no Xception, which is named as the third.
RESNET_50 = {"model_type": "resnet"}
EFFICIENTNET_B3 = {
    "model_type": "efficientnet",
    "width_coefficient": 1.2,
    "depth_coefficient": 1.4,
    "hidden_dim": 1536,
    "image_size": 300,
    "dropout_rate": 0.3,
    "depthwise_padding": [5, 18],
}
OWN_BACKBONES = ("resnet", "resnet-50", "efficientnet-b3", *SIZES)


@dataclass(frozen=True)
class EnsembleOptions:
    """Attributes, beside the obvious ones:

    backbones: "resnet", "resnet-50", "efficientnet-b3", a size of our ViT, "ferplus", which is the model that comes
        with the package, or an image-classification checkpoint (folder or Hub name) to start from.
    seeds: members of each backbone.
    folds: parts of the training faces, each unseen by the members that label it; 1 is no cross-fitting.
    trunk_epochs: passes over the faces in which a network first learns all eight emotions, before eight copies of it
        become the binary classifiers. 0 leaves that out.
    epochs: passes over the positives of each emotion, each with as many negatives.
    fewest_positives: a rare emotion's faces are repeated until a pass has as many.
    hard_negatives: share of the negatives that are drawn by how much the trunk takes them for the emotion; the others
        are drawn evenly.
    label_smoothing: in [0, 1): the targets of the binary cross-entropy are that half away from 0 and 1.
    calibration: "temperature" or "isotonic".
    """

    backbones: tuple[str, ...] = option(
        ("resnet", "mini"),
        help=f"networks to train: {', '.join(OWN_BACKBONES)}, ferplus, or a checkpoint (folder or Hub name)",
        flag="--backbone",
        metavar="NAME",
        group="ensemble",
        hub="model",
    )
    seeds: int = option(1, help="members of each backbone")
    folds: int = option(4, help="parts of the training faces, each labelled by members that never saw it; 1: none")
    view: str = option("default", help="view of the data, such as easy or 7-class")
    image_size: int | None = option(
        None, help="side of the pictures in pixels; without it, that of the first picture", low=1
    )
    fewest_positives: int = option(1500, help="faces of an emotion that a pass has at least, repeated if need be")
    hard_negatives: float = option(0.5, help="share of the other faces that are drawn because they look alike")
    label_smoothing: float = option(0.1, help="half of it is how far the targets are from 0 and 1")
    calibration: str = option(
        "temperature", help="how confidences are made to fit", choices=("temperature", "isotonic")
    )
    trunk_epochs: float = option(
        15, help="passes over the faces in which a network first learns all emotions; 0: none", group="optimisation"
    )
    epochs: float = option(2, help="passes over the faces of each emotion for its binary classifier")
    batch_size: int = option(128, help="faces on one device at a time", low=1)
    learning_rate: float = option(1e-3, help="peak learning rate of the first stage", above=0)
    binary_learning_rate: float = option(3e-4, help="peak learning rate of the binary classifiers", above=0)
    warmup: float = option(0.05, help="share of the steps in which the learning rate rises", low=0, high=1)
    weight_decay: float = option(0.05, help="weight decay of AdamW", low=0)
    seed: int = option(0, help="seed of everything that is random", low=0)
    augmentation: Augmentation = option(
        Augmentation(),
        help="strength of all random changes together: 0 is none, 1 as given below",
        scaled=True,
        group="augmentation",
    )
    bf16: bool | None = option(None, help="compute in bfloat16; auto takes what is faster here", group="machine")

    def __post_init__(self):
        check_options(self)
        if not self.backbones or self.seeds < 1 or self.folds < 1:
            raise ValueError(
                f"an ensemble needs a backbone, a seed and a fold: found {len(self.backbones)} backbones, seeds "
                f"{self.seeds}, folds {self.folds}"
            )
        for name in ("label_smoothing", "hard_negatives"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share in [0, 1]")
        if not self.epochs > 0 or self.trunk_epochs < 0 or self.fewest_positives < 1:
            raise ValueError(
                f"epochs {self.epochs} must be above 0, trunk_epochs {self.trunk_epochs} at least 0 and "
                f"fewest_positives {self.fewest_positives} at least 1"
            )
