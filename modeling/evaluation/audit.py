"""Everything that is measured of one model on one split: overall, by subset and by group, with intervals and gaps."""

from collections.abc import Mapping

import numpy as np

from ..words import MIN_OF_RESAMPLES
from .chance import by_lot, corrected
from .covering import covering_intervals, covering_intervals_of_cell
from .fairness import data_fairness, every_gap, group_gaps, model_fairness
from .groups import UNKNOWN, Grouping
from .intervals import (
    AFFECT,
    Estimate,
    Numbers,
    cell_numbers,
    confusion_counts,
    estimate,
    every_number,
    plain_cell,
)
from .predictions import Predictions
from .scores import evaluate_predictions


def audit(
    predictions: Predictions,
    prior: np.ndarray | None,
    subsets: Grouping,
    attributes: Mapping[str, Grouping],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    min_cell: int = 50,
) -> dict:
    """What `scores.evaluate_predictions` gives, with intervals, and the parts of the faces that `evaluate` documents.

    All intervals are of the same draws of all faces, so that a group has as many in a resample as are drawn of it. The
    gaps are between known groups of at least `min_cell` faces.
    """
    everything = np.arange(len(predictions.image_ids))
    groupings = {"subsets": subsets, **attributes}
    large = {
        (attribute, name): rows
        for attribute, grouping in groupings.items()
        for name, rows in grouping.rows_of().items()
        if len(rows) >= min_cell
    }
    cell = cell_numbers(predictions)
    asked = [(every_number(predictions), everything), *((cell, rows) for rows in large.values())]
    overall, *found = estimate(asked, len(everything), resamples, seed)
    estimates = dict(zip(large, found, strict=True))
    metrics = evaluate_predictions(predictions, prior)
    _add_intervals(metrics, overall, covering_intervals(predictions, level), level)
    cells = {
        attribute: {
            name: _cell(predictions, rows, estimates.get((attribute, name)), level)
            for name, rows in grouping.rows_of().items()
        }
        for attribute, grouping in groupings.items()
    }
    known = {
        attribute: {name: estimates[attribute, name] for name in cells[attribute] if (attribute, name) in large}
        for attribute in attributes
    }
    for groups in known.values():
        groups.pop(UNKNOWN, None)
    counts = {attribute: _confusions(predictions, grouping) for attribute, grouping in attributes.items()}
    names = predictions.names
    return metrics | {
        "subsets": cells.pop("subsets"),
        "groups": cells,
        "gaps": _gaps(cell, large, known, counts, names, min_cell, resamples, seed),
        "fairness": {
            attribute: _fairness(list(groups), counts[attribute], attributes[attribute], names, min_cell)
            for attribute, groups in known.items()
        },
    }


def _add_intervals(metrics: dict, overall: Estimate, covering: dict, level: float) -> None:
    intervals = overall.intervals(overall.values, level) | covering
    for name, row in metrics["per_class"].items():
        row["intervals"] = {number: intervals.pop(f"{number}:{name}") for number in ("recall", "precision", "f1")}
    for dimension in ("valence", "arousal"):
        ends = {name: intervals.pop(f"{dimension}_{name}") for name in AFFECT}
        enough = metrics[dimension]["rows"] >= MIN_OF_RESAMPLES
        metrics[dimension]["intervals"] = ends if enough else dict.fromkeys(AFFECT)
    metrics["intervals"] = intervals


def _cell(predictions: Predictions, rows: np.ndarray, found: Estimate | None, level: float) -> dict:
    cell = plain_cell(found, len(rows), level)
    if found is not None:
        cell["intervals"] |= covering_intervals_of_cell(predictions.take(rows), level)
    return cell


def _gaps(
    numbers: Numbers,
    rows: Mapping[tuple[str, str], np.ndarray],
    known: Mapping[str, Mapping[str, Estimate]],
    counts: Mapping[str, Mapping[str, np.ndarray]],
    emotions: tuple[str, ...],
    min_cell: int,
    draws: int,
    seed: int,
) -> dict:
    gaps = {}
    for attribute, groups in known.items():
        values = {name: found.values for name, found in groups.items()}
        members = {name: rows[attribute, name] for name in groups}
        drawn = by_lot(numbers, members, draws, seed) if len(groups) > 1 else {}
        gaps[attribute] = group_gaps(values, drawn, counts[attribute], emotions, min_cell)
    found = every_gap(gaps)
    for gap, p in zip(found, corrected([gap["p"] for gap in found]), strict=True):
        gap["p"] = p
    return gaps


def _confusions(predictions: Predictions, grouping: Grouping) -> dict[str, np.ndarray]:
    """Known group -> its confusion matrix, rows are labels."""
    return {name: confusion_counts(predictions, rows) for name, rows in grouping.rows_of().items() if name != UNKNOWN}


def _fairness(
    large: list[str], counts: dict[str, np.ndarray], grouping: Grouping, emotions: tuple[str, ...], min_cell: int
) -> dict | None:
    if len(large) < 2:
        return None
    sizes = {name: len(rows) for name, rows in grouping.rows_of().items() if name != UNKNOWN}
    labels = np.stack([counts[name].sum(axis=1) for name in sizes])
    return {
        "rows": sum(sizes.values()),
        "groups": large,
        "data": data_fairness(sizes, labels),
        "model": model_fairness({name: counts[name] for name in large}, emotions, min_cell),
    }
