"""The one rule for pictures, and the one place that makes pixels of them.

A picture is a JPEG or PNG by its content, whatever its name says, of at most `MAX_IMAGE_BYTES`, and `MAX_IMAGE_SIDE`
pixels a side. Its pixels are

* upright: turned as its EXIF orientation says. `datasets` and the stock pipelines turn it too, so landmarks are pixels
  of the upright picture. (0, 0) is the centre of the pixel in the upper left corner, x goes right and y down.
* RGB of 8 bits, in the picture's own size, odd or even. Grey becomes three equal channels. CMYK becomes RGB by
  Pillow's convert, which takes it as inverted, as Adobe writes it. Of 16 bits the upper 8 count.
* without alpha: transparency is dropped, and the colour that the file has beneath it counts.

This is what `transformers.image_utils.load_image` does, by which the stock pipelines read, with one exception: there,
all but the darkest 255 of 65,536 levels of a grey PNG of 16 bits become white, and the face is gone.

This is the rule of data sets. Photos as people have them are read by a wider one, `vit.photos`.

Pillow decodes. Where simplejpeg is installed (the extra `fast`), it decodes the plain JPEGs, about three times as
fast. It calls the same library with the same settings, and the pixels are the same: the tests compare them.
"""

import importlib.util
import os
import stat
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from affectnet_plus import MAX_IMAGE_BYTES, MAX_IMAGE_SIDE

FAST = importlib.util.find_spec("simplejpeg") is not None  # False: Pillow decodes everything
if FAST:
    import simplejpeg


def decode(source: str | Path | bytes | np.ndarray | Image.Image, out: np.ndarray | None = None) -> np.ndarray:
    """The pixels of one picture, (height, width, 3) uint8, by the rule above.

    Args:
        source: a path, the content of the file, or what is decoded already: a (height, width, 3) uint8 RGB array, or
            a PIL image, which stays as it is.
        out: C-contiguous (height, width, 3) uint8 to write to, and then returned: the picture is resized to it.

    Raises:
        OSError: it is no such picture; the message names the path.
    """
    if isinstance(source, (np.ndarray, Image.Image)):
        held = source if isinstance(source, np.ndarray) else _upright_rgb(source.copy())
        return held if out is None else _put(held, out)
    name = "embedded image" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else _read(source)
        if not 0 < len(data) <= MAX_IMAGE_BYTES:
            raise ValueError(f"it has {len(data)} bytes, expected 1 to {MAX_IMAGE_BYTES}")
        picture = _decode_plain_jpeg(data, out) if FAST else None
        if picture is None:
            picture = _decode_with_pillow(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # the kinds that Pillow raises
        # Pillow's own words for what it does not know have an address of memory.
        said = "it is neither" if isinstance(error, UnidentifiedImageError) else error
        raise OSError(f"{name} cannot be read as JPEG or PNG: {said}") from error
    return picture if out is None or picture is out else _put(picture, out)


def _put(picture: np.ndarray, out: np.ndarray) -> np.ndarray:
    out[...] = resize(picture, out.shape[1], out.shape[0])
    return out


def _read(path: str | Path) -> bytes:
    data = read_regular(path)
    if len(data) > MAX_IMAGE_BYTES:
        raise ValueError(f"it has {os.stat(path).st_size} bytes, expected 1 to {MAX_IMAGE_BYTES}")
    return data


def read_regular(path: str | Path, flags: int = 0) -> bytes:
    """What a file holds, of more than `MAX_IMAGE_BYTES` bytes only one more; it is opened once.

    Args:
        flags: further ones of `os.open`.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device.
    """
    # Without waiting: to open a pipe would take for ever.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a file")
        return os.read(file, min(found.st_size, MAX_IMAGE_BYTES) + 1)
    finally:
        os.close(file)


def _decode_plain_jpeg(data: bytes, out: np.ndarray | None) -> np.ndarray | None:
    """A JPEG in the usual colours, in `out` if it has that very size; None for all that is left to Pillow."""
    try:
        if _may_be_turned(data):
            return None
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ("YCbCr", "Gray") or max(height, width) > MAX_IMAGE_SIDE:
            return None
        if out is None or out.shape != (height, width, 3):
            return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
        simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, buffer=out)
        return out
    except (ValueError, IndexError):  # damaged: Pillow says whether that is an error, and which
        return None


def _may_be_turned(data: bytes) -> bool:
    """Whether it is anything but a JPEG of which no APP1 segment (EXIF or XMP) comes before the coded pixels."""
    place = 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker in (0xDA, 0xE1):
            return marker == 0xE1
        place += 2 + (data[place + 2] << 8 | data[place + 3])
    return True


def _decode_with_pillow(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        if max(image.size) > MAX_IMAGE_SIDE:
            raise ValueError(f"it is {image.size[0]}x{image.size[1]}, expected at most {MAX_IMAGE_SIDE} a side")
        return _upright_rgb(image)


def _upright_rgb(image: Image.Image) -> np.ndarray:
    """The pixels; the image is changed."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "I;16":
        upper = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(upper[:, :, None], 3, axis=2)
    image.info.pop("transparency", None)  # it is dropped on purpose, and Pillow would warn
    return np.array(image.convert("RGB"))


def resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A (height, width, 3) uint8 picture in another size, by Pillow's bilinear filter, which averages on shrinking."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
