"""The verbs of the command line that train; `cli` adds them to the others."""

from dataclasses import fields

from ..command import add_verb, show_progress
from .options import SIZES, Augmentation, TrainingOptions


def add_training_verbs(verbs) -> None:
    """Declare train."""
    for add in (_add_train,):
        add(verbs)


def _add_train(verbs) -> None:
    verb = add_verb(verbs, "train", _train, "train a soft-label vision transformer with KL divergence", "data", "out")
    default = {field.name: field.default for field in fields(TrainingOptions)}
    verb.add_argument("--config", dest="size", choices=tuple(SIZES), default=default["size"], help="size of the model")
    verb.add_argument("--from-vit", help="start from a ViT checkpoint, a folder or a Hub name, instead of --config")
    verb.add_argument("--target", choices=("soft", "hard"), default=default["target"], help="soft or one-hot label")
    verb.add_argument("--view", default=default["view"], help="view of the data")
    verb.add_argument("--image-size", type=int, help="pixels; default: that of the first picture")
    verb.add_argument("--patch-size", type=int, help="pixels; default: 8 below 112 pixels, else 16")
    for name in ("epochs", "learning_rate", "weight_decay", "warmup", "label_smoothing", "valence_arousal_weight"):
        verb.add_argument("--" + name.replace("_", "-"), type=float, default=default[name])
    verb.add_argument("--augmentation", type=float, default=1.0, help="strength of the random changes, 0 to 1 or so")
    verb.add_argument("--class-weights", type=float, nargs=8, metavar="W", help="one weight per emotion")
    verb.add_argument("--batch-size", type=int, default=default["batch_size"])
    verb.add_argument("--holdout", type=float, default=0.0, help="share of train that chooses the best checkpoint")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--bf16", choices=("auto", "yes", "no"), default="auto")
    verb.add_argument("--resume", action="store_true", help="go on with an interrupted run")


def _train(options) -> int:
    from .train import train

    chosen = {name: value for name, value in vars(options).items() if name in TrainingOptions.__dataclass_fields__}
    chosen["augmentation"] = Augmentation().scaled(options.augmentation)
    chosen["bf16"] = {"auto": None, "yes": True, "no": False}[options.bf16]
    chosen["class_weights"] = options.class_weights and tuple(options.class_weights)
    record = train(
        options.data, options.out, TrainingOptions(**chosen), options.resume, options.overwrite, show_progress("read")
    )
    print(
        f"{options.out}: {record['parameters']:,} parameters, {record['steps']} steps in {record['seconds']:.0f} s, "
        f"best at step {record['best_step']} with loss {record['best_choosing_loss']:.4f}"
    )
    return 0
