"""The intervals that hold what they promise where percentiles of resamples do not: of rates, of calibration errors and
of mean divergences."""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from ..metrics.calibration.formulas import top_mass
from ..words import MIN_CLASSWISE, MIN_OF_CALIBRATION, MIN_OF_DIVERGENCE, MIN_OF_EACH_EMOTION
from .calibration_interval import calibration_interval
from .intervals import plain_interval
from .predictions import Predictions
from .rates import exact_interval, f1_interval, interval_of_mean
from .scores import soft_label_rows, top_confidence, top_label_agrees

UNKNOWN = (np.nan, np.nan)
DIVERGENCES = ("kl", "kl_unsmoothed", "js")


def covering_intervals(predictions: Predictions, level: float) -> dict[str, list[float] | None]:
    """The intervals that percentiles of resamples are replaced by, by the names of `intervals.every_number`.

    Rates have exact ones, also where few faces are; the mean recall and the mean F1 one of the exact ones of the
    emotions, and None where one of these has fewer than MIN_OF_EACH_EMOTION faces; a calibration error that of
    `calibration_interval`, None for fewer than MIN_OF_CALIBRATION faces, and classwise for fewer than MIN_CLASSWISE; a
    mean divergence that of `divergence_interval`, None for fewer than MIN_OF_DIVERGENCE. What cannot be computed is
    None.
    """
    found = _of_rates(predictions, level) | _of_classes(predictions, level) | _of_calibration(predictions, level)
    found |= _of_divergences(predictions, level, DIVERGENCES)
    return {name: plain_interval(*ends) for name, ends in found.items()}


def covering_intervals_of_cell(predictions: Predictions, level: float) -> dict[str, list[float] | None]:
    """Those of them that `intervals.CELL` names, of the faces of a cell."""
    found = _of_rates(predictions, level) | {"ece": _of_top(predictions, level)}
    found |= _of_divergences(predictions, level, ("kl", "js"))
    return {name: plain_interval(*ends) for name, ends in found.items()}


def divergence_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """The interval of the mean of numbers of at least 0 of which few are large.

    Student's, of the mean's logarithm, and its upper end further up by what the skewness asks for (Johnson 1978).
    Percentiles of resamples reach too little upwards: a sample of 50 faces that has drawn none of the hard ones does
    not know of them. NaN for fewer than MIN_OF_DIVERGENCE numbers.
    """
    if len(values) < MIN_OF_DIVERGENCE:
        return UNKNOWN
    mean, spread, root = values.mean(), values.std(ddof=1), np.sqrt(len(values))
    if not spread > 0:
        return float(mean), float(mean)
    t = student.ppf((1 + level) / 2, len(values) - 1)
    reach = t * spread / root / mean
    skewness = ((values - mean) ** 3).mean() / spread**3
    shift = max(skewness, 0) * spread * (1 + 2 * t**2) / (6 * len(values))
    return float(mean * np.exp(-reach)), float(mean * np.exp(reach) + shift)


class _Counts(NamedTuple):
    """Of each class: faces with the label, faces that were given it, faces with both."""

    true: np.ndarray
    given: np.ndarray
    hits: np.ndarray

    @property
    def either(self) -> np.ndarray:
        return self.true + self.given - self.hits


def _counts(predictions: Predictions) -> _Counts:
    known, classes = predictions.labels >= 0, len(predictions.names)
    labels, said = predictions.labels[known], predictions.probabilities[known].argmax(axis=1)
    return _Counts(*(np.bincount(of, minlength=classes) for of in (labels, said, labels[labels == said])))


def _of_rates(predictions: Predictions, level: float) -> dict[str, tuple]:
    """Of all labels together: accuracy, mean recall and mean F1."""
    counts = _counts(predictions)
    found: dict[str, tuple] = {"accuracy": exact_interval(counts.hits.sum(), counts.true.sum(), level)}
    if counts.true.min() < MIN_OF_EACH_EMOTION:
        return found | dict.fromkeys(("balanced_accuracy", "macro_f1"), UNKNOWN)
    recall = exact_interval(counts.hits, counts.true, level)
    f1 = f1_interval(counts.hits, counts.either, level)
    found["balanced_accuracy"] = interval_of_mean(counts.hits / counts.true, *recall)
    found["macro_f1"] = interval_of_mean(2 * counts.hits / (counts.either + counts.hits), *f1)
    return found


def _of_classes(predictions: Predictions, level: float) -> dict[str, tuple]:
    """Recall, precision and F1 of each emotion, and the agreement of the top labels."""
    counts = _counts(predictions)
    ends = {
        "recall": exact_interval(counts.hits, counts.true, level),
        "precision": exact_interval(counts.hits, counts.given, level),
        "f1": f1_interval(counts.hits, counts.either, level),
    }
    agrees = top_label_agrees(predictions)
    agrees = agrees[~np.isnan(agrees)]
    return {"top_label_agreement": exact_interval(agrees.sum(), len(agrees), level)} | {
        f"{number}:{name}": (low[place], high[place])
        for place, name in enumerate(predictions.names)
        for number, (low, high) in ends.items()
    }


def _of_divergences(predictions: Predictions, level: float, names: tuple[str, ...]) -> dict[str, tuple]:
    rows = soft_label_rows(predictions)
    return {name: divergence_interval(rows[name][~np.isnan(rows[name])], level) for name in names}


def _from(fewest: int, confidences: np.ndarray, truth: np.ndarray, level: float) -> tuple[float, float]:
    """The interval of a calibration error, where there are so many faces."""
    return calibration_interval(confidences, truth, level) if len(truth) >= fewest else UNKNOWN


def _of_top(predictions: Predictions, level: float) -> tuple[float, float]:
    top, right = top_confidence(predictions)
    return _from(MIN_OF_CALIBRATION, top[:, None], right[:, None].astype(np.float64), level)


def _of_calibration(predictions: Predictions, level: float) -> dict[str, tuple]:
    known, soft_known = predictions.labels >= 0, ~np.isnan(predictions.soft_labels).any(axis=1)
    hard = np.eye(len(predictions.names))[predictions.labels[known]]
    soft = np.minimum(predictions.soft_labels[soft_known], 1)
    confidence, mass = top_mass(predictions.probabilities[soft_known], soft)
    classwise = {"classwise_ece": (known, hard), "classwise_ece_soft": (soft_known, soft)}
    return {
        "ece": _of_top(predictions, level),
        "ece_soft": _from(MIN_OF_CALIBRATION, confidence[:, None], mass[:, None], level),
        **{
            name: _from(MIN_CLASSWISE, predictions.probabilities[rows], truth, level)
            for name, (rows, truth) in classwise.items()
        },
    }
