"""From the confidences of the ensemble and of the action units to one soft label for each face.

Every method has the same form. For emotion k, with e_k of the ensemble, a_k of the action units and a human label,

    z_k = b_k + u_k f(e_k) + v_k f(a_k) + C[label, k]        s = g(z)

    method      f         g         coefficients
    mean        identity  identity  b = 0, u = w, v = 1 - w: linear opinion pool (Stone 1961)
    product     logit     sigmoid   b = 0, u = w, v = 1 - w: logarithmic opinion pool of "k or not" (Genest & Zidek
                                    1986), a product of experts (Hinton 2002) whose weights sum to 1
    class-mean  -         softmax   u = v = 0: the mean target of the faces with the same label, whatever a branch says
    dirichlet   shares    shares    b = 0, C = 1 for the label's own emotion: a branch counts as u votes, the label as
                                    one; the mean of the Dirichlet posterior. One number, or two for both branches
    stacking    logit     sigmoid   fitted: least cross-entropy of each s_k to its target (Wolpert 1992)
    softmax     logit     softmax   fitted: least KL divergence of s to the normalised target

Shares are numbers divided by their sum. For a table of action units in which an emotion lacks, `dirichlet` has none.

AffectNet+ combines an ensemble with a score of action units and does not publish how: forms, weights and penalty are
ours. `DEFAULT`, for those who have nothing to fit to, is the product with w = 0.8: with a target, fit; without one, a
table that nobody has checked should not outvote the ensemble. The human label is a source of our own, for all but
`mean` and `product`: what one person saw is evidence of what others see. It is no branch: alone it gives no soft
label. Where it is the majority of the votes that are the target, figures with and without it are different tasks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, softmax

from affectnet_plus import EMOTIONS

METHODS = ("mean", "product", "class-mean", "dirichlet", "stacking", "softmax")
TAKE_LABELS = ("class-mean", "dirichlet", "stacking", "softmax")
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
# A face at rest has action-unit scores of exactly 0, and logit 0 would be a veto. Ten votes do not resolve 0.001.
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
        object.__setattr__(self, "ensemble", checked("ensemble", self.ensemble, rows))
        object.__setattr__(self, "action_units", checked("action_units", self.action_units, rows, partly=True))
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


def checked(name: str, values, rows: int, partly: bool = False) -> np.ndarray:
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
        check_method(self.method)
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
            if self.method == "dirichlet" and min(np.min(values) for values in terms.values()) < 0:
                raise ValueError(f"weights of the dirichlet for {pattern!r} are {terms}, expected to be >= 0")
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
        sources = usable(self.method, sources)
        z = absent(len(sources))
        codes, terms = codes_of(sources), terms_of(self.method, sources, self.epsilon)
        for code, names in PATTERNS.items():
            if (found := self.coefficients.get("+".join(names))) is not None:
                z = np.where(codes == code, linear(found, terms), z)
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
    "class-mean": lambda z: softmax(z, axis=1),
    "dirichlet": lambda z: normalised(z),
    "softmax": lambda z: softmax(z, axis=1),
}


def check_method(method: str) -> None:
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


def usable(method: str, sources: Sources) -> Sources:
    """What a method can use: shares are of all emotions, so `dirichlet` takes no action units where one lacks."""
    if method != "dirichlet":
        return sources
    lacking = np.isnan(sources.action_units).any(axis=1, keepdims=True)
    return Sources(sources.ensemble, np.where(lacking, np.nan, sources.action_units), sources.labels)


def codes_of(sources: Sources) -> np.ndarray:
    """(n, 8) the key in `PATTERNS` of what each emotion of each face can be computed from; 0 or 4 without a branch."""
    held = [~np.isnan(sources.ensemble), ~np.isnan(sources.action_units), (_labels(sources) >= 0)[:, None]]
    return held[0] + 2 * held[1] + 4 * held[2]


def _labels(sources: Sources) -> np.ndarray:
    return np.full(len(sources), -1) if sources.labels is None else sources.labels


def terms_of(method: str, sources: Sources, epsilon: float) -> dict[str, np.ndarray]:
    """What the coefficients are multiplied with: (n, 8) each, NaN where absent; one-hot for the label."""
    branches = {"ensemble": sources.ensemble, "action_units": sources.action_units}
    if method == "dirichlet":
        branches = {name: normalised(values) for name, values in branches.items()}
    elif method != "mean":
        branches = {name: logit(np.clip(values, epsilon, 1 - epsilon)) for name, values in branches.items()}
    one_hot = np.eye(len(EMOTIONS) + 1)[_labels(sources), :-1]  # -1 is the last row, which is all 0 without its end
    return {"constant": np.ones_like(sources.ensemble), **branches, "label": one_hot}


def linear(coefficients: dict[str, list], terms: dict[str, np.ndarray]) -> np.ndarray:
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
