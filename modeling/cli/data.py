"""The verbs of the command line that make, check and look at data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..checking.findings import Examination
from ..options import check_options, option
from . import words
from .arguments import Verb
from .progress import say, show_bars
from .refusals import need, need_faces, need_free, need_model, need_prepared


@dataclass(frozen=True)
class Draw:
    """Draw faces with exact soft labels, as an AffectNet+ tree."""

    out: str = words.out()
    n: int = option(2000, help="faces in train and validation together", low=1)
    validation_fraction: float = option(0.2, help="share of these that goes to validation", low=0, high=1, metavar="X")
    no_human: int = option(0, help="further faces without a human label", low=0)
    seed: int = words.seed()
    fast: bool = option(False, help="repeat 512 faces: trees of any size, to measure with")
    workers: int | None = words.workers()
    overwrite: bool = words.overwrite()

    def __post_init__(self):
        check_options(self)
        if self.fast and self.workers:
            raise ValueError("--fast draws 512 faces in one process: leave --workers out")


def _draw(options: Draw) -> int:
    need_free(options.out, options.overwrite)
    from ..sources.synthetic import draw_repeated_tree, draw_tree

    how = (options.n, options.seed, options.validation_fraction, options.no_human, options.overwrite)
    with show_bars() as progress:
        if options.fast:
            counts = draw_repeated_tree(options.out, *how, progress)
        else:
            counts = draw_tree(options.out, *how, progress, options.workers)
    print(f"{options.out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
    return 0


@dataclass(frozen=True)
class ImportFerplus:
    """Write FER+, faces with the votes of ten people, as an AffectNet+ tree."""

    source: str = option(help="folder with the images of FER2013 and fer2013new.csv", positional=True)
    out: str = words.out()
    validation: str = option(
        "PublicTest", help="part of FER2013 that becomes validation", choices=("PublicTest", "PrivateTest")
    )
    protocol: str = option(
        "A", help="label: A, that with most votes; B, only where it has the majority", choices=("A", "B")
    )
    drop_leaks: bool = option(False, help="train without the images that are in validation too")
    follow_links: bool = words.follow_links()
    overwrite: bool = words.overwrite()


def _import_ferplus(options: ImportFerplus) -> int:
    need(options.source)
    need_free(options.out, options.overwrite)
    from ..sources.ferplus import format_import, import_ferplus

    with show_bars() as progress:
        report = import_ferplus(
            options.source,
            options.out,
            options.validation,
            options.protocol,
            options.drop_leaks,
            options.overwrite,
            progress,
            options.follow_links,
        )
    print(format_import(report))
    return 0


@dataclass(frozen=True)
class Prepare:
    """Check every face of a tree and write the folder that load_dataset opens."""

    raw: str = option(help="AffectNet+ as delivered: its folder, its zip parts, or an older release", positional=True)
    out: str = words.out()
    embed: bool = option(False, help="put the images into the files, so that OUT can be moved")
    workers: int | None = words.workers()
    json: bool = option(False, help="print the report as JSON, for programs")
    strict: bool = option(False, help="exit with 1 when a face was left out or the report has an error")
    follow_links: bool = words.follow_links()
    resume: bool = words.resume()
    overwrite: bool = words.overwrite()

    def __post_init__(self):
        check_options(self)


def _prepare(options: Prepare) -> int:
    need(options.raw)
    need_free(options.out, options.overwrite, finished="manifest.json")
    from ..preparing import format_report, prepare

    with show_bars() as progress:
        report = prepare(
            options.raw,
            options.out,
            options.embed,
            options.overwrite,
            options.workers,
            progress,
            partial(say, "prepare"),
            options.resume,
            options.follow_links,
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


def _has_errors(report: Mapping[str, Any]) -> bool:
    return any(finding["level"] == "error" for finding in report["findings"])


@dataclass(frozen=True)
class Doctor:
    """Examine faces, as delivered or prepared; or, with DATA, the order of a model's labels. Exit with 1 on errors."""

    path: str = option(
        help="faces as delivered, a folder that prepare wrote, or a model; or you/name of the Hub",
        positional=True,
        hub="model",
    )
    data: str | None = option(
        None, help="folder that prepare wrote, to ask the model PATH about", positional=True, hub="dataset"
    )
    revision: str | None = words.revision()
    view: str | None = option(None, help="view of DATA; without it, default", group="of a model", metavar="NAME")
    split: str | None = option(None, help="split of DATA; without it, validation", metavar="SPLIT")
    near_duplicates: bool = option(True, help="decode no picture, which saves most of the time", group="of faces")
    follow_links: bool = words.follow_links()
    workers: int | None = words.workers()
    json: bool = option(False, help="print the report as JSON, for programs", group="report")

    def __post_init__(self):
        """Refuse what would mean nothing: the two kinds of examination have no option in common but --json."""
        check_options(self)
        if self.data is None:
            given, of = {"--view": self.view, "--split": self.split}, "a model: name DATA after it"
        else:
            given = {
                "--workers": self.workers,
                "--no-near-duplicates": not self.near_duplicates,
                "--follow-links": self.follow_links,
            }
            of = "faces, and DATA asks for the examination of a model"
        if meaningless := [flag for flag, value in given.items() if value]:
            raise ValueError(f"{' and '.join(meaningless)} is about {of}")


def _doctor(options: Doctor) -> int:
    need_prepared(options.data)
    if options.data is None:
        need_faces(options.path)
    else:
        need_model(options.path, "config.json")
    from ..examination import format_examination

    report = _examine_faces(options) if options.data is None else _examine_model(options)
    print(json.dumps(report, indent=2, allow_nan=False) if options.json else format_examination(report))
    return 1 if _has_errors(report) else 0


def _examine_faces(options: Doctor) -> Examination:
    from ..examination import doctor

    with show_bars() as progress:
        how = (options.workers, options.near_duplicates, progress, options.follow_links)
        return doctor(options.path, *how)


def _examine_model(options: Doctor) -> Examination:
    from ..evaluation.model_order import examine_model

    view, split = options.view or "default", options.split or "validation"
    with show_bars("batches") as progress:
        return examine_model(options.path, options.data, view, split, progress)


DATA_VERBS = (
    Verb("draw", Draw, _draw, ("raw -n 2000 --seed 0", "raw -n 100000 --fast")),
    Verb(
        "import-ferplus",
        ImportFerplus,
        _import_ferplus,
        ("FERPLUS faces --drop-leaks", "FERPLUS faces --validation PrivateTest --protocol B"),
    ),
    Verb("prepare", Prepare, _prepare, ("AffectNet+ prepared", "AffectNet+ prepared --embed --strict")),
    Verb("doctor", Doctor, _doctor, ("prepared", "model prepared --split validation")),
)
