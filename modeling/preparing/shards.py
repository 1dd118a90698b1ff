"""From stored chunks to the Parquet files of a prepared folder: rows are copied, pictures put in where wanted."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from affectnet_plus import MAX_IMAGE_BYTES, BadRow, Face, features, read_file

from ..files import size_and_digest, written_whole
from ..sources.delivered import Source
from ..unfinished import is_kept, keep, kept
from .chunks import ROW_SCHEMA
from .reading import StoredRows
from .stored import StoredChunk

SHARD_ROWS = 50_000
SHARD_BYTES = 150_000_000  # of pictures
# A group is what a reader holds in memory at once, and what it skips by.
GROUP_ROWS = 5_000
GROUP_BYTES = 16_000_000

OPEN_FILES = 256  # at a time; a process may have 1,024

_LANDMARKS = [f"landmarks_{count}.list.element.list.element" for count in (68, 29)]
# What `datasets` writes with: pages are cut by what they hold, so that the Hub keeps those that it has already.
_CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
# Compression and split bytes take two thirds of the time and four fifths of the size of the library's defaults.
_ENCODING = {
    "compression": "zstd",
    "use_dictionary": False,
    "use_byte_stream_split": _LANDMARKS,
    "write_page_index": True,
    "use_content_defined_chunking": _CHUNKING,
}


class Piece(NamedTuple):
    """A run of rows of one stored chunk, in the order of their lots."""

    chunk: Path
    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
    """One Parquet file: the rows of a split from the lot `first` up to that of the next shard."""

    name: str
    split: str
    first: int
    chunks: list[Path]  # all of the split, the same list for every shard
    starts: np.ndarray  # the first row of it in each chunk
    stops: np.ndarray
    faces: dict[str, Face] = field(default_factory=dict)  # where the source holds no files

    @property
    def pieces(self) -> list[Piece]:
        """Made when they are asked for: chunks times shards of them would be a hundred bytes a row."""
        runs = zip(self.chunks, self.starts.tolist(), self.stops.tolist(), strict=True)
        return [Piece(chunk, start, stop) for chunk, start, stop in runs if start < stop]


def cut(sizes: np.ndarray, most_rows: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Part rows of the given sizes (n,), in bytes, into runs (start, stop) as long as the limits allow.

    A row that is too large by itself makes a run of its own.
    """
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        fitting = int(np.searchsorted(ends, before + most_bytes, side="right"))
        stop = max(start + 1, min(fitting, start + most_rows))
        yield start, stop
        start = stop


def plan_shards(split: str, chunks: list[StoredRows], embed: bool) -> list[Shard]:
    """Cut the rows of a split, in the order of their lots, into shards."""
    lots = np.concatenate([chunk.lots for chunk in chunks])
    sizes = np.concatenate([chunk.sizes for chunk in chunks]) if embed else np.zeros(len(lots), dtype=int)
    order = np.argsort(lots, kind="stable")
    starts = [start for start, _ in cut(sizes[order], SHARD_ROWS, SHARD_BYTES)]
    firsts = np.array([0, *lots[order[starts[1:]]]], np.uint64)
    cuts = np.array([[*np.searchsorted(chunk.lots, firsts), len(chunk.lots)] for chunk in chunks], np.int32)
    paths = [chunk.chunk for chunk in chunks]
    return [
        Shard(
            f"{split}-{number:05d}.parquet",
            split,
            int(first),
            paths,
            cuts[:, number],
            cuts[:, number + 1],
        )
        for number, first in enumerate(firsts)
    ]


def write_shard(folder: Path, scratch: Path, source: Source | None, shard: Shard) -> dict:
    """Write one file into `folder`, by way of `scratch`, or take it as it is where it was written before.

    A file that is not what a note in `scratch` says of it, cut off or full of holes by a power cut, is written again.

    Args:
        source: where the pictures come from; None where they stay outside.

    Returns:
        {"rows", "bytes", "sha256"} of the file.

    Raises:
        ValueError: a picture is not the one any more that was read before.
    """
    path, note = folder / shard.name, scratch / f"{shard.name}.json"
    if path.exists() and is_kept(note):
        written = json.loads(kept(note))
        if written == {"rows": written["rows"]} | size_and_digest(path):
            return written
    with written_whole(path, scratch) as partial:
        _write(partial, shard, source)
        written = {"rows": pq.read_metadata(partial).num_rows} | size_and_digest(partial)
        keep(note, json.dumps(written).encode())
    return written


def shard_writer(where, schema: pa.Schema) -> pq.ParquetWriter:
    """What writes a shard with pictures, to a path or an open file."""
    writer = pq.ParquetWriter(where, schema, **_ENCODING)
    writer.add_key_value_metadata({"content_defined_chunking": json.dumps(_CHUNKING)})
    return writer


def _write(path: Path, shard: Shard, source: Source | None) -> None:
    rows = _rows(shard.pieces)
    sizes = rows["file_bytes"].to_numpy() if source else np.zeros(len(rows), dtype=int)
    schema = features("all").arrow_schema
    with shard_writer(path, schema) as writer:
        for start, stop in cut(sizes, GROUP_ROWS, GROUP_BYTES):
            group = rows.slice(start, stop - start).combine_chunks()
            if source:
                place = group.schema.get_field_index("image")
                group = group.set_column(place, group.schema.field(place), _with_bytes(group, source, shard.faces))
            writer.write_table(group.select(ROW_SCHEMA.names).cast(schema), stop - start)


def _rows(pieces: list[Piece]) -> pa.Table:
    """The rows of all pieces together in the order of their lots; of equal ones, the first of the source is first."""
    tables = []
    for start in range(0, len(pieces), OPEN_FILES):
        some = [
            StoredChunk(piece.chunk).rows().slice(piece.start, piece.stop - piece.start)
            for piece in pieces[start : start + OPEN_FILES]
        ]
        tables.append(pa.concat_tables(some).combine_chunks())  # copies, which closes the files
    rows = pa.concat_tables(tables).combine_chunks()
    return rows.take(pa.array(np.argsort(rows["lot"].to_numpy(), kind="stable")))


def _with_bytes(rows: pa.Table, source: Source, faces: dict[str, Face]) -> pa.Array:
    paths, hashes = rows["image"].combine_chunks().field("path").to_pylist(), rows["file_hash"].to_pylist()
    contents = [_content(source, faces, *row) for row in zip(rows["image_id"].to_pylist(), paths)]
    for path, content, expected in zip(paths, contents, hashes):
        if xxhash.xxh3_128_digest(content) != expected:
            raise _changed(path)
    names = [os.path.basename(path) for path in paths]
    kind = rows.schema.field("image").type
    return pa.StructArray.from_arrays(
        [pa.array(contents, pa.binary()), pa.array(names, pa.string())], fields=[kind.field(0), kind.field(1)]
    )


def _content(source: Source, faces: dict[str, Face], image_id: str, path: str) -> bytes:
    try:
        if source.holds_files:
            return read_file(path, MAX_IMAGE_BYTES, source.follow_links)
        return source.read(image_id.split("/")[0], faces[image_id])[1]
    except (OSError, BadRow) as error:
        raise _changed(path) from error


def _changed(path: str) -> ValueError:
    return ValueError(
        f"{path} has changed since it was read at first. Give the command again when nothing writes to the source "
        "any more"
    )
