"""Pictures in parts that can be worked on apart, in this process or in many: runs of a list, or files that hold many.

A part is opened where it is worked on, and lists its pictures only there. So nobody holds the names of fifty million
pictures, and what a picture is called depends on nothing but its part.
"""

import copy
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from affectnet_plus import IMAGE_SUFFIXES, BadRow, LayoutError, is_system_file

from ..hub_names import is_streamed
from ..terms import UNKNOWN
from .plain_pictures import TarPictures
from .readers import Images, NoPictures, Picture, Reader, checked
from .row_pictures import ParquetPictures
from .stores import Store

PICTURES_AT_A_TIME = 2048  # of a list: what is lost, at most, when the process that works on them is killed
APART = 10**9  # between the numbers of two files: more pictures than any holds
HOLDING = (".tar", ".parquet")


class Part(NamedTuple):
    """A run of pictures, the number of the first among all; or, without pictures, the file that holds them."""

    number: int
    first: int
    pictures: list[Picture]
    file: str | None = None


class InParts(Protocol):
    """`origin` says whose faces they are, `root` where they lie; `passed_over` counts files that are no pictures."""

    root: Path | str
    kind: str
    origin: str
    passed_over: int
    count: int | None  # of all pictures, where that is known before they are read

    def parts(self) -> list[Part]:
        """All parts, in an order that depends on nothing but the names."""

    def travelling(self) -> "InParts":
        """What other processes are sent to open parts with: the same without any list."""

    def opened(self, part: Part) -> AbstractContextManager[tuple[Reader, list[Picture]]]:
        """The pictures of a part, and what reads them.

        Raises:
            LayoutError: the file is damaged.
            OSError: it cannot be fetched.
        """

    def places(self) -> list[Path]:
        """As `Images`."""

    def fingerprint(self) -> str:
        """As `Images`."""


def runs_of(pictures: list[Picture]) -> list[Part]:
    """Parts of `PICTURES_AT_A_TIME` each."""
    starts = range(0, len(pictures), PICTURES_AT_A_TIME)
    return [Part(n, start, pictures[start : start + PICTURES_AT_A_TIME]) for n, start in enumerate(starts)]


class ListedParts:
    """What `open_pictures` gives, in runs of `PICTURES_AT_A_TIME`."""

    root: Path | str
    count: int | None

    def __init__(self, images: Images):
        self.root, self.origin, self.passed_over = images.root, images.origin, images.passed_over
        self.kind, self.count = type(images).__name__, len(images.pictures())
        self._images = images

    def parts(self) -> list[Part]:
        return runs_of(self._images.pictures())

    def travelling(self) -> InParts:
        return ListedParts(self._images.without_list())

    @contextmanager
    def opened(self, part: Part) -> Iterator[tuple[Reader, list[Picture]]]:
        yield self._images, part.pictures

    def places(self) -> list[Path]:
        return self._images.places()

    def fingerprint(self) -> str:
        return self._images.fingerprint()


class StoredParts:
    """Files that hold many pictures each, tars (as of WebDataset) or Parquet files; or loose pictures, by an address.

    They are plain pictures: of what else the files say nothing is known. Each number is that of the picture in its
    file, and 10^9 more for each file before. A file is fetched whole while it is read, unless it lies on this machine.

    Args:
        where: what `Store` takes: a folder, or one such file.

    Raises:
        NoPictures: there are none.
        LayoutError: there are files of more than one of the three kinds.
        OSError: the object store cannot be asked.
    """

    root: Path | str
    count: int | None = None
    origin = UNKNOWN
    passed_over = 0

    def __init__(self, where):
        self.store = Store(where)
        self.root = self.store.where
        name = self.store.where.rpartition("/")[2]
        if name.lower().endswith(HOLDING):
            self.store = Store(self.store.where.removesuffix(f"/{name}") + self.store.options)
            found = [file for file in self.store.names() if file[0] == name]
        else:
            found = [file for file in self.store.names(deep=True) if not is_system_file(file[0])]
        kinds = {kind: [f for f in found if f[0].lower().endswith(kind)] for kind in HOLDING}
        kinds["pictures"] = [file for file in found if file[0].lower().endswith(IMAGE_SUFFIXES)]
        there = [kind for kind, files in kinds.items() if files]
        if not there:
            raise NoPictures(f"{self.root} holds no .tar, no .parquet and no picture ({len(found)} other files)")
        if len(there) > 1:
            raise LayoutError(f"{self.root} holds {' and '.join(there)}, expected one of them; name a folder of one")
        self.kind = f"StoredParts of {there[0]}"
        self._files = kinds[there[0]]
        self.passed_over = len(found) - len(self._files)
        self._loose = there == ["pictures"]
        if self._loose:
            self.count = len(self._files)

    def parts(self) -> list[Part]:
        if self._loose:
            names = enumerate((name for name, _, _ in self._files), start=1)
            return runs_of([Picture(f"no_human/{n}", name, name) for n, name in names])
        return [Part(number, number * APART, [], name) for number, (name, _, _) in enumerate(self._files)]

    def travelling(self) -> InParts:
        one = copy.copy(self)
        one._files = []
        return one

    @contextmanager
    def opened(self, part: Part) -> Iterator[tuple[Reader, list[Picture]]]:
        if part.file is None:
            yield _Loose(self.store), part.pictures
            return
        with tempfile.TemporaryDirectory(prefix="affectnet-plus-part-") as folder:
            place = Path(self.store.place(part.file))
            if not self.store.local:
                place = Path(folder, part.file.rpartition("/")[2])
                self.store.fetch(part.file, place)
            try:
                images = TarPictures(place) if part.file.lower().endswith(".tar") else ParquetPictures(place, [place])
            except NoPictures:
                yield _Loose(self.store), []
                return
            except LayoutError as error:
                raise LayoutError(str(error).replace(str(place), self.store.place(part.file))) from error
            yield images, [_numbered(picture, part) for picture in images.pictures()]

    def places(self) -> list[Path]:
        return [Path(self.store.where)] if self.store.local else []

    def fingerprint(self) -> str:
        lines = [f"{name}/{size}/{time}\n" for name, size, time in self._files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _numbered(picture: Picture, part: Part) -> Picture:
    split, number = picture.image_id.split("/")
    return picture._replace(image_id=f"{split}/{int(number) + part.first}", name=f"{part.file}/{picture.name}")


class _Loose:
    """Reads pictures of an object store that are files of their own there."""

    def __init__(self, store: Store):
        self._store = store

    def without_list(self) -> Self:
        return self

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        try:
            content = self._store.read(picture.place)
        except FileNotFoundError as error:
            raise BadRow(f"is not there any more: {error}") from error
        return {}, checked(content)


def in_files(where) -> bool:
    """Whether `StoredParts` is to open them: pictures in tars of a folder, or what is read from an address."""
    if is_streamed(where):
        return True
    path = Path(str(where))
    return path.is_dir() and any(file.suffix.lower() == ".tar" for file in path.iterdir())
