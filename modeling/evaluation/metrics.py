"""Numbers that say how good predictions are, computed in float64 from arrays; no model, file or picture in here."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import rel_entr
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from affectnet_plus import EMOTIONS

SUM_TOLERANCE = 1e-4
# A softmax in half or single precision can underflow to an exact 0, which would make one row's KL, and with it the
# mean, infinite. 1e-12 is far below anything a model says on purpose and bounds a row's KL at 27.6 nats.
PROBABILITY_FLOOR = 1e-12
CALIBRATION_BINS = 15


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said and what is known, row by row; everything that evaluation needs.

    Checked once, here: every array is brought to float64 (labels to int64) and distributions are rescaled to sum to 1
    exactly. Raises ValueError for no rows, a wrong shape, and for the first bad row, naming its image_id: rows of
    `probabilities` or `soft_labels` that are negative, not finite or do not sum to 1 within 1e-4; labels outside
    -1..K-1; valence or arousal outside [-1, 1] (a release's sentinel of -2 is to be given as NaN).
    """

    image_ids: list[str]
    probabilities: np.ndarray  # (n, K), rows sum to 1
    soft_labels: np.ndarray  # (n, K) normalised distributions, NaN row where unknown
    labels: np.ndarray  # (n,) int, -1 where unknown
    valence_arousal: np.ndarray  # (n, 2) predicted, in [-1, 1]
    true_valence_arousal: np.ndarray  # (n, 2) in [-1, 1], NaN where unknown
    names: tuple[str, ...] = EMOTIONS

    def __post_init__(self):
        rows, classes = len(self.image_ids), len(self.names)
        if rows == 0:
            raise ValueError("there are no predictions to evaluate: 0 rows")
        if np.asarray(self.labels).dtype.kind not in "iu":
            raise ValueError(f"labels are {np.asarray(self.labels).dtype}, expected integers (-1 where unknown)")
        self._hold("probabilities", np.float64, (rows, classes))
        self._hold("soft_labels", np.float64, (rows, classes))
        self._hold("labels", np.int64, (rows,))
        self._hold("valence_arousal", np.float64, (rows, 2))
        self._hold("true_valence_arousal", np.float64, (rows, 2))
        self._check_distributions("probabilities", np.zeros(rows, bool), "")
        unknown = np.isnan(self.soft_labels).all(axis=1)
        self._check_distributions("soft_labels", unknown, ", or all NaN where unknown")
        self._check("labels", (self.labels >= -1) & (self.labels < classes), f"-1 (unknown) or 0..{classes - 1}")
        self._check("valence_arousal", (np.abs(self.valence_arousal) <= 1).all(axis=1), "two numbers in [-1, 1]")
        true = self.true_valence_arousal
        in_range = (np.isnan(true) | (np.abs(true) <= 1)).all(axis=1)
        self._check("true_valence_arousal", in_range, "numbers in [-1, 1], or NaN where unknown")

    def _hold(self, field: str, dtype, shape: tuple[int, ...]):
        array = np.array(getattr(self, field), dtype=dtype)
        if array.shape != shape:
            raise ValueError(f"{field} has shape {array.shape}, expected {shape}: one row for each image_id")
        object.__setattr__(self, field, array)

    def _check(self, field: str, good: np.ndarray, expected: str):
        if not good.all():
            row = int(np.argmin(good))
            found = np.array2string(getattr(self, field)[row], precision=6, separator=", ")
            raise ValueError(f"{field} of {self.image_ids[row]} (row {row}): found {found}, expected {expected}")

    def _check_distributions(self, field: str, unknown: np.ndarray, otherwise: str):
        values = getattr(self, field)
        proper = (np.isfinite(values) & (values >= 0)).all(axis=1)
        self._check(field, proper | unknown, f"finite numbers of at least 0{otherwise}")
        sums = values.sum(axis=1, keepdims=True)
        close = np.abs(sums[:, 0] - 1) <= SUM_TOLERANCE
        worst = sums[int(np.argmin(close | unknown)), 0]
        self._check(field, close | unknown, f"a sum of 1 within {SUM_TOLERANCE:g}, not {worst:.6g}{otherwise}")
        object.__setattr__(self, field, values / sums)

    def take(self, rows) -> "Predictions":
        """The same for chosen rows only, in the order given; `rows` is a sequence of positions."""
        rows = [int(row) for row in rows]
        return replace(
            self,
            image_ids=[self.image_ids[row] for row in rows],
            probabilities=self.probabilities[rows],
            soft_labels=self.soft_labels[rows],
            labels=self.labels[rows],
            valence_arousal=self.valence_arousal[rows],
            true_valence_arousal=self.true_valence_arousal[rows],
        )


def kl_divergence(soft, probabilities) -> np.ndarray:
    """Kullback-Leibler divergence KL(soft || probabilities) of each row, in nats, at least 0.

    Both are (n, K) with rows that sum to 1; the result is (n,), NaN where a row holds NaN. 0 * log 0 counts as 0;
    `probabilities` below PROBABILITY_FLOOR are raised to it. Source: Kullback & Leibler 1951.
    """
    soft, probabilities = _same_shape(soft, probabilities)
    divergence = rel_entr(soft, np.maximum(probabilities, PROBABILITY_FLOOR)).sum(axis=-1)
    return np.maximum(divergence, 0.0)  # two equal rows may come out at -1e-17


def jensen_shannon(soft, probabilities) -> np.ndarray:
    """Jensen-Shannon divergence (not its square root) of each row, in nats, from 0 to ln 2.

    Both are (n, K) with rows that sum to 1; the result is (n,), NaN where a row holds NaN. Symmetric, and finite
    whatever the zeros, so no floor is needed. Source: Lin 1991, with equal weights.
    """
    soft, probabilities = _same_shape(soft, probabilities)
    middle = (soft + probabilities) / 2
    divergence = (rel_entr(soft, middle) + rel_entr(probabilities, middle)).sum(axis=-1) / 2
    return np.clip(divergence, 0.0, np.log(2.0))


def reliability_bins(confidence, correct, bins: int = CALIBRATION_BINS) -> dict[str, np.ndarray]:
    """The equal-width bins of a reliability diagram: ((m-1)/bins, m/bins] for m = 1..bins, and 0 in the first.

    `confidence` is (n,) in [0, 1], `correct` (n,) of bools. Gives `edges` (bins + 1,), and for each bin `rows`, the
    mean `confidence` and the `accuracy`, the last two NaN where a bin is empty. Source: Guo et al. 2017, section 2.
    Raises ValueError for unequal lengths, fewer than one bin and a confidence outside [0, 1].
    """
    confidence, correct = _same_shape(confidence, correct)
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected at least 1")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"confidence runs from {confidence.min()} to {confidence.max()}, expected within [0, 1]")
    edges = np.arange(bins + 1) / bins
    index = np.maximum(np.searchsorted(edges, confidence, side="left") - 1, 0)
    rows = np.bincount(index, minlength=bins)
    divisor = np.where(rows > 0, rows, np.nan)
    return {
        "edges": edges,
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


def expected_calibration_error(confidence, correct, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by rows; 0 to 1, NaN for no rows.

    Arguments and errors as for `reliability_bins`. Source: Guo et al. 2017, equation 3.
    """
    return calibration_gap(reliability_bins(confidence, correct, bins))


def concordance_correlation(x, y) -> float:
    """Concordance correlation coefficient of two (n,) arrays, from -1 to 1, with population variances.

    2 cov(x, y) / (var x + var y + (mean x - mean y)^2). NaN for fewer than 2 rows. A constant input shares no
    variation with the other, so the result is 0; for two equal constants the formula is 0 / 0 and the result NaN.
    Source: Lin 1989.
    """
    x, y = _same_shape(x, y)
    if len(x) < 2:
        return float("nan")
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # the rounding of a mean would leave a variance of 1e-34 here, not 0
        return float("nan") if np.array_equal(x, y) else 0.0
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def root_mean_square_error(x, y) -> float:
    """Root of the mean squared difference of two (n,) arrays, in their own unit; NaN for no rows."""
    x, y = _same_shape(x, y)
    return float(np.sqrt(np.mean((x - y) ** 2))) if len(x) else float("nan")


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


def _same_shape(first, second) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape} differ, expected the same")
    return first, second


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
