"""Two models on the same faces: the differences of their numbers with intervals, and McNemar's test."""

import numpy as np
from scipy.stats import binom, binomtest

from .bootstrap import resampled
from .intervals import CELL, Numbers, cell_numbers, plain_interval, plain_number, resampled_intervals
from .predictions import Predictions
from .records import Differences, McNemar


def paired_differences(this: Predictions, other: Predictions, resamples: int, seed: int, level: float) -> Differences:
    """This model's numbers less the other's, each resample of faces being the same for both.

    Returns:
        `rows`; `differences`: name -> {`difference`, `interval`}, for each of `intervals.CELL`: below 0 is better for
        kl, js and ece, above 0 for the others; `mcnemar`: what `mcnemar` gives of the faces with a label.

    Raises:
        ValueError: the two are not of the same faces in the same order.
    """
    if this.image_ids != other.image_ids:
        raise ValueError(f"the faces differ: {len(this.image_ids)} and {len(other.image_ids)}, expected the same ones")
    numbers = _difference(cell_numbers(this), cell_numbers(other))
    rows = np.arange(len(this.image_ids))
    [drawn] = resampled([numbers.part(rows)], len(rows), resamples, seed)
    values = numbers.of(rows)
    ece = numbers.names.index("ece")  # noise makes it larger in resamples, not of the two alike: moved onto it
    if not np.isnan(values["ece"]):
        drawn[:, ece] += values["ece"] - np.nanmean(drawn[:, ece])
    intervals = dict(zip(numbers.names, zip(*resampled_intervals(drawn, len(rows), level), strict=True), strict=True))
    known = this.labels >= 0
    right = [(said.probabilities.argmax(axis=1) == this.labels)[known] for said in (this, other)]
    return {
        "rows": len(rows),
        "differences": {
            name: {"difference": plain_number(values[name]), "interval": plain_interval(*intervals[name])}
            for name in CELL
        },
        "mcnemar": mcnemar(*right),
    }


def _difference(this: Numbers, other: Numbers) -> Numbers:
    """Each number of this less the same one of the other."""
    width = this.width
    return Numbers(
        this.names,
        width + other.width,
        lambda rows: np.concatenate([this.columns(rows), other.columns(rows)], axis=1),
        lambda sums: this.of_sums(sums[:, :width]) - other.of_sums(sums[:, width:]),
    )


def mcnemar(this_right, other_right) -> McNemar:
    """Whether two models are right equally often: McNemar's test of the faces that only one of them is right about.

    `p_exact` is two-sided and conditional, from the binomial distribution, and never too small; `p_mid` takes half of
    the probability of what was seen, and is nearer to what it should be (Fagerland, Lydersen & Laake 2013; where both
    are right alone about equally many faces, 1 less half of that probability). Both are 1 where no face tells the two
    apart.

    Args:
        this_right, other_right: (n,) bool, of the same faces.

    Returns:
        `rows`, `only_this` and `only_other` (faces that one alone is right about), `p_exact`, `p_mid`.
    """
    this_right, other_right = np.asarray(this_right, dtype=bool), np.asarray(other_right, dtype=bool)
    only_this, only_other = int((this_right & ~other_right).sum()), int((other_right & ~this_right).sum())
    apart, fewer = only_this + only_other, min(only_this, only_other)
    seen = binom.pmf(fewer, apart, 0.5)
    middle = 1 - seen / 2 if only_this == only_other else 2 * binom.cdf(fewer, apart, 0.5) - seen
    return {
        "rows": len(this_right),
        "only_this": only_this,
        "only_other": only_other,
        "p_exact": float(binomtest(fewer, apart).pvalue) if apart else 1.0,
        "p_mid": float(middle) if apart else 1.0,
    }
