"""From stored chunks to the tree, the table beside it and the account of what was done."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from affectnet_plus import EMOTIONS, SUBSETS, BadRow, LayoutError

from ..checking.findings import count_reasons
from ..data.pictures import Images, Picture
from ..faces import read_deepface, read_fairface
from ..labels import subsets
from ..sources.tree import TreeWriter, annotation
from ..stages import Progress
from .action_units.tables import match_images
from .branches import NOT_SCORED, SEEN_BY_ALL, Branches, fuse
from .ensemble.model import ALL_FOLDS
from .fusion import normalised
from .label_chunks import PictureChunk, read_labelled
from .label_options import LabelOptions

TABLE = "labels.parquet"
NAMES = "names.csv"

_METADATA = {"landmarks": "landmarks_68", "pose": "pose"}
_PNG = b"\x89PNG"
_CONFIDENCES = pa.list_(pa.float32(), len(EMOTIONS))
_SCHEMA = pa.schema(
    {
        "image_id": pa.string(),
        "name": pa.string(),
        "label": pa.int8(),
        "fold": pa.int16(),
        "ensemble": _CONFIDENCES,
        "action_units": _CONFIDENCES,
        "soft_label": _CONFIDENCES,
        "soft_label_normalized": _CONFIDENCES,
        "subset": pa.int8(),
        "reason": pa.string(),
        "metadata_reason": pa.string(),
    }
)


@dataclass(frozen=True)
class Demographics:
    """What somebody's table says of age, gender and race of the pictures by name, and how many it was matched to."""

    rows: dict[str, dict]
    counts: dict[str, Any]


@dataclass
class Tally:
    """What happened to the pictures."""

    splits: dict[str, int] = field(default_factory=Counter)
    subsets: dict[str, int] = field(default_factory=Counter)
    sources: dict[str, int] = field(default_factory=Counter)
    seen: int = 0
    reasons: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)


def load_demographics(options: LabelOptions, names: Sequence[str]) -> Demographics | None:
    """The table that the options name, if any, matched to the pictures.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it is something else, or has none of the pictures.
    """
    path = options.deepface or options.fairface
    if not path:
        return None
    rows, refused = read_deepface(path) if options.deepface else read_fairface(path)
    listed = [*rows, *refused]
    match = match_images(listed, names)
    found = {name: listed[row] for name, row in zip(names, match.rows.tolist(), strict=True) if row >= 0}
    if not found:
        raise ValueError(
            f"{path} names none of the {len(names)} pictures: it has {', '.join(listed[:3])}, "
            f"the pictures are {', '.join(names[:3])}"
        )
    counts = {
        "table": "DeepFace" if options.deepface else "FairFace",
        "faces": sum(listed_name in rows for listed_name in found.values()),
        "not in the table": len(match.missing),
        "ambiguous": len(match.ambiguous),
        "unused rows": len(match.unused),
        **count_reasons(refused[name] for name in found.values() if name in refused),
    }
    said = {name: rows[row] for name, row in found.items() if row in rows}
    said = {name: {k: value for k, value in row.items() if value is not None} for name, row in said.items()}
    return Demographics(said, counts)


def write_output(
    tree: TreeWriter,
    source: Images,
    chunks: list[PictureChunk],
    branches: Branches,
    demographics: Demographics | None,
    metadata: tuple[str, ...],
    progress: Progress,
) -> Tally:
    """Write the faces that could be read into the tree, and `labels.parquet` and `names.csv` beside them.

    Raises:
        LayoutError: a picture is not the one any more that was labelled, or not one could be read.
    """
    tally, done, total = Tally(), 0, sum(len(chunk.pictures) for chunk in chunks)
    progress("write", 0, total)
    with pq.ParquetWriter(tree.root / TABLE, _SCHEMA) as table, _names(tree.root, chunks) as note:
        for chunk in chunks:
            found = read_labelled(chunk.path)
            columns = _judge(branches, chunk, found)
            for place, picture in enumerate(chunk.pictures):
                extra = json.loads(found["metadata"][place] or "{}")
                columns["metadata_reason"].append(extra.get("reason"))
                if found["unreadable"][place] is None:
                    known, content = _read_again(source, picture, found["label"][place], found["digest"][place])
                    known |= {column: extra[column] for kind, column in _METADATA.items() if kind in metadata}
                    if demographics is not None:
                        known |= demographics.rows.get(picture.name, {})
                    record = _record(known, columns["soft_label"][place], int(columns["subset"][place]))
                    split, stem = picture.image_id.split("/")
                    suffix = ".png" if content.startswith(_PNG) else ".jpg"
                    tree.add(split, stem, content, record, suffix)
                    note(picture)
                done += 1
                if done % 64 == 0 or done == total:
                    progress("write", done, total)
            table.write_table(_table(columns))
            _count(tally, chunk, found, columns)
    if not tally.splits:
        reasons = [f"{count} x {reason}" for reason, count in count_reasons(tally.unreadable).items()]
        raise LayoutError(f"{source.root}: none of the {total} pictures can be read: {'; '.join(reasons[:3])}")
    return tally


@contextmanager
def _names(root: Path, chunks: list[PictureChunk]) -> Iterator[Callable[[Picture], None]]:
    """What notes the name of a picture in `names.csv`, where any picture gets another than it has."""
    if all(picture.name == picture.image_id for chunk in chunks for picture in chunk.pictures):
        yield lambda picture: None
        return
    with open(root / NAMES, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["split", "stem", "name"])
        yield lambda picture: table.writerow([*picture.image_id.split("/"), picture.name])


def _judge(branches: Branches, chunk: PictureChunk, found: dict) -> dict[str, Any]:
    """The columns of `labels.parquet` for a chunk, without the reasons of the metadata."""
    unreadable = np.array([reason is not None for reason in found["unreadable"]])
    units = np.where(unreadable[:, None], np.nan, found["action_units"])
    soft, reasons = fuse(branches, found["ensemble"], units, found["label"])
    for place in np.flatnonzero(np.isnan(soft).any(axis=1)).tolist():
        reasons[place] = found["unreadable"][place] or _reason(branches, chunk.pictures[place], found, place, reasons)
    return {
        "image_id": [picture.image_id for picture in chunk.pictures],
        "name": [picture.name for picture in chunk.pictures],
        "label": found["label"],
        "fold": found["fold"],
        "ensemble": found["ensemble"],
        "action_units": units,
        "soft_label": soft,
        "soft_label_normalized": normalised(soft),
        "subset": subsets(found["label"], soft),
        "reason": reasons,
        "metadata_reason": [],
    }


def _reason(branches: Branches, picture: Picture, found: dict, place: int, fused: list[str | None]) -> str:
    """Why a face that could be read has no soft label: what the fusion says, and why the branches say nothing."""
    said = [str(fused[place])]
    if np.isnan(found["ensemble"][place]).all():
        said.append(SEEN_BY_ALL)
    if np.isnan(found["action_units"][place]).any():
        if branches.table is not None:
            said.append(branches.table.reasons.get(picture.name, NOT_SCORED))
        elif branches.unit_model is not None:
            said.append(NOT_SCORED)
    return "; ".join(said)


def _read_again(source: Images, picture: Picture, label: int, digest: bytes) -> tuple[dict, bytes]:
    """What is known of a face and its picture, which must be the ones that were labelled."""
    try:
        known, content = source.read(picture)
        now = -1 if known.get("label") is None else known["label"]
        if now == label and xxhash.xxh3_128_digest(content) == digest:
            return known, content
    except BadRow:
        pass
    raise LayoutError(
        f"{picture.name} has changed since it was labelled. Give the command again when nothing writes to "
        f"{source.root} any more; it begins anew"
    )


def _record(known: dict, soft: np.ndarray, subset: int) -> dict:
    """The annotation of a face: what is known of it, and its new soft label and subset."""
    numbers = [float(str(value)) for value in soft]  # 0.1 and not its 32 bits in 64
    names = ("valence", "arousal", "age", "pose", "landmarks_68", "landmarks_29")
    record = annotation(
        label=known.get("label"),
        soft_label=None if np.isnan(soft).any() else numbers,
        subset=None if subset < 0 else subset,
        **{name: known.get(name) for name in names},
        **{name: _spelled(known.get(name)) for name in ("gender", "race")},
    )
    for count in (68, 29):  # `annotation` rounds to whole pixels, as in the release; what is known stays as it is
        if points := known.get(f"landmarks_{count}"):
            record["meta-data"][f"landmark-{count}"] = [_plain(value) for point in points for value in point]
    return record


def _spelled(values: dict | None) -> dict | None:
    return None if values is None else {name.replace("_", " "): value for name, value in values.items()}


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _table(columns: dict[str, Any]) -> pa.Table:
    arrays = []
    for column in _SCHEMA:
        values = columns[column.name]
        if column.type == _CONFIDENCES:
            values = np.asarray(values, dtype=np.float32)
            numbers = pa.array(values.ravel(), from_pandas=True)  # NaN is null
            mask = pa.array(np.isnan(values).all(axis=1))
            arrays.append(pa.FixedSizeListArray.from_arrays(numbers, len(EMOTIONS), mask=mask))
        elif column.name in ("label", "subset", "fold"):
            arrays.append(pa.array(values, column.type, mask=np.asarray(values) < 0))
        else:
            arrays.append(pa.array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _count(tally: Tally, chunk: PictureChunk, found: dict, columns: dict[str, Any]) -> None:
    there = {name: ~np.isnan(columns[name]).all(axis=1) for name in ("ensemble", "action_units", "soft_label")}
    tally.seen += int(((found["fold"] != ALL_FOLDS) & there["ensemble"]).sum())
    tally.metadata += [reason for reason in columns["metadata_reason"] if reason]
    for place, picture in enumerate(chunk.pictures):
        if found["unreadable"][place] is not None:
            tally.unreadable.append(found["unreadable"][place])
            continue
        tally.splits[picture.image_id.split("/")[0]] += 1
        if not there["soft_label"][place]:
            tally.reasons.append(columns["reason"][place])
            continue
        tally.sources[" + ".join(name for name in ("ensemble", "action_units") if there[name][place])] += 1
        if (subset := columns["subset"][place]) >= 0:
            tally.subsets[SUBSETS[subset]] += 1
