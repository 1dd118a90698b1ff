"""A chunk of faces as one file that is whole or not there: what an interrupted run does not have to read again."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from affectnet_plus import lot_of

from ..unfinished import HEAD_BYTES, keep
from .chunks import Chunk

_PLACE = pa.field("place", pa.int32())  # of a row in its chunk
_LOT = pa.field("lot", pa.uint64())


def store_chunk(path: Path, chunk: Chunk) -> None:
    """Write a chunk as an Arrow file: its rows in the order of their lots, and the quarantine as metadata."""
    lots = np.array([lot_of(name) for name in chunk.table["image_id"].to_pylist()], np.uint64)
    places = np.argsort(lots, kind="stable")
    table = chunk.table.take(pa.array(places)).append_column(_PLACE, pa.array(places, pa.int32()))
    table = table.append_column(_LOT, pa.array(lots[places]))
    metadata = {"quarantined": json.dumps(chunk.quarantined)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as file:
        file.write_table(table.combine_chunks())
    keep(path, sink.getvalue())


class StoredChunk:
    """A chunk as `store_chunk` wrote it; nothing is read before it is asked for."""

    def __init__(self, path: Path):
        self._file = pa.ipc.open_file(pa.memory_map(str(path)).read_buffer().slice(HEAD_BYTES))
        self.quarantined: list[dict] = json.loads(self._file.schema.metadata[b"quarantined"])

    def rows(self) -> pa.Table:
        """All rows in the order of their lots, which are the column `lot`."""
        return self._file.read_all()

    def table(self) -> pa.Table:
        """All rows in the order of the source."""
        table = self.rows()
        return table.take(pa.array(np.argsort(table["place"].to_numpy())))
