"""`affectnet-plus VERB`: parses, calls, prints. Heavy imports wait until a verb needs them."""

import argparse
import signal
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it did what it says, 1 when it could not, 2 for unusable arguments."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished folders are cleaned up
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())  # the Hub's refusals are many lines
        print(f"affectnet-plus {options.verb}: {reason}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="affectnet-plus", description="AffectNet+: data, soft labels, models, cards")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for add in (_add_draw, _add_import_ferplus, _add_prepare, _add_train, _add_evaluate, _add_predict, _add_publish):
        add(verbs)
    return parser


def _verb(verbs, name: str, run, text: str, *positional: str, overwrite: bool = True) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    verb.set_defaults(run=run)
    for argument in positional:
        verb.add_argument(argument)
    if overwrite:
        verb.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")
    return verb


def _progress(text: str):
    from tqdm import tqdm

    return lambda items: tqdm(items, desc=text, unit=" faces", mininterval=0.5)


# --- faces -----------------------------------------------------------------------------------------------------------


def _add_draw(verbs) -> None:
    verb = _verb(verbs, "draw", _draw, "draw faces with exact soft labels, as an AffectNet+ tree", "out")
    verb.add_argument("-n", type=int, default=2000, help="faces in train and validation together")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--validation-fraction", type=float, default=0.2)
    verb.add_argument("--no-human", type=int, default=0, help="further faces without a human label")


def _draw(options) -> int:
    from .sources.synthetic import draw_tree

    counts = draw_tree(
        options.out,
        options.n,
        options.seed,
        options.validation_fraction,
        options.no_human,
        options.overwrite,
        _progress("draw"),
    )
    print(f"{options.out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
    return 0


def _add_import_ferplus(verbs) -> None:
    verb = _verb(verbs, "import-ferplus", _import_ferplus, "write FER+ as an AffectNet+ tree", "source", "out")
    verb.add_argument("--validation", choices=("PublicTest", "PrivateTest"), default="PublicTest")
    verb.add_argument("--protocol", choices=("A", "B"), default="A", help="A: argmax; B: the paper's majority")
    verb.add_argument("--drop-leaks", action="store_true", help="train without images that are in validation too")


def _import_ferplus(options) -> int:
    from tqdm import tqdm

    from .sources.ferplus import format_report, import_ferplus

    with tqdm(desc="import", unit=" faces", delay=0.5) as bar:  # no bar before an error at once

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = import_ferplus(
            options.source,
            options.out,
            options.validation,
            options.protocol,
            options.drop_leaks,
            options.overwrite,
            progress,
        )
    print(format_report(report))
    return 0


def _add_prepare(verbs) -> None:
    verb = _verb(verbs, "prepare", _prepare, "check a tree and write the folder that load_dataset opens", "raw", "out")
    verb.add_argument("--embed", action="store_true", help="put the images into the files, so that OUT can be moved")
    verb.add_argument("--strict", action="store_true", help="exit with 1 when a row was quarantined")


def _prepare(options) -> int:
    from .preparing import format_report, prepare

    report = prepare(options.raw, options.out, options.embed, options.overwrite, _progress("prepare"))
    print(format_report(report))
    if report["quarantined"]:
        print(f"{report['quarantined']} faces were left out; {options.out}/quarantine.jsonl says why, line by line")
    return 1 if options.strict and report["quarantined"] else 0


# --- models ----------------------------------------------------------------------------------------------------------


def _add_train(verbs) -> None:
    from dataclasses import fields

    from .training.options import SIZES, TrainingOptions

    verb = _verb(verbs, "train", _train, "train a soft-label vision transformer with KL divergence", "data", "out")
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
    from .training.options import Augmentation, TrainingOptions
    from .training.train import train

    chosen = {name: value for name, value in vars(options).items() if name in TrainingOptions.__dataclass_fields__}
    chosen["augmentation"] = Augmentation().scaled(options.augmentation)
    chosen["bf16"] = {"auto": None, "yes": True, "no": False}[options.bf16]
    chosen["class_weights"] = options.class_weights and tuple(options.class_weights)
    record = train(
        options.data, options.out, TrainingOptions(**chosen), options.resume, options.overwrite, _progress("read")
    )
    print(
        f"{options.out}: {record['parameters']:,} parameters, {record['steps']} steps in {record['seconds']:.0f} s, "
        f"best at step {record['best_step']} with loss {record['best_choosing_loss']:.4f}"
    )
    return 0


def _add_evaluate(verbs) -> None:
    verb = _verb(verbs, "evaluate", _evaluate, "measure a model on a split, with pictures", "model", "data",
                 overwrite=False)  # fmt: skip
    verb.add_argument("--view", default="default")
    verb.add_argument("--split", default="validation")
    verb.add_argument("--out", help="folder for metrics.json and the pictures; default: MODEL")
    verb.add_argument("--batch-size", type=int, default=64)


def _evaluate(options) -> int:
    from .evaluation.evaluate import evaluate
    from .evaluation.metrics import format_metrics

    out = Path(options.out or options.model)
    metrics = evaluate(
        options.model, options.data, out, options.view, options.split, options.batch_size, _progress("evaluate")
    )
    print(format_metrics(metrics))
    print(f"written: {out}/metrics.json, confusion.png, reliability.png, faces.png")
    return 0


def _add_predict(verbs) -> None:
    verb = _verb(verbs, "predict", _predict, "soft label, valence and arousal of pictures, as JSON lines", "model",
                 overwrite=False)  # fmt: skip
    verb.add_argument("images", nargs="+", help="pictures, or folders of them")
    verb.add_argument("--batch-size", type=int, default=32)


def _predict(options) -> int:
    import json

    from .evaluation.predict import predict

    for line in predict(options.model, options.images, options.batch_size):
        print(json.dumps(line), flush=True)
    return 0


def _add_publish(verbs) -> None:
    verb = _verb(verbs, "publish", _publish, "push a model with its card to the Hub", "model", "repo")
    verb.add_argument("--private", action="store_true")
    verb.add_argument("--to-folder", action="store_true", help="write what would be pushed to the folder REPO")
    verb.add_argument("--license", default="other", help="licence of the weights, as the Hub names it")


def _publish(options) -> int:
    from .publishing.publish import publish, stage

    if options.to_folder:
        print(stage(options.model, options.repo, options.license, options.overwrite))
    else:
        print(publish(options.model, options.repo, options.private, options.license))
    return 0


if __name__ == "__main__":
    sys.exit(main())
