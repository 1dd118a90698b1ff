"""Pixels of what `open_pictures` opened, by the rule that fits: strict for data sets, lenient for anybody's photos."""

from typing import cast

import numpy as np

from .. import images
from ..vit.photos import read_photo
from .plain_pictures import FolderPictures, TarPictures, ZipPictures
from .readers import Images, Picture

_PLAIN = (FolderPictures, TarPictures, ZipPictures)  # and FilePictures, which are some of a folder


def pixels_of(opened: Images, picture: Picture) -> tuple[np.ndarray, float]:
    """(height, width, 3) uint8 RGB, upright, and how many pixels of the picture itself one of these is wide.

    What `images` does not take of plain pictures, such as a WebP or one of 100 megapixels, is read by `vit.photos`.

    Raises:
        BadRow, OSError: it cannot be read; the message is the reason.
    """
    encoded = opened.encoded(picture)
    try:
        return images.decode(encoded), 1.0
    except OSError:
        if not isinstance(opened, _PLAIN):
            raise
    photo = read_photo(cast(str | bytes, encoded))
    pixels = np.asarray(photo.image)
    return pixels, photo.size[0] / pixels.shape[1]
