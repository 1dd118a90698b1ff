"""Soft labels for pictures: the method of AffectNet+, from pictures as they lie to a tree that `prepare` takes.

What the branches say is kept in `<out>.labelling`, chunk by chunk, so that the same command goes on after it was
killed, and several processes or machines that see the folder share the work. The one that finds every chunk present
writes `out`. On one kind of machine the same pictures, models and options give the same bytes, however often the work
was interrupted and whoever did which part.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import torch
import transformers

from affectnet_plus import LayoutError

from ..checking.findings import count_reasons
from ..data.face_pictures import FacePictures
from ..data.pictures import Images, open_pictures
from ..faces import POSE_UNIT, open_landmarker
from ..files import led_to, read_json, refuse_existing, size_and_digest, write_json
from ..shipped import model_folder
from ..sources.tree import writing_tree
from ..stages import Progress, silent
from ..terms import UNKNOWN, SoftLabels
from ..unfinished import alone, begin, is_kept, remove
from . import label_chunks
from .branches import Branches, load_branches
from .label_chunks import PictureChunk, plan_chunks
from .label_options import LabelOptions
from .label_output import Demographics, Tally, load_demographics, write_output

ACCOUNT = "labelling.json"
# Raise it when the same pictures, models and options give other soft labels or other files: no labelling that was
# begun before is gone on with then. tests/labelling/test_label_format.py fails when it has to be.
LABEL_FORMAT = 2
Shard = tuple[int, int]


class Account(TypedDict):
    """What `label` returns and labelling.json holds."""

    options: dict[str, Any]  # those that were given
    plan: dict[str, Any]
    pose_unit: str
    action_units: dict[str, Any] | None  # the table that was given
    demographics: dict[str, Any] | None
    counts: dict[str, Any]


def label(
    images,
    out,
    options: LabelOptions,
    shard: Shard | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
    resume: bool = False,
    follow_links: bool = False,
) -> Account | None:
    """Give every picture of `images` a soft label, and write them as the tree `out`.

    Faces of a source keep split, stem, human label and all that is known of them, and get a new soft label and
    subset. Plain pictures get numbers for stems, and no human label; `names.csv` has their names, and nobody takes
    them for free to share, as it is not known whose they are. Beside the tree lie `labels.parquet`, with a row for
    each picture and what the branches said of it, and `labelling.json`, what made it. A picture that cannot be read is
    in that table alone, with the reason; one of which neither branch knows anything has no soft label, but the reason.

    Args:
        images: what `open_pictures` takes; plain pictures alone where `options.faces` is set.
        shard: (i, n): label every n-th chunk from the i-th on. None is what torchrun or accelerate says in RANK and
            WORLD_SIZE, and everything where they do not.
        overwrite: replace `out`, unless it is already what would be written. An interrupted labelling of another
            command is begun anew, see `unfinished`.
        progress: of the stages "find faces" (with `options.faces`), "label" and "write", in pictures.
        say: told in a sentence what a person should know.
        resume: there has to be an unfinished labelling to go on with, unless `out` is what would be written.
        follow_links: as `open_pictures` takes it.

    Returns:
        What is written as `labelling.json`; None where other shards have still to label theirs.

    Raises:
        FileNotFoundError: there are no such pictures, models or tables, or with `resume` no unfinished labelling.
        FileExistsError: `out` exists and is something else, or it holds or lies among the pictures.
        ValueError: one of them is not what it should be; an unfinished labelling had other ones and
            `overwrite` is false; a picture changed
            while it was labelled; or not one can be read.
    """
    out = led_to(out)
    here = _here(options)
    source: Images = open_pictures(images, annotated=True, photos=options.faces, follow_links=follow_links)
    if options.faces:
        if source.origin != UNKNOWN:
            raise ValueError(
                f"{images} holds faces of {source.origin}, which are cut out already: label them without faces"
            )
        source = FacePictures(source, progress)
    _refuse_own_faces(out, source)
    pictures = source.pictures()
    names = [picture.name for picture in pictures]
    shard = _shard(shard)
    loaded, demographics = load_branches(here, names), load_demographics(here, names)
    plan = _plan(source, here, loaded)
    work = out.with_name(f"{out.name}.labelling")
    with alone(out, say):
        if record := _finished(out, plan, say):
            remove(work)
            return record
        refuse_existing(out, overwrite)
        begin(work, plan, resume, overwrite)
    chunks = plan_chunks(pictures, work)
    _label(source, chunks, shard, loaded, options, work, progress, say)
    with alone(out, say):
        if record := _finished(out, plan, say):
            remove(work)
            return record
        if missing := [chunk for chunk in chunks if not is_kept(chunk.path)]:
            say(f"{len(missing)} of {len(chunks)} chunks are left to other shards; the last of them writes {out}")
            return None
        generated = _generated(plan, loaded)
        with _begun_anew_if_stale(work), writing_tree(out, overwrite, source.origin, generated) as tree:
            tally = write_output(tree, source, chunks, loaded, demographics, options.metadata, progress)
            record = _account(source, options, loaded, demographics, plan, tally)
            write_json(tree.root / ACCOUNT, record)
        remove(work)
    return record


def _here(options: LabelOptions) -> LabelOptions:
    """The options with models of the Hub fetched, so that their files are folders' from here on."""
    ensemble, units = model_folder(options.ensemble), options.action_unit_model
    return replace(
        options, ensemble=str(ensemble), action_unit_model=str(model_folder(units)) if units is not None else None
    )


def _refuse_own_faces(out: Path, source: Images) -> None:
    resolved = out.resolve()
    if any(place.resolve().is_relative_to(resolved) for place in source.places()):
        raise FileExistsError(f"{out} holds pictures that are to be labelled. Name another folder")
    if any(resolved.is_relative_to(place.resolve()) for place in source.places()):
        raise FileExistsError(f"{out} lies among the pictures that are to be labelled. Name another folder")


# --- shards ----------------------------------------------------------------------------------------------------------


def _shard(shard: Shard | None) -> Shard:
    """The shard of this process, which then uses the GPU that its launcher means it to use."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if shard is not None and world > 1:
        raise ValueError(f"shard is {shard[0]}/{shard[1]}, and WORLD_SIZE {world} says another. Give one of the two")
    if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return shard or (int(os.environ.get("RANK", 0)), world)


def _label(
    source: Images,
    chunks: list[PictureChunk],
    shard: Shard,
    loaded: Branches,
    options: LabelOptions,
    work: Path,
    progress: Progress,
    say: Callable[[str], None],
) -> None:
    own = chunks[shard[0] :: shard[1]]
    missing = [chunk for chunk in own if not is_kept(chunk.path)]
    total = sum(len(chunk.pictures) for chunk in own)
    done = total - sum(len(chunk.pictures) for chunk in missing)
    if done:
        say(f"going on with an unfinished labelling: {done:,} of {total:,} pictures are labelled already")
    progress("label", done, total)

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("label", done, total)

    opened = open_landmarker(options.landmark_model, options.landmark_detector) if options.metadata else nullcontext()
    try:
        with opened as landmarker:
            label_chunks.label_chunks(source, missing, loaded, landmarker, options.metadata, options.batch_size, step)
    except FileNotFoundError:
        if work.exists():
            raise
        say("another process labelled the same chunks and has finished")


# --- what decides about the result -----------------------------------------------------------------------------------


def _plan(source: Images, options: LabelOptions, loaded: Branches) -> dict:
    """All that the soft labels follow from. Where pictures and models lie does not matter."""
    plan = {
        "images": {"kind": type(source).__name__, "origin": source.origin, "fingerprint": source.fingerprint()},
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
        "chunk size": label_chunks.FACES_AT_A_TIME,
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


def _finished(out: Path, plan: dict, say: Callable[[str], None]) -> Account | None:
    """The account of `out`, if it is what this plan gives."""
    try:
        record = read_json(out / ACCOUNT, Account, "label again")
    except (OSError, ValueError):  # no such folder, or not one of ours
        return None
    if record["plan"] != plan:
        return None
    say(f"{out} is there: the same pictures, models and options have been labelled")
    return record


@contextmanager
def _begun_anew_if_stale(work: Path) -> Iterator[None]:
    """What was labelled is of no use once pictures are others, or there are none: the next run begins anew."""
    try:
        yield
    except LayoutError:
        remove(work)
        raise


# --- the account -----------------------------------------------------------------------------------------------------


def _account(
    source: Images,
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
            "pictures": len(source.pictures()),
            "files passed over": source.passed_over,
            "in the tree": tally.splits,
            "unreadable": count_reasons(tally.unreadable),
            "with a soft label, by its sources": tally.sources,
            "without a soft label": count_reasons(tally.reasons),
            "subsets": tally.subsets,
            "labelled by members that did not see them, though others did": tally.seen,
            "without metadata": count_reasons(tally.metadata),
        },
    }


def format_account(record: Account) -> str:
    """The account as lines for people."""
    counts = record["counts"]
    lines = [f"{counts['pictures']:,} pictures; in the tree: " + _listed(counts["in the tree"])]
    lines.append("soft labels from " + (_listed(counts["with a soft label, by its sources"]) or "nothing"))
    if counts["subsets"]:
        lines.append("subsets: " + _listed(counts["subsets"]))
    for what in ("unreadable", "without a soft label", "without metadata"):
        lines += [f"{what}: {count:,} x {reason}" for reason, count in counts[what].items()]
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
