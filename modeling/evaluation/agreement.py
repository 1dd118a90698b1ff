"""How near one soft label is to another, row by row: what soft labels are judged with against human votes."""

from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from ..labelling.subsets import subsets
from .metrics import SUM_TOLERANCE, jensen_shannon, kl_divergence

# Far below one vote of ten. It bounds the KL of a row at ln(8 / 0.001) = 9 nats, for 8 classes.
SMOOTHING = 1e-3


def agreement(true, predicted, labels=None) -> dict[str, np.ndarray]:
    """All measures of each row.

    Args:
        true, predicted: (n, 8) distributions, a row of NaN where unknown. `true` are the people.
        labels: (n,) int human labels, -1 where there is none.

    Returns:
        Of each measure (n,) float64, NaN where a row of either is NaN. Less is better for `kl` (with the floor of
        `metrics`), `kl_smoothed`, `js` and `total_variation`, more for `cosine`, `spearman`, `top_2` and, only with
        `labels`, `subset`: 1 where the two subsets are the same, 0 where not, NaN without a human label.

    Raises:
        ValueError: the shapes are not these, or a row is no distribution, naming the first such row.
    """
    true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if true.ndim != 2 or true.shape != predicted.shape:
        raise ValueError(f"shapes {true.shape} and {predicted.shape}, expected (n, classes) twice")
    _check_distributions("true", true)
    _check_distributions("predicted", predicted)
    found = {
        "kl": kl_divergence(true, predicted),
        "kl_smoothed": kl_smoothed(true, predicted),
        "js": jensen_shannon(true, predicted),
        "total_variation": total_variation(true, predicted),
        "cosine": cosine(true, predicted),
        "spearman": spearman(true, predicted),
        "top_2": top_2(true, predicted),
    }
    if labels is not None:
        one, other = subsets(labels, true), subsets(labels, predicted)
        found["subset"] = np.where((one < 0) | (other < 0), np.nan, one == other)
    return found


def _check_distributions(name: str, rows: np.ndarray) -> None:
    unknown = np.isnan(rows).all(axis=1)
    with np.errstate(invalid="ignore"):
        good = unknown | ((rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1) <= SUM_TOLERANCE))
    if not good.all():
        row = int(np.argmin(good))
        found = np.array2string(rows[row], precision=6, separator=", ", max_line_width=200)
        raise ValueError(f"{name} of row {row}: found {found}, expected a distribution. Divide by the sum first")


def kl_smoothed(true, predicted) -> np.ndarray:
    """KL(true || 0.999 predicted + 0.001 / classes) of each row in nats: the form in which FER+ figures are known.

    Both are (n, classes) distributions; the result is (n,), NaN where a row holds NaN. A 0 costs what a model that is
    wrong for certain deserves, and no more; unlike `kl_divergence`, this does not hang on rounding.
    """
    predicted = np.asarray(predicted, dtype=np.float64)
    return kl_divergence(true, (1 - SMOOTHING) * predicted + SMOOTHING / predicted.shape[-1])


def total_variation(true, predicted) -> np.ndarray:
    """Half of the summed absolute differences of each row, (n,) from 0 to 1 for (n, classes) distributions."""
    return np.abs(np.asarray(true) - np.asarray(predicted)).sum(axis=1) / 2


def cosine(true, predicted) -> np.ndarray:
    """Cosine of the angle between the two vectors of each row, (n,) from 0 to 1; NaN where one is all 0."""
    true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    lengths = np.linalg.norm(true, axis=1) * np.linalg.norm(predicted, axis=1)
    return np.minimum((true * predicted).sum(axis=1) / np.where(lengths > 0, lengths, np.nan), 1.0)


def spearman(true, predicted) -> np.ndarray:
    """Spearman's correlation of the two rankings of each row, (n,) from -1 to 1, ties at the mean of their ranks.

    NaN where a row is constant or holds NaN. Source: Spearman 1904; the ranks' Pearson correlation, so exact on ties.
    """
    one, other = (rankdata(values, axis=1) for values in (true, predicted))
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.clip((one * other).sum(axis=1) / np.where(spread > 0, spread, np.nan), -1.0, 1.0)


def top_2(true, predicted) -> np.ndarray:
    """Share of the two likeliest classes of `true` that are the two likeliest of `predicted`: 0, 0.5 or 1.

    Ties: among the pairs that the ties of `true` allow, the one that suits `predicted` counts, as people who are
    divided agree with either. Ties of `predicted` are drawn by lot and the expected share counts, since a one-hot
    label says nothing about the second place and must not earn anything by the order of the classes.

    Both are (n, classes); the result is (n,), NaN where a row holds NaN.
    """
    true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
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
