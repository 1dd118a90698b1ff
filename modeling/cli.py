"""`affectnet-plus VERB`: parses, calls, prints. Heavy imports wait until a verb needs them."""

import argparse
import json
import signal
import sys
from functools import partial

from .command import add_verb, add_workers, count_workers, show_bars, show_progress
from .evaluation.verbs import add_evaluation_verbs
from .labelling.verbs import add_labelling_verbs
from .publishing.verbs import add_publishing_verbs
from .training.verbs import add_training_verbs


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
    rooms = (add_labelling_verbs, add_training_verbs, add_evaluation_verbs, add_publishing_verbs)
    for add in (*faces, *rooms):
        add(verbs)
    return parser


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
        show_progress("draw", "faces"),
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
        )
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(format_report(report))
        if report["embedded"] and not options.embed:
            print("the images are in the files, because the source holds them in archives")
        if report["quarantined"]:
            print(f"{report['quarantined']} faces were left out; {options.out}/quarantine.jsonl says why each")
    return 1 if options.strict and (report["quarantined"] or _has_errors(report)) else 0


def _examine_faces(options) -> dict:
    from .doctor import doctor

    with show_bars() as progress:
        return doctor(options.path, count_workers(options), options.near_duplicates, partial(progress, "examine"))


def _examine_model(options) -> dict:
    from .checking.model_order import examine_model

    return examine_model(options.path, options.data, options.view, options.split, show_progress("ask"))


def _has_errors(report: dict) -> bool:
    return any(finding["level"] == "error" for finding in report["findings"])


def _add_doctor(verbs) -> None:
    text = "examine faces, as delivered or prepared, or the label order of a model; exit with 1 on errors"
    verb = add_verb(verbs, "doctor", _doctor, text, "path", overwrite=False)
    verb.add_argument("data", nargs="?", help="prepared faces with labels, to ask the model PATH about")
    verb.add_argument("--view", default="default", help="of DATA")
    verb.add_argument("--split", default="validation", help="of DATA")
    add_workers(verb)
    verb.add_argument(
        "--no-near-duplicates",
        dest="near_duplicates",
        action="store_false",
        help="decode no picture, which saves most of the time",
    )
    verb.add_argument("--json", action="store_true", help="print the report for programs")


def _doctor(options) -> int:
    from .doctor import format_report

    report = _examine_model(options) if options.data else _examine_faces(options)
    print(json.dumps(report, indent=2, allow_nan=False) if options.json else format_report(report))
    return 1 if _has_errors(report) else 0


if __name__ == "__main__":
    sys.exit(main())
