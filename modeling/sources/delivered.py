"""Where faces are read from: whatever somebody delivered, seen as splits of faces that can be read one by one."""

import hashlib
import json
import os
from pathlib import Path
from typing import Protocol

from affectnet_plus import SPLITS, Face, find_splits, list_faces, read_face

ORIGIN_FILE = "source.json"  # beside human_annotated/, in trees that we write; the release has none
LICENSED = "AffectNet+"


class Source(Protocol):
    """Faces as delivered. It can be pickled: worker processes get a copy, and open their own files.

    `origin` says whose faces they are: "drawn", "FER+", or "AffectNet+", which is also what is assumed of faces that
    come without a word about it. `holds_files` is false where pictures are no files of their own, so that an index
    of paths is not possible.
    """

    root: Path
    origin: str
    holds_files: bool

    def splits(self) -> list[str]:
        """The splits that are present, in the order of `SPLITS`."""

    def places(self) -> list[Path]:
        """The resolved folders and files that hold the faces: nothing may be written over them."""

    def faces(self, split: str) -> list[Face]:
        """Every face of a split, in an order that depends on nothing but the names."""

    def read(self, split: str, face: Face) -> tuple[dict, bytes]:
        """The row of one face and the bytes of its picture, as `affectnet_plus.read_face` gives them."""

    def fingerprint(self) -> str:
        """Hexadecimal digest that changes when a file comes, goes, or is written anew."""


class FolderSource:
    """An extracted tree: `affectnet_plus.find_splits` says which folders it takes."""

    holds_files = True

    def __init__(self, folder):
        self.root = Path(folder).resolve()
        self._folders = {split: path.resolve() for split, path in find_splits(folder).items()}
        self.origin = _origin(next(iter(self._folders.items())))

    def splits(self) -> list[str]:
        return list(self._folders)

    def places(self) -> list[Path]:
        return list(self._folders.values())

    def folder(self, split: str) -> Path:
        """The folder of images/ and annotations/ of a split."""
        return self._folders[split]

    def faces(self, split: str) -> list[Face]:
        return list_faces(split, self._folders[split])

    def read(self, split: str, face: Face) -> tuple[dict, bytes]:
        return read_face(self._folders[split], face)

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for split, folder in self._folders.items():
            for part in ("images", "annotations"):
                for line in _listing(folder / part):
                    total.update(f"{split}/{part}/{line}\n".encode(errors="surrogateescape"))
        return total.hexdigest()


def _listing(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in os.scandir(folder)]
    return sorted(f"{name} {found.st_size} {found.st_mtime_ns}" for name, found in entries)


def _origin(place: tuple[str, Path]) -> str:
    split, folder = place
    root = folder.parents[len(Path(SPLITS[split]).parts) - 1]
    file = root / ORIGIN_FILE
    return str(json.loads(file.read_bytes())["origin"]) if file.is_file() else LICENSED


def open_source(raw) -> Source:
    """The reader for what lies at `raw`.

    Raises:
        LayoutError: it is nothing that we know; the message says what it looks like and what to do.
    """
    return FolderSource(raw)
