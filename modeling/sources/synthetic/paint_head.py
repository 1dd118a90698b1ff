"""Backdrop, shoulders, neck, ears, head and hair, in the colours they have before light falls on them."""

import numpy as np
from PIL import Image, ImageDraw

from .person import Person
from .posed import OVERSAMPLING, SIZE, PosedFace, curve, flat, rgb

_SKULL = [
    "skull1_r",
    "skull2_r",
    "skull3_r",
    "skull4_r",
    "skull5_r",
    "top",
    "skull5_l",
    "skull4_l",
    "skull3_l",
    "skull2_l",
    "skull1_l",
]
_HAIRLINE = ["hair1_l", "hair2_l", "hair3_l", "hair4_l", "hair_mid", "hair4_r", "hair3_r", "hair2_r", "hair1_r"]
# How far the hair stands off the skull, as a share of the person's hair volume.
_VOLUME = {"short": 0.8, "long": 1.0, "bob": 1.1, "fringe": 0.9, "curly": 1.9}


def backdrop(person: Person) -> Image.Image:
    """A blurred backdrop on the oversampled canvas; the last step repeats pixels, which is quick and, in so smooth a
    picture, not seen."""
    small = Image.fromarray(np.clip(person.backdrop, 0, 255).astype(np.uint8))
    smooth = small.resize((SIZE // 2,) * 2, Image.Resampling.BICUBIC)
    return smooth.resize((SIZE * OVERSAMPLING,) * 2, Image.Resampling.NEAREST)


def outline(face: PosedFace) -> np.ndarray:
    """The head's closed outline through the jaw landmarks and round the skull."""
    skull = np.array([face.at(name) for name in _SKULL])
    return curve(np.concatenate([face.points[:17], skull]), 4, closed=True)


def paint_body(canvas: Image.Image, face: PosedFace, person: Person, rng) -> None:
    """Hair that falls behind the head, neck and shoulders."""
    pen = ImageDraw.Draw(canvas)
    (cx, cy), s = person.centre, face.scale
    if person.hair_style in ("long", "bob"):
        _hair_behind(pen, face, person, rng)
    lean = 0.35 * face.roll
    top_x = 0.5 * (face.points[4, 0] + face.points[12, 0])
    neck = [
        (top_x - 44 * s, cy + 30 * s),
        (top_x + 44 * s, cy + 30 * s),
        (cx + 50 * s, cy + 125 * s),
        (cx - 50 * s, cy + 125 * s),
    ]
    pen.polygon(flat(neck), fill=rgb(person.skin * (0.80, 0.76, 0.74)))
    collar = [
        (cx - 150 * s, cy + 122 * s + 40 * lean),
        (cx - 60 * s, cy + 103 * s),
        (cx - 44 * s, cy + 92 * s),
        (cx - 22 * s, cy + 112 * s),
        (cx, cy + 118 * s),
        (cx + 22 * s, cy + 112 * s),
        (cx + 44 * s, cy + 92 * s),
        (cx + 60 * s, cy + 103 * s),
        (cx + 150 * s, cy + 122 * s - 40 * lean),
    ]
    shoulders = np.concatenate([curve(collar, 4), [(cx + 150 * s, 260), (cx - 150 * s, 260)]])
    pen.polygon(flat(shoulders), fill=rgb(person.clothes))


def _hair_behind(pen, face: PosedFace, person: Person, rng) -> None:
    length = {"long": 150, "bob": 62}[person.hair_style]
    v = person.hair_volume * 1.1 + 6
    sides = [
        face.at("skull3_l"),
        face.at("skull2_l", 2 - v),
        face.at("skull1_l", -v - 4, 6),
        face.at("skull1_l", -v - 5, 0.6 * length),
        face.at("skull1_l", 8 - v, length),
        face.at("skull1_r", v - 8, length),
        face.at("skull1_r", v + 5, 0.6 * length),
        face.at("skull1_r", v + 4, 6),
        face.at("skull2_r", v - 2),
        face.at("skull3_r"),
    ]
    pen.polygon(flat(curve(sides, 5)), fill=rgb(person.hair * 0.62))
    for side, mirror in (("l", -1), ("r", 1)):
        for offset in rng.uniform(-8, v - 3, 14).tolist():
            x = mirror * offset
            strand = [
                face.at(f"skull2_{side}", x, 0),
                face.at(f"skull1_{side}", x, 0.3 * length),
                face.at(f"skull1_{side}", 0.8 * x, 0.95 * length),
            ]
            pen.line(flat(strand), fill=rgb(person.hair * (0.5 + 0.5 * rng.random())), width=3)


def paint_head(canvas: Image.Image, mask: Image.Image, face: PosedFace, person: Person) -> None:
    """The far ear and the bare head; `mask` marks the skin that the relief lights."""
    _ear(canvas, mask, face, person, "r" if face.yaw > 0 else "l")
    head = flat(outline(face))
    ImageDraw.Draw(canvas).polygon(head, fill=rgb(person.skin))
    ImageDraw.Draw(mask).polygon(head, fill=255)


def _ear(canvas, mask, face: PosedFace, person: Person, side: str) -> None:
    m = 1 if side == "l" else -1
    rim = [
        face.at(f"ear_top_{side}"),
        face.at(f"ear_back_{side}", 2 * m, -13),
        face.at(f"ear_back_{side}"),
        face.at(f"ear_back_{side}", 3 * m, 20),
        face.at(f"ear_low_{side}", 0, 4),
        face.at(f"ear_low_{side}", 3 * m, -10),
    ]
    shape = flat(curve(rim, 4, closed=True))
    hollow = [
        face.at(f"ear_top_{side}", -3 * m, 7),
        face.at(f"ear_back_{side}", 5 * m, -4),
        face.at(f"ear_back_{side}", 5 * m, 8),
        face.at(f"ear_low_{side}", -3 * m, -10),
    ]
    pen = ImageDraw.Draw(canvas)
    pen.polygon(shape, fill=rgb(person.skin * (0.97, 0.86, 0.84)))
    pen.polygon(flat(curve(hollow, 4, closed=True)), fill=rgb(person.skin * (0.82, 0.64, 0.61)))
    ImageDraw.Draw(mask).polygon(shape, fill=255)


def paint_hair(canvas: Image.Image, mask: Image.Image, face: PosedFace, person: Person, rng) -> None:
    """The hair in front, the near ear, and the locks that cover it."""
    if person.hair_style != "bald":
        _cap(canvas, mask, face, person, rng)
    _ear(canvas, mask, face, person, "l" if face.yaw > 0 else "r")
    if person.hair_style in ("long", "bob"):
        _sidelocks(canvas, mask, face, person, rng)


def _cap(canvas, mask, face: PosedFace, person: Person, rng) -> None:
    """Hair from the hairline back over the skull, in strands."""
    thick = person.hair_volume * _VOLUME[person.hair_style]
    low = {"fringe": 22.0, "curly": 4.0}.get(person.hair_style, 0.0) - 9 * max(0.0, (person.age - 45) / 35)
    roots = [face.at(name, 0, low * weight) for name, weight in zip(_HAIRLINE, (0, 0.5, 0.9, 1, 1, 1, 0.9, 0.5, 0))]
    # Hair ends in front of the near ear, but higher where the turned head hides the far one.
    left, right = (12 - 26 * max(0.0, turn) for turn in (-face.yaw, face.yaw))
    line = curve([face.at("skull1_l", 3, left), *roots, face.at("skull1_r", -3, right)], 6)
    middle = np.array(face.at("glabella", 0, -20, -40))
    tips = np.array([face.at(name) for name in reversed(_SKULL)])
    away = tips - middle
    away /= np.hypot(away[:, 0], away[:, 1])[:, None]
    far = tips + away * (thick * face.scale) * np.array([0.45, 0.7, 0.9, 1, 1, 1, 1, 1, 0.9, 0.7, 0.45])[:, None]
    outer = curve([face.at("skull1_l", -0.4 * thick, left), *far, face.at("skull1_r", 0.4 * thick, right)], 5)
    if person.hair_style == "curly":
        outer = outer + rng.normal(0, 1.6, outer.shape)
    shape = flat(np.concatenate([line, outer[::-1]]))
    pen = ImageDraw.Draw(canvas)
    pen.polygon(shape, fill=rgb(person.hair * 0.85))
    ImageDraw.Draw(mask).polygon(shape, fill=0)
    _strands(pen, line, outer, person, rng)


def _strands(pen, line, outer, person: Person, rng) -> None:
    """Strands from the hairline to the back: long ones, some from below the hairline, then a sheen over the top."""
    width = 2 if person.hair_volume > 6 else 1
    for count, start, end, shades in (
        (130, (-0.1, 0.4), (0.55, 1.0), (0.58, 0.70, 0.82, 0.94)),
        (80, (0.2, 0.35), (0.6, 0.85), (0.86, 0.92, 0.98, 1.06)),
    ):
        place = rng.random(count)
        near = line[(place * (len(line) - 1)).astype(int)]
        far = outer[(np.clip(place + rng.normal(0, 0.012, count), 0, 1) * (len(outer) - 1)).astype(int)]
        first = near + (far - near) * rng.uniform(*start, (count, 1))
        last = near + (far - near) * rng.uniform(*end, (count, 1))
        colours = [rgb(person.hair * shade + 6 * shade) for shade in shades]
        for number, (x0, y0, x1, y1) in enumerate((np.hstack([first, last]) * OVERSAMPLING).tolist()):
            pen.line((x0, y0, x1, y1), fill=colours[number % 4], width=width)


def _sidelocks(canvas, mask, face: PosedFace, person: Person, rng) -> None:
    """Hair that falls in front of the ears, down to the chin or the shoulders."""
    reach = {"long": 135, "bob": 62}[person.hair_style]
    wide = person.hair_volume + 9
    pen, mark = ImageDraw.Draw(canvas), ImageDraw.Draw(mask)
    for side, m, jaw in (("l", 1, (1, 2)), ("r", -1, (15, 14))):
        skull = f"skull1_{side}"
        inner = [
            face.at(f"skull3_{side}"),
            face.at(f"hair2_{side}", m, 0),
            face.at(f"hair1_{side}", 4 * m, 2),
            face.at(jaw[0], 4 * m, -4),
            face.at(jaw[1], m, 0.6 * reach - 30),
            face.at(jaw[1], -5 * m, reach - 52),
        ]
        outer = [
            face.at(f"skull3_{side}"),
            face.at(f"skull2_{side}", -0.8 * person.hair_volume * m, 0),
            face.at(skull, -(wide - 3) * m, 4),
            face.at(skull, -wide * m, 36),
            face.at(skull, -wide * m, 0.6 * reach + 12),
            face.at(skull, -(wide - 9) * m, reach),
        ]
        front, back = curve(inner, 5), curve(outer, 5)
        shape = flat(np.concatenate([front, back[::-1]]))
        pen.polygon(shape, fill=rgb(person.hair * 0.85))
        mark.polygon(shape, fill=0)
        for share in rng.random(16).tolist():
            strand = front + (back - front) * share
            low, high = sorted(rng.integers(0, len(strand), 2).tolist())
            if high - low > 2:
                pen.line(flat(strand[low:high]), fill=rgb(person.hair * (0.7 + 0.3 * rng.random())), width=2)
