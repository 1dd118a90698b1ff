"""From facial action units to a score of each of the 8 emotions: the branch that looks at muscles, not at people.

**Sources.** Which units an emotion moves is taken from two tables:

* FACS: the prototypes and major variants of the FACS Investigator's Guide (Ekman, Friesen & Hager 2002), in the line
  of EMFACS (Friesen & Ekman 1983). Contempt is not in it: a tightened corner of the lips on one side (Ekman &
  Friesen 1986), in EMFACS AU14 with AU12, both on one side.
* Du, Tao & Martinez, Compound facial expressions of emotion, PNAS 111(15), 2014, table 1: the units that 230 people
  used, with the share of people. It prints no share for the units of more than 70 %, and has no contempt.

**Ours** is how a number comes of them. `VOTES` has for each unit a vote of each source: FACS 1 in the prototype and
1/2 for a variant or an alternative; Du the printed share, and 1 above 70 %. The weight is the mean of the two votes.
Units that no reader of `tables` provides (16, 22, 27) are left out. Contempt has EMFACS's vote alone (1
for AU14, 1/2 for AU12), halved: a table has one number for both sides of the face, the mean of a side that moves and
one that rests. Where a tool gives a one-sided unit in full, contempt is at most doubled, and 1 at the most.

**Score** (ours). Du et al. found that a compound expression moves the units of both its emotions. So a face is read as
a mixture: the intensities e of the seven emotions, each in [0, 1], are those whose expected units fit the observed
ones best,

    e = argmin  sum over units u of (a_u - sum over emotions k of e_k w_ku)^2   subject to 0 <= e_k <= 1,

a convex problem (bounded least squares) in which a unit that one emotion explains does not count for another: a smile
is not half a contempt. Neutral is one minus the largest of them. The eight scores are independent confidences, as in
AffectNet+; they do not sum to 1.

**Why this formula.** On 4,000 drawn faces (intensities and units without pictures, another seed than the one by which
it was chosen): mean absolute error, mean correlation over the emotions, and how often the largest score is that of the
true soft label.

    constant mean                                 .207    --    .12
    weighted mean of the units                    .144   .83    .78
    the same over the mean of a full expression   .146   .84    .96
    the same times 1 - 1/2 of the strongest other .117   .87    .92
    geometric mean of the units over their weight .094   .91    .86
    this                                          .047   .97    .94
    this with 1 - prod(1 - e_k w_ku) for the sum  .040   .98    .96

The last is how drawn faces combine emotions, so its lead is no evidence; the sum has one solution and no local ones.
Drawn faces have weights of their own, not these. A tool that sees units too weakly gives scores that are too low and
a neutral that is too high: with 0.7 of each unit and noise of 0.1 the error is .11, the agreement .51.
"""

from collections.abc import Sequence

import numpy as np

from affectnet_plus import EMOTIONS

# emotion -> unit -> (vote of FACS, vote of Du et al.)
VOTES: dict[str, dict[str, tuple[float, float]]] = {
    "happy": {"AU06": (1, 0.51), "AU12": (1, 1), "AU25": (0.5, 1)},
    "sad": {
        "AU01": (1, 0.60),
        "AU04": (1, 1),
        "AU06": (0.5, 0.50),
        "AU11": (0.5, 0.26),
        "AU15": (1, 1),
        "AU17": (0.5, 0.67),
    },
    "surprise": {"AU01": (1, 1), "AU02": (1, 1), "AU05": (1, 0.66), "AU25": (0.5, 1), "AU26": (1, 1)},
    "fear": {
        "AU01": (1, 1),
        "AU02": (1, 0.57),
        "AU04": (1, 1),
        "AU05": (1, 0.63),
        "AU20": (1, 1),
        "AU25": (1, 1),
        "AU26": (0.5, 0.33),
    },
    "disgust": {"AU04": (0, 0.31), "AU09": (1, 1), "AU10": (1, 1), "AU17": (0.5, 1), "AU24": (0, 0.26)},
    "anger": {
        "AU04": (1, 1),
        "AU05": (1, 0),
        "AU07": (1, 1),
        "AU10": (0.5, 0.26),
        "AU17": (0.5, 0.52),
        "AU23": (1, 0.29),
        "AU24": (0.5, 1),
    },
    "contempt": {"AU12": (0.25, 0.25), "AU14": (0.5, 0.5)},
}
UNITS = tuple(sorted({unit for votes in VOTES.values() for unit in votes}))
WEIGHTS = np.array([[sum(VOTES[emotion].get(unit, (0, 0))) / 2 for unit in UNITS] for emotion in EMOTIONS[1:]])
ENOUGH = 0.5  # share of an emotion's weight that the units of a table must carry; without AU14, contempt has a third

_ROUNDS = 1000
_AT_A_TIME = 4096  # rows that are solved together: they stay in the cache, and stop when they are done
_CLOSE = 1e-7  # no score moves by more in a round: enough, they are read to four decimals


def scored_emotions(units: Sequence[str]) -> tuple[str, ...]:
    """The emotions that a table of these units can be scored for, in EMOTIONS order; neutral if there is any.

    An emotion is one of them if the units carry at least half of its weight (`ENOUGH`).
    """
    enough = _carried(np.isin(UNITS, units))
    emotions = tuple(emotion for emotion, carried in zip(EMOTIONS[1:], enough, strict=True) if carried)
    return (EMOTIONS[0], *emotions) if emotions else ()


def score_emotions(values: np.ndarray, units: Sequence[str]) -> np.ndarray:
    """The score of each emotion, by the formula above.

    Args:
        values: (n, units) intensities or probabilities in [0, 1]; NaN is a unit that is not known in this row.
        units: the columns' names, "AU01" and so on; those that no emotion moves are not looked at.

    Returns:
        (n, 8) float64 in [0, 1], in EMOTIONS order. An emotion is NaN in every row if it is none of
        `scored_emotions(units)`, and in a row that has NaN in one of its units. Neutral is one minus the largest score
        of those that the table can be scored for, and NaN in a row where one of these is.

    Raises:
        ValueError: the shapes differ, a value is outside [0, 1], a name is no action unit or stands twice.
    """
    values = np.asarray(values, dtype=np.float64)
    _check(values, units)
    observed = np.full((len(values), len(UNITS)), np.nan)
    for column, unit in enumerate(units):
        if unit in UNITS:
            observed[:, UNITS.index(unit)] = values[:, column]
    possible = np.isin(EMOTIONS[1:], scored_emotions(units))
    scores = np.full((len(values), len(EMOTIONS)), np.nan)
    if not possible.any():
        return scores
    here = np.isin(UNITS, units)
    patterns, which = np.unique(~np.isnan(observed), axis=0, return_inverse=True)
    for index, known in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == index)
        fitted = _carried(known)
        whole = possible & ~(WEIGHTS[:, here & ~known] > 0).any(axis=1)
        weights = WEIGHTS[np.ix_(fitted, known)]
        parts = range(0, len(rows), _AT_A_TIME)
        mixture = np.concatenate([_unmix(observed[np.ix_(rows[i : i + _AT_A_TIME], known)], weights) for i in parts])
        shown = whole[fitted]
        scores[np.ix_(rows, 1 + np.flatnonzero(fitted & whole))] = mixture[:, shown]
        if (whole == possible).all():
            scores[rows, 0] = 1 - mixture[:, shown].max(axis=1)
    return scores


def _check(values: np.ndarray, units: Sequence[str]) -> None:
    if values.ndim != 2 or values.shape[1] != len(units):
        raise ValueError(f"values have shape {values.shape}, expected (n, {len(units)}) for {len(units)} units")
    strange = [unit for unit in units if not (len(unit) == 4 and unit[:2] == "AU" and unit[2:].isdecimal())]
    if strange or len(set(units)) < len(units):
        raise ValueError(f"units are {', '.join(units)}; expected names such as AU01, each once")
    outside = (values < 0) | (values > 1)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(f"row {row} has {units[column]} = {values[row, column]}, expected 0 to 1, or NaN")


def _carried(known: np.ndarray) -> np.ndarray:
    """(7,) bool: whether the known ones of UNITS carry enough of each emotion's weight."""
    return WEIGHTS[:, known].sum(axis=1) >= ENOUGH * WEIGHTS.sum(axis=1)


def _unmix(observed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, emotions) in [0, 1] that fit (n, units) best; cyclic coordinate descent, exact for each emotion in turn."""
    gram, target = weights @ weights.T, weights @ observed.T
    mixture = np.zeros_like(target)
    for _ in range(_ROUNDS):
        largest = 0.0
        for k in range(len(weights)):
            better = np.clip(mixture[k] + (target[k] - gram[k] @ mixture) / gram[k, k], 0, 1)
            largest = max(largest, np.abs(better - mixture[k]).max(initial=0))
            mixture[k] = better
        if largest < _CLOSE:
            break
    return mixture.T
