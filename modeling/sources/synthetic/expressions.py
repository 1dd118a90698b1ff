"""What a drawn face feels: emotion intensities, the action units they move, and the labels that follow from them.

A face has one independent intensity in [0, 1] for each of the seven non-neutral emotions; neutral's is one minus the
largest of them. These eight confidences are the soft label as it is written, rounded to four decimals and not
normalised, so a row sums to between 1 and about 2, like the release's rows. The choices are this project's own:

* action units: each emotion moves the units of its prototype (after EMFACS, Friesen & Ekman 1983, and Du, Tao &
  Martinez 2014, "Compound facial expressions of emotion"); the weights in `PROTOTYPES` are ours. Emotions combine by
  1 - prod(1 - e_k * weight), which saturates and never exceeds one;
* valence and arousal: the mean of the emotions' places on the circumplex, weighted by the soft label. The circumplex
  is Russell's (1980); the numbers in `labels.CIRCUMPLEX` are ours;
* human label: what one annotator would say, drawn from the squared and renormalised soft label, so that it is mostly
  the largest confidence, sometimes a lower one.
"""

import numpy as np

from affectnet_plus import EMOTIONS

from ...labels import CIRCUMPLEX

ACTION_UNITS = (
    "AU01",
    "AU02",
    "AU04",
    "AU05",
    "AU06",
    "AU07",
    "AU09",
    "AU10",
    "AU12",
    "AU14",
    "AU15",
    "AU17",
    "AU20",
    "AU23",
    "AU24",
    "AU25",
    "AU26",
)

PROTOTYPES = {
    "happy": {"AU06": 0.9, "AU12": 1.0, "AU25": 0.95, "AU26": 0.2},
    "sad": {"AU01": 1.0, "AU04": 0.45, "AU15": 1.0, "AU17": 0.55},
    "surprise": {"AU01": 1.0, "AU02": 1.0, "AU05": 0.85, "AU25": 0.9, "AU26": 1.0},
    "fear": {
        "AU01": 1.0,
        "AU02": 0.55,
        "AU04": 0.6,
        "AU05": 1.0,
        "AU07": 0.25,
        "AU20": 1.0,
        "AU25": 0.85,
        "AU26": 0.3,
    },
    "disgust": {"AU04": 0.45, "AU06": 0.3, "AU07": 0.55, "AU09": 1.0, "AU10": 0.95, "AU15": 0.2, "AU17": 0.45},
    "anger": {"AU04": 1.0, "AU05": 0.5, "AU07": 0.8, "AU17": 0.35, "AU23": 0.8, "AU24": 0.9},
    "contempt": {"AU12": 0.7, "AU14": 1.0},
}
ONE_SIDED = "contempt"

_WEIGHTS = np.array([[PROTOTYPES[e].get(unit, 0.0) for unit in ACTION_UNITS] for e in EMOTIONS[1:]])
_PLACES = np.array([CIRCUMPLEX[emotion] for emotion in EMOTIONS])
_COLUMN = {unit: column for column, unit in enumerate(ACTION_UNITS)}


def soft_label(intensities) -> np.ndarray:
    """Eight confidences in EMOTIONS order from the seven non-neutral intensities, each in [0, 1]."""
    intensities = np.asarray(intensities, dtype=float)
    return np.round(np.concatenate([[1 - intensities.max()], intensities]), 4)


def random_intensities(rng: np.random.Generator) -> np.ndarray:
    """Seven intensities: one of the eight classes dominates, each equally often.

    A neutral face still has a trace of one emotion. Another face has its own emotion at 0.6 to 1, half of the time a
    second one and sometimes a third, weaker ones, more often those that lie near it on the circumplex.
    """
    intensities = np.zeros(7)
    dominant = int(rng.integers(8))
    if dominant == 0:
        intensities[rng.integers(7)] = rng.uniform(0.0, 0.4)
        return intensities
    strength = rng.uniform(0.6, 1.0)
    distance = np.linalg.norm(_PLACES[1:] - _PLACES[dominant], axis=1)
    odds = np.exp(-distance)
    odds[dominant - 1] = 0
    others = rng.choice(7, size=2, replace=False, p=odds / odds.sum())
    if rng.random() < 0.5:
        intensities[others[0]] = strength * rng.uniform(0.15, 0.95)
        if rng.random() < 0.35:
            intensities[others[1]] = strength * rng.uniform(0.1, 0.6)
    intensities[dominant - 1] = strength
    return intensities


def action_units(intensities, rng: np.random.Generator) -> np.ndarray:
    """Action-unit activations, float (2, 17) in [0, 1]: rows are the image's left and right, columns ACTION_UNITS.

    Contempt pulls one side only, chosen by chance. Parted lips cannot be pressed together, so AU25 takes from AU23
    and AU24. People differ: each unit is carried out some 10 % more or less strongly, and a little of it stays at
    rest.
    """
    weighted = np.repeat(np.asarray(intensities, dtype=float)[None, :, None] * _WEIGHTS, 2, axis=0)
    weighted[int(rng.integers(2)), EMOTIONS.index(ONE_SIDED) - 1] = 0
    active = 1 - np.prod(1 - weighted, axis=1)
    habit = 1 + 0.1 * rng.standard_normal(len(ACTION_UNITS))
    trace = 0.03 * rng.random(len(ACTION_UNITS))
    active = np.clip(active * habit + trace, 0, 1)
    parted = active[:, _COLUMN["AU25"]]
    for pressed in ("AU23", "AU24"):
        active[:, _COLUMN[pressed]] *= 1 - parted
    return active


def openface_row(active: np.ndarray) -> dict[str, float]:
    """`{"AU01_r": 0..5, ..}` in OpenFace's names and range; a one-sided unit is written as the mean of its sides."""
    return {f"{unit}_r": round(5 * float(value), 3) for unit, value in zip(ACTION_UNITS, active.mean(axis=0))}


def valence_arousal(soft) -> tuple[float, float]:
    """Valence and arousal in [-1, 1]: the circumplex places weighted by the soft label."""
    soft = np.asarray(soft, dtype=float)
    valence, arousal = soft @ _PLACES / soft.sum()
    return round(float(valence), 4), round(float(arousal), 4)


def human_label(soft, rng: np.random.Generator) -> int:
    """The class one annotator names: a draw from the squared, renormalised soft label."""
    odds = np.square(np.asarray(soft, dtype=float))
    return int(rng.choice(len(odds), p=odds / odds.sum()))
