"""Predictions that know something."""

import numpy as np

from affectnet_plus_modeling.evaluation.predictions import Predictions


def informed_predictions(rows=90, seed=0, holes=True) -> Predictions:
    """Drawn answers that know something; with holes, one part of the truth is unknown in some rows."""
    generator = np.random.default_rng(seed)
    soft = generator.dirichlet(np.full(8, 0.5), rows)
    answer = 0.5 * soft + 0.5 * generator.dirichlet(np.full(8, 0.5), rows)
    labels, true = soft.argmax(axis=1), generator.uniform(-1, 1, (rows, 2))
    affect = np.clip(true + generator.normal(0, 0.4, (rows, 2)), -1, 1)
    if holes:
        labels[:10], soft[20:30], true[40:50, 0], true[45:60, 1] = -1, np.nan, np.nan, np.nan
    return Predictions([f"face-{row}" for row in range(rows)], answer, soft, labels, affect, true)
