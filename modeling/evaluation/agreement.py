"""How near one soft label is to another, row by row: what soft labels are judged with against human votes."""

import numpy as np

from ..labels import subsets
from ..metrics.soft_label.formulas import (
    cosine,
    jensen_shannon,
    kl_divergence,
    spearman,
    top_2,
    total_variation,
)
from ..metrics.soft_label.inputs import check_distributions


def agreement(true, predicted, labels=None) -> dict[str, np.ndarray]:
    """All measures of each row.

    Args:
        true, predicted: (n, 8) distributions, a row of NaN where unknown. `true` are the people.
        labels: (n,) int human labels, -1 where there is none.

    Returns:
        Of each measure (n,) float64, NaN where a row of either is NaN. Less is better for `kl` (smoothed, see
        `kl_divergence`), `js` and `total_variation`, more for `cosine`, `spearman`, `top_2` and, only with `labels`,
        `subset`: 1 where the two subsets are the same, 0 where not, NaN without a human label.

    Raises:
        ValueError: the shapes are not these, or a row is no distribution, naming the first such row.
    """
    true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if true.ndim != 2 or true.shape != predicted.shape:
        raise ValueError(f"shapes {true.shape} and {predicted.shape}, expected (n, classes) twice")
    check_distributions("true", true, unknown=True)
    check_distributions("predicted", predicted, unknown=True)
    found = {
        "kl": kl_divergence(true, predicted),
        "js": jensen_shannon(true, predicted),
        "total_variation": total_variation(true, predicted),
        "cosine": cosine(true, predicted),
        "spearman": spearman(true, predicted),
        "top_2": top_2(true, predicted),
    }
    if labels is not None:
        one, other = subsets(labels, true), subsets(labels, predicted)
        found["subset"] = np.where((one < 0) | (other < 0), np.nan, one == other)
    return found
