"""Intervals of rates that hold what they promise in small cells too, where resampling does not.

A rate of few faces, such as the recall of contempt, has no resample that is far from it: none right of four gives 0
in every resample. Its binomial distribution is known, and gives an interval that covers at any number of faces.
"""

import numpy as np
from scipy.stats import beta


def exact_interval(hits, of, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Clopper and Pearson's interval of a rate: the ends, NaN where `of` is 0.

    It covers with a probability of at least `level`, whatever the rate and the number of faces (Clopper & Pearson
    1934).

    Args:
        hits, of: arrays of one shape, 0 <= hits <= of.
        level: between 0 and 1.
    """
    hits, of = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(of, dtype=np.float64))
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, beta.ppf(tail, hits, of - hits + 1), 0.0)
        high = np.where(hits < of, beta.ppf(1 - tail, hits + 1, of - hits), 1.0)
    unknown = of <= 0
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def f1_interval(hits, said_or_true, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The interval of an F1: that of the rate J = TP / (TP + FP + FN), of which 2 J / (1 + J) is the F1.

    Args:
        hits: TP. `said_or_true`: TP + FP + FN, the faces that have the label or were given it.
    """
    low, high = exact_interval(hits, said_or_true, level)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def interval_of_mean(values, low, high) -> tuple[float, float]:
    """The interval of the mean of independent numbers from their own intervals; NaN where one of them has none.

    The distance of each end is the root of the summed squares of theirs (MOVER: Zou & Donner 2008, "Construction of
    confidence limits about effect measures", Statistics in Medicine 27).
    """
    values, low, high = (np.asarray(array, dtype=np.float64) for array in (values, low, high))
    mean = values.mean()
    return float(mean - _root(values - low) / len(values)), float(mean + _root(high - values) / len(values))


def _root(distances: np.ndarray) -> float:
    return float(np.sqrt((distances**2).sum()))
