"""A person's face as the camera sees it: every named point in pixels, and how to step from one in face millimetres."""

from functools import cache

import numpy as np

from . import shape
from .person import Person

SIZE = 224
_MARGIN = 6  # pixels kept free below the chin
_PIVOT = np.array([0.0, 20.0, -35.0])


class PosedFace:
    """Deformed by action units, then turned and projected in parallel (a distant camera).

    `points` is float (points, 2) in pixels, its first 68 rows the iBUG landmarks; `active` gives each unit's
    intensity in [0, 1] at the image's left and right; `scale` is pixels per millimetre.
    """

    def __init__(self, person: Person, active: np.ndarray, pose: tuple[float, float, float]):
        self.active = dict(zip(shape.ACTION_UNITS, active.T.tolist()))
        self.scale = person.size
        solid = shape.visible_contour(shape.deform(shape.person_points(person.build), active), pose[0])
        turn = shape.rotation(*pose) * self.scale
        self.points = (solid - _PIVOT) @ turn[:2].T + np.array(person.centre)
        # A dropped jaw of a large face would leave the picture: move the face up as a photographer would.
        self.points[:, 1] -= max(0.0, self.points[: shape.LANDMARKS, 1].max() - (SIZE - _MARGIN))
        (self._xx, self._xy, self._xz), (self._yx, self._yy, self._yz) = turn[:2].tolist()
        self._places = self.points.tolist()
        self.roll, self.yaw = pose[2], pose[0]

    def at(self, key, dx: float = 0.0, dy: float = 0.0, dz: float = 0.0) -> tuple[float, float]:
        """Pixel of a named point moved by face millimetres (x to the image's right, y down, z out of the face)."""
        x, y = self._places[key if isinstance(key, int) else shape.POINTS[key]]
        return (x + self._xx * dx + self._xy * dy + self._xz * dz, y + self._yx * dx + self._yy * dy + self._yz * dz)

    def between(self, first, second, share: float, dx: float = 0.0, dy: float = 0.0, dz: float = 0.0):
        """Pixel of the point `share` of the way from one named point to another, moved as in `at`."""
        (x0, y0), (x1, y1) = self.at(first, dx, dy, dz), self.at(second, dx, dy, dz)
        return (x0 + share * (x1 - x0), y0 + share * (y1 - y0))


@cache
def _spline_matrix(count: int, steps: int, closed: bool) -> np.ndarray:
    """Weights of a Catmull-Rom curve through `count` points with `steps` samples per span."""
    spans = count if closed else count - 1
    rows = []
    for span in range(spans):
        for t in np.arange(steps) / steps:
            row = np.zeros(count)
            basis = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
            for offset, weight in enumerate(basis):
                index = span + offset - 1
                row[index % count if closed else min(max(index, 0), count - 1)] += weight / 2
            rows.append(row)
    if not closed:
        rows.append(np.eye(count)[-1])
    return np.array(rows)


def curve(points, steps: int = 6, closed: bool = False) -> np.ndarray:
    """Smooth float (samples, 2) curve through the given points."""
    points = np.asarray(points, dtype=float)
    return _spline_matrix(len(points), steps, closed) @ points


@cache
def _taper(count: int) -> np.ndarray:
    return np.sin(np.pi * np.linspace(0, 1, count) ** 0.8)[:, None]


def lens(line: np.ndarray, width: float) -> np.ndarray:
    """Polygon along a curve, `width` pixels wide in its middle and tapering to both ends."""
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / (np.hypot(along[:, 0], along[:, 1]) + 1e-6)[:, None]
    offset = normal * _taper(len(line)) * (width / 2)
    return np.concatenate([line + offset, (line - offset)[::-1]])


OVERSAMPLING = 2


def flat(points) -> list[float]:
    """Pixel points as the flat list ImageDraw takes, on the oversampled canvas."""
    return (np.asarray(points) * OVERSAMPLING).ravel().tolist()


def rgb(colour) -> tuple[int, int, int]:
    """A float colour as ImageDraw takes it, clipped to 0..255."""
    red, green, blue = colour
    return (min(255, max(0, int(red))), min(255, max(0, int(green))), min(255, max(0, int(blue))))
