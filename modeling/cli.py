"""`affectnet-plus VERB`: parses, calls, prints. Heavy imports wait until a verb needs them."""

import argparse
import json
import signal
import sys
from functools import partial
from pathlib import Path

from .command import add_verb, add_workers, count_workers, show_bars, show_progress
from .labelling.verbs import add_labelling_verbs


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it did what it says, 1 when it could not, 2 for unusable arguments."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished folders are cleaned up
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, ImportError) as error:  # an extra that is not installed
        reason = " ".join(str(error).split())  # the Hub's refusals are many lines
        print(f"affectnet-plus {options.verb}: {reason}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="affectnet-plus", description="AffectNet+: data, soft labels, models, cards")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    faces = (_add_draw, _add_import_ferplus, _add_prepare, _add_doctor)
    models = (_add_train, _add_evaluate, _add_predict, _add_publish)
    for add in (*faces, add_labelling_verbs, *models):
        add(verbs)
    return parser


# --- faces -----------------------------------------------------------------------------------------------------------


def _add_draw(verbs) -> None:
    verb = add_verb(verbs, "draw", _draw, "draw faces with exact soft labels, as an AffectNet+ tree", "out")
    verb.add_argument("-n", type=int, default=2000, help="faces in train and validation together")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--validation-fraction", type=float, default=0.2)
    verb.add_argument("--no-human", type=int, default=0, help="further faces without a human label")
    verb.add_argument("--fast", action="store_true", help="repeat 512 faces: trees of any size, to measure with")


def _draw(options) -> int:
    from .sources.synthetic import draw_repeated_tree, draw_tree

    draw = draw_repeated_tree if options.fast else draw_tree
    counts = draw(
        options.out,
        options.n,
        options.seed,
        options.validation_fraction,
        options.no_human,
        options.overwrite,
        show_progress("draw"),
    )
    print(f"{options.out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
    return 0


def _add_import_ferplus(verbs) -> None:
    verb = add_verb(verbs, "import-ferplus", _import_ferplus, "write FER+ as an AffectNet+ tree", "source", "out")
    verb.add_argument("--validation", choices=("PublicTest", "PrivateTest"), default="PublicTest")
    verb.add_argument("--protocol", choices=("A", "B"), default="A", help="A: argmax; B: the paper's majority")
    verb.add_argument("--drop-leaks", action="store_true", help="train without images that are in validation too")


def _import_ferplus(options) -> int:
    from .sources.ferplus import format_report, import_ferplus

    with show_bars() as progress:
        report = import_ferplus(
            options.source,
            options.out,
            options.validation,
            options.protocol,
            options.drop_leaks,
            options.overwrite,
            partial(progress, "import"),
        )
    print(format_report(report))
    return 0


def _add_prepare(verbs) -> None:
    text = "check a tree and write the folder that load_dataset opens"
    verb = add_verb(verbs, "prepare", _prepare, text, "raw", "out")
    verb.add_argument("--embed", action="store_true", help="put the images into the files, so that OUT can be moved")
    add_workers(verb)
    verb.add_argument("--json", action="store_true", help="print the report as JSON, for programs")
    verb.add_argument("--strict", action="store_true", help="exit with 1 when a face was quarantined or for an error")


def _prepare(options) -> int:
    from .preparing import format_report, prepare

    def say(text: str) -> None:
        print(f"affectnet-plus prepare: {text}", file=sys.stderr)

    with show_bars() as progress:
        report = prepare(
            options.raw, options.out, options.embed, options.overwrite, count_workers(options), progress, say
        )  # fmt: skip
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(format_report(report))
        if report["embedded"] and not options.embed:
            print("the images are in the files, because the source holds them in archives")
        if report["quarantined"]:
            print(f"{report['quarantined']} faces were left out; {options.out}/quarantine.jsonl says why each")
    return 1 if options.strict and (report["quarantined"] or _has_errors(report)) else 0


def _has_errors(report: dict) -> bool:
    return any(finding["level"] == "error" for finding in report["findings"])


def _add_doctor(verbs) -> None:
    text = "examine faces, as delivered or prepared; exit with 1 on errors"
    verb = add_verb(verbs, "doctor", _doctor, text, "path", overwrite=False)
    add_workers(verb)
    verb.add_argument("--no-near-duplicates", dest="near_duplicates", action="store_false",
                      help="decode no picture, which saves most of the time")  # fmt: skip
    verb.add_argument("--json", action="store_true", help="print the report for programs")


def _doctor(options) -> int:
    from .doctor import doctor, format_report

    with show_bars() as progress:
        report = doctor(options.path, count_workers(options), options.near_duplicates, partial(progress, "examine"))
    print(json.dumps(report, indent=2, allow_nan=False) if options.json else format_report(report))
    return 1 if _has_errors(report) else 0


# --- models ----------------------------------------------------------------------------------------------------------


def _add_train(verbs) -> None:
    from dataclasses import fields

    from .training.options import SIZES, TrainingOptions

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
    from .training.options import Augmentation, TrainingOptions
    from .training.train import train

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


def _add_evaluate(verbs) -> None:
    text = "measure a model on a split, with pictures"
    verb = add_verb(verbs, "evaluate", _evaluate, text, "model", "data", overwrite=False)
    verb.add_argument("--view", default="default")
    verb.add_argument("--split", default="validation")
    verb.add_argument("--out", help="folder for metrics.json and the pictures; default: MODEL")
    verb.add_argument("--batch-size", type=int, default=64)


def _evaluate(options) -> int:
    from .evaluation.evaluate import evaluate
    from .evaluation.metrics import format_metrics

    out = Path(options.out or options.model)
    metrics = evaluate(
        options.model, options.data, out, options.view, options.split, options.batch_size, show_progress("evaluate")
    )
    print(format_metrics(metrics))
    print(f"written: {out}/metrics.json, confusion.png, reliability.png, faces.png")
    return 0


def _add_predict(verbs) -> None:
    text = "soft label, valence and arousal of pictures, as JSON lines"
    verb = add_verb(verbs, "predict", _predict, text, "model", overwrite=False)
    verb.add_argument("images", nargs="+", help="pictures, or folders of them")
    verb.add_argument("--batch-size", type=int, default=32)


def _predict(options) -> int:
    from .evaluation.predict import predict

    for line in predict(options.model, options.images, options.batch_size):
        print(json.dumps(line), flush=True)
    return 0


def _add_publish(verbs) -> None:
    verb = add_verb(verbs, "publish", _publish, "push a model, or prepared data, with its card", "folder", "repo")
    verb.add_argument("--private", action="store_true", help="only you read")
    verb.add_argument("--gated", action="store_true", help="data: readers ask, and you approve each by hand")
    verb.add_argument("--to-folder", action="store_true", help="write what would be pushed to the folder REPO")
    verb.add_argument("--license", help="model: licence of the weights, as the Hub names it; default: other")
    verb.add_argument("--i-may-share-licensed-faces", dest="may_share", action="store_true",
                      help="data: the licensor lets you put these faces on the Hub")  # fmt: skip


def _publish(options) -> int:
    data = (Path(options.folder) / "manifest.json").is_file()
    if data and options.license:
        raise ValueError("--license is for models; the terms of data come from its source")
    if not data and (options.gated or options.may_share):
        raise ValueError(f"{options.folder} holds no manifest.json, so it is no prepared data; --gated and "
                         "--i-may-share-licensed-faces are for data")  # fmt: skip
    print(_publish_data(options) if data else _publish_model(options))
    return 0


def _publish_data(options):
    from .publishing.publish_data import publish_data, stage_data

    if options.to_folder:
        return stage_data(options.folder, options.repo, options.overwrite)
    return publish_data(options.folder, options.repo, options.private, options.gated, options.may_share)


def _publish_model(options):
    from .publishing.publish import publish, stage

    licence = options.license or "other"
    if options.to_folder:
        return stage(options.folder, options.repo, licence, options.overwrite)
    return publish(options.folder, options.repo, options.private, licence)


if __name__ == "__main__":
    sys.exit(main())
