"""What may be labelled: plain pictures, in a folder or an archive, and faces of which something is known already.

Archives are read where they lie and nothing of them is unpacked to disk, so that it does not matter where the names in
a tar point to. What is read is one picture at a time, of at most `MAX_IMAGE_BYTES`.
"""

import hashlib
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from affectnet_plus import IMAGE_SUFFIXES, MAX_IMAGE_BYTES, BadRow, LayoutError, check_image, read_file

from ..preparing.manifest import MANIFEST
from ..sources.delivered import Source, open_source
from ..sources.older_csv import FILES
from ..sources.zip_archive import Archive
from ..sources.zips import MAX_TOTAL_RATIO, find_archives
from ..terms import UNKNOWN

_WHOLE = re.compile(r"[0-9]{1,18}")
_WANTED = "a folder, tar or zip of pictures, an AffectNet+ tree or its zips, or a folder that prepare wrote"


class Picture(NamedTuple):
    """One picture that may be labelled.

    `image_id` is the one that it gets, `split/stem`; `name` is the one that it has where it comes from, and `place`
    is for `Images.read` alone. `problem` says why it cannot be read, as far as its name tells that.
    """

    image_id: str
    name: str
    place: Any
    problem: str | None = None


class Images(Protocol):
    """Pictures to label. `origin` says whose faces they are; `passed_over` counts files that are no pictures by name.

    It is used by one thread at a time.
    """

    root: Path
    origin: str
    passed_over: int

    def pictures(self) -> list[Picture]:
        """All of them, in an order that depends on nothing but the names."""

    def places(self) -> list[Path]:
        """The folders and files that hold the pictures: nothing may be written over them."""

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        """What is known of a face, as columns of `affectnet_plus.features`, and its picture, a whole JPEG or PNG.

        Raises:
            BadRow: it cannot be read; the message is the reason.
        """

    def fingerprint(self) -> str:
        """Hexadecimal digest that changes when a picture comes, goes, or is written anew."""


def open_images(path) -> Images:
    """The reader for what lies at `path`.

    A folder or zip is an AffectNet+ tree, or an older release, if `open_source` takes it, and pictures otherwise.

    Raises:
        FileNotFoundError: nothing is there.
        LayoutError: it is nothing that can be labelled; or it holds annotations that cannot be read as they are, and
            would be lost if its faces were taken for plain pictures.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give {_WANTED}")
    if (path / MANIFEST).is_file():
        return PreparedFaces(path)
    if path.is_file() and not find_archives(path):
        return TarPictures(path)
    try:
        return SourceFaces(open_source(path))
    except LayoutError as error:
        why = str(error)
    return FolderPictures(path, why) if path.is_dir() else ZipPictures(path, why)


# --- plain pictures --------------------------------------------------------------------------------------------------


class FolderPictures:
    """The pictures of a folder and its folders; a link to a folder is not followed."""

    origin = UNKNOWN

    def __init__(self, folder: Path, why: str):
        self.root = folder.resolve()
        self._pictures, self.passed_over = _plain(self.root, self._files(), why)

    def _files(self) -> Iterator[tuple[str, str, str | None]]:
        for folder, _, names in os.walk(self.root):
            for name in names:
                place = os.path.join(folder, name)
                shown = os.fsencode(os.path.relpath(place, self.root)).decode(errors="backslashreplace")
                yield shown, place, None

    def pictures(self) -> list[Picture]:
        return self._pictures

    def places(self) -> list[Path]:
        return [self.root]

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return {}, _checked(read_file(picture.place, MAX_IMAGE_BYTES))

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for picture in self._pictures:
            found = os.stat(picture.place, follow_symlinks=False)
            total.update(f"{picture.name}/{found.st_size}/{found.st_mtime_ns}\n".encode())
        return total.hexdigest()


class TarPictures:
    """The pictures of a plain tar. A compressed one would have to be unpacked from its start for every picture."""

    origin = UNKNOWN

    def __init__(self, path: Path):
        self.root = path.resolve()
        why = "of a tar only the pictures are read. Extract it, and give the folder"
        self._pictures, self.passed_over = _plain(self.root, self._files(), why)

    def _files(self) -> Iterator[tuple[str, tuple[int, int], str | None]]:
        try:
            with tarfile.open(self.root, "r:") as tar:
                for member in tar:
                    tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                    if not member.isdir():
                        name = member.name.removeprefix("./").encode(errors="surrogateescape")
                        yield name.decode(errors="backslashreplace"), (member.offset_data, member.size), _odd(member)
        except tarfile.TarError as error:
            raise LayoutError(
                f"{self.root} is not a whole, uncompressed tar ({error}). Fetch it again, decompress it, or give "
                f"{_WANTED}"
            ) from error

    def pictures(self) -> list[Picture]:
        return self._pictures

    def places(self) -> list[Path]:
        return [self.root]

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        offset, size = picture.place
        if picture.problem:
            raise BadRow(picture.problem)
        with open(self.root, "rb", buffering=0) as file:
            content = os.pread(file.fileno(), size, offset)
        if len(content) < size:
            raise BadRow(f"has {len(content)} of its {size} bytes: the tar is cut off")
        return {}, _checked(content)

    def fingerprint(self) -> str:
        found = self.root.stat()
        total = hashlib.sha256(f"{found.st_size}/{found.st_mtime_ns}\n".encode())
        for picture in self._pictures:
            total.update(f"{picture.name}/{picture.place}\n".encode())
        return total.hexdigest()


def _odd(member: tarfile.TarInfo) -> str | None:
    if not member.isreg() or member.issparse():
        return "is a link, a device or a file with holes in the archive, expected a file"
    if member.size > MAX_IMAGE_BYTES:
        return f"image has {member.size} bytes, expected 1 to {MAX_IMAGE_BYTES}"
    return None


class ZipPictures:
    """The pictures of a zip archive, whole or in pieces."""

    origin = UNKNOWN

    def __init__(self, path: Path, why: str):
        self.root = path.resolve()
        (pieces,) = find_archives(path)
        self._archive = Archive([piece.resolve() for piece in pieces])
        self._bytes = 0
        self._pictures, self.passed_over = _plain(self.root, self._files(), why)
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

    def pictures(self) -> list[Picture]:
        return self._pictures

    def places(self) -> list[Path]:
        return self._archive.pieces.paths

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        if picture.problem:
            raise BadRow(picture.problem)
        try:
            entry = self._archive.entry(picture.place)
            return {}, _checked(self._archive.content(entry, MAX_IMAGE_BYTES))
        except LayoutError as error:  # it was listed, so it has changed since
            raise BadRow(f"cannot be opened: {error}") from error

    def fingerprint(self) -> str:
        return self._archive.digest().hex()


def _checked(content: bytes) -> bytes:
    check_image(content)
    return content


def _plain(root: Path, files: Iterable[tuple[str, Any, str | None]], why: str) -> tuple[list[Picture], int]:
    """The pictures among (name, place, problem), numbered by name, and how many others there are."""
    found, passed_over = [], 0
    for name, place, problem in files:
        *folders, file = name.split("/")
        if "annotations" in folders[-1:] or file in FILES.values():
            raise LayoutError(f"{root} holds {name}, so something is known of its faces already; {why}")
        if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES and "__MACOSX" not in folders:
            found.append((name, place, problem))
        else:
            passed_over += 1
    if not found:
        raise LayoutError(f"{root} holds no {', '.join(IMAGE_SUFFIXES)} ({passed_over} other files); give {_WANTED}")
    counts = Counter(name for name, _, _ in found)
    again = "stands {} times in the archive, expected once"
    return [
        Picture(f"no_human/{number}", name, place, problem if counts[name] == 1 else again.format(counts[name]))
        for number, (name, place, problem) in enumerate(sorted(found, key=lambda file: file[:2]), start=1)
    ], passed_over


# --- faces of which something is known -------------------------------------------------------------------------------


class SourceFaces:
    """The faces of an AffectNet+ tree, of its zips, or of an older release."""

    passed_over = 0

    def __init__(self, source: Source):
        self.root, self.origin, self._source = source.root, source.origin, source
        faces = (face for split in source.splits() for face in source.faces(split))
        found = [Picture(face.image_id, face.image_id, face, face.problem) for face in faces]
        self._pictures = _with_whole_stems(found)

    def pictures(self) -> list[Picture]:
        return self._pictures

    def places(self) -> list[Path]:
        return self._source.places()

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        return self._source.read(picture.name.split("/")[0], picture.place)

    def fingerprint(self) -> str:
        return self._source.fingerprint()


class PreparedFaces:
    """A folder that `prepare` wrote, or a copy of a published one."""

    passed_over = 0

    def __init__(self, folder: Path):
        self.root = folder.resolve()
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            self.origin = manifest["source"]["origin"]
            self._raw = manifest["source"]["path"]
            self._files = [self.root / name for name in manifest["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise LayoutError(f"{folder / MANIFEST} is not one that prepare wrote; prepare again") from error
        self._group: tuple[tuple[int, int], pa.Table] | None = None  # the last that was read from
        self._pictures = _with_whole_stems(list(self._list()))

    def _list(self) -> Iterator[Picture]:
        for number, file in enumerate(self._files):
            with pq.ParquetFile(file) as opened:
                for group in range(opened.num_row_groups):
                    names = opened.read_row_group(group, ["image_id"])["image_id"].to_pylist()
                    yield from (Picture(name, name, (number, group, row)) for row, name in enumerate(names))

    def pictures(self) -> list[Picture]:
        return self._pictures

    def places(self) -> list[Path]:
        return [self.root] + ([Path(self._raw)] if self._raw else [])

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        number, group, row = picture.place
        if self._group is None or self._group[0] != (number, group):
            with pq.ParquetFile(self._files[number]) as opened:
                self._group = (number, group), _without_extensions(opened.read_row_group(group))
        table = self._group[1]
        known = {name: table[name][row].as_py() for name in table.column_names}
        image = known.pop("image")
        content = read_file(image["path"], MAX_IMAGE_BYTES) if image["bytes"] is None else image["bytes"]
        return known, _checked(content)

    def fingerprint(self) -> str:
        return hashlib.sha256((self.root / MANIFEST).read_bytes()).hexdigest()


def _without_extensions(table: pa.Table) -> pa.Table:
    """The same with landmarks as lists: as arrays, null ones would be full of NaN."""
    plain = {
        name: pa.chunked_array([chunk.storage for chunk in column.chunks])
        if isinstance(column.type, pa.ExtensionType)
        else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(plain)


def _with_whole_stems(pictures: list[Picture]) -> list[Picture]:
    """The pictures, numbered anew in each split where a stem is no whole number, as a tree cannot hold it then.

    Those that cannot be read do not count: they are in no tree.
    """
    if all(picture.problem or _WHOLE.fullmatch(picture.image_id.partition("/")[2]) for picture in pictures):
        return pictures
    numbers: Counter[str] = Counter()
    found = []
    for picture in pictures:
        split = picture.image_id.split("/")[0]
        numbers[split] += 1
        found.append(picture._replace(image_id=f"{split}/{numbers[split]}"))
    return found
