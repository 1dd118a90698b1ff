"""A chunk of faces as one file that is whole or not there: what an interrupted run does not have to read again."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..files import written_whole
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
    with written_whole(path) as partial, pa.ipc.new_file(partial, table.schema.with_metadata(metadata)) as file:
        for start, count in zip(np.cumsum(counts) - counts, counts):
            file.write_batch(table.slice(start, count).combine_chunks().to_batches()[0])


class StoredChunk:
    """A chunk as `store_chunk` wrote it; nothing is read before it is asked for.

    Raises:
        pyarrow.ArrowInvalid: the file is not whole.
    """

    def __init__(self, path: Path):
        self._file = pa.ipc.open_file(pa.memory_map(str(path)))
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


def is_stored(path: Path) -> bool:
    """Whether the file is there and whole; one that is not whole is removed."""
    try:
        StoredChunk(path)
    except FileNotFoundError:
        return False
    except pa.ArrowInvalid:  # the machine stopped before the disk had all of it
        path.unlink()
        return False
    return True
