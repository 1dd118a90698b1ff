"""Pictures of which nothing is known: in a folder, a tar, a zip, named one by one, or in memory.

Archives are read where they lie and nothing of them is unpacked to disk, so that it does not matter where the names in
a tar point to. What is read is one picture at a time, of at most `MAX_IMAGE_BYTES`.

`annotated` of a reader: what to do about annotations that lie among the pictures and would be lost; None passes them
over. `suffixes`: what the names of pictures end in, in any case of letters.
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from affectnet_plus import (
    IMAGE_SUFFIXES,
    MAX_IMAGE_BYTES,
    BadRow,
    LayoutError,
    is_system_file,
    read_file,
    refuse_link_out,
)

from ..images import decode
from ..sources.older_csv import FILES
from ..sources.tar_archive import Member, Tar
from ..sources.zip_archive import Archive
from ..sources.zips import MAX_TOTAL_RATIO, find_archives
from ..terms import UNKNOWN
from .readers import WANTED, Listed, NoPictures, Picture, checked


class FolderPictures(Listed):
    """The pictures of a folder and its folders.

    A folder that is named as a picture, and a link to a folder that is not followed, count as pictures with a problem.

    Args:
        follow_links: links that leave their folder are followed, those to folders once each.
    """

    origin = UNKNOWN

    def __init__(
        self,
        folder: Path,
        annotated: str | None = None,
        suffixes: Sequence[str] = IMAGE_SUFFIXES,
        follow_links: bool = False,
    ):
        self.root, self._follow, self._suffixes = folder.resolve(), follow_links, tuple(suffixes)
        self._pictures, self.passed_over = _plain(self.root, self._files(), annotated, suffixes)

    def _files(self) -> Iterator[tuple[str, str, str | None]]:
        met = {os.path.realpath(self.root)}
        for folder, folders, names in os.walk(self.root, followlinks=self._follow):
            for name in list(folders):
                place = os.path.join(folder, name)
                if os.path.islink(place):
                    if not self._follow:
                        yield f"{self._shown(place)}/", place, "is a link to a folder (--follow-links follows it)"
                    elif (led := os.path.realpath(place)) in met:
                        folders.remove(name)
                        yield f"{self._shown(place)}/", place, "is a link to a folder that was read already"
                    else:
                        met.add(led)
                elif name.lower().endswith(self._suffixes):
                    yield self._shown(place), place, "is a folder, expected a picture"
            for name in names:
                place = os.path.join(folder, name)
                yield self._shown(place), place, None

    def _shown(self, place: str) -> str:
        return os.fsencode(os.path.relpath(place, self.root)).decode(errors="backslashreplace")

    def places(self) -> list[Path]:
        return [self.root]

    def encoded(self, picture: Picture) -> str:
        if picture.problem:
            raise BadRow(picture.problem)
        if not self._follow:
            refuse_link_out(picture.place)
        return picture.place

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return {}, checked(read_file(self.encoded(picture), MAX_IMAGE_BYTES, self._follow))

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for picture in self._pictures:
            found = os.stat(picture.place, follow_symlinks=self._follow and os.path.exists(picture.place))
            total.update(f"{picture.name}/{found.st_size}/{found.st_mtime_ns}\n".encode())
        return total.hexdigest()


class FilePictures(FolderPictures):
    """Pictures that were named one by one."""

    def __init__(self, files: Sequence[Path]):
        self._named = [file.resolve() for file in files]
        if missing := [str(file) for file in self._named if not file.is_file()]:
            raise FileNotFoundError(
                f"{missing[0]} is no file ({len(missing)} of {len(files)} are none); give {WANTED}"
            )
        self.root, self._follow = Path(os.path.commonpath([file.parent for file in self._named])), False
        found = sorted({(os.path.relpath(file, self.root), str(file)) for file in self._named})
        self._pictures, self.passed_over = _numbered((name, place, None) for name, place in found), 0

    def places(self) -> list[Path]:
        return self._named


class TarPictures(Listed):
    """The pictures of a plain tar. A compressed one would have to be unpacked from its start for every picture."""

    origin = UNKNOWN

    def __init__(self, path: Path, annotated: str | None = None, suffixes: Sequence[str] = IMAGE_SUFFIXES):
        self.root = path.resolve()
        self._tar = Tar(self.root, WANTED)
        self._pictures, self.passed_over = _plain(self.root, self._files(), annotated, suffixes)

    def _files(self) -> Iterator[tuple[str, Member, str | None]]:
        for member in self._tar.members():
            if member.kind != "folder":
                name = member.name.removeprefix("./").encode(errors="surrogateescape")
                yield name.decode(errors="backslashreplace"), member, _odd(member)

    def places(self) -> list[Path]:
        return [self.root]

    def encoded(self, picture: Picture) -> bytes:
        if picture.problem:
            raise BadRow(picture.problem)
        return self._tar.content(picture.place)

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return {}, checked(self.encoded(picture))

    def fingerprint(self) -> str:
        found = self.root.stat()
        total = hashlib.sha256(f"{found.st_size}/{found.st_mtime_ns}\n".encode())
        for picture in self._pictures:
            total.update(f"{picture.name}/{picture.place[1:3]}\n".encode())
        return total.hexdigest()


def _odd(member: Member) -> str | None:
    if member.kind != "file":
        return "is a link, a device or a file with holes in the archive, expected a file"
    if member.size > MAX_IMAGE_BYTES:
        return f"image has {member.size} bytes, expected 1 to {MAX_IMAGE_BYTES}"
    return None


class ZipPictures(Listed):
    """The pictures of a zip archive, whole or in pieces."""

    origin = UNKNOWN

    def __init__(self, path: Path, annotated: str | None = None, suffixes: Sequence[str] = IMAGE_SUFFIXES):
        self.root = path.resolve()
        (pieces,) = find_archives(path)
        self._archive = Archive([piece.resolve() for piece in pieces])
        self._bytes = 0
        self._pictures, self.passed_over = _plain(self.root, self._files(), annotated, suffixes)
        if self._bytes > MAX_TOTAL_RATIO * self._archive.pieces.size:
            raise LayoutError(
                f"the {self._archive.pieces.size} bytes of {self._archive.name} unpack to {self._bytes}: over "
                f"{MAX_TOTAL_RATIO} times as many. These are no pictures"
            )

    def _files(self) -> Iterator[tuple[str, int, str | None]]:
        for entry in self._archive.entries():
            if not entry.name.endswith(b"/"):
                self._bytes += entry.size
                yield entry.text(), entry.at, entry.problem()

    def places(self) -> list[Path]:
        return self._archive.pieces.paths

    def encoded(self, picture: Picture) -> bytes:
        if picture.problem:
            raise BadRow(picture.problem)
        try:
            return self._archive.content(self._archive.entry(picture.place), MAX_IMAGE_BYTES)
        except LayoutError as error:  # it was listed, so it has changed since
            raise BadRow(f"cannot be opened: {error}") from error

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return {}, checked(self.encoded(picture))

    def fingerprint(self) -> str:
        return self._archive.digest().hex()


class HeldPictures(Listed):
    """Pictures in memory: PIL images, or (height, width, 3) uint8 arrays, which are RGB."""

    origin = UNKNOWN
    passed_over = 0
    root = Path("pictures")

    def __init__(self, items: Sequence[np.ndarray | Image.Image]):
        if not len(items):
            raise NoPictures(f"there is no picture in the list; give {WANTED}")
        for number, item in enumerate(items):
            if isinstance(item, np.ndarray) and (item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3):
                found = f"picture {number} is {item.dtype} of shape {item.shape}"
                raise ValueError(f"{found}, expected uint8 (height, width, 3), RGB")
        self._items = items
        self._pictures = [Picture(f"no_human/{n}", str(n - 1), n - 1) for n in range(1, len(items) + 1)]

    def places(self) -> list[Path]:
        return []

    def encoded(self, picture: Picture) -> np.ndarray | Image.Image:
        return self._items[picture.place]

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        file = io.BytesIO()
        Image.fromarray(decode(self.encoded(picture))).save(file, "PNG")
        return {}, file.getvalue()

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for item in self._items:
            pixels = decode(item)
            total.update(f"{pixels.shape}\n".encode() + pixels.tobytes())
        return total.hexdigest()


def _plain(
    root: Path, files: Iterable[tuple[str, Any, str | None]], annotated: str | None, suffixes: Sequence[str]
) -> tuple[list[Picture], int]:
    """The pictures among (name, place, problem), numbered by name, and how many others there are.

    A name that ends in / is that of a folder that cannot be looked into: nobody knows whether it holds pictures.

    Raises:
        LayoutError: there is none; or there are annotations, and `annotated` says what to do about them.
    """
    found, passed_over = [], 0
    for name, place, problem in files:
        if is_system_file(name):
            passed_over += 1
            continue
        *folders, file = name.split("/")
        if annotated and ("annotations" in folders[-1:] or file in FILES.values()):
            raise LayoutError(f"{root} holds {name}, so something is known of its faces already; {annotated}")
        if not file or os.path.splitext(file)[1].lower() in suffixes:
            found.append((name, place, problem))
        else:
            passed_over += 1
    if not found:
        raise NoPictures(f"{root} holds no {', '.join(suffixes)} ({passed_over} other files); give {WANTED}")
    return _numbered(sorted(found, key=lambda file: file[:2])), passed_over


def _numbered(found: Iterable[tuple[str, Any, str | None]]) -> list[Picture]:
    found = list(found)
    counts = Counter(name for name, _, _ in found)
    again = "stands {} times in the archive, expected once"
    return [
        Picture(f"no_human/{number}", name, place, problem if counts[name] == 1 else again.format(counts[name]))
        for number, (name, place, problem) in enumerate(found, start=1)
    ]
