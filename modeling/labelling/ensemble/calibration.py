"""From the log-odds of a binary classifier to a confidence that means what it says, fitted on hard labels.

Training on as many positives as negatives makes every emotion look as likely as not; the calibration puts the true
frequencies back.
"""

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from affectnet_plus import EMOTIONS

KINDS = ("temperature", "isotonic")


def fit_calibration(kind: str, log_odds: np.ndarray, labels: np.ndarray, split: str) -> dict:
    """The calibration of each emotion against the rest, as a dict that JSON takes.

    "temperature" is 1 / (1 + exp(-(slope * log-odds + shift))): a temperature 1 / slope (Guo et al. 2017) and the
    shift that balanced training needs (Platt 1999, without his smoothed targets). "isotonic" is the rising step
    function of Zadrozny and Elkan (2002), linear between its knots, and constant beyond the first and the last.

    Args:
        kind: one of KINDS.
        log_odds: (n, 8), from networks that did not see the faces.
        labels: (n,) hard labels, 0 to 7.
        split: which faces these are, for the record.

    Raises:
        ValueError: the kind is not known, there are no faces, or an emotion has no face; it is named.
    """
    if kind not in KINDS:
        raise ValueError(f"calibration is {kind!r}, expected one of {', '.join(KINDS)}")
    absent = [name for code, name in enumerate(EMOTIONS) if not (labels == code).any()]
    if absent:
        raise ValueError(f"{split}: no face is labelled {', '.join(absent)}, so that calibration cannot be fitted")
    fit = _fit_temperature if kind == "temperature" else _fit_isotonic
    emotions = {name: fit(log_odds[:, code], labels == code) for code, name in enumerate(EMOTIONS)}
    return {"kind": kind, "split": split, "faces": len(labels), "emotions": emotions}


def _fit_temperature(log_odds: np.ndarray, positive: np.ndarray) -> dict:
    model = LogisticRegression(C=np.inf).fit(log_odds[:, None], positive)
    # A slope below 0 would turn the network's order round; a network that bad knows the frequency and nothing else.
    if model.coef_[0, 0] < 0:
        return {"slope": 0.0, "shift": float(np.log(positive.mean() / (1 - positive.mean())))}
    return {"slope": float(model.coef_[0, 0]), "shift": float(model.intercept_[0])}


def _fit_isotonic(log_odds: np.ndarray, positive: np.ndarray) -> dict:
    model = IsotonicRegression(out_of_bounds="clip").fit(log_odds, positive)
    return {"log_odds": model.X_thresholds_.tolist(), "confidence": model.y_thresholds_.tolist()}


def apply_calibration(log_odds: np.ndarray, calibration: dict | None) -> np.ndarray:
    """(n, 8) log-odds as confidences in [0, 1], float64; NaN stays NaN. None is the logistic function alone."""
    log_odds = np.asarray(log_odds, dtype=float)
    if calibration is None:
        return expit(log_odds)
    columns = [calibration["emotions"][name] for name in EMOTIONS]
    if calibration["kind"] == "temperature":
        slopes, shifts = (np.array([column[key] for column in columns]) for key in ("slope", "shift"))
        return expit(slopes * log_odds + shifts)
    knots = [(column["log_odds"], column["confidence"]) for column in columns]
    found = [np.interp(values, *steps) for values, steps in zip(log_odds.T, knots, strict=True)]
    return np.where(np.isnan(log_odds), np.nan, np.stack(found, axis=1))
