"""Light on the face: a height field of Gaussian bumps and folds, its normals, and the shade each colour gets.

Each bump is the product of a Gaussian in x and one in y, so a sum of bumps, and its two slopes, is one matrix product.
The head itself is a rounded dome; shading is Lambert's cosine, wrapped further round for red, as skin scatters red.
"""

import numpy as np

from .creases import crease_map
from .person import Person
from .posed import SIZE, PosedFace

_AXIS = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
_WRAP = (0.32, 0.16, 0.10)


def _pores() -> np.ndarray:
    """Fine unevenness of skin, a factor near 1, twice as large as a picture so that each face shows another part."""
    rough = np.random.default_rng(0).standard_normal((2 * SIZE, 2 * SIZE)).astype(np.float32)
    smooth = rough + np.roll(rough, 1, 0) + np.roll(rough, 1, 1) + np.roll(rough, (1, 1), (0, 1))
    coarse = np.kron(rough[::8, ::8], np.ones((8, 8), dtype=np.float32))
    for axis in (0, 1):
        coarse = np.mean([np.roll(coarse, shift, axis) for shift in range(8)], axis=0)
    return 1 + np.float32(0.006) * smooth + np.float32(0.02) * coarse


_PORES = _pores()


def shade(face: PosedFace, person: Person) -> tuple[list[np.ndarray], np.ndarray]:
    """Three float32 (224, 224) factors for red, green and blue, and a gloss plane to add (0..255 scale)."""
    age = float(np.clip((person.age - 28) / 50, 0, 1)) ** 1.3
    slope_x, slope_y, dark, red = _bumps(face)
    folds = crease_map(face, age)
    depth = np.float32(2.0 * face.scale)
    slope_x[:, 1:-1] -= depth * 0.5 * (folds[:, 2:] - folds[:, :-2])
    slope_y[1:-1] -= depth * 0.5 * (folds[2:] - folds[:-2])
    dome_x, dome_y = _dome(face)
    nx, ny = dome_x - slope_x, dome_y - slope_y
    length = 1 / np.sqrt(nx * nx + ny * ny + np.float32(1))
    lx, ly, lz = person.light.tolist()
    lit = (nx * np.float32(lx) + ny * np.float32(ly) + np.float32(lz)) * length
    shut = 1 - np.minimum(dark + np.float32(0.30) * folds, np.float32(0.85))
    key = np.float32(1.06 - person.fill)
    left, top = int(person.texture[0] * SIZE), int(person.texture[1] * SIZE)
    shut *= _PORES[top : top + SIZE, left : left + SIZE]
    planes = []
    for wrap, tint, blush in zip(_WRAP, (0.03, 0.0, -0.04), (0.12, -0.55, -0.45)):
        soft = np.maximum((lit + np.float32(wrap)) * np.float32(1 / (1 + wrap)), 0)
        warm = 1 + tint * person.warmth
        planes.append((np.float32(person.fill) + key * np.float32(warm) * soft) * shut * (1 + np.float32(blush) * red))
    half = np.array([lx, ly, lz + 1.0])
    hx, hy, hz = (half / np.linalg.norm(half)).tolist()
    gloss = np.maximum((nx * np.float32(hx) + ny * np.float32(hy) + np.float32(hz)) * length, 0)
    for _ in range(5):
        gloss *= gloss  # to the 32nd power
    return planes, gloss * shut * np.float32(26)


def _dome(face: PosedFace) -> tuple[np.ndarray, np.ndarray]:
    """Outward tilt of the head's surface: none in the middle, steep at its outline."""
    (x0, y0), (x1, y1) = face.at("skull1_l"), face.at("skull1_r")
    cx, cy = face.between("top", 8, 0.5)
    width, height = 0.5 * np.hypot(x1 - x0, y1 - y0) * 1.03, 118 * face.scale
    cos, sin = np.cos(face.roll), np.sin(face.roll)
    dx, dy = (_AXIS - np.float32(cx))[None], (_AXIS - np.float32(cy))[:, None]
    u = (dx * np.float32(cos / width)) + dy * np.float32(sin / width)
    v = (dy * np.float32(cos / height)) - dx * np.float32(sin / height)
    steep = np.float32(1.25) * np.minimum(u * u + v * v, 1.2) + np.float32(0.12)
    u *= steep
    v *= steep * np.float32(0.8)
    return u * np.float32(cos) - v * np.float32(sin), u * np.float32(sin) + v * np.float32(cos)


def _bumps(face: PosedFace):
    """Slopes in x and y, darkening and reddening: four float32 (224, 224) planes."""
    table = np.array(_table(face), dtype=np.float32)
    x, y, wide, tall, height, dark, red = table.T
    narrow = np.float32(0.5 + 0.5 * np.cos(face.yaw))
    wide, tall, height = wide * (face.scale * narrow), tall * face.scale, height * face.scale
    # Beyond five widths a bump is nothing, and numbers too small for a normal float would slow the products down.
    across = np.clip((_AXIS[:, None] - x) / wide, -5, 5)
    down = np.clip((_AXIS[:, None] - y) / tall, -5, 5)
    gx, gy = np.exp(np.float32(-0.5) * across * across), np.exp(np.float32(-0.5) * down * down)
    slope_x = _sum(gy * height, -(across / wide) * gx)
    slope_y = _sum(-(down / tall) * gy * height, gx)
    return slope_x, slope_y, _sum(gy * dark, gx), _sum(gy * red, gx)


def _sum(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """down @ across.T, in strips so small that the linear-algebra library stays on one thread: threads that wait for
    each other cost more than the product, and the result must not depend on how many there are."""
    strips = down.reshape(32, SIZE // 32, -1) @ across.T
    return strips.reshape(SIZE, SIZE)


def _table(face: PosedFace) -> list[tuple]:
    """Rows of x, y (pixels), width, height of the bump (mm), its rise (mm), darkening and reddening."""
    at = face.at
    rows = []
    for first, rise in ((27, 2.6), (28, 3.2), (29, 3.6)):
        for share in (0.0, 0.33, 0.67):
            rows.append((*face.between(first, first + 1, share), 4.6, 5.0, rise, 0, 0))
    rows.append((*at(30, 0, 2), 7.5, 6.5, 8.5, 0, 0.10))
    rows.append((*at(30, 0, 6), 5.0, 3.0, 1.5, 0, 0))
    rows.append((*at(33, 0, 3), 9, 2.6, -1.2, 0.20, 0))
    rows.append((*at("glabella", 0, -1), 8, 7, 1.2, 0, 0))
    rows.append((*at(51, 0, -6), 2.0, 4.5, -0.9, 0.03, 0))
    rows.append((*at(57, 0, 4.5), 10, 3.2, -2.4, 0.16, 0))
    rows.append((*at("chin", 0, -1), 12, 9, 3.8 + 2.0 * max(face.active["AU17"]), 0, 0.05))
    rows.append((*at("hair_mid", 0, 28), 34, 20, 2.5, 0, 0))
    rows += _lip_rows(face)
    for side in (0, 1):
        rows += _side_table(face, side)
    return rows


def _lip_rows(face: PosedFace) -> list[tuple]:
    """Five bumps along the middle of each lip, highest in the middle."""
    rows = []
    upper = ([49, 50, 51, 52, 53], [61, 61, 62, 63, 63], 1.4)
    lower = ([59, 58, 57, 56, 55], [67, 67, 66, 65, 65], 2.0)
    for outer, inner, rise in (upper, lower):
        middle = 0.55 * face.points[outer] + 0.45 * face.points[inner]
        for (x, y), arch in zip(middle.tolist(), (0.45, 0.85, 1.0, 0.85, 0.45)):
            rows.append((x, y, 4.5, 2.6, rise * arch, 0, 0))
    return rows


def _side_table(face: PosedFace, side: int) -> list[tuple]:
    """The rows of one half of the face: 0 the image's left, 1 its right."""
    at, m, name = face.at, (1, -1)[side], "lr"[side]
    lid1, lid2, inner = ((37, 38, 39), (44, 43, 42))[side]
    brows, wing, corner = ((17, 18, 19, 20, 21), (26, 25, 24, 23, 22))[side], (31, 35)[side], (48, 54)[side]
    raiser, smile = face.active["AU06"][side], face.active["AU12"][side]
    lower, puff = face.active["AU04"][side], max(raiser, 0.8 * smile)
    cheek, ball = f"cheek_{name}", f"eyeball_{name}"
    rows = [
        (*at(wing, 1.5 * m, -1), 4.4, 4.4, 3.6, 0, 0.06),
        (*at(wing, -5 * m, -2), 4.0, 6.0, -1.6, 0.08, 0),
        (*at(inner, 3.5 * m, -5), 5.5, 7.0, -3.2, 0.16, 0.03),
        (*at(lid2, 0, -6), 7.0, 3.6, -1.4, 0.06, 0),
        (*at(lid1, 0, -5), 7.0, 3.6, -0.8, 0.03, 0),
        (*at(ball, 0, 0), 10.0, 6.5, 2.0, 0, 0),
        (*at(inner, -4 * m, 9), 9.0, 4.0, -1.0, 0.05, 0.02),
        (*at(cheek), 15.0, 11.0, 3.2 + 3.0 * puff, 0, 0.09 + 0.08 * puff),
        (*at(cheek, 2 * m, 28), 12.0, 14.0, -1.8 - 1.2 * smile, 0.03, 0),
        (*at(f"forehead_{name}"), 22.0, 18.0, 1.8, 0, 0),
        (*at(f"hair3_{name}", -14 * m, 26), 10.0, 14.0, -1.5, 0.03, 0),
        (*at(corner, -2.0 * m, 0.5), 3.0, 3.2, -1.5, 0.14, 0),
        (*at(corner, -8 * m, 2), 7.0, 8.0, 1.0 + 1.2 * smile, 0, 0),
        (*at(brows[4], 2 * m, -1), 5.0, 5.0, 0.8 + 1.6 * lower, 0, 0),
        (*at(wing, 2 * m, 3), 3.6, 2.0, 0, 0.22, 0),
    ]
    rows += [(*at(brow, 0, 1), 8.0, 5.5, 1.0, 0, 0) for brow in brows[1:]]
    rows += [(*at(brow, 0, 6.5), 7.0, 3.2, -0.7, 0.05 + 0.07 * lower, 0) for brow in brows[1:]]
    return rows
