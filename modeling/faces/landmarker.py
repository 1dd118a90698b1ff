"""What an adapter gives: the 68 points of the face in a picture, or None.

Points are (x, y) in pixels of the picture, iBUG order; (0, 0) is the centre of the upper left pixel (`images`).
"""

from typing import NamedTuple, Protocol

import numpy as np

FRAME = 0.25  # of the longer side; without it, detectors miss faces that fill their picture


class FoundFace(NamedTuple):
    """landmarks_68: (68, 2) float64. blendshapes: name -> [0, 1]; None where the model has none."""

    landmarks_68: np.ndarray
    blendshapes: dict[str, float] | None = None


class Landmarker(Protocol):
    """A model that is loaded. `name` is what it is called in reasons and reports."""

    name: str

    def find(self, picture: np.ndarray) -> FoundFace | None:
        """The face in a (height, width, 3) uint8 RGB picture, or None; of several faces, the one found best."""

    def close(self) -> None:
        """Let go of the model."""


def framed(picture: np.ndarray) -> tuple[np.ndarray, int]:
    """The picture with a black frame of `FRAME`, and the frame's width in pixels: what the points are to be moved by.

    Of 400 FairFace faces (224 x 224, close crops) MediaPipe finds 336 bare, 367, 370 and 362 with a frame of 1/8, 1/4
    and 1/2; dlib 298 bare and 306 with 1/4. Of 200 FER+ faces MediaPipe finds 174 bare and 198 with 1/4. A frame that
    repeats the edge is worse (184).
    """
    width = round(FRAME * max(picture.shape[:2]))
    return np.pad(picture, ((width, width), (width, width), (0, 0))), width
