"""How far confidence is from what comes true, in bins of confidence."""

import numpy as np
from scipy.stats import rankdata

from .inputs import same_shape

CALIBRATION_BINS = 15


def reliability_bins(confidence, correct, bins: int = CALIBRATION_BINS) -> dict[str, np.ndarray]:
    """The equal-width bins of a reliability diagram: ((m-1)/bins, m/bins] for m = 1..bins, and 0 in the first.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) of bools, or of the soft label's mass on what the confidence is in, in [0, 1].

    Returns:
        `edges` (bins + 1,), and for each bin `rows`, the mean `confidence` and the `accuracy`, which is the mean of
        `correct`; the last two are NaN where a bin is empty. Source: Guo et al. 2017, section 2.

    Raises:
        ValueError: unequal lengths, fewer than one bin, or values outside [0, 1].
    """
    confidence, correct = _checked(confidence, correct, bins)
    return {"edges": _edges(bins)} | _means(bin_of(confidence, bins), confidence, correct, bins)


def bin_of(confidence: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """The number of the bin of `reliability_bins` that each confidence is in, counted from 0."""
    return np.maximum(np.searchsorted(_edges(bins), confidence, side="left") - 1, 0)


def _edges(bins: int) -> np.ndarray:
    return np.arange(bins + 1) / bins


def equal_mass_bins(confidence, correct, bins: int = CALIBRATION_BINS) -> dict[str, np.ndarray]:
    """Bins of rows by the rank of their confidence: of n rows, those with rank in ((m-1) n/bins, m n/bins].

    Without ties each bin holds n/bins rows, rounded up or down. Rows of one confidence have the mean of their ranks,
    and so stay together: the order of the rows never matters, and a bin may be empty. Arguments, result (without
    `edges`) and errors as for `reliability_bins`. Source: Nguyen & O'Connor 2015; the rule for ties is ours.
    """
    confidence, correct = _checked(confidence, correct, bins)
    index = np.ceil(rankdata(confidence) * bins / len(confidence)).astype(int) - 1 if len(confidence) else []
    return _means(np.asarray(index, dtype=int), confidence, correct, bins)


def _checked(confidence, correct, bins: int) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = same_shape(confidence, correct)
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected at least 1")
    for name, values in (("confidence", confidence), ("correct", correct)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} runs from {values.min()} to {values.max()}, expected within [0, 1]")
    return confidence, correct


def _means(index: np.ndarray, confidence: np.ndarray, correct: np.ndarray, bins: int) -> dict[str, np.ndarray]:
    rows = np.bincount(index, minlength=bins)
    divisor = np.where(rows > 0, rows, np.nan)
    return {
        "rows": rows,
        "confidence": np.bincount(index, weights=confidence, minlength=bins) / divisor,
        "accuracy": np.bincount(index, weights=correct, minlength=bins) / divisor,
    }


def calibration_gap(bins: dict) -> float:
    """Expected calibration error of the bins that `reliability_bins` gives, or of their plain form in the metrics."""
    rows = np.asarray(bins["rows"])
    confidence, accuracy = (np.asarray(bins[key], dtype=np.float64) for key in ("confidence", "accuracy"))
    total = rows.sum()
    return float(np.nansum(rows * np.abs(accuracy - confidence)) / total) if total else float("nan")


def expected_calibration_error(confidence, correct, bins: int = CALIBRATION_BINS, equal_mass: bool = False) -> float:
    """Mean gap between confidence and accuracy over bins, weighted by rows; 0 to 1, NaN for no rows.

    Arguments and errors as for `reliability_bins`; `equal_mass` takes `equal_mass_bins` instead. Source: Guo et al.
    2017, equation 3.
    """
    binned = equal_mass_bins if equal_mass else reliability_bins
    return calibration_gap(binned(confidence, correct, bins))


def classwise_calibration_error(probabilities, truth, bins: int = CALIBRATION_BINS, equal_mass: bool = False) -> float:
    """Mean over the classes k of the expected calibration error of p_k against the truth's mass on k; 0 to 1.

    `probabilities` and `truth` are (n, classes), rows that sum to 1; a `truth` of one-hot labels gives the
    classwise-ECE of Kull et al. 2019; one of soft labels is ours. NaN for no rows. Errors as for
    `reliability_bins`.
    """
    columns = zip(*(values.T for values in same_shape(probabilities, truth)), strict=True)
    return float(np.mean([expected_calibration_error(p, q, bins, equal_mass) for p, q in columns]))


def top_mass(probabilities, truth) -> tuple[np.ndarray, np.ndarray]:
    """Top-1 probability of each row, and the truth's mass on that class, the first of equals: two (n,) arrays.

    `probabilities` and `truth` are (n, classes). For one-hot labels the mass is 1 where the model is right, else 0.
    """
    probabilities, truth = same_shape(probabilities, truth)
    top = probabilities.argmax(axis=1)[:, None]
    return np.take_along_axis(probabilities, top, axis=1)[:, 0], np.take_along_axis(truth, top, axis=1)[:, 0]
