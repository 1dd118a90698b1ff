"""Where a head looks: yaw, pitch and roll by PnP, from those of the 68 points that no expression moves.

**Points.** The nose (27 to 35) and the corners of the eyes (36, 39, 42, 45). Jaw, brows and mouth move with the
expression, and iBUG's contour is the visible one, which slides over the head as it turns.

**Face.** MediaPipe's canonical face model (Apache-2.0), a mean face in centimetres, at the vertices that stand for
these points (`mediapipe_face`); here in millimetres, x to the image's right, y down, z towards the viewer.

**Camera** (ours; a crop does not tell). Its axis goes through the middle of the picture and its focal length is
`FOCAL` of the longer side, as if a face had been photographed from 1 m and 0.2 m of it cut out. At 1 or 20 in place of
5, the mean difference from MediaPipe's own pose changes by half a degree.

**Angles**, as in the drawn faces: the head nods (pitch) first, then turns (yaw), then tilts (roll). A positive yaw
turns the face to the image's right, a positive pitch lifts it, a positive roll tilts it clockwise in the image. Zero
is MediaPipe's own: the canonical face looking into the camera. AffectNet+ does not say what the unit, the signs and
the zero of its `pose` are; no claim is made that these are the same.

**How good.** On FairFace faces, the mean difference from the pose that MediaPipe fits to its 478 points:

| points of | faces | yaw, pitch, roll: degrees | correlation |
| --- | --- | --- | --- |
| MediaPipe | 370 | 1.9, 3.5, 1.2 | .99, .92, .93 |
| ONNX | 358 | 3.1, 5.1, 2.2 | .96, .87, .80 |
| dlib | 305 | 3.0, 4.3, 1.5 | .96, .89, .80 |

Drawn faces have flatter noses: there the correlation with the true pose is .99, .92 and .98, the yaw comes out at
0.77 of what it is, and the pitch 6 degrees too low.

It is a least-squares fit of six numbers, which scipy does; OpenCV's `solvePnP`, to which the tests compare it, would
be one more dependency for one function.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from ..sources.synthetic.shape import rotation

FOCAL = 5.0
POINTS = (27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45)
FACE = np.array(
    [
        [0, -27.5, -0.3],
        [0, -15.8, 7.8],
        [0, -1.9, 17.4],
        [0, 9.9, 23.2],
        [-12.4, 21.1, 2.1],
        [-6, 25.4, 6],
        [0, 26.1, 7.9],
        [6, 25.4, 6],
        [12.4, 21.1, 2.1],
        [-44.5, -21.4, -21],
        [-18.6, -20.6, -15.1],
        [18.6, -20.6, -15.1],
        [44.5, -21.4, -21],
    ]
)


class HeadPose(NamedTuple):
    """Radians."""

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks_68: np.ndarray, size: tuple[int, int]) -> HeadPose:
    """The pose that takes the canonical face to the points with the least sum of squared distances in the picture.

    Args:
        landmarks_68: (68, 2) pixels, iBUG order.
        size: (width, height) of the picture.

    Raises:
        ValueError: the shape is another, a point is not finite, or the points of nose and eyes lie in one line.
    """
    points = np.asarray(landmarks_68, dtype=float)
    if points.shape != (68, 2):
        raise ValueError(f"landmarks have the shape {points.shape}, expected (68, 2)")
    seen = points[list(POINTS)] - (np.asarray(size) - 1) / 2
    if not np.isfinite(seen).all() or np.linalg.matrix_rank(seen - seen.mean(axis=0)) < 2:
        raise ValueError("the points of nose and eyes are not finite or lie in one line; expected those of a face")
    focal = FOCAL * max(size)
    start, scale = _from_afar(seen)
    middle = seen.mean(axis=0)

    def errors(place: np.ndarray) -> np.ndarray:
        return (_project(place, focal) - seen).ravel() / scale  # in mm of the face, whatever the picture's size

    fit = least_squares(errors, [*start, np.log(focal / scale), *middle / scale], method="lm", xtol=1e-10)
    yaw, pitch, roll = _angles(rotation(*fit.x[:3]))
    return HeadPose(yaw, pitch, roll)


def _project(place: np.ndarray, focal: float) -> np.ndarray:
    """Pixels of FACE at (yaw, pitch, roll, log of its distance in mm, x and y of its middle in mm)."""
    distance = np.exp(place[3])
    turned = FACE @ rotation(*place[:3]).T
    return focal * (turned[:, :2] + place[4:]) / (distance - turned[:, 2:])


def _from_afar(seen: np.ndarray) -> tuple[np.ndarray, float]:
    """Angles and pixels per mm as a camera at infinity would have it: the first step of DeMenthon and Davis 1995."""
    across, down = np.linalg.lstsq(FACE, seen - seen.mean(axis=0), rcond=None)[0].T
    scale = np.sqrt(np.linalg.norm(across) * np.linalg.norm(down))
    across = across / np.linalg.norm(across)
    out = np.cross(across, down)
    out /= np.linalg.norm(out)
    return np.array(_angles(np.stack([across, np.cross(out, across), out]))), float(scale)


def _angles(matrix: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll of `rotation(yaw, pitch, roll)`, for a yaw of at most a quarter turn."""
    yaw = np.arcsin(np.clip(-matrix[2, 0], -1, 1))
    return float(yaw), float(np.arctan2(matrix[2, 1], matrix[2, 2])), float(np.arctan2(matrix[1, 0], matrix[0, 0]))
