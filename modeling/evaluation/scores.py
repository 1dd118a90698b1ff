"""All numbers of one evaluation, computed in float64 from arrays."""

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from ..metrics.affect_dimensions import formulas as affect
from ..metrics.calibration.formulas import calibration_gap, classwise_calibration_error, reliability_bins, top_mass
from ..metrics.soft_label.formulas import MEASURES, jensen_shannon, kl_divergence
from ..metrics.soft_label.inputs import SUM_TOLERANCE
from .predictions import Predictions


def evaluate_predictions(predictions: Predictions, prior: np.ndarray | None = None) -> dict:
    """All numbers of one evaluation as a dict that json.dumps takes: no NaN, None where nothing can be computed.

    `prior` (K,) is the training set's mean normalised soft label, the thing to beat; without it the evaluated rows'
    own mean is used, which flatters the baseline, and baselines.mean_soft_label.prior_from says so.

    Each number is over the rows where its truth is known. The predicted label is the most probable one, the first
    of equals. balanced_accuracy is the mean recall over the classes present in the labels, macro_f1 the mean F1 over
    those present in labels or predictions; per_class holds None for what a class never seen leaves undefined.
    top_label_agreement counts a row where the predicted label is the soft label's largest, or ties with it.
    `ece` and `reliability` set top-1 confidence against the label, `ece_soft` and `reliability_soft` against the mass
    of the soft label on that class; the classwise ones set every probability against label or soft label. `spearman`
    is the mean over the rows where neither side is constant. The uniform baseline's accuracy is that of a blind guess.
    KL and JS are in nats; the other measures of soft labels are those of `metrics.soft_label`, those of valence and
    arousal of `metrics.affect_dimensions`, None where the predictions do not say them. Raises ValueError for a `prior`
    that is no distribution over the K names.
    """
    soft_known = ~np.isnan(predictions.soft_labels).any(axis=1)
    return {
        "rows": len(predictions.image_ids),
        "rows_with_label": int((predictions.labels >= 0).sum()),
        "rows_with_soft_label": int(soft_known.sum()),
        **_label_metrics(predictions),
        **{name: _mean(values[~np.isnan(values)]) for name, values in soft_label_rows(predictions).items()},
        **_calibration(predictions, soft_known),
        "baselines": _baselines(predictions, predictions.soft_labels[soft_known], prior),
        "valence": _dimension_metrics(predictions, 0),
        "arousal": _dimension_metrics(predictions, 1),
    }


def top_confidence(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Top-1 probability, and whether it was right, of the rows with a label: two (m,) arrays, float64 and bool."""
    known = predictions.labels >= 0
    probabilities = predictions.probabilities[known]
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == predictions.labels[known]


def _label_metrics(predictions: Predictions) -> dict:
    known = predictions.labels >= 0
    truth, guess = predictions.labels[known], predictions.probabilities[known].argmax(axis=1)
    classes = np.arange(len(predictions.names))
    if known.any():
        # NaN for an undefined quotient leaves absent classes out of both means, which is what scikit-learn's own
        # balanced_accuracy_score and macro f1_score do.
        precision, recall, f1, support = precision_recall_fscore_support(
            truth, guess, labels=classes, zero_division=np.nan
        )
        accuracy, balanced, macro = accuracy_score(truth, guess), np.nanmean(recall), np.nanmean(f1)
        counts = confusion_matrix(truth, guess, labels=classes)
    else:  # scikit-learn refuses or warns about empty input
        precision = recall = f1 = np.full(len(classes), np.nan)
        accuracy = balanced = macro = np.nan
        support, counts = np.zeros(len(classes)), np.zeros((len(classes), len(classes)), int)
    table = zip(predictions.names, recall, precision, f1, support, strict=True)
    bins = reliability_bins(*top_confidence(predictions))
    return {
        "accuracy": _number(accuracy),
        "balanced_accuracy": _number(balanced),
        "macro_f1": _number(macro),
        "per_class": {
            name: {"recall": _number(r), "precision": _number(p), "f1": _number(f), "support": int(s)}
            for name, r, p, f, s in table
        },
        "confusion": counts.tolist(),
        "ece": _number(calibration_gap(bins)),
        "reliability": _plain_bins(bins),
    }


def soft_label_rows(predictions: Predictions) -> dict[str, np.ndarray]:
    """What each row adds to the mean of each measure of soft labels: (n,) float64 by name, NaN where not known."""
    soft, probabilities = predictions.soft_labels, predictions.probabilities
    found = {name: measure(soft, probabilities) for name, measure in MEASURES.items()}
    return found | {"top_label_agreement": top_label_agrees(predictions)}


def top_label_agrees(predictions: Predictions) -> np.ndarray:
    """Whether the predicted label is one of the largest of the soft label: (n,) 0 or 1, NaN where unknown."""
    soft = predictions.soft_labels
    top = soft[np.arange(len(soft)), predictions.probabilities.argmax(axis=1)]
    largest = soft.max(axis=1)
    return np.where(np.isnan(largest), np.nan, top == largest)


def _calibration(predictions: Predictions, soft_known: np.ndarray) -> dict:
    known, probabilities = predictions.labels >= 0, predictions.probabilities
    one_hot = np.eye(len(predictions.names))[predictions.labels[known]]
    soft = predictions.soft_labels[soft_known]
    confidence, mass = top_mass(probabilities[soft_known], soft)
    bins = reliability_bins(confidence, np.minimum(mass, 1))  # rescaling may round above 1
    return {
        "ece_soft": _number(calibration_gap(bins)),
        "reliability_soft": _plain_bins(bins),
        "classwise_ece": _number(classwise_calibration_error(probabilities[known], one_hot)),
        "classwise_ece_soft": _number(classwise_calibration_error(probabilities[soft_known], np.minimum(soft, 1))),
    }


def _baselines(predictions: Predictions, soft: np.ndarray, prior: np.ndarray | None) -> dict:
    classes = len(predictions.names)
    labels = predictions.labels[predictions.labels >= 0]
    origin = "evaluated rows" if prior is None else "training rows"
    mean = _checked_prior(prior, classes) if prior is not None else soft.mean(axis=0) if len(soft) else None
    constant: dict = {"kl": None, "js": None, "accuracy": None, "label": None}
    if mean is not None:
        constant = {**_constant_divergence(soft, mean), "accuracy": _mean(labels == mean.argmax())}
        constant["label"] = predictions.names[int(mean.argmax())]
    uniform = _constant_divergence(soft, np.full(classes, 1 / classes))
    return {
        "mean_soft_label": {**constant, "prior_from": origin},
        "uniform": {**uniform, "accuracy": 1 / classes if len(labels) else None},
    }


def _constant_divergence(soft: np.ndarray, answer: np.ndarray) -> dict:
    every = np.broadcast_to(answer, soft.shape)
    return {"kl": _mean(kl_divergence(soft, every)), "js": _mean(jensen_shannon(soft, every))}


def _checked_prior(prior, classes: int) -> np.ndarray:
    prior = np.asarray(prior, dtype=np.float64)
    if prior.shape != (classes,):
        raise ValueError(f"prior has shape {prior.shape}, expected {(classes,)}")
    if not ((prior >= 0).all() and abs(prior.sum() - 1) <= SUM_TOLERANCE):
        raise ValueError(f"prior is {prior.tolist()}, expected numbers of at least 0 that sum to 1")
    return prior / prior.sum()


def _dimension_metrics(predictions: Predictions, column: int) -> dict:
    true = predictions.true_valence_arousal[:, column]
    guess = predictions.valence_arousal[:, column]
    known = ~np.isnan(true) & ~np.isnan(guess)
    guess, true = guess[known], true[known]
    return {
        "ccc": _number(affect.concordance_correlation(guess, true)),
        "pearson": _number(affect.pearson_correlation(guess, true)),
        "rmse": _number(affect.root_mean_square_error(guess, true)),
        "sagr": _number(affect.sign_agreement(guess, true)),
        "rows": int(known.sum()),
    }


def _plain_bins(bins: dict[str, np.ndarray]) -> dict:
    return {
        "edges": bins["edges"].tolist(),
        "rows": bins["rows"].tolist(),
        "confidence": [_number(value) for value in bins["confidence"]],
        "accuracy": [_number(value) for value in bins["accuracy"]],
    }


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _number(value) -> float | None:
    return None if np.isnan(value) else float(value)
