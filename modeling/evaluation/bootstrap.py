"""Confidence intervals of means over images, by drawing the images again (Efron 1979)."""

import numpy as np


def bootstrap_mean(values, resamples: int = 2000, seed: int = 0, level: float = 0.95) -> tuple:
    """Mean and percentile interval of each column, drawing whole rows, so that columns stay paired.

    Args:
        values: (n,) or (n, m); a NaN is left out of its column's mean, and of the mean of every resample.
        resamples: how many samples of n rows are drawn with replacement. Memory: n counts and `resamples` x m means.
        level: share of the resampled means inside the interval, between 0 and 1.

    Returns:
        (mean, low, high): floats for (n,), arrays (m,) for (n, m); NaN for a column of NaN alone. A resample that has
        drawn none of a column's numbers is left out of that column's interval.

    Raises:
        ValueError: no rows, another number of axes, an infinite value, fewer than 1 resample, a level outside (0, 1).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim not in (1, 2) or len(values) == 0:
        raise ValueError(f"values have shape {values.shape}, expected (n,) or (n, m) with at least one row")
    if np.isinf(values).any():
        raise ValueError(f"row {int(np.argmax(np.isinf(values).reshape(len(values), -1).any(axis=1)))} is infinite")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples {resamples} and level {level}, expected at least 1, and a number between 0 and 1")
    columns = values.reshape(len(values), -1)
    known = ~np.isnan(columns)
    both = np.concatenate([np.where(known, columns, 0), known], axis=1)
    sums = np.stack([counts @ both for counts in _draw(len(values), resamples, seed)])
    mean = _quotient(both.sum(axis=0, keepdims=True))[0]
    tail = 50 * (1 - level)
    low, high = _percentiles(_quotient(sums), [tail, 100 - tail])
    return tuple(float(found[0]) if values.ndim == 1 else found for found in (mean, low, high))


def paired_difference(a, b, resamples: int = 2000, seed: int = 0, level: float = 0.95) -> tuple:
    """Mean of a - b with its interval, each image compared with itself; a NaN in either leaves the image out.

    Arguments, result and errors as for `bootstrap_mean`, and ValueError for two different shapes.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ, expected the same")
    return bootstrap_mean(a - b, resamples, seed, level)


def _draw(rows: int, resamples: int, seed: int):
    """How often each row is drawn, (rows,) float64, one resample after another."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(rows, size=rows), minlength=rows).astype(np.float64)


def _quotient(sums: np.ndarray) -> np.ndarray:
    """Means from the sums in the left half of the columns and the numbers in the right one; NaN for none."""
    total, number = np.split(sums, 2, axis=1)
    return total / np.where(number > 0, number, np.nan)


def _percentiles(means: np.ndarray, percents: list[float]) -> np.ndarray:
    found = np.full((len(percents), means.shape[1]), np.nan)
    some = ~np.isnan(means).all(axis=0)  # numpy warns about columns of NaN
    found[:, some] = np.nanpercentile(means[:, some], percents, axis=0)
    return found
