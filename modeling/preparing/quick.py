"""The quick way to read faces of an extracted tree, for those that are written exactly as the release writes them.

The plain way is `affectnet_plus.read_face`: it says what a row is, and why something is none. Here nothing is refused.
What is not exactly in the form below is left to the plain way, face by face, so that both give the same rows.
"""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import pyarrow as pa
import xxhash

from affectnet_plus import LABELS, MAX_IMAGE_SIDE, MISSING, SUBSETS, Face, features

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
CHUNK_SCHEMA = pa.schema([*ROW_SCHEMA, *SIDE_SCHEMA])

MOST_BYTES = 1 << 16  # a real picture has about 8 kB, an annotation 2 kB
# A link is not followed: the plain way looks where it leads. A pipe is not waited for: it reads as empty.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_quickly(folder: Path, split: str, faces: list[Face]) -> tuple[pa.Table, list[int]]:
    """The rows (of `CHUNK_SCHEMA`) of the faces that can be read the quick way, and the places of the others."""
    if all(face.problem for face in faces):  # one of the two folders may be missing
        return CHUNK_SCHEMA.empty_table(), list(range(len(faces)))
    names: list[str] = []
    identifiers: list[str] = []
    records: list[bytes] = []
    left: list[int] = []
    with _opened(folder / "annotations") as annotations, _opened(folder / "images") as images:
        for place, face in enumerate(faces):
            record = _record(split, face, annotations, images)
            if record is None:
                left.append(place)
                continue
            names.append(face.image)  # type: ignore[arg-type]
            identifiers.append(face.image_id)
            records.append(record)
    return _table(os.path.join(folder, "images", ""), names, identifiers, records), left


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)


def _record(split: str, face: Face, annotations: int, images: int) -> bytes | None:
    if face.problem or face.image is None or face.annotation is None:
        return None
    try:
        annotation = read_form(_content(face.annotation, annotations))
        image = _content(face.image, images)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError):
        return None
    size = jpeg_size(image)
    if annotation is None or size is None or len(image) == MOST_BYTES:
        return None
    if split == "no_human" and annotation.human_label is not None:
        return None
    return _packed(annotation, image, size)


def _content(name: str, folder: int) -> bytes:
    number = os.open(name, _FLAGS, dir_fd=folder)
    try:
        return os.read(number, MOST_BYTES)
    finally:
        os.close(number)


# --- one annotation --------------------------------------------------------------------------------------------------

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Affect = Annotated[float, msgspec.Meta(ge=MISSING, le=1)]
_Angle = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]
_Pixel = Annotated[int, msgspec.Meta(ge=-MAX_IMAGE_SIDE, le=2 * MAX_IMAGE_SIDE)]


class _Form(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Every key is required, in the spelling of the release; no other key is allowed."""


class Gender(_Form):
    female: _Share
    male: _Share


class Race(_Form, rename=lambda name: name.replace("_", " ")):
    asian: _Share
    indian: _Share
    black: _Share
    white: _Share
    middle_eastern: _Share
    latino_hispanic: _Share


class Pose(_Form):
    yaw: _Angle
    pitch: _Angle
    roll: _Angle


class MetaData(_Form, rename=lambda name: name.replace("_", "-")):
    age: Annotated[float, msgspec.Meta(ge=0, le=150)] | None
    gender: Gender | None
    race: Race | None
    valence: _Affect | None
    arousal: _Affect | None
    pose: Pose | None
    landmark_68: Annotated[list[_Pixel], msgspec.Meta(min_length=136, max_length=136)] | None
    landmark_29: Annotated[list[_Pixel], msgspec.Meta(min_length=58, max_length=58)] | None


class Annotation(_Form, rename=lambda name: name.replace("_", "-")):
    human_label: Annotated[int, msgspec.Meta(ge=0, le=len(LABELS) - 1)] | None
    soft_label: Annotated[list[_Share], msgspec.Meta(min_length=8, max_length=8)] | None
    subset: Annotated[int, msgspec.Meta(ge=0, le=len(SUBSETS) - 1)] | None
    meta_data: MetaData


_KEYS = len(Annotation.__struct_fields__) + len(MetaData.__struct_fields__)
_decode = msgspec.json.Decoder(Annotation).decode


def read_form(text: bytes) -> Annotation | None:
    """The annotation, or None if its values would need a second look.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: it is not in the form.
    """
    annotation = _decode(text)
    meta = annotation.meta_data
    # msgspec takes the last of two equal keys. Every key brings a colon, and no key is missing: as many colons as
    # keys means that none comes twice.
    keys = _KEYS + 2 * (meta.gender is not None) + 6 * (meta.race is not None) + 3 * (meta.pose is not None)
    if text.count(b":") != keys or len(text) == MOST_BYTES:
        return None
    for value in (meta.valence, meta.arousal):
        if value is not None and MISSING < value < -1:
            return None
    return annotation


# --- one image -------------------------------------------------------------------------------------------------------

# JFIF header, tables of one byte a value, one frame of 8 bits (ITU-T T.81, annex B). In it are height and width.
_HEAD = re.compile(
    rb"\xff\xd8\xff\xe0\x00\x10JFIF\x00.{9}"
    rb"(?:\xff\xdb\x00\x43[\x00-\x0f].{64}|\xff\xdb\x00\x84[\x00-\x0f].{64}[\x00-\x0f].{64})+"
    rb"\xff[\xc0-\xc2]\x00(?:\x0b\x08(....)\x01.{3}|\x11\x08(....)\x03.{9})",
    re.DOTALL,
)
_SIZE = struct.Struct(">HH")


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of the common kind, of a size that `check_image` takes, with its end marker.

    Header, frame and Huffman tables up to the first scan are looked at; whatever else is there gives None, which
    says nothing about the file.
    """
    head = _HEAD.match(data)
    if head is None or not data.endswith(b"\xff\xd9"):
        return None
    at = head.end()
    while data.startswith(b"\xff\xc4", at):
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    if not data.startswith(b"\xff\xda", at) or at + 2 + (data[at + 2] << 8 | data[at + 3]) > len(data):
        return None
    height, width = _SIZE.unpack(head[1] or head[2])
    return (width, height) if 0 < width <= MAX_IMAGE_SIDE and 0 < height <= MAX_IMAGE_SIDE else None


# --- many rows -------------------------------------------------------------------------------------------------------

# One face as numbers of fixed places. NaN is null, and so is a whole number below 0 that is no value.
_RECORD = np.dtype(
    [
        ("file_hash", "u1", 16),
        ("file_bytes", "i4"),
        ("width", "i4"),
        ("height", "i4"),
        ("label", "i1"),
        ("subset", "i1"),
        ("soft_label", "f8", 8),
        ("sum", "f8"),
        ("valence", "f8"),
        ("arousal", "f8"),
        ("age", "f8"),
        ("gender", "f8", 2),
        ("race", "f8", 6),
        ("pose", "f8", 3),
        ("landmarks_68", "i2", 136),
        ("landmarks_29", "i2", 58),
    ]
)
_pack = struct.Struct("=16s3i2b23d").pack
_NAN = float("nan")
_NO_SOFT, _NO_GENDER, _NO_RACE, _NO_POSE = ((_NAN,) * count for count in (8, 2, 6, 3))
_NO_POINT = -MAX_IMAGE_SIDE - 1
_pack_68, _pack_29 = struct.Struct("=136h").pack, struct.Struct("=58h").pack
_NO_68, _NO_29 = (pack(*[_NO_POINT] * count) for pack, count in ((_pack_68, 136), (_pack_29, 58)))
_values = msgspec.structs.astuple


def _packed(annotation: Annotation, image: bytes, size: tuple[int, int]) -> bytes:
    meta, soft = annotation.meta_data, annotation.soft_label
    numbers = _pack(
        xxhash.xxh3_128_digest(image),
        len(image),
        *size,
        -1 if annotation.human_label is None else annotation.human_label,
        -1 if annotation.subset is None else annotation.subset,
        *(_NO_SOFT if soft is None else soft),
        _NAN if soft is None else sum(soft),  # not numpy's: Python 3.12 sums more exactly
        _NAN if meta.valence is None or meta.valence == MISSING else meta.valence,
        _NAN if meta.arousal is None or meta.arousal == MISSING else meta.arousal,
        _NAN if meta.age is None else meta.age,
        *(_NO_GENDER if meta.gender is None else _values(meta.gender)),
        *(_NO_RACE if meta.race is None else _values(meta.race)),
        *(_NO_POSE if meta.pose is None else _values(meta.pose)),
    )
    points_68 = _NO_68 if meta.landmark_68 is None else _pack_68(*meta.landmark_68)
    points_29 = _NO_29 if meta.landmark_29 is None else _pack_29(*meta.landmark_29)
    return numbers + points_68 + points_29


def _table(folder: str, names: list[str], identifiers: list[str], records: list[bytes]) -> pa.Table:
    rows = np.frombuffer(b"".join(records), _RECORD)
    soft, total = rows["soft_label"], rows["sum"]
    with np.errstate(invalid="ignore"):  # nothing but zeros has no shares
        shares = soft / total[:, None]
    paths = [folder + name for name in names]
    columns = {
        "image": _struct("image", [pa.nulls(len(names), pa.binary()), pa.array(paths, pa.string())]),
        "image_id": pa.array(identifiers, pa.string()),
        "label": pa.array(rows["label"].astype("i8"), mask=rows["label"] < 0),
        "soft_label": _lists("soft_label", soft),
        "soft_label_normalized": _lists("soft_label_normalized", shares),
        "subset": pa.array(rows["subset"].astype("i8"), mask=rows["subset"] < 0),
        **{name: _numbers(rows[name]) for name in ("valence", "arousal", "age")},
        **{name: _numbers_struct(name, rows[name]) for name in ("gender", "race", "pose")},
        **{name: _points(name, rows[name]) for name in ("landmarks_68", "landmarks_29")},
        "file_bytes": pa.array(rows["file_bytes"].astype("i8")),
        "file_hash": pa.Array.from_buffers(
            pa.binary(16), len(rows), [None, pa.py_buffer(rows["file_hash"].tobytes())]
        ),
        "width": pa.array(rows["width"].astype("i4")),
        "height": pa.array(rows["height"].astype("i4")),
    }
    return pa.table([columns[name] for name in CHUNK_SCHEMA.names], schema=CHUNK_SCHEMA)


def _numbers(values: np.ndarray) -> pa.Array:
    return pa.array(values.astype("f4"), mask=np.isnan(values))


def _struct(name: str, children: list[pa.Array], mask: np.ndarray | None = None) -> pa.Array:
    fields = list(CHUNK_SCHEMA.field(name).type)
    return pa.StructArray.from_arrays(children, fields=fields, mask=None if mask is None else pa.array(mask))


def _numbers_struct(name: str, values: np.ndarray) -> pa.Array:
    return _struct(name, [_numbers(column) for column in values.T], np.isnan(values[:, 0]))


def _lists(name: str, values: np.ndarray) -> pa.Array:
    flat = pa.array(values.astype("f4").ravel())
    kind = CHUNK_SCHEMA.field(name).type
    return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(np.isnan(values[:, 0])))


def _points(name: str, values: np.ndarray) -> pa.Array:
    known = values[:, 0] != _NO_POINT
    flat = pa.array(values[known].astype("f4").ravel())
    pairs = pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, 2, dtype="i4")), flat)
    ends = np.cumsum(known, dtype="i4") * (values.shape[1] // 2)
    offsets = pa.array(np.concatenate([np.zeros(1, "i4"), ends]))
    kind = CHUNK_SCHEMA.field(name).type
    rows = pa.ListArray.from_arrays(offsets, pairs, type=kind.storage_type, mask=pa.array(~known))
    return pa.ExtensionArray.from_storage(kind, rows)
