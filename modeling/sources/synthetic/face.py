"""One drawn face: identity, expression, picture and its true labels."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from affectnet_plus import EMOTIONS

from ...labels import subset_of
from . import expressions
from .paint_eyes import paint_brows, paint_eyes
from .paint_head import backdrop, paint_body, paint_hair, paint_head
from .paint_mouth import paint_mouth, paint_nostrils
from .person import Person, random_person
from .posed import OVERSAMPLING, SIZE, PosedFace
from .relief import shade
from .shape import LANDMARKS

_POSE_SPREAD = np.array([0.2, 0.11, 0.09])
_POSE_LIMIT = np.array([0.5, 0.3, 0.25])


@dataclass(frozen=True)
class DrawnFace:
    """A picture and everything that is true of it.

    image: RGB, 224 x 224. soft_label: eight confidences in [0, 1] in EMOTIONS order. label: the class an annotator
    says. subset: 0 easy, 1 challenging, 2 difficult. valence, arousal: in [-1, 1]. age: years. pose: yaw, pitch and
    roll in radians (signs: `shape.rotation`). landmarks_68: float (68, 2), iBUG order, pixels. action_units: OpenFace
    names to intensities 0..5, a one-sided unit as the mean of its sides.
    """

    image: Image.Image
    soft_label: list[float]
    label: int
    subset: int
    valence: float
    arousal: float
    age: int
    pose: tuple[float, float, float]
    landmarks_68: np.ndarray
    action_units: dict[str, float]


def draw_face(seed: int, index: int) -> DrawnFace:
    """Face `index` of `seed`, both non-negative: its person, mixture, pose and label depend on these two alone."""
    identity, life = _generators(seed, index)
    intensities = expressions.random_intensities(life)
    pose = np.clip(life.standard_normal(3) * _POSE_SPREAD, -_POSE_LIMIT, _POSE_LIMIT)
    return _draw(expressions.soft_label(intensities), identity, life, tuple(pose.round(4).tolist()))


def draw_expression(mixture, seed: int, index: int = 0, pose=(0.0, 0.0, 0.0)) -> DrawnFace:
    """The person of `draw_face(seed, index)` with a given mixture of emotions and pose.

    Args:
        mixture: eight intensities in [0, 1] in EMOTIONS order; neutral's own entry is not used, since neutral is
            one minus the largest of the others.
        pose: yaw, pitch and roll in radians.

    Raises:
        ValueError: `mixture` is not eight numbers in [0, 1].
    """
    mixture = np.asarray(mixture, dtype=float)
    if mixture.shape != (len(EMOTIONS),) or not ((mixture >= 0) & (mixture <= 1)).all():
        raise ValueError(f"a mixture is {len(EMOTIONS)} intensities in [0, 1], not {mixture.tolist()}")
    identity, life = _generators(seed, index)
    return _draw(expressions.soft_label(mixture[1:]), identity, life, tuple(float(angle) for angle in pose))


def _generators(seed: int, index: int):
    """One stream for who it is, one for what happens to the face, so that a person can be drawn again."""
    return np.random.default_rng([seed, index, 0]), np.random.default_rng([seed, index, 1])


def _draw(soft, identity, life, pose) -> DrawnFace:
    person = random_person(identity)
    active = expressions.action_units(soft[1:], life)
    label = expressions.human_label(soft, life)
    confidences = soft.tolist()
    valence, arousal = expressions.valence_arousal(soft)
    face = PosedFace(person, active, pose)
    return DrawnFace(
        image=_picture(face, person, identity),
        soft_label=confidences,
        label=label,
        subset=subset_of(label, confidences),
        valence=valence,
        arousal=arousal,
        age=person.age,
        pose=pose,
        landmarks_68=face.points[:LANDMARKS],
        action_units=expressions.openface_row(active),
    )


def _picture(face: PosedFace, person: Person, rng: np.random.Generator) -> Image.Image:
    canvas = backdrop(person)
    mask = Image.new("L", canvas.size)
    paint_body(canvas, face, person, rng)
    paint_head(canvas, mask, face, person)
    paint_nostrils(canvas, face, person)
    paint_mouth(canvas, face, person)
    paint_eyes(canvas, face, person)
    paint_brows(canvas, face, person, rng)
    paint_hair(canvas, mask, face, person, rng)
    return _lit(canvas.reduce(OVERSAMPLING), mask.reduce(OVERSAMPLING), face, person)


def _lit(colours: Image.Image, mask: Image.Image, face: PosedFace, person: Person) -> Image.Image:
    """Colours times light: the relief on the skin, a plain side light and the chin's shadow elsewhere."""
    on_skin, gloss = shade(face, person)
    skin = np.asarray(mask, dtype=np.float32) * np.float32(1 / 255)
    axis = np.arange(SIZE, dtype=np.float32)
    chin_x, chin_y = face.at(8, 0, 8)
    across = np.exp(np.float32(-0.5) * ((axis - np.float32(chin_x)) / np.float32(48)) ** 2)
    down = np.exp(np.float32(-0.5) * ((axis - np.float32(chin_y)) / np.float32(20)) ** 2)
    sidelight = 1 + np.float32(0.22 * person.light[0]) * (axis - SIZE / 2) / (SIZE / 2)
    rest = (sidelight - np.float32(0.45) * np.outer(down, across)) * (1 - skin)
    gloss *= skin
    planes = []
    for plane, factor in zip(colours.split(), on_skin):
        factor *= skin
        factor += rest
        factor *= np.asarray(plane)
        factor += gloss
        np.clip(factor, 0, 255, out=factor)
        planes.append(Image.fromarray(factor.astype(np.uint8)))
    return Image.merge("RGB", planes)
