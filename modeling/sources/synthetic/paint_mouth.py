"""Lips, teeth and the dark of the mouth, and the nostrils, in the colours they have before light falls on them."""

import numpy as np
from PIL import ImageDraw

from .person import Person
from .posed import OVERSAMPLING, PosedFace, curve, flat, lens, rgb

_OUTER_TOP, _OUTER_LOW = [48, 49, 50, 51, 52, 53, 54], [54, 55, 56, 57, 58, 59, 48]
_INNER_TOP, _INNER_LOW = [60, 61, 62, 63, 64], [60, 67, 66, 65, 64]


def paint_mouth(canvas, face: PosedFace, person: Person) -> None:
    """Lips along landmarks 48-67; where they part, what is behind them."""
    pen = ImageDraw.Draw(canvas)
    points = face.points
    top, low = curve(points[_OUTER_TOP]), curve(points[_OUTER_LOW])
    edge_top, edge_low = curve(points[_INNER_TOP], 9), curve(points[_INNER_LOW], 9)
    soft = person.lips * 0.55 + person.skin * 0.45
    pen.polygon(flat(_around(np.concatenate([top, low[1:-1]]), 0.7 * face.scale)), fill=rgb(soft))
    pen.polygon(flat(np.concatenate([top, edge_top[::-1]])), fill=rgb(person.lips * 0.90))
    pen.polygon(flat(np.concatenate([low, edge_low])), fill=rgb(person.lips * 1.05 + 4))
    gap = float(np.abs(edge_low - edge_top).max())
    if gap > 1.8 * face.scale:
        _cavity(pen, face, person, edge_top, edge_low)
    seam = lens(edge_top + (0, 0.15), 1.5 * face.scale)
    pen.polygon(flat(seam), fill=rgb(person.lips * (0.36, 0.25, 0.26)))


def _around(outline: np.ndarray, width: float) -> np.ndarray:
    out = outline - outline.mean(axis=0)
    return outline + out / np.hypot(out[:, 0], out[:, 1])[:, None] * width


def _cavity(pen, face: PosedFace, person: Person, edge_top: np.ndarray, edge_low: np.ndarray) -> None:
    """The opening between the lips: dark, with the tongue, and the teeth that the lips leave bare."""
    pen.polygon(flat(np.concatenate([edge_top, edge_low[::-1]])), fill=(44, 16, 18))
    floor = np.maximum(edge_low[:, 1], edge_top[:, 1])
    open_by = float((floor - edge_top[:, 1]).max())
    if open_by > 10 * face.scale:
        arch = np.sin(np.pi * np.linspace(0, 1, len(floor)))
        _fill(pen, edge_low[:, 0], np.maximum(floor - 0.4 * open_by * arch, edge_top[:, 1]), floor, 5, (104, 42, 46))
    white = np.array((232.0, 226.0, 214.0)) - np.array((0.12, 0.2, 0.45)) * person.age
    lower_row = np.clip(_teeth_edge(face, "lower_teeth", 1.5, edge_low[:, 0]), edge_top[:, 1], floor)
    _fill(pen, edge_low[:, 0], lower_row, floor, 4, rgb(white * 0.74))
    upper_row = np.clip(_teeth_edge(face, "upper_teeth", -1.5, edge_top[:, 0]), edge_top[:, 1], floor)
    _fill(pen, edge_top[:, 0], edge_top[:, 1], upper_row, 2, rgb(white))
    for x in (-21, -15, -8.5, 0, 8.5, 15, 21):
        px = face.at("upper_teeth", x, 0, -0.012 * x * x)[0]
        near = int(np.abs(edge_top[:, 0] - px).argmin())
        if upper_row[near] - edge_top[near, 1] > 1.5:
            gap = (px, float(edge_top[near, 1]), px, float(upper_row[near]))
            pen.line([value * OVERSAMPLING for value in gap], fill=rgb(white * 0.8), width=1)


def _fill(pen, x: np.ndarray, above: np.ndarray, below: np.ndarray, short: int, colour) -> None:
    """The strip between two heights over the same x, left off `short` samples before the corners and where the
    heights meet, for a polygon of no height would still leave a line."""
    inside = below - above > 0.4
    inside[:short] = inside[-short:] = False
    if inside.sum() > 2:
        upper, lower = np.stack([x, above], axis=1)[inside], np.stack([x, below], axis=1)[inside]
        pen.polygon(flat(np.concatenate([upper, lower[::-1]])), fill=colour)


def _teeth_edge(face: PosedFace, key: str, bend: float, x: np.ndarray) -> np.ndarray:
    """Height in pixels of the biting edge at pixel columns `x`; it bends down by `bend` mm towards the sides."""
    row = np.array([face.at(key, mm, bend * (mm / 24) ** 2, -0.012 * mm * mm) for mm in range(-24, 25, 6)])
    return np.interp(x, row[:, 0], row[:, 1])


def paint_nostrils(canvas, face: PosedFace, person: Person) -> None:
    """Nostrils and the line under the nose, between landmarks 31 and 35."""
    pen = ImageDraw.Draw(canvas)
    for wing, rim, mirror in ((31, 32, 1), (35, 34, -1)):
        hole = [
            face.at(wing, 4.2 * mirror, 0.2),
            face.at(rim, -2.2 * mirror, -2.6),
            face.at(rim, 2.2 * mirror, -1.6),
            face.at(rim, 0.2 * mirror, 0.6),
        ]
        pen.polygon(flat(curve(hole, 5, closed=True)), fill=rgb(person.skin * (0.34, 0.22, 0.20)))
    base = curve(
        [face.at(31, 1, 1.6), face.at(32, 0, 1.2), face.at(33, 0, 1.5), face.at(34, 0, 1.2), face.at(35, -1, 1.6)]
    )
    pen.polygon(flat(lens(base, 1.5 * face.scale)), fill=rgb(person.skin * (0.66, 0.52, 0.48)))
