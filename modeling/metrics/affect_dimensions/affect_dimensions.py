"""Metric of the `evaluate` library: agreement of predicted and true valence and arousal. README.md is its card."""

import datasets
import evaluate
import numpy as np

from .formulas import concordance_correlation, pearson_correlation, root_mean_square_error, sign_agreement
from .inputs import check_rows, table

DIMENSIONS = ("valence", "arousal")
MEASURES = {
    "ccc": concordance_correlation,
    "pearson": pearson_correlation,
    "rmse": root_mean_square_error,
    "sagr": sign_agreement,
}

INPUTS = """
Args:
    predictions: rows of two finite numbers, valence and arousal; they should lie in [-1, 1], and are taken as given.
    references: rows of two numbers in [-1, 1]; NaN or None where a value, or a row, is unknown.

Returns:
    valence_ccc, valence_pearson, valence_rmse, valence_sagr, valence_rows: over the rows whose valence is known.
    arousal_ccc, arousal_pearson, arousal_rmse, arousal_sagr, arousal_rows: likewise.
    mean_ccc, mean_pearson, mean_rmse, mean_sagr: the mean of the two, NaN where one of them is.
    pooled_ccc, pooled_pearson, pooled_rmse, pooled_sagr: over all known values of both, as if they were one.
    pooled_rows: how many values these are.
"""


class AffectDimensions(evaluate.Metric):
    """Each measure per dimension, as the mean of the two, and pooled; see README.md."""

    def _info(self):
        # float64, since `evaluate` writes what it is given to an Arrow file in this type before it computes. No fixed
        # length, so that a row of another length is refused below, by its number.
        pair = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description="CCC, Pearson correlation, RMSE and sign agreement of valence and arousal.",
            citation="Lin 1989, Biometrics 45(1), doi:10.2307/2532051; "
            "Nicolaou et al. 2011, IEEE TAC 2(2), doi:10.1109/T-AFFC.2011.9",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": pair, "references": pair}),
        )

    def _compute(self, predictions, references):
        predictions, references = table("predictions", predictions, 2), table("references", references, 2)
        check_rows("predictions", predictions, np.isfinite(predictions).all(axis=1), "two finite numbers")
        in_range = (np.isnan(references) | (np.abs(references) <= 1)).all(axis=1)
        check_rows("references", references, in_range, "numbers in [-1, 1], or NaN where unknown")
        known = ~np.isnan(references)
        samples = {name: (known[:, i], predictions[:, i], references[:, i]) for i, name in enumerate(DIMENSIONS)}
        samples["pooled"] = (known, predictions, references)
        found = {}
        for name, (where, guess, true) in samples.items():
            found |= {f"{name}_{key}": measure(guess[where], true[where]) for key, measure in MEASURES.items()}
            found[f"{name}_rows"] = int(where.sum())
        for key in MEASURES:
            found[f"mean_{key}"] = float(np.mean([found[f"{name}_{key}"] for name in DIMENSIONS]))
        return found
