"""Where the skin folds: the lines that action units and age draw into a face, with their strength."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .posed import OVERSAMPLING, SIZE, PosedFace, curve, flat, lens

# Which way is inwards, then landmarks: the eye from its outer corner round, the brow from outside, wing, lips.
_SIDES = (
    (1, 36, 37, 38, 39, 40, 41, 17, 18, 19, 20, 21, 31, 48, 59),
    (-1, 45, 44, 43, 42, 47, 46, 26, 25, 24, 23, 22, 35, 54, 55),
)


def crease_map(face: PosedFace, age: float) -> np.ndarray:
    """Depth of the folds, float32 (224, 224) in [0, 1]; `age` is 0 for young to 1 for old."""
    canvas = Image.new("L", (SIZE * OVERSAMPLING,) * 2)
    pen = ImageDraw.Draw(canvas)
    lines = _brow_lines(face, age)
    for side in (0, 1):
        lines += _eye_lines(face, age, side) + _cheek_lines(face, age, side)
    lines += _chin_lines(face)
    for points, width, strength in sorted(lines, key=lambda line: line[2]):
        if strength > 0.04:
            shape = lens(curve(points), width * face.scale)
            pen.polygon(flat(shape), fill=int(255 * min(strength, 1)))
    soft = canvas.reduce(OVERSAMPLING).filter(ImageFilter.GaussianBlur(0.9))
    return np.asarray(soft, dtype=np.float32) * np.float32(1 / 255)


def _brow_lines(face: PosedFace, age: float) -> list:
    units = face.active
    lines = []
    for side, (m, *_eye, _17, b18, b19, b20, b21, _31, _48, _59) in enumerate(_SIDES):
        inner, outer, lower = (units[unit][side] for unit in ("AU01", "AU02", "AU04"))
        for step, height in enumerate((13.0, 21.0, 29.0)):
            middle = face.between(21, 22, 0.5, 0, -height + 1)
            fade = 1 - 0.15 * step
            centre = [middle, face.at(b21, 0, -height), face.at(b20, -m, -height), face.at(b19, 0, -height + 1)]
            sides = [face.at(b20, 0, -height), face.at(b19, 0, -height), face.at(b18, 0, -height + 1)]
            lines.append((centre, 2.3, fade * max(0.85 * inner, 0.45 * age)))
            lines.append((sides, 2.3, fade * max(0.75 * outer, 0.35 * age)))
        furrow = [face.at(b21, 3.4 * m, -9), face.at(b21, 4.2 * m, -3), face.at(b21, 3.6 * m, 5)]
        lines.append((furrow, 3.2, max(1.1 * lower - 0.1, 0.3 * age)))
        wrinkle = units["AU09"][side]
        for height in (-3.0, 1.5, 6.0):
            nose = [face.at(27, 0, height + 1.5), face.at(27, -4 * m, height), face.at(27, -9 * m, height - 2.5)]
            lines.append((nose, 2.6, 0.95 * wrinkle))
        snarl = [face.at(28, -6 * m, -6), face.at(28, -9 * m, 2), face.at(29, -11 * m, 2)]
        lines.append((snarl, 2.8, 0.7 * wrinkle))
    return lines


def _eye_lines(face: PosedFace, age: float, side: int) -> list:
    m, outer, lid1, lid2, inner, low2, low1, _b17, b18, b19, b20, *_rest = _SIDES[side]
    raiser, tight, lift = (face.active[unit][side] for unit in ("AU06", "AU07", "AU05"))
    fold = [
        face.at(outer, -1.5 * m, -1),
        face.between(lid1, b18, 0.3, 0, 0.2),
        face.between(lid2, b20, 0.27),
        face.at(inner, 0, -4.5),
    ]
    bag = [face.at(inner, -1 * m, 4), face.at(low2, 0, 5.5), face.at(low1, 0, 5.5), face.at(outer, 0, 5)]
    lines = [(fold, 2.2, 0.75 - 0.25 * lift), (bag, 2.4, max(0.12, 0.5 * age, 0.75 * raiser, 0.6 * tight))]
    lower_bag = [face.at(inner, -2 * m, 9), face.at(low2, 0, 11), face.at(low1, 0, 10.5)]
    lines.append((lower_bag, 2.6, max(0.45 * age, 0.5 * raiser) - 0.05))
    for rise, drop in ((-4, -9), (0, 0), (4, 8)):
        middle = face.at(outer, -9 * m, 0.5 * (rise + drop))
        foot = [face.at(outer, -4 * m, rise), middle, face.at(outer, -14 * m, drop)]
        lines.append((foot, 2.0, max(0.8 * raiser, 0.55 * age - 0.1)))
    return lines


def _cheek_lines(face: PosedFace, age: float, side: int) -> list:
    m, *_eye, _b17, _b18, _b19, _b20, _b21, wing, corner, low = _SIDES[side]
    wrinkle, lip, smile, dimple, drop, stretch, tight = (
        face.active[unit][side] for unit in ("AU09", "AU10", "AU12", "AU14", "AU15", "AU20", "AU23")
    )
    fold = [
        face.at(wing, -3 * m, -6),
        face.at(wing, -6.5 * m, -1),
        face.between(wing, corner, 0.5, -7.5 * m, -3),
        face.at(corner, -6.5 * m, -5),
        face.at(corner, -8.5 * m, 3),
    ]
    lines = [(fold, 3.6, max(0.10 + 0.45 * age, 0.95 * smile, 0.9 * lip, 0.85 * wrinkle, 0.5 * stretch, 0.4 * drop))]
    wing_line = [face.at(wing, -1 * m, -8), face.at(wing, -3.2 * m, -4), face.at(wing, -2.6 * m, 1)]
    lines.append((wing_line, 2.4, 0.7))
    pit = [face.at(corner, -3.0 * m, -6), face.at(corner, -5 * m, 0), face.at(corner, -3.0 * m, 6)]
    lines.append((pit, 3.4, max(1.1 * dimple, 0.35 * smile, 0.5 * stretch)))
    marionette = [face.at(corner, -1 * m, 1), face.at(corner, -3 * m, 8), face.at(corner, -2 * m, 15)]
    lines.append((marionette, 3.0, max(0.95 * drop, 0.35 * age)))
    pressed = [face.at(corner, 4 * m, -5), face.at(corner, -1.5 * m, -1), face.at(low, -2 * m, 3)]
    lines.append((pressed, 2.4, 0.6 * tight))
    return lines


def _chin_lines(face: PosedFace) -> list:
    boss = max(face.active["AU17"])
    pressed = max(face.active["AU24"])
    arc = [face.at(59, 0, 5), face.at(58, 0, 4), face.at(57, 0, 3.6), face.at(56, 0, 4), face.at(55, 0, 5)]
    lines = [(arc, 3.0, max(0.25, 0.85 * boss, 0.6 * pressed))]
    for dx, dy in ((-7.0, -2.0), (5.0, -3.0), (-2.0, 2.0), (9.0, 3.0), (-10.0, 4.0), (2.0, 7.0)):
        pit = [face.at("chin", dx - 1.5, dy), face.at("chin", dx, dy - 0.7), face.at("chin", dx + 1.5, dy)]
        lines.append((pit, 2.2, 0.7 * boss))
    for dx in (-7.0, -2.5, 2.5, 7.0):
        pucker = [face.at(51, dx, -4.5), face.at(51, 0.9 * dx, -2), face.at(51, 0.8 * dx, 0.5)]
        lines.append((pucker, 1.6, 0.55 * pressed))
    return lines
