"""From what the branches say of a batch to its rows: those of a prepared folder, or of the table beside a tree."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from affectnet_plus import EMOTIONS, SUBSETS, BadRow, features, make_row, to_table

from ..checking.findings import count_reasons
from ..faces import read_deepface, read_fairface
from ..labels import subsets
from ..preparing.columns import Column
from ..preparing.views import Kind, kinds_of
from ..sources.tree import annotation
from .action_units.tables import match_images
from .branches import NOT_SCORED, SEEN_BY_ALL, Branches, fuse_sources
from .ensemble.model import ALL_FOLDS
from .fusion import Fusion, normalised
from .label_batches import Answered
from .label_options import LabelOptions

_METADATA = {"landmarks": "landmarks_68", "pose": "pose"}
_PNG = b"\x89PNG"
_CONFIDENCES = pa.list_(pa.float32(), len(EMOTIONS))
_BRANCHES = {
    "name": pa.string(),
    "fold": pa.int16(),
    "ensemble": _CONFIDENCES,
    "action_units": _CONFIDENCES,
    "reason": pa.string(),
    "metadata_reason": pa.string(),
}
# Of labels.parquet beside a tree.
TABLE_SCHEMA = pa.schema(
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
# What is kept of a face until the tree is written.
TREE_SCHEMA = pa.schema([*TABLE_SCHEMA, pa.field("content", pa.binary()), pa.field("annotation", pa.binary())])

# Beside those of a prepared folder, what each branch said.
COLUMNS = {
    "name": Column("", "", "what the picture is called where it comes from"),
    "fold": Column("", "", "fold of the ensemble in which the face was trained on; null where in none"),
    "ensemble": Column("confidence", "[0, 1] each", "what the ensemble says, after calibration"),
    "action_units": Column("confidence", "[0, 1] each", "what the action units say"),
    "reason": Column("", "", "why there is no soft label"),
    "metadata_reason": Column("", "", "why no landmarks or pose were found"),
}


def branch_features() -> datasets.Features:
    """The types of `COLUMNS`."""
    confidences = datasets.Sequence(datasets.Value("float32"), length=len(EMOTIONS))
    return datasets.Features(
        {
            "name": datasets.Value("string"),
            "fold": datasets.Value("int16"),
            "ensemble": confidences,
            "action_units": confidences,
            "reason": datasets.Value("string"),
            "metadata_reason": datasets.Value("string"),
        }
    )


@dataclass(frozen=True)
class Demographics:
    """What somebody's table says of age, gender and race of the pictures by name, and how many it was matched to."""

    rows: dict[str, dict]
    counts: dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """How rows are made of answers; no network is in it.

    `scored`: whether a branch of action units is asked, `why_not` why its table says nothing of a picture by name.
    `tree`: the rows are to be those of the table beside a tree.
    """

    fusion: Fusion
    human_label: bool
    scored: bool
    why_not: dict[str, str]
    metadata: tuple[str, ...]
    demographics: dict[str, dict]
    tree: bool


def rules_of(branches: Branches, demographics: Demographics | None, options: LabelOptions) -> Rules:
    return Rules(
        branches.fusion,
        branches.human_label,
        branches.table is not None or branches.unit_model is not None,
        branches.table.reasons if branches.table else {},
        options.metadata,
        demographics.rows if demographics else {},
        options.tree,
    )


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


# --- the rows --------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What happened to pictures: how many of each kind, in words."""

    pictures: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    subsets: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        for name, value in vars(other).items():
            before = getattr(self, name)
            setattr(self, name, before + value if isinstance(value, int) else dict(Counter(before) + Counter(value)))


@dataclass
class Rows:
    """Rows of pictures, the pictures that are none with the reason, and what is counted of both."""

    table: pa.Table
    quarantined: list[dict]  # {"image_id", "name", "reason"}
    tally: Tally
    kinds: Counter[Kind]


def rows_of(answered: Answered, rules: Rules) -> Rows:
    """The rows of a batch. Nothing but the batch and the rules decides about them."""
    batch = answered.batch
    records: list[bytes | None] = []
    labels = np.array([-1 if (label := known.get("label")) is None else label for known in batch.known], dtype=int)
    soft, reasons = fuse_sources(rules.fusion, rules.human_label, answered.ensemble, answered.action_units, labels)
    subset = subsets(labels, soft)
    metadata_reasons: list[str | None] = []
    for place in range(len(batch.ids)):
        extra = json.loads(batch.metadata[place] or "{}")
        metadata_reasons.append(extra.get("reason"))
        if (problem := batch.problems[place]) is not None:
            reasons[place] = problem
            records.append(None)
            continue
        if np.isnan(soft[place]).any():
            reasons[place] = _reason(answered, rules, place, reasons[place])
        found = {column: extra[column] for kind, column in _METADATA.items() if kind in rules.metadata}
        known = batch.known[place] | found
        known |= rules.demographics.get(batch.names[place], {})
        records.append(json.dumps(_record(known, soft[place], int(subset[place]))).encode())
    columns = {
        "image_id": batch.ids,
        "name": batch.names,
        "label": labels,
        "fold": answered.folds,
        "ensemble": answered.ensemble,
        "action_units": answered.action_units,
        "soft_label": soft,
        "soft_label_normalized": normalised(soft),
        "subset": subset,
        "reason": reasons,
        "metadata_reason": metadata_reasons,
    }
    kinds: Counter[Kind] = Counter()
    if rules.tree:
        table = _tree_table(batch.contents, records, columns)
    else:
        table, refused = _prepared_table(batch.contents, records, columns)
        for place, reason in refused.items():
            records[place], reasons[place] = None, reason
        for split, part in by_split(table).items():
            kinds += kinds_of(split, part)
    quarantined = [
        {"image_id": batch.ids[place], "name": batch.names[place], "reason": reasons[place]}
        for place, record in enumerate(records)
        if record is None
    ]
    return Rows(table, quarantined, _tally(columns, records), kinds)


def by_split(table: pa.Table) -> dict[str, pa.Table]:
    """The rows of each split, in their order."""
    splits = np.array([name.split("/")[0] for name in table["image_id"].to_pylist()], dtype=str)
    if len(set(splits)) == 1:
        return {str(splits[0]): table}
    return {split: table.take(pa.array(np.flatnonzero(splits == split))) for split in sorted(set(splits.tolist()))}


def _reason(answered: Answered, rules: Rules, place: int, fused: str | None) -> str:
    """Why a face that could be read has no soft label: what the fusion says, and why the branches say nothing."""
    said = [str(fused)]
    if np.isnan(answered.ensemble[place]).all():
        said.append(SEEN_BY_ALL)
    if rules.scored and np.isnan(answered.action_units[place]).any():
        said.append(rules.why_not.get(answered.batch.names[place], NOT_SCORED))
    return "; ".join(said)


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


def suffix_of(content: bytes) -> str:
    return ".png" if content.startswith(_PNG) else ".jpg"


# --- as tables -------------------------------------------------------------------------------------------------------


def _prepared_table(
    contents: list[bytes], records: list[bytes | None], columns: dict[str, Any]
) -> tuple[pa.Table, dict[int, str]]:
    """The rows that `prepare` would make of the tree, with the columns of the branches; and why some are none."""
    rows, places, refused = [], [], {}
    for place, (content, record) in enumerate(zip(contents, records, strict=True)):
        if record is None:
            continue
        image_id = columns["image_id"][place]
        name = image_id.split("/")[1] + suffix_of(content)
        try:
            row = make_row(image_id, name, record, content)
        except BadRow as reason:
            refused[place] = str(reason)
            continue
        rows.append(row | {"image": {"bytes": content, "path": name}})
        places.append(place)
    table = to_table(rows, features("all"))
    said = _arrow(columns, pa.schema(_BRANCHES)).take(pa.array(places, pa.int64()))
    for name in _BRANCHES:
        table = table.append_column(pa.field(name, _BRANCHES[name]), said[name])
    return table, refused


def _tree_table(contents: list[bytes], records: list[bytes | None], columns: dict[str, Any]) -> pa.Table:
    pictures = [None if record is None else content for content, record in zip(contents, records, strict=True)]
    return _arrow(columns | {"content": pictures, "annotation": records}, TREE_SCHEMA)


def _arrow(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    arrays = []
    for column in schema:
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
    return pa.Table.from_arrays(arrays, schema=schema)


def _tally(columns: dict[str, Any], records: list[bytes | None]) -> Tally:
    there = {name: ~np.isnan(columns[name]).all(axis=1) for name in ("ensemble", "action_units", "soft_label")}
    splits, subsets_, sources, reasons, unreadable = (Counter[str]() for _ in range(5))
    for place, record in enumerate(records):
        if record is None:
            unreadable[columns["reason"][place]] += 1
            continue
        splits[columns["image_id"][place].split("/")[0]] += 1
        if not there["soft_label"][place]:
            reasons[columns["reason"][place]] += 1
            continue
        sources[" + ".join(name for name in ("ensemble", "action_units") if there[name][place])] += 1
        if (subset := columns["subset"][place]) >= 0:
            subsets_[SUBSETS[subset]] += 1
    return Tally(
        pictures=len(records),
        splits=splits,
        subsets=subsets_,
        sources=sources,
        seen=int(((columns["fold"] != ALL_FOLDS) & there["ensemble"]).sum()),
        reasons=reasons,
        unreadable=unreadable,
        metadata=Counter(reason for reason in columns["metadata_reason"] if reason),
    )
