"""How well two arrays of one affect dimension agree.

Every function takes two (n,) arrays in one unit, without NaN. Raises ValueError for two different shapes.
"""

import numpy as np

from .inputs import same_shape


def concordance_correlation(x, y) -> float:
    """Concordance correlation coefficient, from -1 to 1, with population variances.

    2 cov(x, y) / (var x + var y + (mean x - mean y)^2). NaN for fewer than 2 rows. A constant input shares no
    variation with the other, so the result is 0; for two equal constants the formula is 0 / 0 and the result NaN.
    Source: Lin 1989.
    """
    x, y = same_shape(x, y)
    if len(x) < 2:
        return float("nan")
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # the rounding of a mean would leave a variance of 1e-34 here, not 0
        return float("nan") if np.array_equal(x, y) else 0.0
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def pearson_correlation(x, y) -> float:
    """Pearson's correlation coefficient, from -1 to 1; NaN for fewer than 2 rows or a constant input."""
    x, y = same_shape(x, y)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def root_mean_square_error(x, y) -> float:
    """Root of the mean squared difference, in the unit of the two; NaN for no rows."""
    x, y = same_shape(x, y)
    return float(np.sqrt(np.mean((x - y) ** 2))) if len(x) else float("nan")


def sign_agreement(x, y) -> float:
    """Share of the rows whose two values have the same sign, from 0 to 1; NaN for no rows.

    The sign of 0 is 0, as in the definition: 0 agrees with 0 and with nothing else. Source: Nicolaou et al. 2011.
    """
    x, y = same_shape(x, y)
    return float(np.mean(np.sign(x) == np.sign(y))) if len(x) else float("nan")
