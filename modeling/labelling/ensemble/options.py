"""Everything that decides how an ensemble is trained, in one typed place; saved with it as `training.json`.

No torch in here: the command line reads its defaults from this module, and its --help is not to wait for torch.
"""

from dataclasses import dataclass, field

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
OWN_BACKBONES = ("resnet", *SIZES)


@dataclass(frozen=True)
class EnsembleOptions:
    """Attributes, beside the obvious ones:

    backbones: "resnet", a size of our ViT, or an image-classification checkpoint (folder or Hub name) to start from.
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

    backbones: tuple[str, ...] = ("resnet", "mini")
    seeds: int = 1
    folds: int = 4
    view: str = "default"
    image_size: int | None = None
    trunk_epochs: float = 15
    epochs: float = 2
    batch_size: int = 128
    learning_rate: float = 1e-3
    binary_learning_rate: float = 3e-4
    weight_decay: float = 0.05
    warmup: float = 0.05
    label_smoothing: float = 0.1
    fewest_positives: int = 1500
    hard_negatives: float = 0.5
    calibration: str = "temperature"
    seed: int = 0
    bf16: bool | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
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
