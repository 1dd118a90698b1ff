"""Faces of a prepared split as a stream: never more of them at hand than a buffer, resumable to the same bits.

Reading, sharding and the place in the files are those of `datasets.IterableDataset`. Its own shuffle buffer is not
used: what it holds is lost when a stream goes on (datasets 5.2). Here the rows of a buffer are mixed among themselves
by a draw that follows from the seed and the place, so that a place is enough to draw the same faces again.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple, TypedDict, cast

import datasets
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..files import MANIFEST
from ..hub_names import on_hub
from .dataset import LABEL_COLUMNS, FaceDataset, class_names, known_of, opening, prepared_folder

LABELS_AT_A_TIME = 5_000


class Place(TypedDict):
    """How far a lane of a stream is: `state` is that of `datasets` before the buffer of which `taken` rows are used.

    `state` is None at the beginning of a pass through the lane; `buffer` counts the buffers of the pass.
    """

    passes: int
    buffer: int
    taken: int
    state: dict[str, Any] | None


BEGINNING: Place = {"passes": 0, "buffer": 0, "taken": 0, "state": None}


class StreamState(TypedDict):
    """How far the stream of a process is: the place of each of its lanes, and which of these is asked next."""

    places: list[Place]
    next_lane: int
    unreadable: dict[str, str]


class Streamed(NamedTuple):
    """A batch as `FaceDataset.batch` gives it; the lane that it is of, and where that then is; what was left out."""

    faces: dict[str, Tensor]
    lane: int
    place: Place
    unreadable: dict[str, str]


def stream_prepared(data, view: str, pictures: bool = True) -> dict[str, datasets.IterableDataset]:
    """The splits of a prepared folder, or of "you/name" of the Hub, to be read as they come; nothing is cached.

    The rows have `LABEL_COLUMNS`, and the pictures as they are encoded unless these are not wanted. Each group of
    rows of a file is a shard.

    Raises:
        OSError: it is no such folder, or as `hub_names.fetched`.
        ValueError: it has no such view, or is a data set in memory.
    """
    if isinstance(data, (datasets.Dataset, datasets.DatasetDict)):
        raise ValueError("a data set in memory is no stream; give the folder that prepare wrote")
    folder = prepared_folder(data, only=("README.md", MANIFEST))
    name = on_hub(data, "dataset")
    where, revision = (str(folder), None) if name is None else (name.repo, name.revision)
    columns = [*LABEL_COLUMNS, *["image"] * pictures]
    with opening(data):
        found = datasets.load_dataset(where, view, revision=revision, streaming=True, columns=columns)
        return {split: rows.reshard() for split, rows in found.items()}


def collected(rows: datasets.IterableDataset) -> datasets.Dataset:
    """All rows of a stream in memory."""
    tables = list(rows.with_format("arrow").iter(LABELS_AT_A_TIME))
    return _held(pa.concat_tables(tables), cast(datasets.Features, rows.features))


def _held(table: pa.Table, features: datasets.Features) -> datasets.Dataset:
    return datasets.Dataset(datasets.table.InMemoryTable(table), info=datasets.DatasetInfo(features=features))


class Survey(NamedTuple):
    """What all rows of a stream together say.

    `given` (classes,) is the sum of the targets; `mean` that of the soft labels, None where none is known; `known`
    counts the rows that have a target, `affect` those that have valence or arousal. `order` is a digest of the names.
    """

    rows: int
    known: int
    affect: int
    given: Tensor
    mean: list[float] | None
    order: str


def survey(rows: datasets.IterableDataset, target: str) -> Survey:
    """One look at the labels of a stream, which needs no pictures.

    Raises:
        ValueError: as `FaceDataset`.
    """
    names = class_names(rows)
    order = hashlib.sha256()
    count = known = affect = soft = 0
    given, total = torch.zeros(len(names), dtype=torch.float64), torch.zeros(len(names), dtype=torch.float64)
    for columns in rows.with_format("arrow").iter(LABELS_AT_A_TIME):
        found = known_of(columns, names, target)
        order.update("\n".join([*columns["image_id"].to_pylist(), ""]).encode())
        count += len(columns)
        known += int((~found.targets.isnan().any(dim=1)).sum())
        affect += int((~found.valence_arousal.isnan().all(dim=1)).sum())
        given += found.targets.double().nansum(dim=0)
        labelled = found.soft_labels[~found.soft_labels.isnan().any(dim=1)].double()
        total, soft = total + labelled.sum(dim=0), soft + len(labelled)
    return Survey(count, known, affect, given, (total / soft).tolist() if soft else None, order.hexdigest())


class FaceStream(IterableDataset):
    """Batches of a split without end, as `Streamed`: each process and each DataLoader worker passes through rows of
    its own, its lane, again and again.

    The shards of the split are dealt out to the lanes, so that the lanes of all processes together have every row,
    and no two the same. Lanes differ in length by what shards do: a shorter one begins its next pass earlier. A
    pass has its shards in an order of its own; the last faces of a pass fill a batch together with the first of the
    next. A batch is smaller by the faces whose pictures cannot be read.

    Args:
        rows: of `stream_prepared`.
        image_size, target: as for `FaceDataset`.
        batch_size: faces of a batch.
        buffer: rows that are at hand, and mixed among themselves, at a time in each lane.
        seed: of the order.
        process, processes: which of how many this is.
        workers: of the DataLoader, at most; as many are used as there are shards for.
        strict: a picture that cannot be read is an error.

    Raises:
        ValueError: there are fewer shards than processes.
    """

    def __init__(
        self,
        rows: datasets.IterableDataset,
        image_size: int,
        target: str,
        batch_size: int,
        buffer: int,
        seed: int = 0,
        process: int = 0,
        processes: int = 1,
        workers: int = 0,
        strict: bool = False,
    ):
        shards = rows.num_shards
        if shards < processes:
            raise ValueError(
                f"{processes} processes share a stream of {shards} groups of rows, and each needs one. Start fewer "
                "processes, or train without --streaming"
            )
        self.workers = min(workers, shards // processes)
        self._own = max(self.workers, 1)  # lanes of this process
        self._first, self._lanes = process * self._own, processes * self._own
        self._rows, self._features = rows, cast(datasets.Features, rows.features)
        self._image_size, self._target, self._strict = image_size, target, strict
        self._batch_size, self._buffer, self._seed = batch_size, buffer, seed
        self.places: list[Place] = [BEGINNING] * self._own
        self.next_lane = 0  # of this process, whose turn it is

    @property
    def layout(self) -> list[int]:
        """Lanes and shards: what a stream that goes on must have again."""
        return [self._lanes, self._rows.num_shards]

    def __iter__(self) -> Iterator[Streamed]:
        worker = get_worker_info()
        # A DataLoader asks its workers in turns, always from the first one on.
        lane = (self.next_lane + (worker.id if worker else 0)) % self._own
        return self._batches(lane, self.places[lane])

    def _batches(self, lane: int, place: Place) -> Iterator[Streamed]:
        pieces: list[pa.Table] = []
        wanted = self._batch_size
        for rows, at in self._buffers(lane, place):
            while at["taken"] < len(rows):
                piece = rows.slice(at["taken"], wanted)
                at = {**at, "taken": at["taken"] + len(piece)}
                pieces.append(piece)
                wanted -= len(piece)
                if not wanted:
                    yield self._decoded(pa.concat_tables(pieces), lane, at)
                    pieces, wanted = [], self._batch_size

    def _buffers(self, lane: int, place: Place) -> Iterator[tuple[pa.Table, Place]]:
        """The mixed rows of each buffer of a lane, and the place of which it is."""
        rows = self._rows.shard(self._lanes, self._first + lane, contiguous=False).with_format("arrow")
        while True:
            # By the number of an epoch `datasets` puts the shards in order, and knows its own states.
            rows.set_epoch(_draw(self._seed, self._first + lane, place["passes"]) >> 2)
            if place["state"]:
                rows.load_state_dict(place["state"])
            some = False
            for table in rows.iter(self._buffer):
                some = True
                mixed = np.random.default_rng(_draw(self._seed, self._first + lane, place["passes"], place["buffer"]))
                yield table.take(pa.array(mixed.permutation(len(table)))), place
                place = {**place, "buffer": place["buffer"] + 1, "taken": 0, "state": rows.state_dict()}
            if not some and not place["buffer"]:
                raise ValueError("a part of the stream has no face of this view. Start fewer processes or workers")
            place = {**BEGINNING, "passes": place["passes"] + 1}

    def _decoded(self, rows: pa.Table, lane: int, place: Place) -> Streamed:
        faces = FaceDataset(_held(rows, self._features), self._image_size, self._target, lenient=not self._strict)
        unreadable = {faces.image_ids[row]: why for row, why in faces.unreadable.items()}
        readable = [row for row in range(len(faces)) if row not in faces.unreadable]
        if not readable:
            name, why = next(iter(unreadable.items()))
            raise ValueError(f"of the {len(faces)} pictures of a batch not one can be decoded: {name}: {why}")
        return Streamed(faces.batch(readable), lane, place, unreadable)


def _draw(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _as_it_is(batch: Any) -> Any:
    return batch


class StreamLoader:
    """What a `Trainer` takes for its DataLoader: rounds of `batches` batches of a `FaceStream`, one after the other.

    `unreadable`: image_id -> why, of the faces that were left out in this process.
    """

    def __init__(self, stream: FaceStream, batches: int, pin_memory: bool = False):
        self.stream, self._batches, self._pin = stream, batches, pin_memory
        self.unreadable: dict[str, str] = {}
        self._running: Iterator[Streamed] | None = None

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self._running is None:
            self._running = iter(self._loader())
        for _ in range(self._batches):
            found = next(self._running)
            self.stream.places[found.lane] = found.place
            self.stream.next_lane = (found.lane + 1) % len(self.stream.places)
            self.unreadable.update(found.unreadable)
            yield found.faces

    def _loader(self) -> DataLoader:
        # Each beginning draws a number: from a generator of its own, not from that which changes the pictures.
        generator, workers = torch.Generator().manual_seed(0), self.stream.workers
        return DataLoader(
            self.stream, None, num_workers=workers, collate_fn=_as_it_is, pin_memory=self._pin, generator=generator
        )

    def close(self) -> None:
        """End the processes and files that the stream has open; the next round would go on where this one ended."""
        self._running = None

    def state_dict(self) -> StreamState:
        """Where the stream is after the last batch that was given out, and what was left out so far; plain JSON."""
        return {"places": self.stream.places, "next_lane": self.stream.next_lane, "unreadable": self.unreadable}

    def load_state_dict(self, state: StreamState) -> None:
        """Go on from there, before the first batch is asked for."""
        self.stream.places, self.stream.next_lane = state["places"], state["next_lane"]
        self.unreadable = dict(state["unreadable"])
