"""What a model said and what is known of the same faces, checked once; no model, file or picture in here."""

from dataclasses import dataclass, replace

import numpy as np

from affectnet_plus import EMOTIONS

from ..metrics.soft_label.inputs import SUM_TOLERANCE


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said and what is known, row by row; everything that evaluation needs.

    Checked once, here: every array is brought to float64 (labels to int64) and distributions are rescaled to sum to 1
    exactly. Raises ValueError for no rows, a wrong shape, and for the first bad row, naming its image_id: rows of
    `probabilities` or `soft_labels` that are negative, not finite or do not sum to 1 within 1e-4; labels outside
    -1..K-1; valence or arousal outside [-1, 1] (a release's sentinel of -2 is to be given as NaN). A tool that says
    nothing of valence and arousal has NaN in every row of `valence_arousal`; NaN in some of them is refused.
    """

    image_ids: list[str]
    probabilities: np.ndarray  # (n, K), rows sum to 1
    soft_labels: np.ndarray  # (n, K) normalised distributions, NaN row where unknown
    labels: np.ndarray  # (n,) int, -1 where unknown
    valence_arousal: np.ndarray  # (n, 2) predicted, in [-1, 1]; NaN in all rows where it is not predicted
    true_valence_arousal: np.ndarray  # (n, 2) in [-1, 1], NaN where unknown
    names: tuple[str, ...] = EMOTIONS

    def __post_init__(self):
        rows, classes = len(self.image_ids), len(self.names)
        if rows == 0:
            raise ValueError("there are no predictions to evaluate: 0 rows")
        if np.asarray(self.labels).dtype.kind not in "iu":
            raise ValueError(f"labels are {np.asarray(self.labels).dtype}, expected integers (-1 where unknown)")
        self._hold("probabilities", np.float64, (rows, classes))
        self._hold("soft_labels", np.float64, (rows, classes))
        self._hold("labels", np.int64, (rows,))
        self._hold("valence_arousal", np.float64, (rows, 2))
        self._hold("true_valence_arousal", np.float64, (rows, 2))
        self._check_distributions("probabilities", np.zeros(rows, bool), "")
        unknown = np.isnan(self.soft_labels).all(axis=1)
        self._check_distributions("soft_labels", unknown, ", or all NaN where unknown")
        self._check("labels", (self.labels >= -1) & (self.labels < classes), f"-1 (unknown) or 0..{classes - 1}")
        if not np.isnan(self.valence_arousal).all():
            self._check("valence_arousal", (np.abs(self.valence_arousal) <= 1).all(axis=1), "two numbers in [-1, 1]")
        true = self.true_valence_arousal
        in_range = (np.isnan(true) | (np.abs(true) <= 1)).all(axis=1)
        self._check("true_valence_arousal", in_range, "numbers in [-1, 1], or NaN where unknown")

    def _hold(self, field: str, dtype, shape: tuple[int, ...]):
        array = np.array(getattr(self, field), dtype=dtype)
        if array.shape != shape:
            raise ValueError(f"{field} has shape {array.shape}, expected {shape}: one row for each image_id")
        object.__setattr__(self, field, array)

    def _check(self, field: str, good: np.ndarray, expected: str):
        if not good.all():
            row = int(np.argmin(good))
            found = np.array2string(getattr(self, field)[row], precision=6, separator=", ")
            raise ValueError(f"{field} of {self.image_ids[row]} (row {row}): found {found}, expected {expected}")

    def _check_distributions(self, field: str, unknown: np.ndarray, otherwise: str):
        values = getattr(self, field)
        proper = (np.isfinite(values) & (values >= 0)).all(axis=1)
        self._check(field, proper | unknown, f"finite numbers of at least 0{otherwise}")
        sums = values.sum(axis=1, keepdims=True)
        close = np.abs(sums[:, 0] - 1) <= SUM_TOLERANCE
        worst = sums[int(np.argmin(close | unknown)), 0]
        self._check(field, close | unknown, f"a sum of 1 within {SUM_TOLERANCE:g}, not {worst:.6g}{otherwise}")
        object.__setattr__(self, field, values / sums)

    def take(self, rows) -> "Predictions":
        """The same for chosen rows only, in the order given; `rows` is a sequence of positions."""
        rows = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            image_ids=[self.image_ids[row] for row in rows.tolist()],
            probabilities=self.probabilities[rows],
            soft_labels=self.soft_labels[rows],
            labels=self.labels[rows],
            valence_arousal=self.valence_arousal[rows],
            true_valence_arousal=self.true_valence_arousal[rows],
        )
