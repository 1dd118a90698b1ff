"""From faces as delivered to a folder that the stock `datasets.load_dataset` opens: checked rows as Parquet.

Two stages. First every face is read, chunk by chunk, each into a file of its own; then the Parquet files are written
from these. Both lie in one folder beside OUT, which the next run goes on with, however this one ends. What they hold
depends on nothing but the source, the options and the code.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np

from affectnet_plus import Face, LayoutError, lot_of

from ..checking.findings import Counts, Finding, FindingRecord, count_reasons, format_findings
from ..files import MANIFEST, led_to, put_back, read_json, refuse_existing, replace_folder, write_json
from ..sources.delivered import LICENSED, Source, open_source
from ..stages import Progress, silent
from ..unfinished import alone, begin, digest, leftovers, remove
from ..workers import Run, processes_for, working
from .card import write_card
from .manifest import differences, plan_of, write_manifest
from .reading import Job, Read, plan_jobs, read_all
from .shards import Shard, plan_shards, write_shard
from .views import view_rows

logger = logging.getLogger(__name__)


class SourceFacts(TypedDict):
    """Of what a folder was prepared."""

    path: str
    kind: str
    origin: str | None


class SplitReport(Counts):
    """What became rows of a split, and how many faces did not."""

    quarantined: int


class PreparingReport(TypedDict):
    """What `prepare` returns and report.json holds."""

    source: SourceFacts
    embedded: bool
    splits: dict[str, SplitReport]
    quarantined: int
    quarantine_reasons: dict[str, int]
    findings: list[FindingRecord]


def prepare(
    raw,
    out,
    embed: bool = False,
    overwrite: bool = False,
    workers: int | None = 1,
    progress: Progress = silent,
    say: Callable[[str], None] = logger.info,
    resume: bool = False,
    follow_links: bool = False,
) -> PreparingReport:
    """Check every face of `raw` and write the loadable folder `out`.

    The same faces, options and code give the same bytes, with any number of workers and however often the work was
    interrupted. Where `out` is already what would be written, nothing is done. Where another process is writing it,
    this one waits.

    Args:
        raw: what `open_source` takes.
        embed: put the images into the Parquet files, so that the folder can be moved; otherwise it is an index of
            absolute paths, and the images stay where they are. Images that are no files are always put in.
        overwrite: replace a folder that `prepare` wrote, or an empty one; no other is ever replaced. An interrupted
            run of another command is begun anew, see `unfinished`.
        workers: processes that read and write. More than one are started by `multiprocessing` with "spawn", so the
            calling script needs its `if __name__ == "__main__"`. None is as many as are worth their start.
        progress: of the stages "read" and "write", in faces.
        say: told in a sentence what a person should know: what is gone on with, what is waited for.
        resume: there has to be an interrupted run to go on with, unless `out` is what would be written.
        follow_links: files and folders of `raw` may be links that leave it.

    Returns:
        The report, also written as `report.json`: rows and quarantined per split, per label and per subset, and the
        findings of `RowChecks`.

    Raises:
        LayoutError: `raw` is nothing that we know, or not one of its faces can be a row.
        FileExistsError: `out` exists and is something else or `overwrite` is false, or it is among the faces of `raw`.
        FileNotFoundError: `resume`, and no run was interrupted.
        ValueError: a picture changed while it was read, the path of `out` holds one of `*?[`, or an interrupted run
            had another source, other options or another format and `overwrite` is false.
        OSError: `out` could not be written; what was done stays for the next run.
    """
    source, out = open_source(raw, follow_links), led_to(out)
    embed = embed or not source.holds_files
    _refuse(out, source, overwrite)
    plan = plan_of(source, embed)
    if source.soft_labels:
        plan["source"]["soft_labels"] = asdict(source.soft_labels)
    unfinished, old = _beside(out, "unfinished"), _beside(out, "old")
    if not overwrite and out.exists() and not leftovers(unfinished) and not differences(out, plan):
        return _stored(out, say)
    with _naming(out), alone(Path(os.path.abspath(out)), say):
        put_back(old, out)
        if out.exists() and not overwrite:
            if found := differences(out, plan):
                said = "; ".join(found)
                raise FileExistsError(f"{out} exists, and {said}. Name another folder, or pass --overwrite")
            remove(unfinished)
            return _stored(out, say)
        begin(unfinished, plan, resume, overwrite)
        scratch = _scratch(unfinished, plan)
        try:
            report = _build(source, plan, scratch, workers, progress, say)
        except ValueError:  # what was read is not, or no longer, what the source holds
            remove(unfinished)
            raise
        replace_folder(scratch / "folder", out, old)
        remove(unfinished)
    return report


def _beside(out: Path, what: str) -> Path:
    path = Path(os.path.abspath(out))
    return path.with_name(f".{path.name}.{what}")


def _refuse(out: Path, source: Source, overwrite: bool) -> None:
    """Raise where nothing may be written, or where it could not be opened."""
    resolved = out.resolve()
    where = os.path.abspath(out)
    if found := [part for part in ("*", "?", "[", "::", "$") if part in where]:
        raise ValueError(
            f"{where} holds {' '.join(found)}, which datasets takes for a pattern: it could not open the "
            "folder. Name another"
        )
    for path in (where, str(source.root)):
        if not path.isprintable():
            raise ValueError(f"{path!r} is no name that every tool can read. Rename the folder")
    if any(place.is_relative_to(resolved) for place in source.places()):
        raise FileExistsError(f"{out} holds faces of the source. Name another folder")
    if any(resolved.is_relative_to(place) for place in source.places()):
        raise FileExistsError(f"{out} lies among the faces of the source. Name another folder")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MANIFEST).is_file():
            raise FileExistsError(
                f"{out} exists and holds no {MANIFEST}, so prepare did not write it. Name another "
                "folder, or remove it yourself"
            )
    else:
        refuse_existing(out, overwrite)


def _stored(out: Path, say: Callable[[str], None]) -> PreparingReport:
    say(f"nothing has changed since {out} was written")
    return read_json(out / "report.json", PreparingReport, "pass --overwrite to prepare again")


@contextmanager
def _naming(out: Path) -> Iterator[None]:
    """An error of the system names some file; people need to know which folder is not there now, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a sentence of ours
            raise
        raise OSError(f"{out} is not finished: {error}. The same command, given again, goes on from there") from error


def _scratch(unfinished: Path, plan: dict) -> Path:
    """The folder of a run with this plan, with what an interrupted one left whole in it."""
    # A worker of a killed run may still be writing. The name keeps that apart from a run with another plan.
    scratch = unfinished / digest(plan)
    for folder in ("chunks", "folder/data"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    for path in [*(scratch / "chunks").glob(".*.partial-*"), *(scratch / "folder").iterdir()]:
        if path.name != "data":
            path.unlink()
    return scratch


def _build(source: Source, plan: dict, scratch: Path, workers: int | None, progress: Progress, say) -> PreparingReport:
    """Fill `scratch`/folder, and return the report."""
    folder = scratch / "folder"
    jobs = plan_jobs(source, scratch / "chunks")
    processes = processes_for(sum(len(job.faces) for job in jobs), workers)
    with working(processes if len(jobs) > 1 else 1) as run:
        read = read_all(source, jobs, run, folder / "quarantine.jsonl", progress, say)
        report = _report(source, plan, read, folder / "quarantine.jsonl")
        if not read.splits:
            reasons = [f"{count} x {reason}" for reason, count in report["quarantine_reasons"].items()]
            raise LayoutError(f"{source.root} gives no row: {'; '.join(reasons[:3]) or 'its folders hold no faces'}")
        if source.holds_files:
            jobs.clear()  # the names of two million files, which the shards do not need
        files = _write_shards(source, plan["embedded"], scratch, jobs, read, run, progress)
    counts = {split: part["rows"] for split, part in report["splits"].items()}
    manifest = plan | {"counts": counts, "files": files}
    write_json(folder / "report.json", report)
    write_card(folder, report, view_rows(read.kinds), manifest)
    write_manifest(folder, manifest)
    return report


def _write_shards(
    source: Source, embed: bool, scratch: Path, jobs: list[Job], read: Read, run: Run, progress: Progress
) -> dict[str, dict]:
    shards: list[Shard] = []
    for split, chunks in read.splits.items():
        planned = plan_shards(split, chunks, embed)
        shards += planned if source.holds_files else _with_faces(planned, jobs)
    work = partial(write_shard, scratch / "folder" / "data", scratch / "chunks", source if embed else None)
    done, total = 0, sum(part["rows"] for part in read.checks.counts.values())
    progress("write", done, total)
    files = {}
    for shard, written in zip(shards, run(work, shards)):
        files[f"data/{shard.name}"] = written
        done += written["rows"]
        progress("write", done, total)
    return files


def _with_faces(shards: list[Shard], jobs: list[Job]) -> list[Shard]:
    """The shards of a split, each with the faces of the source that it needs."""
    faces = [face for job in jobs if job.split == shards[0].split for face in job.faces]
    lots = np.array([lot_of(face.image_id) for face in faces], np.uint64)
    numbers = np.searchsorted(np.array([shard.first for shard in shards], np.uint64), lots, side="right") - 1
    parts: list[dict[str, Face]] = [{} for _ in shards]
    for face, number in zip(faces, numbers.tolist()):
        parts[number][face.image_id] = face
    return [replace(shard, faces=part) for shard, part in zip(shards, parts)]


def _report(source: Source, plan: dict, read: Read, quarantine: Path) -> PreparingReport:
    nothing: Counts = {"rows": 0, "labels": {}, "subsets": {}}
    counts = {split: read.checks.counts.get(split, nothing) for split in source.splits()}
    with open(quarantine, encoding="utf-8") as file:
        reasons = count_reasons(json.loads(line)["reason"] for line in file)
    return {
        "source": {"path": plan["source"]["path"], "kind": plan["source"]["kind"], "origin": plan["source"]["origin"]},
        "embedded": plan["embedded"],
        "splits": {
            split: {
                "rows": part["rows"],
                "quarantined": read.quarantined[split],
                "labels": part["labels"],
                "subsets": part["subsets"],
            }
            for split, part in counts.items()
        },
        "quarantined": read.quarantined.total(),
        "quarantine_reasons": reasons,
        "findings": [finding.record() for finding in read.checks.findings(read.listed, source.origin == LICENSED)],
    }


def format_report(report: PreparingReport) -> str:
    """The report as lines for people."""
    lines = []
    for split, part in report["splits"].items():
        lines.append(f"{split}: {part['rows']} rows, {part['quarantined']} quarantined")
        for kind in ("labels", "subsets"):
            lines.append(f"  {kind}: " + ", ".join(f"{name} {count}" for name, count in part[kind].items()))
    lines += [f"  quarantined {count} x {reason}" for reason, count in report["quarantine_reasons"].items()]
    lines.append(format_findings([Finding(**finding) for finding in report["findings"]]))
    return "\n".join(lines)
