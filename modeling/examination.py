"""Examine faces, as delivered or prepared, without writing anything: counts, contradictions, duplicates, defects."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from affectnet_plus import MAX_IMAGE_BYTES, SPLITS, BadRow, Face, check_image, read_file

from .checking.checks import RowChecks
from .checking.duplicates import Pictures, group_near, perceptual_hash
from .checking.findings import EXAMPLES, Examination, Finding, count_reasons, format_findings
from .files import is_prepared
from .hub_names import fetched
from .preparing.chunks import FACES_AT_A_TIME, ROW_SCHEMA, SIDE_SCHEMA, read_chunk, side_of
from .preparing.manifest import read_manifest, verify
from .sources.delivered import LICENSED, Source, open_source
from .stages import Progress, silent
from .workers import processes_for, working

# What Pillow raises for a picture that it cannot decode, and a file that is gone; BadRow is a ValueError.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass
class _Examined:
    """Some faces of a split: rows with what is known of their pictures, and what is wrong with the others."""

    split: str
    table: pa.Table
    left_out: list[dict] = field(default_factory=list)  # {"image_id", "reason"}: no row, or one without its picture
    undecodable: list[str] = field(default_factory=list)
    hashed: list[int] = field(default_factory=list)  # rows of the table
    hashes: list[tuple[int, int]] = field(default_factory=list)  # of these rows
    flat: list[str] = field(default_factory=list)


def doctor(
    path,
    workers: int | None = 1,
    near_duplicates: bool = True,
    progress: Progress = silent,
    follow_links: bool = False,
) -> Examination:
    """Examine a source of faces, or a prepared folder.

    Args:
        path: what `open_source` takes, a folder that `prepare` wrote, or "you/name" of the Hub, see `hub_names`.
        workers: processes that read and decode; None is as many as are worth their start.
        near_duplicates: decode every picture, which takes most of the time, and look for those that are nearly the
            same. Exact duplicates are found without.
        progress: of the stage "examine", in faces.
        follow_links: files and folders of a source may be links that leave it.

    Returns:
        What was counted and found; of the kind "source" or "prepared".

    Raises:
        ValueError: `path` is something else; the message says what.
    """
    path = fetched(path)
    if (path / "config.json").is_file():
        raise ValueError(f"{path} holds a model. Name faces after it that prepare wrote and that have labels")
    if is_prepared(path):
        return _examine_prepared(path, workers, near_duplicates, progress)
    return _examine_source(open_source(path, follow_links), path, workers, near_duplicates, progress)


def format_examination(report: Examination) -> str:
    """The report as lines for people."""
    lines = []
    for split, counts in report["counts"].items():
        lines.append(f"{split}: {counts['rows']:,} rows")
        for kind in ("labels", "subsets"):
            if counts[kind]:
                lines.append(f"  {kind}: " + ", ".join(f"{name} {count:,}" for name, count in counts[kind].items()))
    lines.append(format_findings([Finding(**finding) for finding in report["findings"]]))
    return "\n".join(lines)


# --- faces as delivered ----------------------------------------------------------------------------------------------


def _examine_source(source: Source, path: Path, workers: int | None, near: bool, progress: Progress) -> Examination:
    faces = {split: source.faces(split) for split in source.splits()}
    listed = {split: len(found) for split, found in faces.items()}
    jobs = (
        (source, split, found[start : start + FACES_AT_A_TIME], near)
        for split, found in faces.items()
        for start in range(0, len(found), FACES_AT_A_TIME)
    )
    result = _Result("source", path)
    with working(processes_for(sum(listed.values()), workers)) as run:
        for examined in run(_read_faces, jobs):
            result.add(examined)
            progress("examine", result.faces, sum(listed.values()))
    findings = _reasons("error", "rows", "cannot be rows", result.left_out)
    return result.report(findings, listed, source.origin == LICENSED, near)


def _read_faces(job: tuple[Source, str, list[Face], bool]) -> _Examined:
    source, split, faces, near = job
    chunk = read_chunk(source, split, faces)
    examined = _Examined(split, chunk.table, chunk.quarantined)
    if near:
        # Read once more: a file that was read a moment ago costs a tenth of what its hash does.
        if source.holds_files:
            paths = [picture["path"] for picture in chunk.table["image"].to_pylist()]
            _hash(examined, lambda row: read_file(paths[row], MAX_IMAGE_BYTES, source.follow_links))
        else:
            by_id = {face.image_id: face for face in faces}
            kept = [by_id[image_id] for image_id in chunk.table["image_id"].to_pylist()]
            _hash(examined, lambda row: source.read(split, kept[row])[1])
    return examined


def _hash(examined: _Examined, read: Callable[[int], bytes]) -> None:
    """Fill in the hashes of the pictures, given the bytes of each row's."""
    for row, image_id in enumerate(examined.table["image_id"].to_pylist()):
        try:
            hashes = perceptual_hash(read(row))
        except UNREADABLE:
            examined.undecodable.append(image_id)
            continue
        if hashes is None:
            examined.flat.append(image_id)
        else:
            examined.hashed.append(row)
            examined.hashes.append(hashes)


# --- a prepared folder -----------------------------------------------------------------------------------------------


def _examine_prepared(folder: Path, workers: int | None, near: bool, progress: Progress) -> Examination:
    findings = verify(folder)
    if any(finding.check == "manifest" for finding in findings):  # without it, nothing says what should be here
        return _Result("prepared", folder).report(findings, {}, False, False)
    manifest = read_manifest(folder)
    total = sum(size["rows"] for size in manifest["files"].values())
    broken: list[Finding] = []
    tables = (table for file in sorted((folder / "data").glob("*.parquet")) for table in _batches(file, broken))
    result = _Result("prepared", folder)
    with working(processes_for(total, workers)) as run:
        for examined in run(_read_rows, ((table, near) for table in tables)):
            result.add(examined)
            progress("examine", result.faces, total)
    findings += broken + _reasons("error", "pictures", "have no picture", result.left_out)
    quarantined = []
    if (folder / "quarantine.jsonl").is_file():  # it does not travel to the Hub
        with open(folder / "quarantine.jsonl", encoding="utf-8") as file:
            quarantined = [json.loads(line) for line in file]
    findings += _reasons("warning", "rows", "were left out when this was prepared", quarantined)
    faces = Counter(entry["image_id"].split("/")[0] for entry in quarantined) + result.seen
    listed = {split: faces[split] for split in SPLITS if split in faces}
    return result.report(findings, listed, manifest["source"]["origin"] == LICENSED, near)


def _batches(file: Path, broken: list[Finding]) -> Iterator[pa.Table]:
    """Rows of one file, which are all of one split, as far as they can be read."""
    try:
        with pq.ParquetFile(file) as reader:
            for batch in reader.iter_batches(FACES_AT_A_TIME):
                yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:
        broken.append(Finding("error", "files", f"{file.name} cannot be read: {error}", 1))


def _read_rows(job: tuple[pa.Table, bool]) -> _Examined:
    table, near = job
    ids = table["image_id"].to_pylist()
    left_out, kept, side, images = [], [], [], []
    for row, (image_id, picture) in enumerate(zip(ids, table["image"].to_pylist())):
        try:
            image = _picture(picture)
        except (OSError, BadRow) as reason:
            left_out.append({"image_id": image_id, "reason": str(reason)})
            continue
        kept.append(row)
        side.append(side_of(image))
        images.append(image)
    columns = table.select(ROW_SCHEMA.names).drop(["image"]).take(pa.array(kept, pa.int64()))
    for column, field_ in zip(pa.Table.from_pylist(side, schema=SIDE_SCHEMA).columns, SIDE_SCHEMA):
        columns = columns.append_column(field_, column)
    examined = _Examined(ids[0].split("/")[0], columns, left_out)
    if near:
        _hash(examined, images.__getitem__)
    return examined


def _picture(picture: dict) -> bytes:
    path, content = picture["path"], picture["bytes"]
    image = read_file(path, MAX_IMAGE_BYTES, follow_links=True) if content is None else content  # prepare chose it
    check_image(image)
    return image


# --- both ------------------------------------------------------------------------------------------------------------


class _Result:
    """Gathers what was examined, chunk by chunk."""

    def __init__(self, kind: Literal["source", "prepared"], path: Path):
        self.kind: Literal["source", "prepared"] = kind
        self.path = path
        self.faces = 0
        self.seen: Counter[str] = Counter()
        self.left_out: list[dict] = []
        self._rows, self._pictures = RowChecks(), Pictures()
        self._undecodable: list[str] = []
        self._flat: list[str] = []

    def add(self, examined: _Examined) -> None:
        count = len(examined.table) + len(examined.left_out)
        self.faces += count
        self.seen[examined.split] += count
        self.left_out += examined.left_out
        self._undecodable += examined.undecodable
        self._flat += examined.flat
        self._rows.add(examined.split, examined.table)
        if examined.hashed:
            ids = examined.table["image_id"].combine_chunks().take(pa.array(examined.hashed))
            self._pictures.add(examined.split, ids, np.array(examined.hashes, dtype=np.uint64))

    def report(self, findings: list[Finding], listed: dict[str, int], licensed: bool, near: bool) -> Examination:
        findings = findings + self._rows.findings(listed, licensed)
        if self._undecodable:
            findings.append(_pictures("error", "cannot be decoded", self._undecodable))
        if self._flat:
            findings.append(_pictures("warning", "are of one colour, and were not compared with others", self._flat))
        if near:
            findings += self._pictures.findings("near duplicates", "nearly or exactly the same", group_near)
        return {
            "path": str(self.path),
            "kind": self.kind,
            "counts": self._rows.counts,
            "left_out": count_reasons(entry["reason"] for entry in self.left_out),
            "findings": [finding.record() for finding in findings],
        }


def _pictures(level, text: str, ids: list[str]) -> Finding:
    return Finding(level, "pictures", f"{len(ids):,} {text}", len(ids), ids[:EXAMPLES])


def _reasons(level, check: str, text: str, entries: list[dict]) -> list[Finding]:
    """One finding that says how many and why; nothing for no entries."""
    if not entries:
        return []
    reasons = count_reasons(entry["reason"] for entry in entries)
    said = "; ".join(f"{count:,} x {reason}" for reason, count in reasons.items())
    examples = [f"{entry['image_id']}: {entry['reason']}" for entry in entries[:EXAMPLES]]
    return [Finding(level, check, f"{len(entries):,} faces {text}: {said}", len(entries), examples)]
