"""The numbers of an evaluation as functions of sums over faces, so that a bootstrap of all of them is one product.

Each number is the one that `scores` reports, but for rounding; here it may be asked of thousands of resamples at once.

Intervals are those of the percentiles; rates, calibration errors and mean divergences have others, see `covering`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from ..metrics.calibration.formulas import CALIBRATION_BINS, bin_of, top_mass
from ..words import MIN_OF_RESAMPLES
from .bootstrap import Part, blocks_of, percentile_interval, resampled
from .predictions import Predictions
from .scores import soft_label_rows, top_confidence

CELL = ("kl", "js", "accuracy", "balanced_accuracy", "macro_f1", "ece", "valence_ccc", "arousal_ccc")
AFFECT = ("ccc", "pearson", "rmse", "sagr")
ROUNDING = 1e-12  # a variance below this share of the mean square is that of a constant


class Numbers(NamedTuple):
    """Numbers that follow from the same sums over faces.

    Attributes:
        names: of the numbers.
        width: how many sums.
        columns: positions (m,) -> (m, width) float64: what is summed over these faces; made when they are asked for,
            as for all faces together they are far larger than what they are made of.
        of_sums: (k, sums) -> (k, numbers), NaN where undefined.
    """

    names: tuple[str, ...]
    width: int
    columns: Callable[[np.ndarray], np.ndarray]
    of_sums: Callable[[np.ndarray], np.ndarray]

    def part(self, rows: np.ndarray) -> Part:
        """What `bootstrap.resampled` takes, of the faces at these positions."""
        return Part(rows, self.columns, self.of_sums)

    def of(self, rows: np.ndarray) -> dict[str, float]:
        """The numbers of the faces at these positions."""
        sums = np.zeros((1, self.width))
        for block in blocks_of(rows):
            sums += self.columns(block).sum(axis=0, keepdims=True)
        values = self.of_sums(sums)[0]
        return dict(zip(self.names, values.tolist(), strict=True))


def together(several: Sequence[Numbers]) -> Numbers:
    """Several families as one."""
    ends = np.cumsum([family.width for family in several])

    def of_sums(sums: np.ndarray) -> np.ndarray:
        pieces = np.split(sums, ends[:-1], axis=1)
        return np.concatenate([f.of_sums(piece) for f, piece in zip(several, pieces, strict=True)], axis=1)

    names = tuple(name for family in several for name in family.names)

    def columns(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([family.columns(rows) for family in several], axis=1)

    return Numbers(names, int(ends[-1]), columns, of_sums)


# --- families --------------------------------------------------------------------------------------------------------


def mean_numbers(values: dict[str, np.ndarray]) -> Numbers:
    """The mean of each (n,) array over the rows in which it is no NaN."""

    def columns(rows: np.ndarray) -> np.ndarray:
        found = np.stack([value[rows] for value in values.values()], axis=1)
        known = ~np.isnan(found)
        return np.concatenate([np.where(known, found, 0), known], axis=1)

    def of_sums(sums: np.ndarray) -> np.ndarray:
        totals, counts = np.split(sums, 2, axis=1)
        return _quotient(totals, counts)

    return Numbers(tuple(values), 2 * len(values), columns, of_sums)


def label_numbers(predictions: Predictions) -> Numbers:
    """accuracy, balanced_accuracy, macro_f1, and recall:NAME, precision:NAME and f1:NAME of each class."""
    names = predictions.names
    per_class = tuple(f"{number}:{name}" for number in ("recall", "precision", "f1") for name in names)
    cells = _confusion_cells(predictions)

    def of_sums(sums: np.ndarray) -> np.ndarray:
        counts = sums.reshape(-1, len(names), len(names))
        right, true, said = np.einsum("rii->ri", counts), counts.sum(axis=2), counts.sum(axis=1)
        recall, f1 = _quotient(right, true), _quotient(2 * right, true + said)
        overall = [_quotient(right.sum(axis=1), true.sum(axis=1)), _known_mean(recall), _known_mean(f1)]
        return np.concatenate([np.stack(overall, axis=1), recall, _quotient(right, said), f1], axis=1)

    def columns(rows: np.ndarray) -> np.ndarray:
        return (cells[rows][:, None] == np.arange(len(names) ** 2)).astype(np.float64)

    return Numbers(("accuracy", "balanced_accuracy", "macro_f1", *per_class), len(names) ** 2, columns, of_sums)


def _confusion_cells(predictions: Predictions) -> np.ndarray:
    """(n,) the cell of the confusion matrix (rows are labels) that a face counts in; -1 without a label."""
    cells = predictions.labels * len(predictions.names) + predictions.probabilities.argmax(axis=1)
    return np.where(predictions.labels >= 0, cells, -1)


def confusion_counts(predictions: Predictions, rows: np.ndarray) -> np.ndarray:
    """(classes, classes) faces of each label and answer, of those at these positions."""
    classes, cells = len(predictions.names), _confusion_cells(predictions)[rows]
    return np.bincount(cells[cells >= 0], minlength=classes**2).reshape(classes, classes)


def calibration_numbers(predictions: Predictions) -> Numbers:
    """ece: the top class against the label."""
    known, right = predictions.labels >= 0, np.full(len(predictions.labels), np.nan)
    right[known] = top_confidence(predictions)[1]
    return _gaps("ece", predictions.probabilities.max(axis=1), right)


def more_calibration_numbers(predictions: Predictions) -> Numbers:
    """ece_soft, classwise_ece and classwise_ece_soft."""
    soft, labels = predictions.soft_labels, predictions.labels
    top = _gaps("ece_soft", *top_mass(predictions.probabilities, soft))
    hard = [np.where(labels >= 0, labels == place, np.nan) for place in range(len(predictions.names))]
    pairs = (("classwise_ece", hard), ("classwise_ece_soft", soft.T))
    return together([top, *(_classwise(name, predictions.probabilities, truth) for name, truth in pairs)])


def _classwise(name: str, probabilities: np.ndarray, truth: Iterable[np.ndarray]) -> Numbers:
    every = together([_gaps(name, p, q) for p, q in zip(probabilities.T, truth, strict=True)])
    return every._replace(names=(name,), of_sums=lambda sums: every.of_sums(sums).mean(axis=1, keepdims=True))


def _gaps(name: str, confidence: np.ndarray, truth: np.ndarray) -> Numbers:
    """The mean gap of the bins, of (n,) confidences and what came true; NaN where that is not known."""

    def columns(rows: np.ndarray) -> np.ndarray:
        return _gap_columns(confidence[rows], truth[rows])

    return Numbers((name,), CALIBRATION_BINS + 1, columns, _mean_gap)


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
        names = tuple(f"{dimension}_{name}" for name in AFFECT)
        families.append(Numbers(names, 9, _affect_columns(guess, true), _affect_of_sums))
    return together(families)


def _affect_columns(guess: np.ndarray, true: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    both = ~np.isnan(guess) & ~np.isnan(true)
    first = int(both.argmax())
    at_guess, at_true = (values[first] if both[first] else 0.0 for values in (guess, true))

    def columns(rows: np.ndarray) -> np.ndarray:
        known = both[rows]
        x, y = np.where(known, guess[rows], 0), np.where(known, true[rows], 0)
        u, v = np.where(known, x - at_guess, 0), np.where(known, y - at_true, 0)  # a constant becomes an exact 0
        sums = [known, u, v, u * u, v * v, u * v, known * (x - y), (x - y) ** 2, known & (np.sign(x) == np.sign(y))]
        return np.stack(sums, axis=1).astype(np.float64)

    return columns


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
    """Numbers of so many faces, by name, and the same numbers of each resample, (resamples,) each."""

    faces: int
    values: dict[str, float]
    resampled: dict[str, np.ndarray]

    def intervals(self, names: Iterable[str], level: float) -> dict[str, list[float] | None]:
        """The interval of each by `resampled_intervals`; None where it cannot be computed."""
        names = list(names)
        drawn = np.stack([self.resampled[name] for name in names], axis=1)
        low, high = resampled_intervals(drawn, self.faces, level)
        return {name: plain_interval(*ends) for name, *ends in zip(names, low, high, strict=True)}


def resampled_intervals(drawn: np.ndarray, faces: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends (numbers,) of the percentile intervals of each column of (resamples, numbers) of `faces` faces.

    Percentiles further out than the level says, by which an interval of a mean is as wide as Student's (Hesterberg
    2015, "What Teachers Should Know about the Bootstrap", section 5.3); NaN for fewer than MIN_OF_RESAMPLES faces, as
    of 50 those of a mean square error held that of all faces 92 times in 100 only.
    """
    if faces < MIN_OF_RESAMPLES:
        return np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    t = student.ppf((1 + level) / 2, faces - 1)
    return percentile_interval(drawn, 1 - 2 * norm.cdf(-np.sqrt(faces / (faces - 1)) * t))


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
        Estimate(len(which), numbers.of(which), dict(zip(numbers.names, found.T, strict=True)))
        for (numbers, which), found in zip(asked, drawn, strict=True)
    ]


def plain_cell(found: Estimate | None, rows: int, level: float) -> dict:
    """A cell as metrics.json has it; None for `found` where it has too few rows."""
    if found is None:
        return {"rows": rows, "too_few": True}
    numbers = {name: plain_number(found.values[name]) for name in CELL}
    return {"rows": rows, **numbers, "intervals": found.intervals(CELL, level)}
