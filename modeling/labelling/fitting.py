"""What a fusion is fitted to: soft labels that are known, such as votes; and which fusion they are enough for."""

import numpy as np
from scipy.optimize import minimize
from sklearn.model_selection import GroupKFold, KFold

from affectnet_plus import EMOTIONS

from ..metrics.soft_label.formulas import kl_divergence
from .fusion import (
    EPSILON,
    FITTED,
    PATTERNS,
    TAKE_LABELS,
    WEIGHTS,
    Fusion,
    Sources,
    absent,
    check_method,
    checked,
    codes_of,
    linear,
    normalised,
    pool,
    terms_of,
    usable,
)
from .stacking import fit_logistic

BEST = "best"
# From the one that takes the fewest votes to the one that takes the most.
CANDIDATES = {
    False: ("product", "mean", "stacking", "softmax"),
    True: ("dirichlet", "class-mean", "stacking", "softmax"),
}


def choose_fusion(
    sources: Sources, target: np.ndarray, folds: int = 5, groups=None, seed: int = 0
) -> tuple[Fusion, dict]:
    """The fusion with the least cross-validated KL, of those that can take these sources.

    Of two whose KL differs by less than the standard error of the difference, face by face, the one before the other
    in `CANDIDATES` is taken: few faces tell little, and it has fewer numbers to fit.

    Returns:
        As `fit_fusion`, with the `chosen` method's KL as `kl`, `candidates`: method and KL of each one, and
        `too_few_votes`: whether none of `FITTED`, which have the most numbers to fit, was chosen.

    Raises:
        ValueError: as `cross_fitted`.
    """
    goal = normalised(checked("target", target, len(sources)))
    names = CANDIDATES[sources.labels is not None]
    found = {
        name: kl_divergence(goal, normalised(cross_fitted(name, sources, target, folds, groups, seed)[0]))
        for name in names
    }
    best = min(names, key=lambda name: _known_mean(found[name]))
    for name in names:
        difference = found[name] - found[best]
        difference = difference[~np.isnan(difference)]
        if difference.mean() <= difference.std() / np.sqrt(len(difference)):
            best = name
            break
    fusion, report = fit_fusion(best, sources, target, folds, groups, seed)
    candidates = [{"method": name, "kl": _known_mean(found[name])} for name in names]
    return fusion, report | {"candidates": candidates, "too_few_votes": best not in FITTED}


def fit_fusion(
    method: str, sources: Sources, target: np.ndarray, folds: int = 5, groups=None, seed: int = 0
) -> tuple[Fusion, dict]:
    """Choose the weight, or fit the coefficients, with which the faces' fused confidences come nearest to the target.

    The weight of mean and product is the one of `WEIGHTS` with the least mean KL (`kl_divergence`) of the
    normalised fusion to the normalised target. A weight on a grid has nothing that a fold could fit, so its
    cross-validated KL is its mean over all rows. Confidences of an ensemble that has seen these faces in training
    would be trusted too much: give those of a cross-fitted one.

    Args:
        method: one of `METHODS`.
        target: (n, 8) in [0, 1], such as votes / 10; a row of NaN where unknown.
        folds, groups, seed: see `cross_fitted`.

    Returns:
        The fusion, and a report of plain values: `method`, `folds`, `seed`, `rows` with a branch and a target,
        `rows_without_target`, `rows_without_fusion`, `kl`: the mean KL of the rows when cross-fitted, `candidates`:
        weight and KL of each one (empty for the fitted methods).

    Raises:
        ValueError: as `cross_fitted`.
    """
    target = checked("target", target, len(sources))
    fusion, candidates = fitted(method, sources, target)
    fused, _ = cross_fitted(method, sources, target, folds, groups, seed)
    unknown, null = np.isnan(normalised(target)).any(axis=1), np.isnan(fused).any(axis=1)
    return fusion, {
        "method": method,
        "folds": folds,
        "seed": seed,
        "rows": int((~unknown & ~null).sum()),
        "rows_without_target": int(unknown.sum()),
        "rows_without_fusion": int(null.sum()),
        "kl": _mean_kl(target, fused),
        "candidates": candidates,
    }


def cross_fitted(
    method: str, sources: Sources, target: np.ndarray, folds: int = 5, groups=None, seed: int = 0
) -> tuple[np.ndarray, list[str | None]]:
    """The fused confidences of each face by coefficients that were fitted without it: what `Fusion.apply` gives.

    Args:
        target: (n, 8) in [0, 1], a row of NaN where unknown; such faces are fused, but nothing is fitted to them.
        folds: parts into which the faces are shuffled; each part is fused by a fit to the others.
        groups: (n,) faces of one group, such as copies of a picture, go into the same part.
        seed: of the shuffling.

    Raises:
        ValueError: the method is not known, does not take labels that are given, fewer faces (or groups) than folds,
            no row has a branch and a target that is not all 0, a target is outside [0, 1].
    """
    target = checked("target", target, len(sources))
    splitter = KFold if groups is None else GroupKFold
    fused = absent(len(target))
    reasons: list[str | None] = [None] * len(target)
    for others, part in splitter(folds, shuffle=True, random_state=seed).split(target, groups=groups):
        fusion, _ = fitted(method, sources.take(others), target[others])
        fused[part], found = fusion.apply(sources.take(part))
        for row, reason in zip(part, found, strict=True):
            reasons[row] = reason
    return fused, reasons


def fitted(method: str, sources: Sources, target: np.ndarray) -> tuple[Fusion, list[dict]]:
    """The fusion that `fit_fusion` gives, and the candidates of its report, without the cross-validated KL."""
    check_method(method)
    if method in FITTED:
        return Fusion(method, _fit_patterns(method, sources, target)), []
    if method in TAKE_LABELS:
        return Fusion(method, _fit_few(method, usable(method, sources), target)), []
    if sources.labels is not None:
        raise ValueError(f"a {method} has no place for labels, expected {' or '.join(TAKE_LABELS)}, or no labels")
    fusions = [pool(method, weight) for weight in WEIGHTS]
    found = [_mean_kl(target, fusion.apply(sources)[0]) for fusion in fusions]
    candidates = [{"weight": weight, "kl": kl} for weight, kl in zip(WEIGHTS, found, strict=True)]
    return fusions[int(np.argmin(found))], candidates


def _mean_kl(target: np.ndarray, confidences: np.ndarray) -> float:
    return _known_mean(kl_divergence(normalised(target), normalised(confidences)))


def _known_mean(divergence: np.ndarray) -> float:
    known = divergence[~np.isnan(divergence)]
    if not known.size:
        raise ValueError(_NOTHING)
    return float(known.mean())


_NOTHING = "no row has both a branch and a target that is not all 0: there is nothing to fit to"


def _fit_patterns(method: str, sources: Sources, target: np.ndarray) -> dict[str, dict[str, list]]:
    """Coefficients for every pattern, each from all rows that have at least its sources.

    Emotions that lack the action units get what the same pattern without them gives, which is fitted before.
    """
    codes, terms = codes_of(sources), terms_of(method, sources, EPSILON)
    goal = normalised(target) if method == "softmax" else target
    known = ~np.isnan(goal).any(axis=1)
    fitted: dict[str, dict[str, list]] = {}
    for code, names in PATTERNS.items():
        free = (codes & code) == code
        lower = fitted.get("+".join(name for name in names if name != "action_units")) if code & 3 == 3 else None
        offset = absent(len(goal)) if lower is None else linear(lower, terms)
        rows = known & free.any(axis=1) & (free | ~np.isnan(offset)).all(axis=1)
        if rows.any():
            design = np.concatenate([_columns(name, terms[name][rows]) for name in ("constant", *names)], axis=2)
            w = fit_logistic(design, free[rows], offset[rows], goal[rows], method == "softmax")
            fitted["+".join(names)] = _named(("constant", *names), w.T)
    if not fitted:
        raise ValueError(_NOTHING)
    return fitted


def _columns(name: str, term: np.ndarray) -> np.ndarray:
    """(n, 8) numbers as (8, n, 1): one for each emotion; a one-hot label as (8, n, 8), the same for each emotion."""
    return np.tile(term, (len(EMOTIONS), 1, 1)) if name == "label" else term.T[:, :, None]


def _named(names: tuple[str, ...], w: np.ndarray) -> dict[str, list]:
    """The rows of w (terms, 8) by name; the label, always the last, has eight."""
    plain = [[None if np.isnan(value) else float(value) for value in row] for row in w]
    return {name: plain[place:] if name == "label" else plain[place] for place, name in enumerate(names)}


def _fit_few(method: str, sources: Sources, target: np.ndarray) -> dict[str, dict[str, list]]:
    """Coefficients of `class-mean` and `dirichlet` for every pattern, each from all rows that have its sources."""
    terms, goal = terms_of(method, sources, EPSILON), normalised(target)
    codes = codes_of(sources)
    known = ~np.isnan(goal).any(axis=1)
    fit = _class_means if method == "class-mean" else _votes_of_branches
    found = {}
    for code, names in PATTERNS.items():
        rows = known & ((codes & code) == code).any(axis=1)
        if rows.any():
            found["+".join(names)] = fit(names, {name: terms[name][rows] for name in names}, goal[rows])
    if not found:
        raise ValueError(_NOTHING)
    return found


def _class_means(names: tuple[str, ...], terms: dict[str, np.ndarray], goal: np.ndarray) -> dict[str, list]:
    """As a softmax: logs of the mean target, and of what the label makes of it. An even share of one face keeps them
    finite, and one face like the mean of all stands in every class."""
    mean = (goal.sum(axis=0) + 1 / len(EMOTIONS)) / (len(goal) + 1)
    found: dict[str, list] = {"constant": np.log(mean).tolist()} | {name: [0.0] * len(EMOTIONS) for name in names}
    if "label" in names:
        sums = terms["label"].T @ goal + mean
        found["label"] = np.log(sums / sums.sum(axis=1, keepdims=True) / mean).tolist()
    return found


def _votes_of_branches(names: tuple[str, ...], terms: dict[str, np.ndarray], goal: np.ndarray) -> dict[str, list]:
    """How many votes each branch counts for, with the least KL of the posterior mean from the target."""
    shares = np.stack([terms[name] for name in names])
    free = len(names) - 1  # the last counts as one: the label, or where there is none, a branch

    def weighed(logs: np.ndarray) -> np.ndarray:
        return np.append(np.exp(logs), 1.0)

    def loss(logs: np.ndarray) -> float:
        return float(kl_divergence(goal, normalised(np.tensordot(weighed(logs), shares, axes=1))).mean())

    best = minimize(loss, np.zeros(free), bounds=[(-7, 7)] * free).x if free else np.zeros(0)
    found: dict[str, list] = {
        name: [float(weight)] * len(EMOTIONS) for name, weight in zip(names, weighed(best), strict=True)
    }
    if "label" in names:
        found["label"] = np.eye(len(EMOTIONS)).tolist()
    return {"constant": [0.0] * len(EMOTIONS)} | found
