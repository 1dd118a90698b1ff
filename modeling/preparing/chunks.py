"""A run of faces, read and checked: the rows as an Arrow table, and what cannot be a row with its reason."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

import pyarrow as pa
import xxhash
from PIL import Image

from affectnet_plus import BadRow, Face, features, to_table

from ..sources.delivered import Source

FACES_AT_A_TIME = 2000
ROW_SCHEMA = features("all").arrow_schema.remove_metadata()
# What the checks need to know of a picture without opening it again; these columns are not written to the folder.
SIDE_SCHEMA = pa.schema(
    [
        pa.field("file_bytes", pa.int64()),
        pa.field("file_hash", pa.binary(16)),  # xxh3_128 of the file
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
    ]
)


@dataclass
class Chunk:
    """Faces of one split in their order. `table` has the columns of `ROW_SCHEMA`, path-only, and of `SIDE_SCHEMA`."""

    split: str
    table: pa.Table
    quarantined: list[dict] = field(default_factory=list)  # {"image_id", "reason"}


def read_chunk(source: Source, split: str, faces: list[Face]) -> Chunk:
    """Read and check some faces of a split."""
    rows, side, quarantined = [], [], []
    for face in faces:
        try:
            row, image = source.read(split, face)
        except BadRow as reason:
            quarantined.append({"image_id": face.image_id, "reason": str(reason)})
            continue
        rows.append(row)
        side.append(_side(image))
    columns = to_table(rows, features("all")).columns
    columns += pa.Table.from_pylist(side, schema=SIDE_SCHEMA).columns
    return Chunk(split, pa.Table.from_arrays(columns, schema=pa.schema([*ROW_SCHEMA, *SIDE_SCHEMA])), quarantined)


def _side(image: bytes) -> dict:
    with Image.open(BytesIO(image), formats=("JPEG", "PNG")) as header:
        width, height = header.size
    return {"file_bytes": len(image), "file_hash": xxhash.xxh3_128_digest(image), "width": width, "height": height}


def read_chunks(source: Source) -> Iterator[Chunk]:
    """Every face of a source, chunk by chunk, in order."""
    for split in source.splits():
        faces = source.faces(split)
        for start in range(0, len(faces), FACES_AT_A_TIME):
            yield read_chunk(source, split, faces[start : start + FACES_AT_A_TIME])
