"""From a raw AffectNet+ tree to a folder that the stock `datasets.load_dataset` opens: checked rows as Parquet."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow.parquet as pq
from datasets.info import DatasetInfo, DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from affectnet_plus import (
    EMOTIONS,
    LABELS,
    SPLITS,
    SUBSETS,
    VIEWS,
    BadRow,
    LayoutError,
    features,
    in_view,
    to_table,
)
from affectnet_plus_cards import DATASET_CARD

from ..files import fresh_folder, write_json
from ..sources.delivered import open_source

ROWS_AT_A_TIME = 1000
SHARD_BYTES = 400_000_000


class Partition:
    """The rows of one split that always travel together, as shards `data/<name>-00000.parquet`.

    Views are lists of these files and never copies, so a partition is what no view divides: one split, one group of
    labels (the 7 emotions, contempt, others) and one difficulty.
    """

    def __init__(self, folder: Path, name: str, split: str, label: int | None, subset: int | None):
        self.name = name
        self.split, self.label, self.subset = split, label, subset
        self.rows, self.shards = 0, 0
        self.labels: Counter[int | None] = Counter()
        self._folder, self._columns = folder, features("all")
        self._waiting: list[dict] = []
        self._writer: pq.ParquetWriter | None = None
        self._shard_bytes = 0

    def add(self, row: dict) -> None:
        self._waiting.append(row)
        self.rows += 1
        self.labels[row["label"]] += 1
        self._shard_bytes += len(row["image"]["bytes"] or b"")
        if len(self._waiting) >= ROWS_AT_A_TIME or self._shard_bytes >= SHARD_BYTES:
            self._flush()
        if self._shard_bytes >= SHARD_BYTES:
            self.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            path = self._folder / f"{self.name}-{self.shards:05d}.parquet"
            self._writer = pq.ParquetWriter(path, self._columns.arrow_schema)
            self.shards += 1
        self._writer.write_table(to_table(self._waiting, self._columns))
        self._waiting.clear()

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_bytes = None, 0


def _partition_name(split: str, label: int | None, subset: int | None) -> str:
    group = "other" if label is None or label >= len(EMOTIONS) else "contempt" if label == 7 else "emotion"
    return f"{split}-{group}-{'unrated' if subset is None else SUBSETS[subset]}"


def prepare(
    raw, out, embed: bool = False, overwrite: bool = False, progress: Callable[[Iterable], Iterable] = iter
) -> dict:
    """Check every face of the tree `raw` and write the loadable folder `out`.

    Args:
        raw: what `affectnet_plus.find_splits` takes.
        embed: put the images into the Parquet files, so that the folder can be moved; otherwise it is an index of
            absolute paths, and the images stay where they are.
        progress: wraps the list of all faces, as tqdm does.

    Returns:
        The report, also written as `report.json`: rows and quarantined per split, per label and per subset.

    Raises:
        LayoutError: `raw` is not an AffectNet+ tree, or not one of its faces can be a row.
        FileExistsError: `out` exists and `overwrite` is false, or it holds faces of `raw`.
    """
    source = open_source(raw)
    if any(place.is_relative_to(Path(out).resolve()) for place in source.places()):
        raise FileExistsError(f"{out} holds faces of the source. Name another folder")
    faces = [(split, face) for split in source.splits() for face in source.faces(split)]
    with fresh_folder(out, overwrite) as folder:
        (folder / "data").mkdir()
        partitions: dict[str, Partition] = {}
        quarantined: list[dict] = []
        with open(folder / "quarantine.jsonl", "w", encoding="utf-8") as quarantine:
            for split, face in progress(faces):
                try:
                    row, image = source.read(split, face)
                except BadRow as reason:
                    quarantined.append({"image_id": face.image_id, "reason": str(reason)})
                    quarantine.write(json.dumps(quarantined[-1]) + "\n")
                    continue
                if embed:
                    row["image"] = {"bytes": image, "path": Path(row["image"]["path"]).name}
                where = split, row["label"], row["subset"]
                name = _partition_name(*where)
                if name not in partitions:
                    partitions[name] = Partition(folder / "data", name, *where)
                partitions[name].add(row)
        for partition in partitions.values():
            partition.close()
        report = _report(source.splits(), partitions, quarantined)
        if not partitions:
            reasons = [f"{count} x {reason}" for reason, count in report["quarantine_reasons"].items()]
            raise LayoutError(f"{raw} gives no row: {'; '.join(reasons[:3]) or 'its folders hold no faces'}")
        write_json(folder / "report.json", report)
        _write_card(folder, list(partitions.values()), report)
    return report


def _report(splits: list[str], partitions: dict[str, Partition], quarantined: list[dict]) -> dict:
    report: dict = {"splits": {}, "quarantined": len(quarantined), "quarantine_reasons": {}}
    for split in splits:
        parts = [part for part in partitions.values() if part.split == split]
        report["splits"][split] = {
            "rows": sum(part.rows for part in parts),
            "quarantined": sum(entry["image_id"].startswith(f"{split}/") for entry in quarantined),
            "labels": _counted(parts, lambda part: part.labels, LABELS),
            "subsets": _counted(parts, lambda part: Counter({part.subset: part.rows}), SUBSETS),
        }
    # Numbers are masked so that a thousand rows with the same defect are one line of the report.
    number = re.compile(r"(landmark-[0-9]+)|-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
    reasons = Counter(number.sub(lambda found: found[1] or "N", entry["reason"]) for entry in quarantined)
    report["quarantine_reasons"] = dict(reasons.most_common())
    return report


def _counted(parts: list[Partition], counts, names) -> dict[str, int]:
    total: Counter = sum((counts(part) for part in parts), Counter())
    named = {name: total[index] for index, name in enumerate(names)} | {"unknown": total[None]}
    return {name: count for name, count in named.items() if count}


def format_report(report: dict) -> str:
    """The report as lines for people."""
    lines = []
    for split, part in report["splits"].items():
        lines.append(f"{split}: {part['rows']} rows, {part['quarantined']} quarantined")
        for kind in ("labels", "subsets"):
            lines.append(f"  {kind}: " + ", ".join(f"{name} {count}" for name, count in part[kind].items()))
    lines += [f"  quarantined {count} x {reason}" for reason, count in report["quarantine_reasons"].items()]
    return "\n".join(lines)


def _write_card(folder: Path, partitions: list[Partition], report: dict) -> None:
    views = {view: files for view in VIEWS if (files := _view_files(view, partitions))}
    # `datasets` keys its cache by this file alone: without the digest it would give the old rows of a new folder.
    description = f"content {_digest(folder / 'data')}"
    data = DatasetCardData(
        pretty_name="AffectNet+ layout",
        task_categories=["image-classification"],
        tags=["facial-expression", "soft-label"],
        configs=[
            {
                "config_name": view,
                "description": description,
                "data_files": [{"split": split, "path": paths} for split, paths in files.items()],
            }
            for view, files in views.items()
        ],
    )
    infos = {view: DatasetInfo(config_name=view, features=features(view)) for view in views}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    card = DatasetCard.from_template(data, template_path=str(DATASET_CARD), report=report, views=list(views))
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _view_files(view: str, partitions: list[Partition]) -> dict[str, list[str]]:
    """split -> glob patterns of its partitions, easiest first; the one split of `no_human` is called train."""
    files: dict[str, list[str]] = {}
    ease = {subset: place for place, subset in enumerate((*range(len(SUBSETS)), None))}
    for part in sorted(partitions, key=lambda part: (list(SPLITS).index(part.split), ease[part.subset], part.name)):
        if in_view(view, part.split, part.label, part.subset):
            split = "train" if part.split == "no_human" else part.split
            files.setdefault(split, []).append(f"data/{part.name}-*.parquet")
    return files
