"""Soft labels for pictures: the method of AffectNet+, from pictures as they lie to a folder that `load_dataset` opens.

Rows are written in shards beside `out`, each with its note, so that the same command goes on after it was killed. The
pictures are worked on by this process, or by all of a Ray cluster (`label_ray`), with the same functions: on one kind
of machine the same pictures, models and options give the same rows, however often the work was interrupted and whoever
did which part.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch
import transformers

from affectnet_plus import LayoutError

from ..checking.findings import count_reasons
from ..cluster import need_ray
from ..data import parts
from ..data.face_pictures import FacePictures
from ..data.parts import InParts, ListedParts, Part, StoredParts, in_files
from ..data.pictures import open_pictures
from ..data.stores import Store
from ..faces import POSE_UNIT, open_landmarker
from ..files import led_to, refuse_existing, size_and_digest, write_json
from ..hub_names import is_address
from ..sentences import first_line
from ..shipped import model_folder
from ..sources.tree import writing_tree
from ..stages import Progress, silent
from ..terms import UNKNOWN, SoftLabels
from ..unfinished import alone
from .branches import Branches, load_branches
from .label_here import label_here
from .label_options import LabelOptions
from .label_output import total_of, write_prepared, write_tree
from .label_rows import Demographics, Tally, load_demographics, rules_of
from .label_shards import Done, done_in, remove_strays
from .label_work import ACCOUNT, Account, begin_in, finished, remove_work

# Raise it when the same pictures, models and options give other soft labels or other files: no labelling that was
# begun before is gone on with then. tests/labelling/test_label_format.py fails when it has to be.
LABEL_FORMAT = 3


def label(
    images,
    out,
    options: LabelOptions,
    overwrite: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
    resume: bool = False,
    follow_links: bool = False,
    ray: str | None = None,
) -> Account:
    """Give every picture of `images` a soft label, and write them to the folder `out`.

    That is a folder as `prepare` writes it, the pictures in it, with columns of what each branch said; or with
    `options.tree` an AffectNet+ tree with `labels.parquet` beside it. Faces of a source keep split, stem, human label
    and all that is known of them, and get a new soft label and subset. Plain pictures get numbers for stems, and no
    human label; nobody takes them for free to share, as it is not known whose they are. A picture that cannot be read
    is left out with the reason; one of which neither branch knows anything has no soft label, but the reason.
    `labelling.json` says what made it all.

    Args:
        images: what `open_pictures` takes, plain pictures alone where `options.faces` is set; or what `StoredParts`
            takes: a folder of tars, or the address of a folder of tars, Parquet files or pictures.
        out: a folder; or its address in an object store.
        overwrite: replace `out`, unless it is already what would be written. An interrupted labelling of another
            command is begun anew, see `unfinished`.
        progress: of the stages "find faces" (with `options.faces`) and "label", in pictures, of 0 where nobody knows
            how many there are; and "write". Ray shows its own in a terminal, and this one at the end.
        say: told in a sentence what a person should know.
        resume: there has to be an unfinished labelling to go on with, unless `out` is what would be written.
        follow_links: as `open_pictures` takes it.
        ray: "local" to share the work among processes of this machine by Ray, or the address of a Ray cluster.

    Returns:
        What is written as `labelling.json`.

    Raises:
        FileNotFoundError: there are no such pictures, models or tables, or with `resume` no unfinished labelling.
        FileExistsError: `out` exists and is something else, or it holds or lies among the pictures.
        ImportError: `ray`, and it is not installed.
        ValueError: one of them is not what it should be; an unfinished labelling had other ones and `overwrite` is
            false; or not one picture can be read.
        OSError: the disk is full, an object store refuses, or Ray gave up; what was done stays for the next run.
    """
    if ray is not None:
        need_ray()
    out = out if is_address(out) else str(led_to(out))
    if options.tree and is_address(out):
        raise ValueError(f"{out} is no folder of this machine, and a tree is many small files: leave --tree out")
    here = _here(options)
    source = _opened(images, options, progress, follow_links)
    if not is_address(out):
        _refuse_own_faces(Path(out), source)
    listed = source.parts()
    names = _names(source, listed, options)
    loaded, demographics = load_branches(here, names), load_demographics(here, names)
    plan = _plan(source, here, loaded)
    store = Store(out)
    work = store.beside(".labelling")
    with nullcontext() if is_address(out) else alone(Path(out), say):
        if record := finished(store, plan, say):
            remove_work(work)
            return record
        _refuse_existing(store, overwrite)
        begin_in(work, plan, resume, overwrite)
        try:
            done = _label(source, listed, loaded, demographics, options, work, progress, say, ray)
            record = _write(source, store, work, done, loaded, demographics, options, plan, overwrite, progress)
        except OSError as error:
            why = first_line(error).rstrip(".")
            raise OSError(
                f"{store.where} is not finished: {why}. The same command, given again, goes on from there"
            ) from error
        remove_work(work)
    return record


def _here(options: LabelOptions) -> LabelOptions:
    """The options with models of the Hub fetched, so that their files are folders' from here on."""
    ensemble, units = model_folder(options.ensemble), options.action_unit_model
    return replace(
        options, ensemble=str(ensemble), action_unit_model=str(model_folder(units)) if units is not None else None
    )


def _opened(images, options: LabelOptions, progress: Progress, follow_links: bool) -> InParts:
    if in_files(images):
        if options.faces:
            raise ValueError(f"{images} holds pictures in files: the faces of photos are found in a folder of photos")
        return StoredParts(images)
    source = open_pictures(images, annotated=True, photos=options.faces, follow_links=follow_links)
    if options.faces:
        if source.origin != UNKNOWN:
            raise ValueError(
                f"{images} holds faces of {source.origin}, which are cut out already: label them without faces"
            )
        source = FacePictures(source, progress)
    return ListedParts(source)


def _names(source: InParts, listed: list[Part], options: LabelOptions) -> list[str]:
    """Names of all pictures, which only tables are matched with."""
    tables = [table for table in (options.action_units, options.deepface, options.fairface) if table]
    if tables and source.count is None:
        raise ValueError(f"{tables[0]} names pictures, and those of {source.root} have no names before they are read")
    return [picture.name for part in listed for picture in part.pictures] if tables else []


def _refuse_own_faces(out: Path, source: InParts) -> None:
    resolved = out.resolve()
    if any(place.resolve().is_relative_to(resolved) for place in source.places()):
        raise FileExistsError(f"{out} holds pictures that are to be labelled. Name another folder")
    if any(resolved.is_relative_to(place.resolve()) for place in source.places()):
        raise FileExistsError(f"{out} lies among the pictures that are to be labelled. Name another folder")


def _refuse_existing(out: Store, overwrite: bool) -> None:
    if out.local:
        refuse_existing(Path(out.where), overwrite)
    elif not overwrite and out.exists(ACCOUNT):
        raise FileExistsError(f"{out.where} exists. Name another folder, or pass --overwrite to replace it")


# --- the work --------------------------------------------------------------------------------------------------------


def _label(
    source: InParts,
    listed: list[Part],
    loaded: Branches,
    demographics: Demographics | None,
    options: LabelOptions,
    work: Store,
    progress: Progress,
    say: Callable[[str], None],
    ray: str | None,
) -> Done:
    done, rules = done_in(work), rules_of(loaded, demographics, options)
    left = [part for part in listed if not done.whole(part.number)]
    labelled = done.pictures
    total = source.count if source.count is not None else 0
    if labelled:
        of = f" of {total:,}" if total else ""
        say(f"going on with an unfinished labelling: {labelled:,}{of} pictures are labelled already")
    progress("label", labelled, total)

    def step(count: int) -> None:
        nonlocal labelled
        labelled += count
        progress("label", labelled, total)

    if ray is not None and left:
        from .label_ray import label_on_ray

        label_on_ray(ray, source, left, done, loaded, rules, options, work, step)
    elif left:
        opened = (
            open_landmarker(options.landmark_model, options.landmark_detector) if options.metadata else nullcontext()
        )
        label_here(source, left, done, loaded, rules, options, work, opened, step)
    if missing := [part for part in listed if not done.whole(part.number)]:
        raise OSError(f"{len(missing)} of {len(listed)} parts are not whole")
    done.notes.sort(key=lambda note: min(note.places))
    return done


def _write(
    source: InParts,
    out: Store,
    work: Store,
    done: Done,
    loaded: Branches,
    demographics: Demographics | None,
    options: LabelOptions,
    plan: dict,
    overwrite: bool,
    progress: Progress,
) -> Account:
    tally = total_of(done.notes)
    if not tally.splits:
        said = "; ".join([f"{count} x {reason}" for reason, count in _reasons(tally.unreadable).items()][:3])
        remove_work(work)
        raise LayoutError(f"{source.root}: none of the {tally.pictures} pictures can be read: {said}")
    remove_strays(work, done)
    generated = _generated(plan, loaded)
    record = _account(source, options, loaded, demographics, plan, tally)
    if options.tree:
        with writing_tree(out.where, overwrite, source.origin, generated) as tree:
            write_tree(tree, work, done.notes, progress)
            write_json(tree.root / ACCOUNT, record)
    else:
        facts = {name: plan["images"][name] for name in ("kind", "origin", "fingerprint")}
        write_prepared(out, work, done.notes, facts, generated, record, progress)
    return record


# --- what decides about the result -----------------------------------------------------------------------------------


def _plan(source: InParts, options: LabelOptions, loaded: Branches) -> dict:
    """All that the soft labels follow from. Where pictures and models lie does not matter."""
    plan = {
        "images": {"kind": source.kind, "origin": source.origin, "fingerprint": source.fingerprint()},
        "ensemble": _digest(options.ensemble, "config.json", "model.safetensors", "seen.parquet"),
        "action units": _digest(options.action_units, "*.csv"),
        "scale of action units": options.action_unit_scale,
        "action-unit model": _digest(options.action_unit_model, "*.json", "model.safetensors"),
        "fusion": loaded.fusion.to_dict(),
        "use of the human label": options.human_label,
        "metadata": options.metadata,
        "landmark model": [_digest(options.landmark_model), _digest(options.landmark_detector)],
        "table of age, gender and race": _digest(options.deepface or options.fairface),
        "batch size": options.batch_size,
        "part": parts.PICTURES_AT_A_TIME,
        "tree": options.tree,
        "format": LABEL_FORMAT,
        "versions": {
            "affectnet-plus": version("affectnet-plus"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    return json.loads(json.dumps(plan))


def _generated(plan: dict, loaded: Branches) -> SoftLabels:
    """What `source.json` says of the soft labels."""
    units = "a network" if loaded.unit_model else None
    if loaded.table:
        units = f"a table of {loaded.table.table.source}"
    return SoftLabels(
        ensemble=plan["ensemble"],
        fusion=loaded.fusion.method,
        action_units=units,
        human_label=loaded.human_label,
        version=plan["versions"]["affectnet-plus"],
    )


def _digest(path, *patterns: str) -> str | None:
    """SHA-256 of a file, or of those files of a folder; None of no path."""
    if path is None:
        return None
    path = Path(path)
    files = sorted({file for pattern in patterns for file in path.glob(pattern)}) if path.is_dir() else [path]
    found = "".join(f"{file.name} {size_and_digest(file)['sha256']}\n" for file in files)
    return hashlib.sha256(found.encode()).hexdigest()


# --- the account -----------------------------------------------------------------------------------------------------


def _account(
    source: InParts,
    options: LabelOptions,
    loaded: Branches,
    demographics: Demographics | None,
    plan: dict,
    tally: Tally,
) -> Account:
    given = {name: value for name, value in asdict(options).items() if value not in (None, (), False)}
    table = loaded.table
    return {
        "options": {name: Path(value).name if isinstance(value, str) else value for name, value in given.items()},
        "plan": plan,
        "pose_unit": POSE_UNIT if "pose" in options.metadata else "as the source has it",
        "action_units": None
        if table is None
        else {
            "tool": table.table.source,
            "units": list(table.table.units),
            "problems": {reason: len(found) for reason, found in table.table.problems.items()},
            "unused rows": table.unused,
        },
        "demographics": None if demographics is None else demographics.counts,
        "counts": {
            "pictures": tally.pictures,
            "files passed over": source.passed_over,
            "faces": tally.splits,
            "unreadable": _reasons(tally.unreadable),
            "with a soft label, by its sources": tally.sources,
            "without a soft label": _reasons(tally.reasons),
            "subsets": tally.subsets,
            "labelled by members that did not see them, though others did": tally.seen,
            "without metadata": _reasons(tally.metadata),
        },
    }


def _reasons(counts: dict[str, int]) -> dict[str, int]:
    return count_reasons(Counter(counts).elements())


def format_account(record: Account) -> str:
    """The account as lines for people."""
    counts = record["counts"]
    lines = [f"{counts['pictures']:,} pictures; faces: " + _listed(counts["faces"])]
    lines.append("soft labels from " + (_listed(counts["with a soft label, by its sources"]) or "nothing"))
    if counts["subsets"]:
        lines.append("subsets: " + _listed(counts["subsets"]))
    for what in ("unreadable", "without a soft label", "without metadata"):
        lines += [f"{what}: {count:,} x {reason}" for reason, count in counts[what].items()]
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
