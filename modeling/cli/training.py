"""The verbs of the command line that train; `cli` adds them to the others."""

import os
from dataclasses import fields
from typing import Any

from ..training.options import CHOICES, Augmentation, TrainingOptions
from ..training.pretrain_options import LIGHT, PretrainingOptions
from .command import add_verb, show_progress


def add_training_verbs(verbs) -> None:
    """Declare train and pretrain."""
    for add in (_add_train, _add_pretrain):
        add(verbs)


def _add_train(verbs) -> None:
    verb = add_verb(verbs, "train", _train, "train a soft-label vision transformer with KL divergence", "data", "out")
    default: dict[str, Any] = {field.name: field.default for field in fields(TrainingOptions)}
    verb.add_argument("--config", dest="size", choices=CHOICES["size"], default=default["size"], help="size of model")
    verb.add_argument("--from-vit", help="start from a ViT checkpoint, a folder or a Hub name, instead of --config")
    verb.add_argument("--from-pretrained", help="start from what pretrain or train wrote, instead of --config")
    for name, text in _WORDS.items():
        verb.add_argument(_flag(name), choices=CHOICES[name], default=default[name], help=text)
    for name, text in _NUMBERS.items():
        kind = int if name in _WHOLE else float
        verb.add_argument(_flag(name), type=kind, default=default[name], help=text)
    verb.add_argument("--view", default=default["view"], help="view of the data")
    verb.add_argument("--augmentation", type=float, default=1.0, help="strength of the random changes, 0 to 1 or so")
    verb.add_argument("--flip", type=float, default=Augmentation.flip, help="chance of a mirror image")
    verb.add_argument("--random-operations", type=int, default=0, help="further random changes of each face")
    verb.add_argument("--magnitude", type=float, default=0.5, help="of the strongest of these, 0 to 1")
    verb.add_argument("--class-weights", type=float, nargs=8, metavar="W", help="one weight per emotion")
    verb.add_argument("--allow-empty-classes", action="store_true", help="though a class has no face to train on")
    verb.add_argument("--bf16", choices=("auto", "yes", "no"), default="auto", help="auto: what is faster here")
    verb.add_argument("--compile", action="store_true", help="by torch.compile")
    verb.add_argument("--report-to", default=default["report_to"], help="tracker, such as trackio")
    verb.add_argument("--resume", action="store_true", help="there has to be an interrupted run to go on with")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


_WORDS = {
    "target": "soft or one-hot label",
    "loss": "divergence from the target",
    "sampler": "how often the faces of each class are shown",
}
_WHOLE = ("image_size", "patch_size", "batch_size", "accumulation", "patience", "seed")
_NUMBERS = {
    "image_size": "pixels; default: that of the first picture",
    "patch_size": "pixels; default: 8 below 112 pixels, else 16",
    "epochs": "times that every face is shown",
    "batch_size": "faces on one device at a time",
    "accumulation": "batches in a step",
    "learning_rate": "at its highest",
    "warmup": "share of the steps in which the rate rises",
    "weight_decay": "of AdamW",
    "layer_decay": "rate of a layer, as a share of that of the one above",
    "drop_path": "chance that the last layer is skipped",
    "average": "decay of the moving average of the weights, such as .999; 0: none",
    "patience": "epochs without a better checkpoint before training stops; default: never",
    "label_smoothing": "share of the uniform distribution in the target",
    "valence_arousal_weight": "of the loss of valence and arousal",
    "mixup": "alpha; 0: none",
    "cutmix": "alpha; 0: none",
    "holdout": "share of train that chooses the best checkpoint",
    "seed": "of everything random",
}


def _train(options) -> int:
    from ..training.train import train

    chosen = {name: value for name, value in vars(options).items() if name in TrainingOptions.__dataclass_fields__}
    augmentation = Augmentation(options.flip, random_operations=options.random_operations, magnitude=options.magnitude)
    chosen["augmentation"] = augmentation.scaled(options.augmentation)
    chosen["bf16"] = {"auto": None, "yes": True, "no": False}[options.bf16]
    chosen["class_weights"] = options.class_weights and tuple(options.class_weights)
    record = train(
        options.data, options.out, TrainingOptions(**chosen), options.resume, options.overwrite, show_progress("read")
    )
    if os.environ.get("RANK", "0") == "0":
        print(
            f"{options.out}: {record['parameters']:,} parameters, {record['steps']} steps in {record['seconds']:.0f} "
            f"s, best at step {record['best_step']} with loss {record['best_objective']:.4f}"
        )
    return 0


def _add_pretrain(verbs) -> None:
    text = "train stem and encoder on faces without labels, by filling in what was hidden"
    verb = add_verb(verbs, "pretrain", _pretrain, text, "images", "out")
    default: dict[str, Any] = {field.name: field.default for field in fields(PretrainingOptions)}
    verb.add_argument("--config", dest="size", choices=CHOICES["size"], default=default["size"], help="size of model")
    verb.add_argument("--views", nargs="+", metavar="VIEW", help="of a prepared folder; default: all to train on")
    for name, kind, help_text in _PRETRAINING_NUMBERS:
        verb.add_argument(_flag(name), type=kind, default=default[name], help=help_text)
    verb.add_argument("--augmentation", type=float, default=1.0, help="strength of the crops, 0 to 1 or so")
    verb.add_argument("--bf16", choices=("auto", "yes", "no"), default="auto", help="auto: what is faster here")
    verb.add_argument("--compile", action="store_true", help="by torch.compile")
    verb.add_argument("--resume", action="store_true", help="there has to be an interrupted run to go on with")


_PRETRAINING_NUMBERS = (
    ("mask_ratio", float, "share of a picture that is hidden"),
    ("mask_size", int, "pixels along a hidden square; default: about a sixth of the picture"),
    ("image_size", int, _NUMBERS["image_size"]),
    ("patch_size", int, _NUMBERS["patch_size"]),
    ("epochs", float, _NUMBERS["epochs"]),
    ("batch_size", int, _NUMBERS["batch_size"]),
    ("learning_rate", float, _NUMBERS["learning_rate"]),
    ("warmup", float, _NUMBERS["warmup"]),
    ("weight_decay", float, _NUMBERS["weight_decay"]),
    ("seed", int, _NUMBERS["seed"]),
)


def _pretrain(options) -> int:
    from ..training.pretrain import pretrain

    names = PretrainingOptions.__dataclass_fields__
    chosen = {name: value for name, value in vars(options).items() if name in names}
    chosen["views"] = options.views and tuple(options.views)
    chosen["augmentation"] = LIGHT.scaled(options.augmentation)
    chosen["bf16"] = {"auto": None, "yes": True, "no": False}[options.bf16]
    record = pretrain(
        options.images,
        options.out,
        PretrainingOptions(**chosen),
        options.resume,
        options.overwrite,
        show_progress("read"),
    )
    if os.environ.get("RANK", "0") == "0":
        print(
            f"{options.out}: {record['images']['faces']:,} faces, {record['steps']} steps in {record['seconds']:.0f} "
            f"s, loss {record['losses'][0]:.4f} to {record['losses'][-1]:.4f}; see {options.out}.reconstruction.png"
        )
    return 0
