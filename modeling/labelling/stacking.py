"""The fit of logistic stacking (Wolpert 1992): coefficients with the least cross-entropy to soft targets."""

import numpy as np
from scipy.linalg import block_diag
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax

# Gaussian priors about 0 of standard deviation 1. The constants' is so wide that it does no more than keep the one of
# an emotion without a single vote finite.
PENALTY, CONSTANT_PENALTY = 1.0, 1e-4


def fit_logistic(
    design: np.ndarray, free: np.ndarray, offset: np.ndarray, target: np.ndarray, softmax: bool
) -> np.ndarray:
    """Coefficients w of z = design w (for each class by itself) with which g(z) is nearest to the target.

    With `softmax` g is the softmax of a row, and nearest is the least KL divergence of the target from it; else the
    sigmoid, and the least cross-entropy of each class. Convex, with one solution; solved by Newton steps, since the
    constant and a label that every row has can hardly be told apart, on which L-BFGS spends thousands of steps.

    Args:
        design: (classes, n, terms), the constant 1 first.
        free: (n, classes); where false z is `offset`, which is finite there for `softmax`, and for the sigmoid the
            class is left out of the row.
        offset: (n, classes).
        target: (n, classes) in [0, 1]; rows that sum to 1 for `softmax`.

    Returns:
        (classes, terms), a row of NaN for a class that is free nowhere.

    Raises:
        ValueError: no convergence.
    """
    design = np.where(free.T[:, :, None], design, 0)
    arguments = (design, free, offset, target, softmax)
    start = np.zeros(design.shape[0] * design.shape[2])
    options = {"gtol": 1e-8, "maxiter": 500}
    found = minimize(objective, start, arguments, method="trust-exact", jac=True, hess=hessian, options=options)
    if np.abs(found.jac).max() > 1e-6:  # steps may end before gtol, where the loss has no more digits
        raise ValueError(f"stacking did not converge on {len(target)} rows: {found.message}")
    w = found.x.reshape(design.shape[0], -1)
    w[~free.any(axis=0)] = np.nan
    return w


def objective(w, design, free, offset, target, softmax: bool) -> tuple[float, np.ndarray]:
    """What `fit_logistic` minimises, at flat w: penalised cross-entropy per row, and its gradient.

    `design` is 0 where not `free`.
    """
    z, w = _scores(w, design, free, offset)
    if softmax:
        logs = log_softmax(z, axis=1)
        loss, share = -(target * logs).sum(), np.exp(logs)
    else:
        loss, share = -np.where(free, target * z + log_expit(-z), 0).sum(), expit(z)
    penalty = _penalty(design)
    slope = np.where(free, share - target, 0)
    gradient = (slope.T[:, None] @ design)[:, 0] + penalty * w
    return (loss + 0.5 * (penalty * w**2).sum()) / len(target), gradient.ravel() / len(target)


def hessian(w, design, free, offset, target, softmax: bool) -> np.ndarray:
    """Second derivatives of `objective`."""
    z, _ = _scores(w, design, free, offset)
    share = np.exp(log_softmax(z, axis=1)) if softmax else expit(z)
    weight = np.where(free, share if softmax else share * (1 - share), 0).T[:, :, None]
    second = block_diag(*(design.transpose(0, 2, 1) @ (weight * design)))
    if softmax:
        mean = np.concatenate(list(weight * design), axis=1)
        second -= mean.T @ mean
    return (second + np.diag(np.tile(_penalty(design), len(design)))) / len(target)


def _scores(w, design, free, offset) -> tuple[np.ndarray, np.ndarray]:
    w = w.reshape(design.shape[0], design.shape[2])
    return np.where(free, (design @ w[:, :, None])[:, :, 0].T, offset), w


def _penalty(design: np.ndarray) -> np.ndarray:
    return np.where(np.arange(design.shape[2]) == 0, CONSTANT_PENALTY, PENALTY)
