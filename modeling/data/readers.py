"""What a reader of pictures is: what `open_pictures` gives, wherever the pictures lie."""

import copy
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from PIL import Image

from affectnet_plus import LayoutError, check_image

WANTED = (
    "a folder, tar or zip of pictures, a picture, a Parquet file, an AffectNet+ tree or its zips, or a folder that "
    "prepare wrote"
)
# What `images.decode` takes: the path of a file, its content, or a picture in memory.
Encoded = str | Path | bytes | np.ndarray | Image.Image


class NoPictures(LayoutError, FileNotFoundError):
    """There is something, and no picture in it; the message says what there is and what to give."""


class Picture(NamedTuple):
    """One picture.

    `image_id` is the one that it gets in a tree, `split/stem`; `name` is the one that it has where it comes from, and
    `place` is for its reader alone. `problem` says why it cannot be read, as far as its name tells that.
    """

    image_id: str
    name: str
    place: Any
    problem: str | None = None


class Reader(Protocol):
    """What reads pictures that somebody else may have listed."""

    def without_list(self) -> Self:
        """The same reader, which lists nothing any more: other processes are sent it, and the pictures one by one."""

    def read(self, picture: Picture) -> tuple[dict, bytes]:
        """What is known of a face, as columns of `affectnet_plus.features`, and its picture, a whole JPEG or PNG.

        Raises:
            BadRow: it cannot be read; the message is the reason.
        """


class Images(Reader, Protocol):
    """Pictures. `origin` says whose faces they are; `passed_over` counts files that are no pictures by name."""

    root: Path
    origin: str
    passed_over: int

    def pictures(self) -> list[Picture]:
        """All of them, in an order that depends on nothing but the names."""

    def places(self) -> list[Path]:
        """The folders and files that hold the pictures: nothing may be written over them."""

    def encoded(self, picture: Picture) -> Encoded:
        """What `images.decode` makes pixels of. Threads may share the reader for this.

        Raises:
            BadRow: it cannot be fetched; the message is the reason.
        """

    def fingerprint(self) -> str:
        """Hexadecimal digest that changes when a picture comes, goes, or is written anew."""


class Listed:
    """What all readers have that know their pictures from the start."""

    _pictures: list[Picture]

    def pictures(self) -> list[Picture]:
        return self._pictures

    def without_list(self) -> Self:
        one = copy.copy(self)
        one._pictures = []
        return one


def checked(content: bytes) -> bytes:
    """The content of one whole JPEG or PNG.

    Raises:
        BadRow: it is none.
    """
    check_image(content)
    return content
