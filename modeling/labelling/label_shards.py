"""Labelled batches as Parquet files, each with a note that says what is in it: without its note a file is nothing.

Who writes which batches together does not matter: rows depend on their batch alone, and the name of a file on its
batches. A file that two processes write, as one of them is taken for dead, is the same file.
"""

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..data.stores import Store
from ..preparing.shards import GROUP_BYTES, GROUP_ROWS, cut, shard_writer
from ..preparing.views import Kind
from .label_batches import Answered, Place, digest_of
from .label_rows import Rows, Rules, Tally, by_split, rows_of

SHARD_FACES = 8192  # 65 MB of AffectNet+'s pictures; and what a killed process loses, at most
DATA, NOTES = "folder/data", "notes"


@dataclass
class Note:
    """What some batches became."""

    places: list[Place]
    files: dict[str, dict]  # under DATA, with rows, bytes and sha256
    quarantined: list[dict]
    tally: Tally
    kinds: list[tuple[str, int | None, int | None, int]]  # split, label, subset; and how many rows

    @property
    def name(self) -> str:
        first = min(self.places)
        return f"{first.part:07d}-{first.start:07d}-{digest_of(self.places)}"


def write_batches(work: Store, answered: Iterable[Answered], rules: Rules) -> Note:
    """Write the rows of some batches, and then their note.

    Raises:
        OSError: the disk is full, or the object store refuses.
    """
    found = sorted(((one.batch.place, rows_of(one, rules)) for one in answered), key=lambda pair: pair[0])
    rows: list[Rows] = [made for _, made in found]
    tally, kinds = Tally(), Counter[Kind]()
    for made in rows:
        tally.add(made.tally)
        kinds.update(made.kinds)
    quarantined = [entry for made in rows for entry in made.quarantined]
    counted = [(*kind, count) for kind, count in sorted(kinds.items(), key=str)]
    note = Note([place for place, _ in found], {}, quarantined, tally, counted)
    table = pa.concat_tables([made.table for made in rows])
    parts = {"tree": table} if rules.tree else by_split(table)
    for split, part in parts.items():
        content = _encoded(part.combine_chunks(), None if rules.tree else "image")
        name = f"{split}-{note.name}.parquet"
        work.write(f"{DATA}/{name}", content)
        note.files[name] = {
            "rows": part.num_rows,
            "bytes": len(content),
            "sha256": sha256(content).hexdigest(),
        }
    work.write(f"{NOTES}/{note.name}.json", msgspec.json.encode(note))
    return note


def _encoded(table: pa.Table, pictures: str | None) -> memoryview:
    """A Parquet file, in groups of rows as `prepare` has them."""
    sizes = np.zeros(len(table), dtype=int)
    if pictures:
        lengths = pc.binary_length(table[pictures].combine_chunks().field("bytes"))
        sizes = lengths.to_numpy(zero_copy_only=False).astype(int)
    file = io.BytesIO()
    schema = table.schema
    with shard_writer(file, schema) if pictures else pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start, stop in cut(sizes, GROUP_ROWS, GROUP_BYTES):
            writer.write_table(table.slice(start, stop - start), stop - start)
    return file.getbuffer()


@dataclass
class Done:
    """What is labelled already."""

    notes: list[Note] = field(default_factory=list)
    starts: dict[int, set[int]] = field(default_factory=dict)  # part -> where its batches begin
    _counts: dict[int, list[int]] = field(default_factory=dict)  # part -> pictures that are done, and that there are

    def add(self, note: Note) -> bool:
        """Count a note, unless one of its batches is done already."""
        if any(place.start in self.starts.get(place.part, ()) for place in note.places):
            return False
        self.notes.append(note)
        for place in note.places:
            self.starts.setdefault(place.part, set()).add(place.start)
            counts = self._counts.setdefault(place.part, [0, place.of])
            counts[0] += place.size
        return True

    def whole(self, part: int) -> bool:
        """Whether every batch of a part is done."""
        done, of = self._counts.get(part, (0, 1))
        return done == of

    @property
    def pictures(self) -> int:
        return sum(note.tally.pictures for note in self.notes)


def done_in(work: Store) -> Done:
    """What an interrupted run left whole; what it left else is removed, to be made again."""
    done = Done()
    written = {name: size for name, size, _ in work.names(DATA)}
    for path, _, _ in work.names(NOTES):
        note = _read_note(work, path)
        if note is None or not _is_whole(work, note, written) or not done.add(note):
            work.remove(path)
    remove_strays(work, done)
    return done


def remove_strays(work: Store, done: Done) -> None:
    """Remove files that no note of `done` names: of a writer that died, or that was slower than another."""
    known = {f"{DATA}/{name}" for note in done.notes for name in note.files}
    for name, _, _ in work.names(DATA):
        if name not in known:
            work.remove(name)


def _read_note(work: Store, path: str) -> Note | None:
    try:
        return msgspec.json.decode(work.read(path), type=Note)
    except msgspec.MsgspecError:  # the machine stopped before the disk had all of it
        return None


def _is_whole(work: Store, note: Note, written: dict[str, int]) -> bool:
    """By size; on this machine by what the files hold too, as a power cut may leave holes in them."""
    for name, facts in note.files.items():
        if written.get(f"{DATA}/{name}") != facts["bytes"]:
            return False
        if work.local and sha256(work.read(f"{DATA}/{name}")).hexdigest() != facts["sha256"]:
            return False
    return True
