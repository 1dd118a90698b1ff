"""Every face of a source, read once: chunks in files that the next run finds, and what all of them say together."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from affectnet_plus import Face

from ..checking.checks import RowChecks
from ..sources.delivered import Source
from ..stages import Progress
from ..unfinished import is_kept
from ..workers import Run
from .chunks import FACES_AT_A_TIME, read_chunk
from .stored import StoredChunk, store_chunk
from .views import Kind, kinds_of


class Job(NamedTuple):
    """Some faces of a split, and the file that they are stored in."""

    path: Path
    split: str
    faces: list[Face]


class StoredRows(NamedTuple):
    """What is remembered of the rows of a stored chunk: their lots in ascending order, and bytes of their pictures."""

    chunk: Path
    lots: np.ndarray
    sizes: np.ndarray


@dataclass
class Read:
    """What is known when all faces are read. Rows and reasons stay in their files."""

    checks: RowChecks = field(default_factory=RowChecks)
    listed: Counter = field(default_factory=Counter)  # split -> faces
    quarantined: Counter = field(default_factory=Counter)  # split -> faces
    kinds: Counter[Kind] = field(default_factory=Counter)  # rows
    splits: dict[str, list[StoredRows]] = field(default_factory=dict)  # the chunks that have rows, in order


def plan_jobs(source: Source, folder: Path) -> list[Job]:
    """The chunks of a source in their order; they depend on nothing but the names of its files."""
    jobs: list[Job] = []
    for split in source.splits():
        faces = source.faces(split)
        for start in range(0, len(faces), FACES_AT_A_TIME):
            jobs.append(Job(folder / f"{len(jobs):06d}.arrow", split, faces[start : start + FACES_AT_A_TIME]))
    return jobs


def read_all(
    source: Source,
    jobs: list[Job],
    run: Run,
    quarantine: Path,
    progress: Progress,
    say: Callable[[str], None],
) -> Read:
    """Read what is not stored yet, and look at every chunk in order; the reasons go into the file `quarantine`."""
    read = Read()
    missing = {job.path for job in jobs if not is_kept(job.path)}
    done, total = sum(len(job.faces) for job in jobs if job.path not in missing), sum(len(job.faces) for job in jobs)
    if done:
        say(f"going on with an interrupted run: {done:,} of {total:,} faces are read already")
    progress("read", done, total)
    results = iter(run(partial(_store, source), (job for job in jobs if job.path in missing)))
    with open(quarantine, "w", encoding="utf-8") as file:
        for job in jobs:
            if job.path in missing:
                next(results)
                done += len(job.faces)
                progress("read", done, total)
            chunk = StoredChunk(job.path)
            file.writelines(json.dumps(entry) + "\n" for entry in chunk.quarantined)
            _take_in(read, job, chunk)
    return read


def _store(source: Source, job: Job) -> None:
    store_chunk(job.path, read_chunk(source, job.split, job.faces))


def _take_in(read: Read, job: Job, chunk: StoredChunk) -> None:
    read.listed[job.split] += len(job.faces)
    read.quarantined[job.split] += len(chunk.quarantined)
    table = chunk.table()
    if len(table):
        read.checks.add(job.split, table)
        read.kinds.update(kinds_of(job.split, table))
        rows = chunk.rows()
        # Copies: a view of the file would keep it open.
        lots, sizes = rows["lot"].to_numpy().copy(), rows["file_bytes"].to_numpy().copy()
        read.splits.setdefault(job.split, []).append(StoredRows(job.path, lots, sizes))
