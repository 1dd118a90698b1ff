"""The face in three dimensions: the 68 iBUG points and a few more, a person's proportions, and what each AU moves.

The point order is that of 300-W (Sagonas et al. 2013); what an action unit does is described in the Facial Action
Coding System (Ekman & Friesen 1978). All coordinates and displacements here are our own estimates.

Millimetres, origin between the eyes, x to the image's right, y down, z towards the viewer. The face is symmetric at
rest, so tables give only the image's left side and the middle line; `POINTS` names every point, `_r` mirrors `_l`.
"""

import numpy as np

from .expressions import ACTION_UNITS
from .person import Build

_JAW = [
    (-72, 2, -34),
    (-71.5, 19, -34),
    (-69.5, 36, -33),
    (-65.5, 53, -30),
    (-58, 69, -25),
    (-47, 83, -17),
    (-33, 95, -8),
    (-17, 103, 0),
    (0, 105.5, 3),
]
_BROW = [(-54, -17.5, -6), (-46, -23.5, 3), (-35.5, -25, 9), (-24.5, -23.8, 13), (-13, -21, 15)]
_RIDGE = [(0, -2, 13), (0, 11, 20), (0, 24, 28), (0, 37, 35)]
_NOSTRIL = [(-14.5, 45, 16), (-7.5, 47.5, 21), (0, 49.5, 23)]
_EYE = {
    36: (-46.5, 1, -5),
    37: (-38.5, -5.4, 1),
    38: (-27, -5.2, 3),
    39: (-17, 2.2, 0),
    40: (-26.5, 5.6, 3),
    41: (-38, 5.2, 1),
}
_MOUTH = {
    48: (-25, 72, 6),
    49: (-15.5, 68.6, 14),
    50: (-5.5, 65.6, 19),
    51: (0, 67, 20),
    57: (0, 82.5, 18),
    58: (-7, 81.8, 17),
    59: (-16, 79, 13),
    60: (-22.5, 72.2, 8),
    61: (-8.5, 72.4, 15),
    62: (0, 73, 17),
    66: (0, 73.4, 17),
    67: (-8.5, 73, 15),
}
_EXTRA = {
    "skull1": (-73, -18, -34),
    "skull2": (-71.5, -42, -34),
    "skull3": (-64, -66, -32),
    "skull4": (-49, -86, -30),
    "skull5": (-26, -99, -28),
    "top": (0, -103, -27),
    "hair1": (-70, -14, -26),
    "hair2": (-62, -42, -8),
    "hair3": (-45, -64, 4),
    "hair4": (-22, -74, 10),
    "hair_mid": (0, -76, 11),
    "cheek": (-40, 36, 2),
    "eyeball": (-32, 0.4, -3),
    "glabella": (0, -17, 14),
    "chin": (0, 95, 14),
    "forehead": (-24, -50, 9),
    "ear_top": (-71.5, -10, -40),
    "ear_back": (-86, 4, -58),
    "ear_low": (-69.5, 36, -37),
    "upper_teeth": (0, 76.5, 9),
    "lower_teeth": (0, 79.5, 8),
}
_MIDDLE = {"top", "hair_mid", "glabella", "chin", "upper_teeth", "lower_teeth"}
_PAIRS = {
    17: 26,
    18: 25,
    19: 24,
    20: 23,
    21: 22,
    31: 35,
    32: 34,
    36: 45,
    37: 44,
    38: 43,
    39: 42,
    40: 47,
    41: 46,
    48: 54,
    49: 53,
    50: 52,
    59: 55,
    58: 56,
    60: 64,
    61: 63,
    67: 65,
} | {i: 16 - i for i in range(8)}

# Half-depth of the horizontal slice through each contour point: how far the cheek bulges out when the head turns.
_SLICE_DEPTH = {
    0: 40,
    1: 40,
    2: 39,
    3: 36,
    4: 30,
    5: 22,
    6: 14,
    7: 7,
    "skull1": 44,
    "skull2": 44,
    "skull3": 40,
    "skull4": 34,
    "skull5": 26,
}

# Displacement in mm at full intensity, image's left side; the right side mirrors x.
_MOVES: dict[str, dict] = {
    "AU01": {21: (0.5, -10, 0), 20: (0.5, -7.5, 0), 19: (0, -2.5, 0), 18: (0, -0.3, 0)},
    "AU02": {17: (0, -6, 0), 18: (0, -9, 0), 19: (0, -8.5, 0), 20: (0, -4, 0), 21: (0, -1, 0)},
    "AU04": {
        21: (4.5, 9, 0),
        20: (4, 8, 0),
        19: (3, 5.5, 0),
        18: (2, 3.8, 0),
        17: (0.5, 2.2, 0),
        37: (0, 0.6, 0),
        38: (0, 0.9, 0),
    },
    "AU05": {37: (0, -3.4, 0), 38: (0, -3.6, 0), 40: (0, 0.4, 0), 41: (0, 0.4, 0)},
    "AU06": {
        40: (0, -2.0, 0),
        41: (0, -2.8, 0),
        37: (0, 0.5, 0),
        36: (0, -0.4, 0),
        17: (0, 0.8, 0),
        "cheek": (-1, -6, 3),
    },
    "AU07": {37: (0, 1.3, 0), 38: (0, 1.2, 0), 40: (0, -2.0, 0), 41: (0, -2.0, 0)},
    "AU09": {
        31: (-1.5, -4, 1),
        32: (-0.5, -3, 0),
        33: (0, -2.5, 0),
        30: (0, -2.5, 0),
        29: (0, -1, 0),
        21: (2, 4, 0),
        20: (1.5, 3, 0),
        19: (0.5, 1, 0),
        38: (0, 0.8, 0),
        40: (0, -1.2, 0),
        41: (0, -0.8, 0),
        49: (0, -1.5, 0),
        50: (0, -2, 0),
        51: (0, -2, 0),
        "cheek": (2, -5, 2),
    },
    "AU10": {
        49: (-1, -5, 1),
        50: (-0.5, -5, 1),
        51: (0, -4.2, 1),
        61: (-1, -4, 1),
        62: (0, -3.2, 1),
        60: (0, -1, 0),
        48: (0, -1, 0),
        31: (-1.2, -1.5, 0),
        "cheek": (0, -2, 1),
    },
    "AU12": {
        48: (-10, -10, -6),
        60: (-9, -9.5, -5),
        49: (-6, -4.5, -3),
        59: (-7, -5, -3),
        50: (-1.5, -0.5, -1),
        58: (-3, -0.5, -1),
        61: (-3, -1.1, -1),
        67: (-4, -0.8, -1),
        51: (0, 0.6, 0),
        62: (0, 0.2, 0),
        66: (0, 0.8, 0),
        57: (0, 0.8, 0),
        31: (-1, -0.5, 0),
        "cheek": (-3, -4, 4),
        3: (-1.5, 0, 0),
        4: (-1.5, 0, 0),
    },
    "AU14": {
        48: (-4.5, -3.5, -5),
        60: (-4.5, -3.3, -4),
        49: (-2, 0.4, -1),
        59: (-2, -1.2, -1),
        61: (-0.8, 0, 0),
        67: (-0.8, 0, 0),
    },
    "AU15": {48: (-0.5, 8.5, 0), 60: (-0.5, 8, 0), 49: (0, 2.5, 0), 59: (-1, 5, 0), 61: (0, 0.5, 0), 67: (0, 0.5, 0)},
    "AU17": {
        57: (0, -2.6, 2),
        58: (0, -2.8, 2),
        59: (0, -0.8, 1),
        66: (0, -2.6, 1),
        67: (0, -2.2, 1),
        62: (0, -2.6, 1),
        61: (0, -2.2, 1),
        51: (0, -2.4, 1),
        50: (0, -2.2, 1),
        49: (0, -0.8, 0),
        48: (0, 0.8, 0),
        60: (0, 0.8, 0),
        8: (0, -3.5, 1),
        7: (0, -3, 1),
        6: (0, -1, 0),
        "chin": (0, -4.5, 3),
    },
    "AU20": {
        48: (-10, 2.5, -6),
        60: (-9.5, 2.5, -5),
        49: (-6, 1, -3),
        59: (-7, 2, -3),
        50: (-2, 0.5, -1),
        58: (-3, 0.5, -1),
        61: (-3.5, 0, -1),
        67: (-4, 0.8, -1),
        57: (0, 0.5, 0),
        "cheek": (-1, 1, -1),
    },
    "AU23": {
        48: (3, 0, 1),
        60: (2.5, 0, 1),
        49: (1.5, 2, 0),
        50: (0, 2.6, 0),
        51: (0, 2.2, 0),
        59: (2, -2, 0),
        58: (0.5, -3, 0),
        57: (0, -3, 0),
    },
    "AU24": {
        48: (1.5, 0.5, 0),
        60: (1.5, 0.5, 0),
        49: (0.5, 1.6, 0),
        50: (0, 2.2, 0),
        51: (0, 2.2, 0),
        59: (0.5, -2, 0),
        58: (0, -2.8, 0),
        57: (0, -2.8, 0),
    },
    "AU25": {
        61: (0, -1.4, 0),
        62: (0, -1.4, 0),
        50: (0, -1, 0),
        51: (0, -1, 0),
        67: (0, 3.6, 0),
        66: (0, 4.2, 0),
        58: (0, 3, 0),
        57: (0, 3.2, 0),
        59: (0, 1.8, 0),
        "lower_teeth": (0, 2.6, 0),
    },
    "AU26": {
        67: (1, 14, -2),
        66: (0, 15.5, -2),
        58: (1, 14.5, -2),
        57: (0, 15, -2),
        59: (3, 9.5, -2),
        48: (3.5, 5, 0),
        60: (3.5, 5, 0),
        49: (1.5, 1, 0),
        61: (0.5, -0.5, 0),
        8: (0, 15, -4),
        7: (0, 14.5, -4),
        6: (0, 12.5, -3),
        5: (0.5, 9, -2),
        4: (1.5, 5, 0),
        3: (1, 2, 0),
        "chin": (0, 15, -4),
        "cheek": (2, 2, -1),
        "lower_teeth": (0, 14, -3),
    },
}


def _build_points():
    names, rest = list(range(68)), np.zeros((68, 3))
    table = dict(enumerate(_JAW)) | {17 + i: p for i, p in enumerate(_BROW)}
    table |= {27 + i: p for i, p in enumerate(_RIDGE)} | {31 + i: p for i, p in enumerate(_NOSTRIL)} | _EYE | _MOUTH
    for index, place in table.items():
        rest[index] = place
    for left, right in _PAIRS.items():
        rest[right] = rest[left] * (-1, 1, 1)
    extra = []
    for name, place in _EXTRA.items():
        if name in _MIDDLE:
            names.append(name)
            extra.append(place)
        else:
            names += [f"{name}_l", f"{name}_r"]
            extra += [place, (-place[0], place[1], place[2])]
    return {name: row for row, name in enumerate(names)}, np.concatenate([rest, np.array(extra, dtype=float)])


POINTS, REST = _build_points()
LANDMARKS = 68


def _row(key, side: int) -> int:
    if isinstance(key, int):
        return key if side == 0 else _PAIRS.get(key, key)
    return POINTS[key] if key in _MIDDLE else POINTS[f"{key}_{'lr'[side]}"]


def _build_moves() -> np.ndarray:
    moves = np.zeros((2, len(ACTION_UNITS), len(REST), 3))
    for column, unit in enumerate(ACTION_UNITS):
        for key, move in _MOVES[unit].items():
            for side, mirror in enumerate((1, -1)):
                middle = _row(key, 0) == _row(key, 1)
                moves[side, column, _row(key, side)] += np.multiply(move, (mirror, 1, 1)) * (0.5 if middle else 1)
    return moves.reshape(2 * len(ACTION_UNITS), -1)


_FLAT_MOVES = _build_moves()
_CONTOUR = np.array([[_row(key, side) for key in _SLICE_DEPTH] for side in (0, 1)])
_DEPTHS = np.array(list(_SLICE_DEPTH.values()), dtype=float)
_BACK_DEPTHS = np.array([1.4 * _SLICE_DEPTH[key] if isinstance(key, str) else 0.0 for key in _SLICE_DEPTH])
_EYES = ([36, 37, 38, 39, 40, 41, POINTS["eyeball_l"]], [45, 44, 43, 42, 47, 46, POINTS["eyeball_r"]])
_JAW_SHARE = np.array([0, 0.2, 0.45, 0.75, 1, 1, 0.8, 0.4, 0, 0.4, 0.8, 1, 1, 0.75, 0.45, 0.2, 0])
_UPPER_LIP, _LOWER_LIP = list(range(49, 54)), list(range(55, 60))


def person_points(build: Build) -> np.ndarray:
    """The rest shape of one person, float (points, 3) in mm; before any expression."""
    points = REST.copy()
    for side, eye in enumerate(_EYES):
        centre, mirror = points[eye[-1]].copy(), (1, -1)[side]
        local = (points[eye] - centre) * build.eye_size
        points[eye] = centre + local + (-mirror * build.eye_gap, 0, 0)
        points[eye, 1] += mirror * build.eye_tilt * local[:, 0]
    brows = points[17:27]
    brows[:, 1] += build.brow_height
    brows[[1, 2, 3, 6, 7, 8], 1] -= build.brow_arch
    points[31:36, 0] *= build.nose_width
    points[27:36, 1] *= build.nose_length
    points[28:31, 2] *= build.nose_length
    points[48:68, 0] *= build.mouth_width
    points[_UPPER_LIP, 1] += (points[_UPPER_LIP, 1] - 73) * (build.lip_fullness - 1)
    points[_LOWER_LIP, 1] += (points[_LOWER_LIP, 1] - 73) * (build.lip_fullness - 1)
    points[:17, 0] *= 1 + _JAW_SHARE * (build.jaw_width - 1)
    points[:, 0] *= build.face_width
    below = points[:, 1] > 0
    points[below, 1] *= build.face_length
    return points


def deform(points: np.ndarray, active: np.ndarray) -> np.ndarray:
    """The points moved by the action units, float (2, 17) in [0, 1], each in proportion to its intensity."""
    return points + (active.reshape(-1) @ _FLAT_MOVES).reshape(points.shape)


def visible_contour(points: np.ndarray, yaw: float) -> np.ndarray:
    """Let the outline points slide to where the turned head's outline is.

    iBUG marks the visible outline: on the side the face turns to, the cheek hides the jaw's edge, and the points
    slide forward; on the other side the jaw's edge stays and the back of the skull comes into view. Each horizontal
    slice is taken as an ellipse; its outermost point under the yaw is where the tangent runs along the line of sight.
    """
    points = points.copy()
    for rows, turn in zip(_CONTOUR, (-yaw, yaw)):
        depths = _DEPTHS if turn > 0 else _BACK_DEPTHS
        angle = np.arctan2(np.abs(points[rows, 0]) * np.cos(turn), depths * np.sin(turn))
        points[rows, 0] *= np.sin(angle)
        points[rows, 2] += depths * np.cos(angle)
    return points


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """3 x 3 matrix that nods (pitch) first, then turns (yaw), then tilts (roll), all in radians.

    Positive yaw turns the face to the image's right, positive pitch lifts it, positive roll tilts it clockwise in
    the image, so that the eye line makes exactly that angle with the horizontal.
    """
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return tilt @ turn @ nod
