"""A chunk of faces as one file that is whole or not there: what an interrupted run does not have to read again."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..unfinished import HEAD_BYTES, keep
from .chunks import Chunk
from .partitions import partition_codes

_PLACE = pa.field("place", pa.int32())  # of a row in its chunk


def store_chunk(path: Path, chunk: Chunk) -> None:
    """Write a chunk as an Arrow file: one batch for each partition, and the quarantine as metadata."""
    codes = partition_codes(chunk.table)
    places = np.argsort(codes, kind="stable")
    found, counts = np.unique(codes, return_counts=True)
    table = chunk.table.take(pa.array(places)).append_column(_PLACE, pa.array(places, pa.int32()))
    metadata = {"codes": json.dumps(found.tolist()), "quarantined": json.dumps(chunk.quarantined)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as file:
        for start, count in zip(np.cumsum(counts) - counts, counts):
            file.write_batch(table.slice(start, count).combine_chunks().to_batches()[0])
    keep(path, sink.getvalue())


class StoredChunk:
    """A chunk as `store_chunk` wrote it; nothing is read before it is asked for."""

    def __init__(self, path: Path):
        self._file = pa.ipc.open_file(pa.memory_map(str(path)).read_buffer().slice(HEAD_BYTES))
        metadata = self._file.schema.metadata
        self.quarantined: list[dict] = json.loads(metadata[b"quarantined"])
        self.codes: list[int] = json.loads(metadata[b"codes"])  # of its partitions, in the order of the batches

    def rows(self, code: int) -> pa.RecordBatch:
        """The rows of one partition, in their order."""
        return self._file.get_batch(self.codes.index(code))

    def table(self) -> pa.Table:
        """All rows in their order."""
        table = self._file.read_all()
        return table.take(pa.array(np.argsort(table["place"].to_numpy())))
