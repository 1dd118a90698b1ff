"""Metric of the `evaluate` library: expected calibration errors, of hard and of soft labels. README.md is its card."""

import datasets
import evaluate
import numpy as np

from .formulas import CALIBRATION_BINS, classwise_calibration_error, expected_calibration_error, top_mass
from .inputs import check_distributions, check_rows, table

INPUTS = """
Args:
    predictions: rows of probabilities that sum to 1 within 1e-4; they are rescaled to sum to 1 exactly.
    references: with the configuration "hard", which is the default, one label for each row, -1 where unknown; with
        "soft" a soft label for each row, checked and rescaled as `predictions`, NaN or None where unknown. Unknown
        rows are left out.
    bins: number of bins; 15 unless given.

Returns:
    ece, ece_equal_mass: expected calibration error of the likeliest class, with bins of equal width and of equal mass.
    classwise_ece, classwise_ece_equal_mass: mean over the classes of the calibration error of each.
    rows, unknown: how many rows were measured, and how many were left out.
"""


class Calibration(evaluate.Metric):
    """Configurations "hard" and "soft"; see README.md."""

    def _info(self):
        if self.config_name not in ("default", "hard", "soft"):
            raise ValueError(f"configuration {self.config_name!r}, expected hard or soft")
        # float64, since `evaluate` writes what it is given to an Arrow file in this type before it computes; for
        # labels too, as it would cut a label of 0.7 down to an integer of 0 without a word.
        number = datasets.Value("float64")
        distribution = datasets.Sequence(number)
        references = distribution if self.config_name == "soft" else number
        return evaluate.MetricInfo(
            description="Expected calibration errors with bins of equal width and of equal mass, top-1 and classwise.",
            citation="Guo et al. 2017, ICML, arXiv:1706.04599; Kull et al. 2019, NeurIPS, arXiv:1910.12656",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": distribution, "references": references}),
            reference_urls=["https://arxiv.org/abs/1706.04599", "https://arxiv.org/abs/1910.12656"],
        )

    def _compute(self, predictions, references, bins=CALIBRATION_BINS):
        predictions = table("predictions", predictions)
        check_distributions("predictions", predictions, unknown=False)
        truth = (_soft if self.config_name == "soft" else _one_hot)(references, predictions.shape[1])
        known = ~np.isnan(truth).any(axis=1)
        truth, probabilities = (rows[known] / rows[known].sum(axis=1, keepdims=True) for rows in (truth, predictions))
        confidence, mass = top_mass(probabilities, truth)
        return {
            "ece": expected_calibration_error(confidence, mass, bins),
            "ece_equal_mass": expected_calibration_error(confidence, mass, bins, equal_mass=True),
            "classwise_ece": classwise_calibration_error(probabilities, truth, bins),
            "classwise_ece_equal_mass": classwise_calibration_error(probabilities, truth, bins, equal_mass=True),
            "rows": int(known.sum()),
            "unknown": int((~known).sum()),
        }


def _soft(references: list, classes: int) -> np.ndarray:
    truth = table("references", references, classes)
    check_distributions("references", truth, unknown=True)
    return truth


def _one_hot(references: list, classes: int) -> np.ndarray:
    """(n, classes), a row of NaN where the label is -1."""
    labels = np.array(references, dtype=np.float64)
    good = np.isin(labels, np.arange(-1, classes))
    check_rows("references", labels, good, f"a label from 0 to {classes - 1}, or -1 where unknown")
    one_hot = np.eye(classes)[labels.astype(int)]
    one_hot[labels < 0] = np.nan
    return one_hot
