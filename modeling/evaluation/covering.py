"""The intervals that hold what they promise where percentiles of resamples do not: of rates and calibration errors."""

import numpy as np

from ..metrics.calibration.formulas import top_mass
from ..words import MIN_CLASSWISE, MIN_OF_EACH_EMOTION
from .calibration_interval import calibration_interval
from .predictions import Predictions
from .rates import exact_interval, f1_interval, interval_of_mean
from .scores import soft_label_rows, top_confidence


def covering_intervals(predictions: Predictions, level: float) -> dict[str, list[float] | None]:
    """The intervals that percentiles of resamples are replaced by, by the names of `intervals.every_number`.

    Rates have exact ones, also where few faces are; the mean recall and the mean F1 one of the exact ones of the
    emotions, and None where one of these has fewer than MIN_OF_EACH_EMOTION faces; a calibration error that of
    `calibration_interval`, classwise ones None for fewer than MIN_CLASSWISE faces. What cannot be computed is None.
    """
    return {**_of_labels(predictions, level), **_of_calibration(predictions, level)}


def _of_labels(predictions: Predictions, level: float) -> dict[str, list[float] | None]:
    classes = len(predictions.names)
    known = predictions.labels >= 0
    labels, said = predictions.labels[known], predictions.probabilities[known].argmax(axis=1)
    true, given = np.bincount(labels, minlength=classes), np.bincount(said, minlength=classes)
    hits = np.bincount(labels[labels == said], minlength=classes)
    either = true + given - hits
    agrees = soft_label_rows(predictions)["top_label_agreement"]
    agrees = agrees[~np.isnan(agrees)]
    found: dict[str, tuple] = {
        "accuracy": exact_interval(hits.sum(), len(labels), level),
        "top_label_agreement": exact_interval(agrees.sum(), len(agrees), level),
    }
    recall, f1 = exact_interval(hits, true, level), f1_interval(hits, either, level)
    precision = exact_interval(hits, given, level)
    for place, name in enumerate(predictions.names):
        for number, (low, high) in (("recall", recall), ("precision", precision), ("f1", f1)):
            found[f"{number}:{name}"] = (low[place], high[place])
    enough = true.min() >= MIN_OF_EACH_EMOTION
    found["balanced_accuracy"] = interval_of_mean(hits / true, *recall) if enough else (np.nan, np.nan)
    found["macro_f1"] = interval_of_mean(2 * hits / (either + hits), *f1) if enough else (np.nan, np.nan)
    return {name: _plain(*ends) for name, ends in found.items()}


def _of_calibration(predictions: Predictions, level: float) -> dict[str, list[float] | None]:
    probabilities, soft = predictions.probabilities, predictions.soft_labels
    known, soft_known = predictions.labels >= 0, ~np.isnan(soft).any(axis=1)
    confidence, mass = top_mass(probabilities[soft_known], np.minimum(soft[soft_known], 1))
    top, right = top_confidence(predictions)
    found = {
        "ece": calibration_interval(top[:, None], right[:, None].astype(np.float64), level),
        "ece_soft": calibration_interval(confidence[:, None], mass[:, None], level),
        "classwise_ece": (np.nan, np.nan),
        "classwise_ece_soft": (np.nan, np.nan),
    }
    if known.sum() >= MIN_CLASSWISE:
        hard = np.eye(len(predictions.names))[predictions.labels[known]]
        found["classwise_ece"] = calibration_interval(probabilities[known], hard, level)
    if soft_known.sum() >= MIN_CLASSWISE:
        truth = np.minimum(soft[soft_known], 1)
        found["classwise_ece_soft"] = calibration_interval(probabilities[soft_known], truth, level)
    return {name: _plain(*ends) for name, ends in found.items()}


def _plain(low, high) -> list[float] | None:
    return None if np.isnan(low) else [float(low), float(high)]
