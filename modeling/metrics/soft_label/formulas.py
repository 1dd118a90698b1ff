"""How near one distribution is to another, row by row.

Every function takes `true` and `predicted`, both (n, classes) with rows that sum to 1, and gives (n,) float64, NaN
where a row of either holds NaN. Raises ValueError for two different shapes.

KL, unsmoothed, Chebyshev, Clark, Canberra, cosine and intersection are the six measures of label distribution learning
(Geng 2016).
"""

from itertools import combinations

import numpy as np
from scipy.special import rel_entr
from scipy.stats import rankdata

from .inputs import same_shape

# Far below one vote of ten. It bounds the KL of a row at ln(8 / 0.001) = 9 nats, for 8 classes.
SMOOTHING = 1e-3
# A softmax in half or single precision can underflow to an exact 0, which would make one row's unsmoothed KL, and with
# it the mean, infinite. 1e-12 is far below anything a model says on purpose and bounds a row at 27.6 nats.
PROBABILITY_FLOOR = 1e-12


def kl_divergence(true, predicted) -> np.ndarray:
    """KL(true || 0.999 predicted + 0.001 / classes) in nats, at least 0: the form in which FER+ figures are known.

    A 0 costs what a model that is wrong for certain deserves, and no more: the figures of a softmax, of a table that
    was rounded to two decimals and of a tool that does not know a class can be compared. Two equal rows are up to
    0.001 apart.
    """
    predicted = np.asarray(predicted, dtype=np.float64)
    return kl_unsmoothed(true, (1 - SMOOTHING) * predicted + SMOOTHING / predicted.shape[-1])


def kl_unsmoothed(true, predicted) -> np.ndarray:
    """Kullback-Leibler divergence KL(true || predicted) in nats, at least 0.

    0 * log 0 counts as 0; `predicted` below PROBABILITY_FLOOR is raised to it. Where predictions hold zeros it hangs
    on that floor and on rounding, so that nothing is ranked by it. Source: Kullback & Leibler 1951.
    """
    true, predicted = same_shape(true, predicted)
    divergence = rel_entr(true, np.maximum(predicted, PROBABILITY_FLOOR)).sum(axis=-1)
    return np.maximum(divergence, 0.0)  # two equal rows may come out at -1e-17


def jensen_shannon(true, predicted) -> np.ndarray:
    """Jensen-Shannon divergence (not its square root) in nats, from 0 to ln 2.

    Symmetric, and finite whatever the zeros, so no floor is needed. Source: Lin 1991, with equal weights.
    """
    true, predicted = same_shape(true, predicted)
    middle = (true + predicted) / 2
    divergence = (rel_entr(true, middle) + rel_entr(predicted, middle)).sum(axis=-1) / 2
    return np.clip(divergence, 0.0, np.log(2.0))


def cosine(true, predicted) -> np.ndarray:
    """Cosine of the angle between the two vectors, from 0 to 1; NaN where one is all 0."""
    true, predicted = same_shape(true, predicted)
    lengths = np.linalg.norm(true, axis=1) * np.linalg.norm(predicted, axis=1)
    return np.minimum((true * predicted).sum(axis=1) / np.where(lengths > 0, lengths, np.nan), 1.0)


def intersection(true, predicted) -> np.ndarray:
    """Sum of the smaller of the two values of each class, from 0 to 1; it is 1 - `total_variation`.

    Source: Swain & Ballard 1991.
    """
    true, predicted = same_shape(true, predicted)
    return np.minimum(true, predicted).sum(axis=1)


def total_variation(true, predicted) -> np.ndarray:
    """Half of the summed absolute differences, from 0 to 1."""
    true, predicted = same_shape(true, predicted)
    return np.abs(true - predicted).sum(axis=1) / 2


def chebyshev(true, predicted) -> np.ndarray:
    """Largest absolute difference of a class, from 0 to 1."""
    true, predicted = same_shape(true, predicted)
    return np.abs(true - predicted).max(axis=1)


def clark(true, predicted) -> np.ndarray:
    """Root of the summed squares of (true - predicted) / (true + predicted), from 0 to the root of the classes.

    A class that both call 0 adds 0. A class that one calls 0 adds 1 however small the other's value is, so that a
    softmax, which is never 0, is far from every soft label with zeros. Source: Clark 1952, by way of Geng 2016.
    """
    return np.sqrt((_relative(true, predicted) ** 2).sum(axis=1))


def canberra(true, predicted) -> np.ndarray:
    """Sum of |true - predicted| / (true + predicted), from 0 to the number of classes; zeros as for `clark`.

    Source: Lance & Williams 1966.
    """
    return _relative(true, predicted).sum(axis=1)


def _relative(true, predicted) -> np.ndarray:
    true, predicted = same_shape(true, predicted)
    total = true + predicted
    return np.abs(true - predicted) / np.where(total == 0, 1.0, total)


def brier(true, predicted) -> np.ndarray:
    """Summed squared differences, from 0 to 2; for a one-hot `true` the score of Brier 1950, not halved."""
    true, predicted = same_shape(true, predicted)
    return ((true - predicted) ** 2).sum(axis=1)


def spearman(true, predicted) -> np.ndarray:
    """Spearman's correlation of the two rankings, from -1 to 1, ties at the mean of their ranks.

    NaN where a row is constant. Source: Spearman 1904; the ranks' Pearson correlation, so exact on ties.
    """
    one, other = (rankdata(values, axis=1) for values in same_shape(true, predicted))
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.clip((one * other).sum(axis=1) / np.where(spread > 0, spread, np.nan), -1.0, 1.0)


def top_2(true, predicted) -> np.ndarray:
    """Share of the two likeliest classes of `true` that are the two likeliest of `predicted`: 0, 0.5 or 1.

    Ties: among the pairs that the ties of `true` allow, the one that suits `predicted` counts, as people who are
    divided agree with either. Ties of `predicted` are drawn by lot and the expected share counts, since a one-hot
    label says nothing about the second place and must not earn anything by the order of the classes.
    """
    true, predicted = same_shape(true, predicted)
    pairs = np.array(list(combinations(range(true.shape[1]), 2)))
    overlap = (pairs[:, None, :, None] == pairs[None, :, None, :]).sum(axis=(2, 3))
    allowed, drawn = _top_pairs(true, pairs), _top_pairs(predicted, pairs)
    share = np.where(allowed, 1.0, 0.5 * (allowed.astype(float) @ (overlap == 1) > 0))
    expected = (drawn * share).sum(axis=1) / np.maximum(drawn.sum(axis=1), 1)
    return np.where(np.isnan(true).any(axis=1) | np.isnan(predicted).any(axis=1), np.nan, expected)


def _top_pairs(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(n, pairs) whether the values of a pair are the row's two largest ones."""
    second, first = np.sort(values, axis=1)[:, -2:].T[:, :, None]
    one, other = values[:, pairs[:, 0]], values[:, pairs[:, 1]]
    return (np.maximum(one, other) == first) & (np.minimum(one, other) == second)


# Those that the metric and every evaluation report, row by row, by name.
MEASURES = {
    "kl": kl_divergence,
    "kl_unsmoothed": kl_unsmoothed,
    "js": jensen_shannon,
    "cosine": cosine,
    "intersection": intersection,
    "chebyshev": chebyshev,
    "clark": clark,
    "canberra": canberra,
    "brier": brier,
    "top_2": top_2,
    "spearman": spearman,
}
