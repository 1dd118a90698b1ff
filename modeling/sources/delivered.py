"""Where faces are read from: whatever somebody delivered, seen as splits of faces that can be read one by one."""

import os
from pathlib import Path
from typing import Protocol

from affectnet_plus import (
    MAX_ANNOTATION_BYTES,
    SPLITS,
    BadRow,
    Face,
    LayoutError,
    find_splits,
    fingerprint_of,
    list_faces,
    read_face,
    read_file,
)

from ..terms import SoftLabels
from .class_folders import ClassSource, find_classes
from .links import LinkOut, refuse_links_out
from .older_csv import CsvSource, find_lists
from .older_npy import NpySource, find_older_splits
from .origin import LICENSED, ORIGIN_FILE, parse_source
from .unread import name_layout
from .zips import ZipSource, find_archives

__all__ = ["LICENSED", "ORIGIN_FILE", "FolderSource", "Source", "open_source"]


class Source(Protocol):
    """Faces as delivered. It can be pickled: worker processes get a copy, and open their own files.

    `origin` says whose faces they are: "drawn", "FER+", or "AffectNet+", which is also what is assumed of faces that
    come without a word about it. `holds_files` is false where pictures are no files of their own, so that an index
    of paths is not possible. `soft_labels` says what generated these, where they are not those of the origin.
    `follow_links` says that a file may be a link that leaves its folder.
    """

    root: Path
    origin: str
    soft_labels: SoftLabels | None
    holds_files: bool
    follow_links: bool

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

    def __init__(self, folder, follow_links: bool = False):
        self.root, self.follow_links = Path(folder).resolve(), follow_links
        found = find_splits(folder)
        root = _root(*next(iter(found.items())))
        if not follow_links:
            parts = (path / part for path in found.values() for part in (".", "images", "annotations"))
            refuse_links_out(root, parts)
        self._folders = {split: path.resolve() for split, path in found.items()}
        self.origin, self.soft_labels = _note(root / ORIGIN_FILE, follow_links)

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
        return read_face(self._folders[split], face, self.follow_links)

    def fingerprint(self) -> str:
        return fingerprint_of(self._folders, self.follow_links)


def _root(split: str, folder: Path) -> Path:
    return folder.parents[len(Path(SPLITS[split]).parts) - 1]


def _note(file: Path, follow_links: bool) -> tuple[str, SoftLabels | None]:
    if not os.path.lexists(file):
        return LICENSED, None
    try:
        return parse_source(read_file(file, MAX_ANNOTATION_BYTES, follow_links), file)
    except BadRow as reason:
        raise LayoutError(f"{file} cannot be read: {reason}") from reason


def open_source(raw, follow_links: bool = False) -> Source:
    """The reader for what lies at `raw`: an extracted tree goes before zip parts beside it.

    Takes a folder as `affectnet_plus.find_splits` does; a zip archive, whole or in pieces, or the folder of several;
    the first AffectNet release (csv) or AffectNet-8 (npy), extracted; folders by emotion, or RAF-DB with its list.

    Args:
        follow_links: files and folders of it may be links that leave it.

    Raises:
        LayoutError: it is nothing that we know; the message says what it looks like and what to do.
    """
    path = Path(os.path.abspath(raw))
    try:
        return FolderSource(raw, follow_links)
    except LinkOut:
        raise
    except LayoutError as error:
        unknown = error
    if lists := find_lists(path):
        return CsvSource(path, lists, follow_links)
    if splits := find_older_splits(path):
        return NpySource(path, splits, follow_links)
    if classes := find_classes(path):
        return ClassSource(path, classes, follow_links)
    if archives := find_archives(path):
        return ZipSource(path, archives)
    if layout := name_layout(path):
        raise LayoutError(f"{path} is nothing that can be read as it is: {layout}") from unknown
    raise unknown
