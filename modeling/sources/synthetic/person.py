"""Who is drawn: proportions, age, colours, hair, and the light and backdrop of the picture."""

from dataclasses import dataclass

import numpy as np

_SKINS = np.array(
    [(239, 200, 176), (230, 184, 152), (219, 168, 130), (190, 134, 98), (150, 100, 70), (110, 71, 52), (90, 58, 46)],
    dtype=float,
)
_HAIRS = np.array(
    [(28, 24, 24), (48, 34, 28), (84, 56, 38), (122, 82, 50), (176, 134, 84), (214, 180, 124), (140, 62, 32)],
    dtype=float,
)
_IRISES = np.array(
    [(70, 42, 24), (94, 60, 32), (118, 92, 48), (86, 110, 76), (84, 122, 156), (110, 132, 146)], dtype=float
)
_CLOTHES = np.array(
    [
        (40, 46, 62),
        (110, 40, 44),
        (52, 84, 70),
        (190, 188, 182),
        (70, 70, 74),
        (66, 98, 140),
        (160, 130, 92),
        (28, 28, 30),
    ],
    dtype=float,
)
HAIR_STYLES = ("short", "short", "bald", "long", "bob", "fringe", "curly")  # short is as common as two others


@dataclass(frozen=True)
class Build:
    """Proportions: factors around 1, shifts in mm around 0, the tilt as a slope around 0."""

    face_width: float
    face_length: float
    jaw_width: float
    eye_size: float
    eye_gap: float
    eye_tilt: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_fullness: float
    brow_height: float
    brow_arch: float


_SPREADS = {
    "face_width": 0.04,
    "face_length": 0.035,
    "jaw_width": 0.06,
    "eye_size": 0.06,
    "eye_gap": 1.0,
    "eye_tilt": 0.03,
    "nose_width": 0.12,
    "nose_length": 0.05,
    "mouth_width": 0.06,
    "lip_fullness": 0.18,
    "brow_height": 1.2,
    "brow_arch": 0.7,
}
_SHIFTS = {"eye_gap", "eye_tilt", "brow_height", "brow_arch"}


@dataclass(frozen=True)
class Person:
    """One identity with its picture's light and framing.

    Colours are float RGB 0..255, `age` years, `light` a unit vector towards the light, `fill` the share of light from
    everywhere, `size` pixels per millimetre of face, `centre` pixels, `gaze` mm, `texture` a place in [0, 1) squared.
    """

    age: int
    build: Build
    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    brow: np.ndarray
    iris: np.ndarray
    clothes: np.ndarray
    hair_style: str
    hair_volume: float
    brow_thickness: float
    light: np.ndarray
    warmth: float
    fill: float
    texture: tuple[float, float]
    backdrop: np.ndarray
    gaze: tuple[float, float]
    size: float
    centre: tuple[float, float]


def random_person(rng: np.random.Generator) -> Person:
    """Draw one identity, its light and its framing."""
    age = int(rng.integers(18, 81))
    spread = np.clip(rng.standard_normal(len(_SPREADS)), -2, 2)
    build = Build(
        **{name: (0 if name in _SHIFTS else 1) + scale * draw for (name, scale), draw in zip(_SPREADS.items(), spread)}
    )
    tone = rng.uniform(0, len(_SKINS) - 1)
    skin = _between(_SKINS, tone) * rng.uniform(0.98, 1.02, 3)
    hair = _hair_colour(rng, tone, age)
    side, height = rng.uniform(-0.9, 0.9), rng.uniform(-0.75, -0.15)
    light = np.array([side, height, 1.0])
    style = HAIR_STYLES[rng.integers(len(HAIR_STYLES))]
    return Person(
        age=age,
        build=build,
        skin=skin,
        lips=skin * (0.86, 0.65, 0.64) * rng.uniform(0.9, 1.06) + (12, 4, 8),
        hair=hair,
        brow=0.75 * hair + 0.1 * skin * rng.uniform(0, 1.5),
        iris=_IRISES[rng.integers(2 if tone > 3.2 else len(_IRISES))] * rng.uniform(0.85, 1.15),
        clothes=_CLOTHES[rng.integers(len(_CLOTHES))] * rng.uniform(0.8, 1.15),
        hair_style=style,
        hair_volume=rng.uniform(4, 13),
        brow_thickness=rng.uniform(2.4, 4.2),
        light=light / np.linalg.norm(light),
        warmth=rng.uniform(-1, 1),
        fill=rng.uniform(0.38, 0.58),
        texture=(rng.random(), rng.random()),
        backdrop=rng.uniform(40, 215, (4, 4, 1)) * 0.45 + rng.uniform(50, 210) * 0.35 + rng.uniform(40, 215, 3) * 0.2,
        gaze=(rng.normal(0, 0.8), rng.normal(0, 0.35)),
        size=float(np.clip(rng.normal(1.0, 0.035), 0.92, 1.07)),
        centre=(112 + rng.normal(0, 2.5), 113 + rng.normal(0, 2.5)),
    )


def _between(table: np.ndarray, place: float) -> np.ndarray:
    low = min(int(place), len(table) - 2)
    return table[low] + (place - low) * (table[low + 1] - table[low])


def _hair_colour(rng: np.random.Generator, tone: float, age: int) -> np.ndarray:
    """Natural colours, the dark ones for dark skin, greying from the mid-forties."""
    colour = _HAIRS[rng.integers(3 if tone > 2.8 else len(_HAIRS))] * rng.uniform(0.85, 1.15)
    grey = np.clip((age - 46) / 30 + rng.normal(0, 0.15), 0, 1)
    return colour + grey * (np.array((186.0, 184.0, 182.0)) - colour)
