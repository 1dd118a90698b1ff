"""The numbers of an evaluation as functions of sums over faces, so that a bootstrap of all of them is one product.

Each number is the one that `scores` reports, but for rounding; here it may be asked of thousands of resamples at once.

Intervals are those of the percentiles; rates and calibration errors have others, see `covering`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..metrics.calibration.formulas import CALIBRATION_BINS, bin_of, top_mass
from .bootstrap import Part, percentile_interval, resampled
from .predictions import Predictions
from .scores import soft_label_rows, top_confidence

CELL = ("kl", "js", "accuracy", "balanced_accuracy", "macro_f1", "ece", "valence_ccc", "arousal_ccc")
AFFECT = ("ccc", "pearson", "rmse", "sagr")
ROUNDING = 1e-12  # a variance below this share of the mean square is that of a constant


class Numbers(NamedTuple):
    """Numbers that follow from the same sums over faces.

    Attributes:
        names: of the numbers.
        columns: (n, sums) float64: what is summed.
        of_sums: (k, sums) -> (k, numbers), NaN where undefined.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    of_sums: Callable[[np.ndarray], np.ndarray]

    def part(self, rows: np.ndarray) -> Part:
        """What `bootstrap.resampled` takes, of the faces at these positions."""
        return Part(rows, self.columns[rows], self.of_sums)

    def of(self, rows: np.ndarray) -> dict[str, float]:
        """The numbers of the faces at these positions."""
        values = self.of_sums(self.columns[rows].sum(axis=0, keepdims=True))[0]
        return dict(zip(self.names, values.tolist(), strict=True))


def together(several: Sequence[Numbers]) -> Numbers:
    """Several families as one."""
    ends = np.cumsum([family.columns.shape[1] for family in several])

    def of_sums(sums: np.ndarray) -> np.ndarray:
        pieces = np.split(sums, ends[:-1], axis=1)
        return np.concatenate([f.of_sums(piece) for f, piece in zip(several, pieces, strict=True)], axis=1)

    names = tuple(name for family in several for name in family.names)
    return Numbers(names, np.concatenate([family.columns for family in several], axis=1), of_sums)


# --- families --------------------------------------------------------------------------------------------------------


def mean_numbers(values: dict[str, np.ndarray]) -> Numbers:
    """The mean of each (n,) array over the rows in which it is no NaN."""
    rows = np.stack(list(values.values()), axis=1)
    known = ~np.isnan(rows)

    def of_sums(sums: np.ndarray) -> np.ndarray:
        totals, counts = np.split(sums, 2, axis=1)
        return _quotient(totals, counts)

    return Numbers(tuple(values), np.concatenate([np.where(known, rows, 0), known], axis=1), of_sums)


def label_numbers(predictions: Predictions) -> Numbers:
    """accuracy, balanced_accuracy, macro_f1, and recall:NAME, precision:NAME and f1:NAME of each class."""
    names = predictions.names
    per_class = tuple(f"{number}:{name}" for number in ("recall", "precision", "f1") for name in names)

    def of_sums(sums: np.ndarray) -> np.ndarray:
        counts = sums.reshape(-1, len(names), len(names))
        right, true, said = np.einsum("rii->ri", counts), counts.sum(axis=2), counts.sum(axis=1)
        recall, f1 = _quotient(right, true), _quotient(2 * right, true + said)
        overall = [_quotient(right.sum(axis=1), true.sum(axis=1)), _known_mean(recall), _known_mean(f1)]
        return np.concatenate([np.stack(overall, axis=1), recall, _quotient(right, said), f1], axis=1)

    return Numbers(("accuracy", "balanced_accuracy", "macro_f1", *per_class), confusion_columns(predictions), of_sums)


def confusion_columns(predictions: Predictions) -> np.ndarray:
    """(n, classes^2): 1 in the cell of the confusion matrix (rows are labels) that a face counts in; else 0."""
    classes = len(predictions.names)
    cell = predictions.labels * classes + predictions.probabilities.argmax(axis=1)
    found = (cell[:, None] == np.arange(classes**2)) & (predictions.labels >= 0)[:, None]
    return found.astype(np.float64)


def calibration_numbers(predictions: Predictions) -> Numbers:
    """ece: the top class against the label."""
    known = predictions.labels >= 0
    gaps = np.zeros((len(known), CALIBRATION_BINS + 1))
    gaps[known] = _gap_columns(*top_confidence(predictions))
    return Numbers(("ece",), gaps, _mean_gap)


def more_calibration_numbers(predictions: Predictions) -> Numbers:
    """ece_soft, classwise_ece and classwise_ece_soft."""
    soft, labels = predictions.soft_labels, predictions.labels
    hard = np.where((labels >= 0)[:, None], np.eye(len(predictions.names))[labels], np.nan)
    confidence, mass = top_mass(predictions.probabilities, soft)
    top = Numbers(("ece_soft",), _gap_columns(confidence, mass), _mean_gap)
    pairs = (("classwise_ece", hard), ("classwise_ece_soft", soft))
    return together([top, *(_classwise(name, predictions.probabilities, truth) for name, truth in pairs)])


def _classwise(name: str, probabilities: np.ndarray, truth: np.ndarray) -> Numbers:
    columns = zip(probabilities.T, truth.T, strict=True)
    every = together([Numbers((name,), _gap_columns(p, q), _mean_gap) for p, q in columns])
    return Numbers((name,), every.columns, lambda sums: every.of_sums(sums).mean(axis=1, keepdims=True))


def _gap_columns(confidence: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n, bins + 1): truth - confidence in the equal-width bin of the confidence; and 1. All 0 where truth is NaN."""
    index = bin_of(confidence)
    known = ~np.isnan(truth)
    gap = np.where(known, np.nan_to_num(truth) - confidence, 0)
    return np.concatenate([(index[:, None] == np.arange(CALIBRATION_BINS)) * gap[:, None], known[:, None]], axis=1)


def _mean_gap(sums: np.ndarray) -> np.ndarray:
    return _quotient(np.abs(sums[:, :-1]).sum(axis=1, keepdims=True), sums[:, -1:])


def affect_numbers(predictions: Predictions) -> Numbers:
    """ccc, pearson, rmse and sagr of each dimension: valence_ccc, ... arousal_sagr."""
    families = []
    for column, dimension in enumerate(("valence", "arousal")):
        guess, true = predictions.valence_arousal[:, column], predictions.true_valence_arousal[:, column]
        known = ~np.isnan(guess) & ~np.isnan(true)
        x, y = np.where(known, guess, 0), np.where(known, true, 0)
        first = int(known.argmax())
        u, v = np.where(known, x - x[first], 0), np.where(known, y - y[first], 0)  # a constant becomes an exact 0
        columns = [known, u, v, u * u, v * v, u * v, known * (x - y), (x - y) ** 2, known & (np.sign(x) == np.sign(y))]
        names = tuple(f"{dimension}_{name}" for name in AFFECT)
        families.append(Numbers(names, np.stack(columns, axis=1).astype(np.float64), _affect_of_sums))
    return together(families)


def _affect_of_sums(sums: np.ndarray) -> np.ndarray:
    number = sums[:, 0]
    u, v, uu, vv, uv, difference, squares, agree = _quotient(sums[:, 1:], number[:, None]).T
    spread_u, spread_v = _variance(u, uu), _variance(v, vv)
    shared = np.where((spread_u == 0) | (spread_v == 0), 0, uv - u * v)
    several = np.where(number >= 2, 1, np.nan)
    ccc = _quotient(2 * shared, spread_u + spread_v + difference**2) * several
    pearson = np.clip(_quotient(shared, np.sqrt(spread_u * spread_v)), -1, 1) * several
    return np.stack([ccc, pearson, np.sqrt(squares), agree], axis=1)


def _variance(mean: np.ndarray, mean_square: np.ndarray) -> np.ndarray:
    found = mean_square - mean**2
    return np.where(found > ROUNDING * mean_square, found, 0)


def _quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return above / np.where(below > 0, below, np.nan)


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Mean of each row without its NaN; NaN for a row of nothing else."""
    known = ~np.isnan(values)
    return _quotient(np.where(known, values, 0).sum(axis=1), known.sum(axis=1))


# --- what is reported ------------------------------------------------------------------------------------------------


def cell_numbers(predictions: Predictions) -> Numbers:
    """The numbers of a cell (CELL) and, for the gaps, those of each class; more than CELL has."""
    rows = soft_label_rows(predictions)
    means = mean_numbers({name: rows[name] for name in ("kl", "js")})
    return together([means, label_numbers(predictions), calibration_numbers(predictions), affect_numbers(predictions)])


def every_number(predictions: Predictions) -> Numbers:
    """All that `scores.evaluate_predictions` reports, those of classes and dimensions by names such as recall:fear."""
    families = [mean_numbers(soft_label_rows(predictions)), label_numbers(predictions)]
    families += [calibration_numbers(predictions), more_calibration_numbers(predictions), affect_numbers(predictions)]
    return together(families)


class Estimate(NamedTuple):
    """Numbers of some faces, by name, and the same numbers of each resample, (resamples,) each."""

    values: dict[str, float]
    resampled: dict[str, np.ndarray]

    def intervals(self, names: Iterable[str], level: float) -> dict[str, list[float] | None]:
        """The percentile interval of each; None where it cannot be computed."""
        names = list(names)
        low, high = percentile_interval(np.stack([self.resampled[name] for name in names], axis=1), level)
        return {name: plain_interval(*ends) for name, *ends in zip(names, low, high, strict=True)}


def plain_interval(low: float, high: float) -> list[float] | None:
    """[low, high], or None where they are NaN."""
    return None if np.isnan(low) else [float(low), float(high)]


def plain_number(value: float) -> float | None:
    """None for NaN."""
    return None if np.isnan(value) else float(value)


def estimate(asked: Sequence[tuple[Numbers, np.ndarray]], rows: int, resamples: int, seed: int) -> list[Estimate]:
    """Each of the numbers, of each of the rows (positions), with its resamples; all are of the same draws."""
    drawn = resampled([numbers.part(which) for numbers, which in asked], rows, resamples, seed)
    return [
        Estimate(numbers.of(which), dict(zip(numbers.names, found.T, strict=True)))
        for (numbers, which), found in zip(asked, drawn, strict=True)
    ]


def plain_cell(found: Estimate | None, rows: int, level: float) -> dict:
    """A cell as metrics.json has it; None for `found` where it has too few rows."""
    if found is None:
        return {"rows": rows, "too_few": True}
    numbers = {name: plain_number(found.values[name]) for name in CELL}
    return {"rows": rows, **numbers, "intervals": found.intervals(CELL, level)}
