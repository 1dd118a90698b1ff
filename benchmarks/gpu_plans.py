"""What is trained: `search` compares ingredients on faces held back, `final` makes the models that are shipped."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gpu_training import Run

from affectnet_plus_modeling.training.options import Augmentation, TrainingOptions

MILD = Augmentation(
    rotation=15, scale=0.15, aspect=0.08, shift=0.08, contrast=0.3, brightness=0.15, gamma=0.4, erase=0.33
)
STRONG = replace(
    MILD, rotation=30, scale=0.25, aspect=0.15, shear=0.2, shift=0.12, contrast=0.4, brightness=0.25, erase=0.5
)
MIDDLE = replace(MILD, rotation=22, scale=0.2, aspect=0.12, shear=0.1, shift=0.1, erase=0.4)
SMALL = {
    "hidden_size": 192,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "stem_channels": (24, 48, 96, 192),
    "stem_type": "residual",
    "pooling": "mean",
    "initializer_range": 0.07,
}
WIDE = SMALL | {"stem_channels": (32, 64, 128, 192), "num_hidden_layers": 4}
WIDEST = SMALL | {"stem_channels": (48, 96, 160, 224), "hidden_size": 192, "num_hidden_layers": 2}
STUDENT = SMALL | {"stem_channels": (48, 96, 160, 208)}
TEACHER = SMALL | {
    "stem_channels": (64, 128, 192, 256),
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 8,
    "initializer_range": 0.0625,
}
# One over the root of the mean vote of each emotion in training, with a mean weight of 1.
RARE = (0.695, 0.766, 1.037, 1.145, 2.1, 3.145, 1.359, 2.932)
BASE = TrainingOptions(
    epochs=40,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.05,
    warmup=0.05,
    drop_path=0.1,
    classifier_dropout=0.2,
    average=0.9993,
    valence_arousal_weight=0.0,
    augmentation=MILD,
)


@dataclass(frozen=True)
class Group:
    """Runs that are trained side by side.

    minutes: that they may take.
    keep: their weights are saved.
    together: they are measured as an ensemble too.
    """

    runs: list[Run]
    minutes: float
    keep: bool = False
    together: bool = False


def search(tiny: bool) -> list[Group]:
    base = replace(BASE, epochs=1 if tiny else 60)
    shape = _tiny(SMALL) if tiny else SMALL
    wide, widest = (_tiny(s) if tiny else s for s in (WIDE, WIDEST))
    drawn = Run("drawn", replace(base, epochs=1 if tiny else 30, warmup=0.1), wide, faces="drawn")
    strong = replace(base, augmentation=STRONG)
    runs = [
        Run("base", base, shape),
        Run("middle", replace(base, augmentation=MIDDLE), shape),
        Run("strong", strong, shape),
        Run("wide", base, wide),
        Run("wide strong", strong, wide),
        Run("widest strong", strong, widest),
        Run("wide strong mixup", replace(strong, mixup=0.2), wide),
        Run("wide strong cutmix", replace(strong, cutmix=0.5), wide),
        Run("wide strong drop", replace(strong, drop_path=0.2, classifier_dropout=0.4), wide),
        Run("wide strong slow", replace(strong, learning_rate=1.5e-3, weight_decay=0.1), wide),
        Run("wide strong decay", replace(strong, weight_decay=0.2), wide),
    ]
    runs = [replace(run, faces="most") for run in runs]
    return [
        Group([drawn], 0.4),
        Group([*runs, Run("wide strong from drawn", strong, wide, faces="most", start="drawn")], 4.0),
    ]


def final(tiny: bool) -> list[Group]:
    """Three teachers, and three seeds of the student that is shipped; 5 % of the faces are held back from all."""
    epochs = 1 if tiny else 120
    shared = replace(BASE, epochs=epochs, weight_decay=0.15, augmentation=MIDDLE)
    teacher, student = (_tiny(shape) if tiny else shape for shape in (TEACHER, STUDENT))
    teachers = [Run(f"teacher-{seed}", replace(shared, seed=10 + seed), teacher, faces="most") for seed in range(3)]
    taught = replace(shared, class_weights=RARE)
    names = tuple(run.name for run in teachers)
    students = [
        Run(f"student-{seed}", replace(taught, seed=seed), student, faces="most", teachers=names) for seed in range(3)
    ]
    return [Group(teachers, 2.7, keep=True, together=True), Group(students, 9.0, keep=True, together=True)]


def _tiny(shape: dict) -> dict:
    return shape | {"stem_channels": (8, 8, 16, 16), "hidden_size": 48, "intermediate_size": 48}


PLANS: dict[str, Callable[[bool], list[Group]]] = {"search": search, "final": final}
