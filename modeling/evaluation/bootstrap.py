"""Confidence intervals of numbers over images, by drawing the images again (Efron 1979).

A number that follows from sums over images, as a mean, a confusion matrix or a correlation does, needs no loop over
the drawn images: how often each was drawn, times what is summed of each, is one product of matrices.

Of more than `MOST_ROWS` images, bundles are drawn instead: each image is put into one of `BUNDLES` by lot, and what is
summed of a bundle takes the place of what is summed of an image. The sum of a resample has the same mean and variance,
and memory and time of the draws do not grow with the images; the ends of an interval get a noise of about 1 % of its
width (1 / sqrt(2 BUNDLES)) more.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

MOST_ROWS = 2**16  # that are drawn one by one; also how many have their columns in memory at a time
BUNDLES = 2**13
BLOCK = 2**18  # counts in memory at a time: 2 MB


class Part(NamedTuple):
    """Numbers of some of the rows.

    Attributes:
        rows: (m,) positions of these rows among all that are drawn from.
        columns: positions (k,) -> (k, sums) float64, what is summed over these rows.
        of_sums: gives the numbers (resamples, numbers) of the sums (resamples, sums); NaN where there is none.
    """

    rows: np.ndarray
    columns: Callable[[np.ndarray], np.ndarray]
    of_sums: Callable[[np.ndarray], np.ndarray]


def resampled(parts: Sequence[Part], rows: int, resamples: int, seed: int) -> list[np.ndarray]:
    """The numbers (resamples, numbers) of each part, all of the same draws of `rows` rows out of `rows`.

    A part has as many rows in a resample as are drawn, as it would in another sample of faces; and two parts may be
    compared resample by resample. Memory: what is returned, the columns of `MOST_ROWS` rows, and a few MB.
    """
    if rows > MOST_ROWS:
        parts, rows = _bundled(parts, rows, seed), BUNDLES
    columns = [part.columns(part.rows) for part in parts]
    found: list[list[np.ndarray]] = [[] for _ in parts]
    for counts in _draw(rows, resamples, seed):
        for part, summed, numbers in zip(parts, columns, found, strict=True):
            numbers.append(part.of_sums(counts[:, part.rows] @ summed))
    return [np.concatenate(numbers) for numbers in found]


def blocks_of(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Positions (m,) in pieces of `MOST_ROWS`, in their order."""
    for start in range(0, len(rows), MOST_ROWS):
        yield rows[start : start + MOST_ROWS]


def _bundled(parts: Sequence[Part], rows: int, seed: int) -> list[Part]:
    """The same parts with bundles as their rows."""
    bundle_of = np.random.default_rng([seed, rows]).permutation(rows) % BUNDLES
    every = np.arange(BUNDLES)
    found = []
    for part in parts:
        sums: np.ndarray | float = 0.0
        for block in blocks_of(part.rows):
            places = (bundle_of[block], np.arange(len(block)))
            sums = sums + csr_array((np.ones(len(block)), places), (BUNDLES, len(block))) @ part.columns(block)
        found.append(Part(every, np.asarray(sums).__getitem__, part.of_sums))
    return found


def percentile_interval(numbers: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends (numbers,) of the intervals that hold the share `level` of each column of (resamples, numbers).

    A NaN is left out of its column; a column of NaN alone gives NaN.
    """
    tail = 50 * (1 - level)
    low, high = _percentiles(numbers, [tail, 100 - tail])
    return low, high


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
    check_resampling(resamples, level)
    columns, rows = values.reshape(len(values), -1), np.arange(len(values))

    def both(some: np.ndarray) -> np.ndarray:
        known = ~np.isnan(columns[some])
        return np.concatenate([np.where(known, columns[some], 0), known], axis=1)

    [means] = resampled([Part(rows, both, _quotient)], len(rows), resamples, seed)
    sums = sum(both(block).sum(axis=0, keepdims=True) for block in blocks_of(rows))
    mean = _quotient(np.asarray(sums))[0]
    low, high = percentile_interval(means, level)
    return tuple(float(found[0]) if values.ndim == 1 else found for found in (mean, low, high))


def paired_difference(a, b, resamples: int = 2000, seed: int = 0, level: float = 0.95) -> tuple:
    """Mean of a - b with its interval, each image compared with itself; a NaN in either leaves the image out.

    Arguments, result and errors as for `bootstrap_mean`, and ValueError for two different shapes.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ, expected the same")
    return bootstrap_mean(a - b, resamples, seed, level)


def check_resampling(resamples: int, level: float) -> None:
    """Raise ValueError for fewer than 1 resample, or a level outside (0, 1)."""
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples {resamples} and level {level}, expected at least 1, and a number between 0 and 1")


def _draw(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn, (some resamples, rows) float64; how many are in a block changes no draw."""
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK // rows)
    for start in range(0, resamples, block):
        counts = np.empty((min(block, resamples - start), rows))
        for row in counts:
            row[:] = np.bincount(generator.integers(rows, size=rows), minlength=rows)
        yield counts


def _quotient(sums: np.ndarray) -> np.ndarray:
    """Means from the sums in the left half of the columns and the numbers in the right one; NaN for none."""
    total, number = np.split(sums, 2, axis=1)
    return total / np.where(number > 0, number, np.nan)


def _percentiles(means: np.ndarray, percents: list[float]) -> np.ndarray:
    found = np.full((len(percents), means.shape[1]), np.nan)
    some = ~np.isnan(means).all(axis=0)  # numpy warns about columns of NaN
    found[:, some] = np.nanpercentile(means[:, some], percents, axis=0)
    return found
