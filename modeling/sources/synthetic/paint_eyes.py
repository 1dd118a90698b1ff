"""Eyes and eyebrows, in the colours they have before light falls on them."""

import numpy as np
from PIL import Image, ImageDraw

from .person import Person
from .posed import OVERSAMPLING, PosedFace, curve, flat, lens, rgb

_IRIS, _PUPIL = 6.1, 2.5
_SIDES = (
    ("eyeball_l", 1, (36, 37, 38, 39), (39, 40, 41, 36), (17, 18, 19, 20, 21)),
    ("eyeball_r", -1, (45, 44, 43, 42), (42, 47, 46, 45), (26, 25, 24, 23, 22)),
)


def paint_eyes(canvas: Image.Image, face: PosedFace, person: Person) -> None:
    """Both eyes inside landmarks 36-47, with lashes, the lower lid's rim and the inner corner."""
    for ball, mirror, upper, lower, _brow in _SIDES:
        above, below = curve(face.points[list(upper)]), curve(face.points[list(lower)])
        _eyeball(canvas, face, person, ball, np.concatenate([above, below[1:-1]]))
        pen = ImageDraw.Draw(canvas)
        lash = person.brow * 0.35 + 8
        outer, inner = upper[0], upper[-1]
        reach = [face.at(outer, -2.2 * mirror, -0.8), *face.points[list(upper[1:])].tolist()]
        pen.polygon(flat(lens(curve(reach) - (0, 0.5), 2.6 * face.scale)), fill=rgb(lash))
        rim = person.skin * (0.62, 0.45, 0.42)
        pen.polygon(flat(lens(below + (0, 0.2), 1.3 * face.scale)), fill=rgb(rim))
        corner = [face.at(inner, 0.4 * mirror, 0), face.at(inner, -2.6 * mirror, -1), face.at(inner, -2.4 * mirror, 1)]
        pen.polygon(flat(corner), fill=rgb(person.skin * (0.85, 0.58, 0.56)))


def _eyeball(canvas, face: PosedFace, person: Person, ball: str, opening: np.ndarray) -> None:
    """White, iris, pupil and highlight, cut out by the lids' opening."""
    grown = opening * OVERSAMPLING
    x0, y0 = np.floor(grown.min(axis=0)).astype(int) - 1
    x1, y1 = np.ceil(grown.max(axis=0)).astype(int) + 1
    patch = Image.new("RGB", (int(x1 - x0), int(y1 - y0)), (226, 220, 215))
    mask = Image.new("L", patch.size)
    ImageDraw.Draw(mask).polygon((grown - (x0, y0)).ravel().tolist(), fill=255)
    pen = ImageDraw.Draw(patch)
    unit = face.scale * OVERSAMPLING
    gx, gy = person.gaze
    cx, cy = np.array(face.at(ball, gx, gy, 4)) * OVERSAMPLING - (x0, y0)
    for corner in (face.at(ball, -13, 0), face.at(ball, 13, 0)):
        ex, ey = np.array(corner) * OVERSAMPLING - (x0, y0)
        pen.ellipse((ex - 6 * unit, ey - 6 * unit, ex + 6 * unit, ey + 6 * unit), fill=(204, 190, 186))

    def disc(radius, colour, dx=0.0, dy=0.0):
        r, px, py = radius * unit, cx + dx * unit, cy + dy * unit
        pen.ellipse((px - r, py - r, px + r, py + r), fill=rgb(colour))

    disc(_IRIS, person.iris * 0.45)
    disc(_IRIS - 0.7, person.iris)
    disc(_IRIS - 2.0, person.iris * 1.25 + 10, 0.3, 0.8)
    disc(_PUPIL, (12, 10, 12))
    lid = (grown - (x0, y0))[:19]
    pen.polygon(
        np.concatenate([lid - (0, 3 * unit), (lid + (0, 1.1 * unit))[::-1]]).ravel().tolist(), fill=(92, 76, 74)
    )  # the upper lid's shadow
    shine = np.sign(person.light[0])
    disc(1.35, (255, 255, 255), 1.9 * shine, -1.9)
    disc(0.6, (225, 225, 230), -1.6 * shine, 2.0)
    canvas.paste(patch, (int(x0), int(y0)), mask)


def paint_brows(canvas: Image.Image, face: PosedFace, person: Person, rng: np.random.Generator) -> None:
    """Tapering brows of short hairs along landmarks 17-26; thin hairs break up the edges."""
    pen = ImageDraw.Draw(canvas)
    for _ball, _mirror, _upper, _lower, brow in _SIDES:
        middle = curve(face.points[list(brow)], 5)
        count = len(middle)
        along = np.linspace(0, 1, count)
        half = (person.brow_thickness * face.scale * 0.62) * (0.12 + 1.25 * along**0.6 - 0.35 * along**3)[:, None]
        up = np.array(face.at("glabella", 0, -1)) - face.at("glabella")
        top, bottom = middle + up * half, middle - up * half * 0.9
        soft = person.brow * 0.8 + person.skin * 0.2
        pen.polygon(flat(np.concatenate([top, bottom[::-1]])), fill=rgb(soft))
        hairs = rng.random((46, 4))
        at = hairs[:, 0] * (count - 1)
        low = at.astype(int)
        share = (at - low)[:, None]
        high = np.minimum(low + 1, count - 1)
        root = (1 - share) * bottom[low] + share * bottom[high]
        tip_at = np.maximum(at - 2.2 - 2 * hairs[:, 1], 0)
        tip = top[tip_at.astype(int)] + up * (hairs[:, 2:3] * 1.4 - 0.5) * face.scale
        root = root + up * hairs[:, 3:4] * half[low]
        shades = [rgb(person.brow * shade) for shade in (0.75, 0.95, 1.15)]
        for number, (x0, y0, x1, y1) in enumerate((np.hstack([root, tip]) * OVERSAMPLING).tolist()):
            pen.line((x0, y0, x1, y1), fill=shades[number % 3], width=2)
