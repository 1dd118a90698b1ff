"""From labelled shards to what is left of them: a prepared folder, or a tree with its table."""

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from affectnet_plus import LABELS, SPLITS, SUBSETS

from ..checking.findings import count_reasons
from ..data.stores import Store
from ..files import MANIFEST, replace_folder, write_json
from ..preparing.card import write_card
from ..preparing.manifest import DOCUMENTS, ROW_FORMAT, write_manifest
from ..preparing.views import Kind, view_rows
from ..sources.tree import TreeWriter
from ..stages import Progress
from ..terms import SoftLabels
from .label_rows import COLUMNS, TABLE_SCHEMA, Tally, branch_features, suffix_of
from .label_shards import DATA, Note
from .label_work import ACCOUNT

TABLE = "labels.parquet"
NAMES = "names.csv"


def total_of(notes: list[Note]) -> Tally:
    """What happened to all pictures."""
    total = Tally()
    for note in notes:
        total.add(note.tally)
    return total


# --- a prepared folder -----------------------------------------------------------------------------------------------


def write_prepared(
    out: Store, work: Store, notes: list[Note], facts: dict, soft_labels: SoftLabels, account: Any, progress: Progress
) -> None:
    """Make the shards the folder that `load_dataset` opens. What is in `out` already goes.

    On this machine the folder appears at once. In an object store, which cannot do that, `manifest.json` comes last:
    without it a folder is not taken for a prepared one.

    Args:
        facts: `kind`, `origin` and `fingerprint` of the source.
    """
    files = {f"data/{name}": written for note in notes for name, written in note.files.items()}
    progress("write", 0, len(files))
    with tempfile.TemporaryDirectory(prefix="affectnet-plus-label-") as scratch:
        folder = Path(scratch)
        with open(folder / "quarantine.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for note in notes for entry in note.quarantined)
        kinds = Counter[Kind]()
        for note in notes:
            for *kind, count in note.kinds:
                kinds[tuple(kind)] += count  # type: ignore[index]
        report = _report(notes, kinds, facts)
        manifest = {
            "source": {"path": None, **facts, "soft_labels": asdict(soft_labels)},
            "embedded": True,
            "format": ROW_FORMAT,
            "counts": {split: part["rows"] for split, part in report["splits"].items()},
            "files": files,
        }
        write_json(folder / "report.json", report)
        write_json(folder / ACCOUNT, account)
        write_card(folder, report, view_rows(kinds), manifest, branch_features(), COLUMNS)
        write_manifest(folder, manifest, (*DOCUMENTS, ACCOUNT))
        written = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    if out.local:
        for name, content in written.items():
            work.write(f"{Path(DATA).parent}/{name}", content)
        place = Path(out.where)
        replace_folder(Path(work.where) / Path(DATA).parent, place, place.with_name(f".{place.name}.old"))
    else:
        out.empty()
        for done, name in enumerate(files, start=1):
            work.copy(f"folder/{name}", out, name)
            progress("write", done, len(files))
        for name in sorted(written, key=lambda name: name == MANIFEST):
            out.write(name, written[name])
    progress("write", len(files), len(files))


def _report(notes: list[Note], kinds: Counter[Kind], facts: dict) -> dict[str, Any]:
    refused = Counter(entry["image_id"].split("/")[0] for note in notes for entry in note.quarantined)
    there = {split for split, _, _ in kinds} | set(refused)
    return {
        "source": {"path": "", "kind": facts["kind"], "origin": facts["origin"]},
        "embedded": True,
        "splits": {
            split: {
                "rows": sum(count for kind, count in kinds.items() if kind[0] == split),
                "quarantined": refused[split],
                "labels": _named(kinds, split, 1, LABELS),
                "subsets": _named(kinds, split, 2, SUBSETS),
            }
            for split in SPLITS
            if split in there
        },
        "quarantined": refused.total(),
        "quarantine_reasons": count_reasons(entry["reason"] for note in notes for entry in note.quarantined),
        "findings": [],
    }


def _named(kinds: Counter[Kind], split: str, place: int, names: tuple[str, ...]) -> dict[str, int]:
    found: Counter = Counter()
    for kind, count in kinds.items():
        if kind[0] == split:
            found[kind[place]] += count
    listed = {name: found[code] for code, name in enumerate(names)} | {"unknown": found[None]}
    return {name: count for name, count in listed.items() if count}


# --- a tree ----------------------------------------------------------------------------------------------------------


def write_tree(tree: TreeWriter, work: Store, notes: list[Note], progress: Progress) -> None:
    """Write the faces that could be read into the tree, and `labels.parquet` and `names.csv` beside them."""
    done, total = 0, sum(note.tally.pictures for note in notes)
    progress("write", 0, total)
    with pq.ParquetWriter(tree.root / TABLE, TABLE_SCHEMA) as table, _names(tree.root, work, notes) as note_name:
        for rows in _shards(work, notes):
            table.write_table(rows.select(TABLE_SCHEMA.names))
            for row in rows.select(["image_id", "name", "content", "annotation"]).to_pylist():
                if row["content"] is not None:
                    split, stem = row["image_id"].split("/")
                    tree.add_bytes(split, stem, row["content"], row["annotation"], suffix_of(row["content"]))
                    note_name(row["image_id"], row["name"])
                done += 1
                if done % 64 == 0 or done == total:
                    progress("write", done, total)


def _shards(work: Store, notes: list[Note]) -> Iterator[pa.Table]:
    for note in notes:
        for name in note.files:
            yield pq.read_table(pa.BufferReader(work.read(f"{DATA}/{name}")))


@contextmanager
def _names(root: Path, work: Store, notes: list[Note]) -> Iterator[Callable[[str, str], None]]:
    """What notes the name of a picture in `names.csv`, where any picture gets another than it has."""
    if all(table["image_id"].equals(table["name"]) for table in _shards(work, notes)):
        yield lambda image_id, name: None
        return
    with open(root / NAMES, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["split", "stem", "name"])
        yield lambda image_id, name: table.writerow([*image_id.split("/"), name])
