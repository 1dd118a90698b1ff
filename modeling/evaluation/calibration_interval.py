"""The interval of an expected calibration error, which noise makes larger than it is.

The gap of a bin is a mean of few faces, and its noise counts as miscalibration whatever its sign: the error of a
sample lies above that of all faces, by more the fewer faces a bin has. No resample tells by how much, as it has the
noise twice. Here the noise of each bin is estimated, and with it the most that it can have added.
"""

import numpy as np
from scipy.stats import norm

from ..metrics.calibration.formulas import CALIBRATION_BINS, bin_of, reliability_bins

PRIOR = 3  # the variance in a bin is shrunk towards that of all bins as if so many faces of that had been seen
SHRINK = 1.5  # a gap may be so many standard errors smaller than it looks, when its noise is asked what it has added


def calibration_interval(confidence: np.ndarray, truth: np.ndarray, level: float) -> tuple[float, float]:
    """The interval of the mean, over columns, of `expected_calibration_error` of each.

    With u_b the gap of a bin times its share of the rows and s_b the standard error of that, the observed error
    sum |u_b| is, on average, sum (|g_b| + a(g_b)) for true gaps g_b, where a(g) = E|g + s_b Z| - |g| is what noise
    adds: at most 0.8 s_b, for g = 0, and nothing for large g. The upper end is the error and z times the root of the
    summed s_b^2; the lower end is as far below, and below that by the sum of a at max(|u_b| - 1.5 s_b, 0). Both ends
    are rather too far out than too near: the coverage is measured in `benchmarks/coverage.py`.

    Args:
        confidence: (n, m) in [0, 1]: top-1 confidence as one column, or every probability.
        truth: (n, m) in [0, 1]: what came true, or the mass of the soft label.
        level: between 0 and 1.

    Returns:
        Ends of at least 0; NaN for no rows.
    """
    rows, columns = confidence.shape
    if rows == 0:
        return float("nan"), float("nan")
    gaps, errors = zip(*(_gaps_and_errors(c, t) for c, t in zip(confidence.T, truth.T, strict=True)), strict=True)
    gap, error = np.concatenate(gaps), np.concatenate(errors)
    observed = np.abs(gap).sum()
    reach = norm.ppf((1 + level) / 2) * np.sqrt((error**2).sum())
    low = observed - _added_by_noise(np.maximum(np.abs(gap) - SHRINK * error, 0), error) - reach
    return float(max(low, 0) / columns), float((observed + reach) / columns)


def _gaps_and_errors(confidence: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each bin that has rows: its gap times its share of the rows, and the standard error of that."""
    bins, index = reliability_bins(confidence, truth), bin_of(confidence)
    some = bins["rows"] > 0
    count = bins["rows"][some]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, weights=values, minlength=CALIBRATION_BINS)[some]

    gap = bins["accuracy"][some] - bins["confidence"][some]
    within = np.maximum(sums((truth - confidence) ** 2) - count * gap**2, 0)
    expected = sums(confidence * (1 - confidence))  # the variance of labels that are drawn from the confidences
    spare = count.sum() - len(count)
    scale = within.sum() / spare * count.sum() / expected.sum() if spare and expected.sum() else 1.0
    variance = (within + PRIOR * scale * expected / count) / (count - 1 + PRIOR)
    return gap * count / count.sum(), np.sqrt(variance * count) / count.sum()


def _added_by_noise(gap: np.ndarray, error: np.ndarray) -> float:
    """Sum of E|gap + error Z| - |gap| over the bins."""
    ratio = np.divide(gap, error, out=np.zeros_like(gap), where=error > 0)
    return float((error * (2 * norm.pdf(ratio) + ratio * (2 * norm.cdf(ratio) - 1) - ratio)).sum())
