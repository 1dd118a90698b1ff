"""Photos as people have them, as upright RGB pictures of 8 bits. Travels with every published model.

A photo is told by its content: JPEG, PNG, WebP, BMP, GIF (its first picture), TIFF, and HEIC where `pillow-heif` is
installed; of at most `MAX_BYTES` and `MAX_PIXELS`. What is larger than `MAX_SIDE` a side is shrunk to that, a JPEG
while it is decoded. It is turned as its EXIF says, transparency is dropped, and of 16 bits the upper 8 count.

Pictures of a data set have a stricter rule, that of the package's `images`.
"""

import importlib
import importlib.util
import os
import stat
import warnings
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_BYTES = 100_000_000
MAX_PIXELS = 100_000_000
MAX_SIDE = 4096
NAMES = "JPEG, PNG, WebP, BMP, GIF, TIFF or HEIC"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif")
# What Pillow raises for what it cannot read. SystemError: a tile beyond the picture. KeyError, TypeError: odd tags.
UNREADABLE = (OSError, SyntaxError, ValueError, SystemError, KeyError, TypeError, Image.DecompressionBombError)

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_HEIC = (b"ftypheic", b"ftypheix", b"ftypheim", b"ftyphevc", b"ftypmif1", b"ftypmsf1")
# The limit here lies between the number of pixels that Pillow warns at and the one that it refuses.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Photo(NamedTuple):
    """`image`: RGB, upright, at most `MAX_SIDE` a side; `size`: (width, height) of the photo itself, upright too."""

    image: Image.Image
    size: tuple[int, int]


def read_photo(source: str | Path | bytes) -> Photo:
    """The photo of a path, or of a file's content.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is no photo by the rule above; the message names the path, and what is wrong.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        return decode_photo(source if isinstance(source, bytes) else _read(source))
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise OSError(f"{name} cannot be read as a photo: {error}") from error


def decode_photo(content: bytes) -> Photo:
    """The same of a file's content; raises what `UNREADABLE` lists."""
    if not 0 < len(content) <= MAX_BYTES:
        found = f"more than {MAX_BYTES}" if content else "no"
        raise ValueError(f"it has {found} bytes, expected 1 to {MAX_BYTES}")
    try:
        image = Image.open(BytesIO(content), formats=_formats(content))
    except UnidentifiedImageError as error:  # Pillow's own words have an address of memory
        raise ValueError(f"it is not whole, or no {NAMES}") from error
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"it is {width}x{height}, expected at most {MAX_PIXELS // 1_000_000} megapixels")
        if max(width, height) > MAX_SIDE:
            image.draft("RGB", _within(image.size))  # of a JPEG at most a half, fourth or eighth that is no smaller
        upright = as_rgb(image)
    if (width > height) != (upright.width > upright.height):
        width, height = height, width  # it was turned; a TIFF has turned itself
    if max(upright.size) > MAX_SIDE:
        upright = upright.resize(_within(upright.size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return Photo(upright, (width, height))


def as_rgb(image: Image.Image) -> Image.Image:
    """Upright RGB of 8 bits; the image itself stays as it is.

    Raises:
        ValueError: its mode has no range that is known.
    """
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have the mode {image.mode!r}, whose range is not known; convert it to 'RGB'")
    image = ImageOps.exif_transpose(image)  # a copy, even of what needs no turning
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    image.info.pop("transparency", None)  # it is dropped on purpose, and Pillow would warn
    return image.convert("RGB")


def _read(path: str | Path) -> bytes:
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device has no end
        raise ValueError("it is no file")
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _formats(content: bytes) -> tuple[str, ...]:
    if content[4:12] not in _HEIC:
        return _FORMATS
    if importlib.util.find_spec("pillow_heif") is None:
        raise ValueError("it is HEIC, which needs a package that is not here: pip install pillow-heif")
    importlib.import_module("pillow_heif").register_heif_opener()
    return (*_FORMATS, "HEIF")


def _within(size: tuple[int, int]) -> tuple[int, int]:
    scale = MAX_SIDE / max(size)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
