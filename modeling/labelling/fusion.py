"""From the confidences of the ensemble and of the action units to one soft label for each face.

Every method has the same form. For emotion k, with e_k of the ensemble, a_k of the action units and a human label,

    z_k = b_k + u_k f(e_k) + v_k f(a_k) + C[label, k]        s = g(z)

    method     f         g         coefficients
    mean       identity  identity  b = 0, u = w, v = 1 - w: linear opinion pool (Stone 1961)
    product    logit     sigmoid   b = 0, u = w, v = 1 - w: logarithmic opinion pool of "k or not" (Genest & Zidek
                                   1986), a product of experts (Hinton 2002) whose weights sum to 1
    stacking   logit     sigmoid   fitted: least cross-entropy of each s_k to its target (Wolpert 1992)
    softmax    logit     softmax   fitted: least KL divergence of s to the normalised target

AffectNet+ combines an ensemble with a score of action units and does not publish how: forms, weights and penalty are
ours. `DEFAULT`, for those who have nothing to fit to, is the product with w = 0.8: on FER+ with MediaPipe's units the
best w is .95 (KL .538; .555 at .8, .746 at .5), on drawn faces with the exact units .5 is better than .8. With a
target, fit; without one, a table that nobody has checked should not outvote the ensemble. The human label is a source
of our own, for `stacking` and `softmax`: what one person saw is evidence of what others see. It is no branch: alone it
gives no soft label. Where it is the majority of the votes that are the target, figures with and without it are
different tasks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, softmax
from sklearn.model_selection import GroupKFold, KFold

from affectnet_plus import EMOTIONS

from ..metrics.soft_label.formulas import kl_divergence
from .stacking import fit_logistic

METHODS = ("mean", "product", "stacking", "softmax")
FITTED = ("stacking", "softmax")
# What an emotion of a face can be computed from, by the sources that are there. Coefficients are kept for each apart.
PATTERNS = {
    1: ("ensemble",),
    2: ("action_units",),
    3: ("ensemble", "action_units"),
    5: ("ensemble", "label"),
    6: ("action_units", "label"),
    7: ("ensemble", "action_units", "label"),
}
# A face at rest has action-unit scores of exactly 0, and logit 0 would be a veto. Ten votes do not resolve 0.001; on
# simulated branches with such zeros, 0.01 and 0.0001 gave the fitted methods a KL that is 0.001 to 0.003 higher.
EPSILON = 1e-3
WEIGHTS = tuple(step / 20 for step in range(21))  # w of mean and product


@dataclass(frozen=True, eq=False)
class Sources:
    """What is known of n faces before fusion, checked once and brought to float64 (labels to int64).

    A branch that no face has is `absent(n)`. In `action_units` a single NaN is allowed: a table of action units may
    lack what one emotion needs. Labels that are no emotion (none, uncertain, non-face: 8 and above) count as -1.

    Raises:
        ValueError: a shape is wrong, or (with the number of the first bad row) a confidence is outside [0, 1], a row
            of `ensemble` is NaN in part, a label is below -1.
    """

    ensemble: np.ndarray  # (n, 8) in [0, 1], a row of NaN where absent
    action_units: np.ndarray  # (n, 8) in [0, 1], NaN where absent
    labels: np.ndarray | None = None  # (n,) int, -1 where there is none; None: not to be used

    def __post_init__(self):
        rows = len(self.ensemble)
        object.__setattr__(self, "ensemble", _checked("ensemble", self.ensemble, rows))
        object.__setattr__(self, "action_units", _checked("action_units", self.action_units, rows, partly=True))
        if self.labels is not None:
            object.__setattr__(self, "labels", _checked_labels(self.labels, rows))

    def __len__(self) -> int:
        return len(self.ensemble)

    def take(self, rows) -> "Sources":
        """The same for chosen rows only, in the order given."""
        labels = None if self.labels is None else self.labels[rows]
        return Sources(self.ensemble[rows], self.action_units[rows], labels)


def absent(rows: int) -> np.ndarray:
    """A branch that no face has: (rows, 8) NaN."""
    return np.full((rows, len(EMOTIONS)), np.nan)


def _checked(name: str, values, rows: int, partly: bool = False) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    if values.shape != (rows, len(EMOTIONS)):
        raise ValueError(f"{name} has shape {values.shape}, expected {(rows, len(EMOTIONS))}: a row for each face")
    unknown = np.isnan(values)
    good = ((values >= 0) & (values <= 1) | unknown).all(axis=1)
    expected = "8 numbers in [0, 1], or NaN where unknown"
    if not partly:
        good &= unknown.all(axis=1) | ~unknown.any(axis=1)
        expected = "8 numbers in [0, 1], or all NaN where unknown"
    if not good.all():
        row = int(np.argmin(good))
        found = np.array2string(values[row], precision=6, separator=", ", max_line_width=200)
        raise ValueError(f"{name} of row {row}: found {found}, expected {expected}")
    return values


def _checked_labels(labels, rows: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (rows,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype} {labels.shape}, expected integers {(rows,)}, -1 where unknown")
    if labels.min(initial=0) < -1:
        row = int(np.argmax(labels < -1))
        raise ValueError(f"labels of row {row}: found {labels[row]}, expected -1 (unknown) or a label's number")
    return np.where(labels < len(EMOTIONS), labels, -1).astype(np.int64)


@dataclass(frozen=True)
class Fusion:
    """How to combine: a method and, for each pattern of sources, the coefficients of the formula above.

    `coefficients` maps the sources of a pattern, joined by "+", to one list of 8 for "constant" and for each branch,
    and to a list of 8 x 8 (row: the label) for "label"; None where nothing could be fitted.

    Raises:
        ValueError: the method is not known, or patterns, terms or shapes are not these.
    """

    method: str
    coefficients: dict[str, dict[str, list]]
    epsilon: float = EPSILON  # confidences are clipped to [epsilon, 1 - epsilon] before the logit

    def __post_init__(self):
        _check_method(self.method)
        if not isinstance(self.epsilon, float) or not 0 < self.epsilon < 0.5:
            raise ValueError(f"epsilon is {self.epsilon!r}, expected a number between 0 and 0.5")
        known = {"+".join(names): names for names in PATTERNS.values()}
        for pattern, terms in self.coefficients.items():
            if pattern not in known:
                raise ValueError(f"coefficients for {pattern!r}, expected some of {', '.join(known)}")
            if set(terms) != {"constant", *known[pattern]}:
                raise ValueError(f"{pattern!r} has {', '.join(terms)}, expected constant, {', '.join(known[pattern])}")
            for name, values in terms.items():
                shape = (len(EMOTIONS),) * (2 if name == "label" else 1)
                if np.shape(values) != shape or np.isinf(np.array(values, dtype=np.float64)).any():
                    raise ValueError(f"{name!r} of {pattern!r} is {values}, expected numbers in the shape {shape}")
            if self.method == "mean" and not _is_mean(terms):
                raise ValueError(f"weights of the mean for {pattern!r} are {terms}, expected to be >= 0 and sum to 1")

    def apply(self, sources: Sources) -> tuple[np.ndarray, list[str | None]]:
        """The confidences of each face, (n, 8) in [0, 1], and for each row of NaN the reason (else None).

        A face, or a single emotion of it, that lacks a source gets the coefficients of the sources it has.

        Raises:
            ValueError: labels are given, even if only of -1, and no coefficients are for labels.
        """
        if sources.labels is not None and not any("label" in pattern for pattern in self.coefficients):
            raise ValueError(f"labels are given to a {self.method} that was made without. Give Sources without labels")
        z = absent(len(sources))
        codes, terms = _codes(sources), _terms(self.method, sources, self.epsilon)
        for code, names in PATTERNS.items():
            if (found := self.coefficients.get("+".join(names))) is not None:
                z = np.where(codes == code, _linear(found, terms), z)
        null = np.isnan(z).any(axis=1)
        confidences = _LINKS[self.method](z)
        confidences[null] = np.nan
        reasons: list[str | None] = [None] * len(z)
        for row in np.flatnonzero(null):
            reasons[row] = _reason(codes[row], np.isnan(z[row]))
        return confidences, reasons

    def to_dict(self) -> dict:
        """Plain values for JSON, with the emotions in their order."""
        return {
            "method": self.method,
            "emotions": list(EMOTIONS),
            "epsilon": self.epsilon,
            "coefficients": self.coefficients,
        }

    @classmethod
    def from_dict(cls, record: dict) -> "Fusion":
        """What `to_dict` gave.

        Raises:
            ValueError: keys are lacking or unknown, the emotions differ, or a value is not what `Fusion` takes.
        """
        if sorted(record) != (keys := ["coefficients", "emotions", "epsilon", "method"]):
            raise ValueError(f"a fusion has the keys {keys}, found {list(record)}")
        if record["emotions"] != list(EMOTIONS):
            theirs = f"the fusion is for the emotions {record['emotions']}"
            raise ValueError(f"{theirs}, expected {list(EMOTIONS)} in this order. Fit it anew")
        return cls(record["method"], record["coefficients"], record["epsilon"])


# Weights may sum to a hair more than 1, and a reader of annotations refuses what is above 1.
_LINKS = {
    "mean": lambda z: np.clip(z, 0, 1),
    "product": expit,
    "stacking": expit,
    "softmax": lambda z: softmax(z, axis=1),
}


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method {method!r} is not known, expected one of {', '.join(METHODS)}")


def _is_mean(terms: dict[str, list]) -> bool:
    weights = np.array([values for name, values in terms.items() if name != "constant"], dtype=np.float64)
    whole = np.abs(weights.sum(axis=0) - 1) <= 1e-9
    return bool((weights >= 0).all() and whole.all() and not np.any(terms["constant"]))


def pool(method: str, weight: float = 0.5) -> Fusion:
    """A mean or product with nothing fitted: `weight` in [0, 1] is w, the ensemble's. A branch alone counts whole."""
    if method not in ("mean", "product"):
        raise ValueError(f"method {method!r} has no single weight, expected mean or product")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}, expected a number in [0, 1]")
    shares = {
        "ensemble": {"ensemble": 1.0},
        "action_units": {"action_units": 1.0},
        "ensemble+action_units": {"ensemble": weight, "action_units": 1 - weight},
    }
    return Fusion(
        method,
        {
            pattern: {name: [value] * len(EMOTIONS) for name, value in {"constant": 0.0, **terms}.items()}
            for pattern, terms in shares.items()
        },
    )


DEFAULT = pool("product", 0.8)


def normalised(confidences) -> np.ndarray:
    """(n, 8) confidences divided by their sum, which is what KL divergence needs; a row of NaN where that is 0."""
    confidences = np.asarray(confidences, dtype=np.float64)
    sums = confidences.sum(axis=1, keepdims=True)
    return confidences / np.where(sums > 0, sums, np.nan)


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
    target = _checked("target", target, len(sources))
    fusion, candidates = _fit(method, sources, target)
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
    target = _checked("target", target, len(sources))
    splitter = KFold if groups is None else GroupKFold
    fused = absent(len(target))
    reasons: list[str | None] = [None] * len(target)
    for others, part in splitter(folds, shuffle=True, random_state=seed).split(target, groups=groups):
        fusion, _ = _fit(method, sources.take(others), target[others])
        fused[part], found = fusion.apply(sources.take(part))
        for row, reason in zip(part, found, strict=True):
            reasons[row] = reason
    return fused, reasons


def _fit(method: str, sources: Sources, target: np.ndarray) -> tuple[Fusion, list[dict]]:
    _check_method(method)
    if method in FITTED:
        return Fusion(method, _fit_patterns(method, sources, target)), []
    if sources.labels is not None:
        raise ValueError(f"a {method} has no place for labels, expected {' or '.join(FITTED)}, or no labels")
    fusions = [pool(method, weight) for weight in WEIGHTS]
    found = [_mean_kl(target, fusion.apply(sources)[0]) for fusion in fusions]
    candidates = [{"weight": weight, "kl": kl} for weight, kl in zip(WEIGHTS, found, strict=True)]
    return fusions[int(np.argmin(found))], candidates


def _mean_kl(target: np.ndarray, confidences: np.ndarray) -> float:
    divergence = kl_divergence(normalised(target), normalised(confidences))
    known = divergence[~np.isnan(divergence)]
    if not known.size:
        raise ValueError(_NOTHING)
    return float(known.mean())


_NOTHING = "no row has both a branch and a target that is not all 0: there is nothing to fit to"


def _codes(sources: Sources) -> np.ndarray:
    """(n, 8) the key in `PATTERNS` of what each emotion of each face can be computed from; 0 or 4 without a branch."""
    held = [~np.isnan(sources.ensemble), ~np.isnan(sources.action_units), (_labels(sources) >= 0)[:, None]]
    return held[0] + 2 * held[1] + 4 * held[2]


def _labels(sources: Sources) -> np.ndarray:
    return np.full(len(sources), -1) if sources.labels is None else sources.labels


def _terms(method: str, sources: Sources, epsilon: float) -> dict[str, np.ndarray]:
    """What the coefficients are multiplied with: (n, 8) each, NaN where absent; one-hot for the label."""
    branches = {"ensemble": sources.ensemble, "action_units": sources.action_units}
    if method != "mean":
        branches = {name: logit(np.clip(values, epsilon, 1 - epsilon)) for name, values in branches.items()}
    one_hot = np.eye(len(EMOTIONS) + 1)[_labels(sources), :-1]  # -1 is the last row, which is all 0 without its end
    return {"constant": np.ones_like(sources.ensemble), **branches, "label": one_hot}


def _linear(coefficients: dict[str, list], terms: dict[str, np.ndarray]) -> np.ndarray:
    arrays = {name: np.array(values, dtype=np.float64) for name, values in coefficients.items()}
    parts = [terms[name] @ w if name == "label" else terms[name] * w for name, w in arrays.items()]
    return np.sum(parts, axis=0)


def _reason(codes: np.ndarray, unknown: np.ndarray) -> str:
    """Why some emotions of a face, those where `unknown` (8,) is true, have no confidence."""
    code = int(codes[unknown][0])
    lacking = ", ".join(name for name, one in zip(EMOTIONS, codes, strict=True) if not one & 3)
    if not (codes & 3).any():
        return "neither the ensemble nor the action units say anything"
    if lacking:
        return f"the ensemble says nothing, and the action units nothing about {lacking}"
    emotions = ", ".join(name for name, one in zip(EMOTIONS, unknown, strict=True) if one)
    return f"nothing was fitted for {emotions} from {' + '.join(PATTERNS[code])}"


def _fit_patterns(method: str, sources: Sources, target: np.ndarray) -> dict[str, dict[str, list]]:
    """Coefficients for every pattern, each from all rows that have at least its sources.

    Emotions that lack the action units get what the same pattern without them gives, which is fitted before.
    """
    codes, terms = _codes(sources), _terms(method, sources, EPSILON)
    goal = normalised(target) if method == "softmax" else target
    known = ~np.isnan(goal).any(axis=1)
    fitted: dict[str, dict[str, list]] = {}
    for code, names in PATTERNS.items():
        free = (codes & code) == code
        lower = fitted.get("+".join(name for name in names if name != "action_units")) if code & 3 == 3 else None
        offset = absent(len(goal)) if lower is None else _linear(lower, terms)
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
