"""AffectNet-8, the older release: pictures, and for each of them four small arrays.

    {train,val}_set/images/<n>.jpg
    {train,val}_set/annotations/<n>_{exp,val,aro,lnd}.npy

exp is the label (0 to 10), val and aro are valence and arousal ([-1, 1], -2 where nobody gave them), each a single
number or its text; lnd holds the 68 points as 136 numbers. A face without exp, val or aro cannot be read. One without
lnd has null landmarks, as one whose AffectNet+ annotation lacks them: copies are handed on without these files.
"""

import os
import re
from io import BytesIO
from pathlib import Path
from tokenize import TokenError

import numpy as np

from affectnet_plus import (
    MAX_ANNOTATION_BYTES,
    MAX_IMAGE_BYTES,
    BadRow,
    Face,
    fingerprint_of,
    make_row,
    pair_faces,
    read_file,
)

from ..sentences import without_addresses
from ..terms import SoftLabels
from .links import refuse_links_out
from .older import ORIGIN, annotation_text, number, whole

FOLDERS = {"train": "train_set", "validation": "val_set"}
NEEDED = ("exp", "val", "aro")

_ARRAY = re.compile(r"(.+)_(exp|val|aro|lnd)\.npy")
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def find_older_splits(path: Path) -> dict[str, Path]:
    """The splits of an AffectNet-8 folder, or the one that is given alone; none if it is something else."""
    places = {split: path / name for split, name in FOLDERS.items()}
    places |= {split: path for split, name in FOLDERS.items() if name == path.name}
    return {split: place for split, place in places.items() if _holds_arrays(place / "annotations")}


def _holds_arrays(folder: Path) -> bool:
    return folder.is_dir() and any(_ARRAY.fullmatch(entry.name) for entry in os.scandir(folder))


class NpySource:
    """An AffectNet-8 folder."""

    holds_files = True
    origin = ORIGIN
    soft_labels: SoftLabels | None = None

    def __init__(self, root, folders: dict[str, Path], follow_links: bool = False):
        self.root, self.follow_links = Path(root).resolve(), follow_links
        if not follow_links:
            parts = (path / part for path in folders.values() for part in (".", "images", "annotations"))
            refuse_links_out(self.root, parts)
        self._folders = {split: folder.resolve() for split, folder in folders.items()}

    def splits(self) -> list[str]:
        return list(self._folders)

    def places(self) -> list[Path]:
        return list(self._folders.values())

    def faces(self, split: str) -> list[Face]:
        folder = self._folders[split]
        arrays: dict[str, set[str]] = {}
        others = []
        for name in os.listdir(folder / "annotations"):
            if found := _ARRAY.fullmatch(name):
                arrays.setdefault(found[1], set()).add(found[2])
            else:
                others.append(name)
        images = os.listdir(folder / "images") if (folder / "images").is_dir() else []
        names = [f"{stem}.json" for stem in arrays] + others
        faces = [_with_arrays(face, arrays) for face in pair_faces(split, images, names)]
        return sorted(faces, key=lambda face: face.problem is not None)

    def read(self, split: str, face: Face) -> tuple[dict, bytes]:
        if face.problem:
            raise BadRow(face.problem)
        assert face.image and face.annotation
        base = os.path.join(self._folders[split], "annotations", face.annotation)
        label, valence, arousal = (self._array(f"{base}_{kind}.npy", 1)[0] for kind in NEEDED)
        landmarks = self._array(f"{base}_lnd.npy", 136) if os.path.lexists(f"{base}_lnd.npy") else None
        text = annotation_text(
            whole("exp", label) if isinstance(label, str) else label,
            _number("val", valence),
            _number("aro", arousal),
            landmarks and [_number("lnd", value) for value in landmarks],
        )
        path = os.path.join(self._folders[split], "images", face.image)
        image = read_file(path, MAX_IMAGE_BYTES, self.follow_links)
        return make_row(face.image_id, path, text, image), image

    def _array(self, path: str, count: int) -> list:
        return _read_array(os.path.basename(path), read_file(path, MAX_ANNOTATION_BYTES, self.follow_links), count)

    def fingerprint(self) -> str:
        return fingerprint_of(self._folders, self.follow_links)


def _with_arrays(face: Face, arrays: dict[str, set[str]]) -> Face:
    stem = face.image_id.partition("/")[2]
    missing = [f"{stem}_{kind}.npy" for kind in NEEDED if kind not in arrays.get(stem, ())]
    if face.problem in (None, "has no annotation") and missing:
        return Face(face.image_id, problem=f"has no {', '.join(missing)}")
    return face if face.problem else Face(face.image_id, face.image, stem)


def _read_array(name: str, content: bytes, count: int) -> list:
    """The numbers, or their texts, of an array file of `count` values, in order."""
    file = BytesIO(content)
    try:
        shape, by_column, kind = _HEADERS[np.lib.format.read_magic(file)](file)
    except (LookupError, ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError) as error:
        raise BadRow(f"{name!r} is not an array: {without_addresses(str(error))}") from error
    if any(type(side) is not int for side in shape) or kind.itemsize == 0:  # True is a side to numpy
        raise BadRow(f"{name!r} holds {kind} of shape {shape}, expected {count} numbers")
    long = kind.kind == "f" and kind.itemsize > 8  # than a float of Python: its values would stay numpy's own
    # Before numpy makes room for it: the header may say anything.
    if kind.kind not in "iufUS" or long or shape not in (((), (1,)) if count == 1 else ((count,), (count // 2, 2))):
        raise BadRow(f"{name!r} holds {kind} of shape {shape}, expected {count} numbers")
    if kind.itemsize * count != len(content) - file.tell():
        raise BadRow(f"{name!r} has {len(content) - file.tell()} bytes of values, expected {kind.itemsize * count}")
    try:
        values = np.load(BytesIO(content), allow_pickle=False).reshape(-1).tolist()
    except (ValueError, SystemError) as error:  # text that is no Unicode; numpy has both for it
        raise BadRow(f"{name!r} cannot be read: {error}") from error
    return [value.decode("ascii", "backslashreplace") if isinstance(value, bytes) else value for value in values]


def _number(name: str, value) -> float:
    return number(name, value) if isinstance(value, str) else value
