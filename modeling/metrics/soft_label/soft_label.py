"""Metric of the `evaluate` library: how near predicted distributions are to soft labels. README.md is its card."""

import datasets
import evaluate
import numpy as np

from .formulas import MEASURES
from .inputs import check_distributions, table

INPUTS = f"""
Args:
    predictions: rows of probabilities that sum to 1 within 1e-4; they are rescaled to sum to 1 exactly.
    references: soft labels, rows of as many numbers, likewise; a row of NaN, or None, is unknown and left out.

Returns:
    {", ".join(MEASURES)}: means over the rows with a soft
        label, NaN where there is none.
    rows, unknown: how many rows have a soft label, and how many were left out for want of one.
    spearman_rows: how many of `rows` spearman is over; a row that is constant has no ranks.
"""


class SoftLabel(evaluate.Metric):
    """Means over rows; see README.md."""

    def _info(self):
        # float64, since `evaluate` writes what it is given to an Arrow file in this type before it computes. No fixed
        # length: then the number of classes is free, and a row of another length is refused below, by its number.
        distribution = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description="How near predicted distributions are to soft labels: means of measures over rows.",
            citation="Geng 2016, Label distribution learning, IEEE TKDE 28(7), doi:10.1109/TKDE.2016.2545658",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": distribution, "references": distribution}),
            reference_urls=["https://arxiv.org/abs/1408.6027"],
        )

    def _compute(self, predictions, references):
        predictions = table("predictions", predictions)
        check_distributions("predictions", predictions, unknown=False)
        references = table("references", references, predictions.shape[1])
        check_distributions("references", references, unknown=True)
        known = ~np.isnan(references).any(axis=1)
        true, predicted = (rows[known] / rows[known].sum(axis=1, keepdims=True) for rows in (references, predictions))
        found = {name: measure(true, predicted) for name, measure in MEASURES.items()}
        means = {name: _mean_of_known(values) for name, values in found.items()}
        counts = {"rows": int(known.sum()), "unknown": int((~known).sum())}
        return means | counts | {"spearman_rows": int((~np.isnan(found["spearman"])).sum())}


def _mean_of_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
