"""All numbers of one evaluation, computed in float64 from arrays, and their table for a terminal."""

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from .metrics.affect_dimensions.formulas import concordance_correlation, root_mean_square_error
from .metrics.calibration.formulas import calibration_gap, reliability_bins
from .metrics.soft_label.formulas import jensen_shannon, kl_divergence
from .metrics.soft_label.inputs import SUM_TOLERANCE
from .predictions import Predictions


def evaluate_predictions(predictions: Predictions, prior: np.ndarray | None = None) -> dict:
    """All numbers of one evaluation as a dict that json.dumps takes: no NaN, None where nothing can be computed.

    `prior` (K,) is the training set's mean normalised soft label, the thing to beat; without it the evaluated rows'
    own mean is used, which flatters the baseline, and baselines.mean_soft_label.prior_from says so.

    Each number is over the rows where its truth is known. The predicted label is the most probable one, the first
    of equals. balanced_accuracy is the mean recall over the classes present in the labels, macro_f1 the mean F1 over
    those present in labels or predictions; per_class holds None for what a class never seen leaves undefined.
    top_label_agreement counts a row where the predicted label is the soft label's largest, or ties with it.
    `ece` and `reliability` set top-1 confidence against the label. The uniform baseline's accuracy is that of a blind
    guess. KL and JS are in nats. Raises ValueError for a `prior` that is no distribution over the K names.
    """
    soft_known = ~np.isnan(predictions.soft_labels).any(axis=1)
    return {
        "rows": len(predictions.image_ids),
        "rows_with_label": int((predictions.labels >= 0).sum()),
        "rows_with_soft_label": int(soft_known.sum()),
        **_label_metrics(predictions),
        **_soft_label_metrics(predictions.soft_labels[soft_known], predictions.probabilities[soft_known]),
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


def _soft_label_metrics(soft: np.ndarray, probabilities: np.ndarray) -> dict:
    top = soft[np.arange(len(soft)), probabilities.argmax(axis=1)] == soft.max(axis=1)
    return {
        "kl": _mean(kl_divergence(soft, probabilities)),
        "js": _mean(jensen_shannon(soft, probabilities)),
        "top_label_agreement": _mean(top),
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
    known = ~np.isnan(true)
    guess = predictions.valence_arousal[known, column]
    return {
        "ccc": _number(concordance_correlation(guess, true[known])),
        "rmse": _number(root_mean_square_error(guess, true[known])),
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


def format_metrics(metrics: dict) -> str:
    """The dict of `evaluate_predictions` as a table of at most 72 columns for a terminal; "-" where there is None."""
    constant, uniform = metrics["baselines"]["mean_soft_label"], metrics["baselines"]["uniform"]
    lines = [
        f"{metrics['rows']} rows, {metrics['rows_with_label']} with a label,"
        f" {metrics['rows_with_soft_label']} with a soft label",
        "",
        _line("", "model", "mean soft label", "uniform"),
    ]
    for name, key in (("KL (nats)", "kl"), ("JS (nats)", "js"), ("accuracy", "accuracy")):
        lines.append(_line(name, metrics[key], constant[key], uniform[key]))
    for key in ("balanced_accuracy", "macro_f1", "top_label_agreement", "ece"):
        lines.append(_line(key.replace("_", " "), metrics[key]))
    lines += [f"mean soft label from: {constant['prior_from']}", "", _line("", "recall", "precision", "f1", "support")]
    for name, row in metrics["per_class"].items():
        lines.append(_line(name, row["recall"], row["precision"], row["f1"], str(row["support"])))
    lines += ["", _line("", "ccc", "rmse", "rows")]
    for name in ("valence", "arousal"):
        lines.append(_line(name, metrics[name]["ccc"], metrics[name]["rmse"], str(metrics[name]["rows"])))
    return "\n".join(lines)


def _line(name: str, *cells) -> str:
    written = (cell if isinstance(cell, str) else "-" if cell is None else f"{cell:.4f}" for cell in cells)
    widths = (10, 17, 10, 9)
    return f"{name:<20}" + "".join(f"{cell:>{width}}" for cell, width in zip(written, widths, strict=False))
