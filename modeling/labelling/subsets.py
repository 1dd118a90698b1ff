"""Difficulty subsets of many faces at once."""

import numpy as np

from affectnet_plus import EMOTIONS


def subsets(labels, soft) -> np.ndarray:
    """Subset of each face by the rank of its human label in its soft label, as `affectnet_plus.subset_of` has it.

    Rank 1 is 0 (easy), 2 and 3 are 1 (challenging), 4 to 8 are 2 (difficult). Only strictly larger confidences rank
    before the label, so ties count for it, and the subset is the same for raw and for normalised confidences.

    Args:
        labels: (n,) int, -1 where there is no human label.
        soft: (n, 8), a row with NaN where unknown.

    Returns:
        (n,) int64; -1 where there is no human label, the label is no emotion (8 and above), or the row has NaN.

    Raises:
        ValueError: the shapes are not these, or labels are no integers.
    """
    labels, soft = np.asarray(labels), np.asarray(soft)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or soft.shape != (len(labels), len(EMOTIONS)):
        found = f"{labels.dtype} labels {labels.shape} and soft labels {soft.shape}"
        raise ValueError(f"{found}, expected integers (n,) and (n, {len(EMOTIONS)})")
    known = (labels >= 0) & (labels < len(EMOTIONS)) & ~np.isnan(soft).any(axis=1)
    own = soft[np.arange(len(labels)), np.where(known, labels, 0)]
    rank = 1 + (soft > own[:, None]).sum(axis=1)
    return np.select([~known, rank == 1, rank <= 3], [-1, 0, 1], 2)
