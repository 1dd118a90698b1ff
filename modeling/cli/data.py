"""The verbs of the command line that make, check and look at data; `cli` adds them to the others."""

import json
import sys
from functools import partial

from .command import add_verb, add_workers, count_workers, show_bars, show_progress


def add_data_verbs(verbs) -> None:
    """Declare draw, import-ferplus, prepare and doctor."""
    for add in (_add_draw, _add_import_ferplus, _add_prepare, _add_doctor):
        add(verbs)


def _add_draw(verbs) -> None:
    verb = add_verb(verbs, "draw", _draw, "draw faces with exact soft labels, as an AffectNet+ tree", "out")
    verb.add_argument("-n", type=int, default=2000, help="faces in train and validation together")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--validation-fraction", type=float, default=0.2)
    verb.add_argument("--no-human", type=int, default=0, help="further faces without a human label")
    verb.add_argument("--fast", action="store_true", help="repeat 512 faces: trees of any size, to measure with")


def _draw(options) -> int:
    from ..sources.synthetic import draw_repeated_tree, draw_tree

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
    from ..sources.ferplus import format_import, import_ferplus

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
    print(format_import(report))
    return 0


def _add_prepare(verbs) -> None:
    text = "check a tree and write the folder that load_dataset opens"
    verb = add_verb(verbs, "prepare", _prepare, text, "raw", "out")
    verb.add_argument("--embed", action="store_true", help="put the images into the files, so that OUT can be moved")
    add_workers(verb)
    verb.add_argument("--json", action="store_true", help="print the report as JSON, for programs")
    verb.add_argument("--strict", action="store_true", help="exit with 1 when a face was quarantined or for an error")
    verb.add_argument("--resume", action="store_true", help="there has to be an interrupted run to go on with")


def _prepare(options) -> int:
    from ..preparing import format_report, prepare

    def say(text: str) -> None:
        print(f"affectnet-plus prepare: {text}", file=sys.stderr)

    with show_bars() as progress:
        report = prepare(
            options.raw,
            options.out,
            options.embed,
            options.overwrite,
            count_workers(options),
            progress,
            say,
            options.resume,
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
    from ..doctor import doctor

    with show_bars() as progress:
        return doctor(options.path, count_workers(options), options.near_duplicates, partial(progress, "examine"))


def _examine_model(options) -> dict:
    from ..evaluation.model_order import examine_model

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
    from ..doctor import format_examination

    report = _examine_model(options) if options.data else _examine_faces(options)
    print(json.dumps(report, indent=2, allow_nan=False) if options.json else format_examination(report))
    return 1 if _has_errors(report) else 0
