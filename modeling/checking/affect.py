"""Do the labels fit what else is known of a face: valence and arousal, and the soft label?

`CONTRADICTIONS` looks at one face. `Moments` and `compare_orders` look at all faces of a split and ask whether the
labels are in AffectNet's order at all.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from affectnet_plus import EMOTIONS

from ..labels import CIRCUMPLEX, ORDERS

# EmoNet (Toisoul et al. 2021) trains on the faces of AffectNet whose valence and arousal have the signs of their
# label, and takes a face within 0.2 of the origin for neutral. Here, a sign contradicts a label only when the value
# lies beyond that 0.2, and a neutral face only when it lies 0.5 or more from the origin: people place the same
# face some tenths apart, and a report that named all of these would be read by nobody. The 0.5 is our choice.
CLEARLY = 0.2
FAR = 0.5


def _pleased(valence, arousal):
    return valence > CLEARLY


def _pleased_or_calm(valence, arousal):
    return (valence > CLEARLY) | (arousal < -CLEARLY)


_POSITIVE = f"valence above {CLEARLY}"
_POSITIVE_OR_LOW = f"{_POSITIVE} or arousal below -{CLEARLY}"
# label -> what is wrong, in words, and as a test of arrays of valence and arousal
CONTRADICTIONS: dict[str, tuple[str, Callable]] = {
    "neutral": (f"valence and arousal {FAR} or more from the origin", lambda v, a: np.hypot(v, a) >= FAR),
    "happy": (f"valence below -{CLEARLY}", lambda v, a: v < -CLEARLY),
    "sad": (_POSITIVE, _pleased),
    "surprise": (f"arousal below -{CLEARLY}", lambda v, a: a < -CLEARLY),
    "fear": (_POSITIVE_OR_LOW, _pleased_or_calm),
    "disgust": (_POSITIVE, _pleased),
    "anger": (_POSITIVE_OR_LOW, _pleased_or_calm),
    "contempt": (_POSITIVE, _pleased),
}


# --- the order of the labels -----------------------------------------------------------------------------------------

AFFECT_PLACES = np.array([CIRCUMPLEX[name] for name in EMOTIONS])  # (8, 2) for vectors (valence, arousal)
SOFT_PLACES = np.eye(len(EMOTIONS))  # (8, 8) for soft labels
MIN_ROWS = 20  # of each label that an order would move
MIN_GAIN = 0.1  # of 1, which is what labels that say all there is to say would gain
MIN_DEVIATIONS = 5.0
LABELS_MOVED = "the labels"
COLUMNS_MOVED = "the columns of the soft labels"


class Moments:
    """For each emotion as labelled: how many rows, and the mean and covariance of a vector that each row has."""

    def __init__(self, size: int):
        self._count = np.zeros(len(EMOTIONS), dtype=int)
        self._sum = np.zeros((len(EMOTIONS), size))
        self._products = np.zeros((len(EMOTIONS), size, size))

    def add(self, labels: np.ndarray, vectors: np.ndarray) -> None:
        """Count rows in: labels (n,), where others than 0..7 are passed over, and finite vectors (n, size)."""
        for label in range(len(EMOTIONS)):
            chosen = vectors[labels == label].astype(float)
            self._count[label] += len(chosen)
            self._sum[label] += chosen.sum(axis=0)
            self._products[label] += chosen.T @ chosen

    @property
    def counts(self) -> np.ndarray:
        return self._count

    def means(self) -> np.ndarray:
        """(8, size); NaN for a label without rows."""
        with np.errstate(invalid="ignore"):
            return self._sum / self._count[:, None]

    def covariances(self) -> np.ndarray:
        """(8, size, size), of the rows around the mean of their label."""
        means = self.means()
        with np.errstate(invalid="ignore"):
            return self._products / self._count[:, None, None] - means[:, :, None] * means[:, None, :]


class Order(NamedTuple):
    """How much better than AffectNet's order another one explains a split.

    `nearer` is how much nearer it brings the labels to their places, as a sum of squares over the labels. `gain` is
    the same for each unit of the way that the order moves them: about 1 where labels say all there is to say about
    the vectors, 0 where they say nothing, and -1 where they do but AffectNet's order is the right one. `deviations`
    is the same in standard errors.
    `what` stands in that order: the labels, or the columns of the soft labels, or one of the two where an order that
    only exchanges pairs cannot tell.
    """

    name: str
    what: str
    nearer: float
    gain: float
    deviations: float


def compare_orders(moments: Moments, places: np.ndarray, columns: bool = False) -> list[Order]:
    """Every known order against AffectNet's, the best first; orders that cannot be judged are left out.

    Args:
        places: (8, size), where the vectors of each emotion should lie, in AffectNet's order.
        columns: also ask whether the columns of the vectors, rather than the labels, stand in another order.

    With the mean m_k of the rows that are labelled k, and the place w_e of emotion e, an order that reads label k as
    the emotion P(k) lies nearer to all places than AffectNet's order by

        sum_k |m_k - w_k|^2 - sum_k |m_k - w_P(k)|^2 = 2 T,    T = sum_k m_k . (w_P(k) - w_k),

    as the sums of squared places cancel. The same constant added to all m_k leaves T as it is, so vectors that are
    off by a bias, or shrunk, are judged alike. Where m_k = s w_P(k), T is s/2 sum_k |w_P(k) - w_k|^2; `gain` is this
    s. The rows of a label are independent, so T has the variance sum_k d_k' C_k d_k / n_k with d_k = w_P(k) - w_k.
    """
    counts, orders = moments.counts, []
    for name, emotions in ORDERS.items():
        places_of_codes = np.arange(len(EMOTIONS))
        places_of_codes[: len(emotions)] = [EMOTIONS.index(emotion) for emotion in emotions]
        inverse = np.argsort(places_of_codes)
        if not columns:
            readings = [(places_of_codes, LABELS_MOVED)]
        elif (inverse == places_of_codes).all():
            readings = [(places_of_codes, f"{LABELS_MOVED} or {COLUMNS_MOVED}")]
        else:
            readings = [(places_of_codes, LABELS_MOVED), (inverse, COLUMNS_MOVED)]
        for reading, what in readings:
            moved = np.flatnonzero(reading != np.arange(len(EMOTIONS)))
            # An order of seven classes cannot be that of labels which use the eighth.
            if not len(moved) or counts[len(emotions) :].any() or counts[moved].min() < MIN_ROWS:
                continue
            steps = places[reading[moved]] - places[moved]
            total = np.sum(moments.means()[moved] * steps)
            spread = np.einsum("ki,kij,kj->k", steps, moments.covariances()[moved], steps) / counts[moved]
            error = max(float(np.sqrt(max(spread.sum(), 0.0))), 1e-12)  # 0 where all rows of a label are the same
            nearer, moves = 2 * float(total), float(np.sum(steps**2))
            orders.append(Order(name, what, nearer, nearer / moves, nearer / 2 / error))
    return sorted(orders, key=lambda order: -order.nearer)


def suspected(orders: list[Order]) -> Order | None:
    """The order that explains the labels clearly better than AffectNet's own: by a tenth of all there is to explain,
    and by five standard errors, so that labels which say nothing are suspected about once in a million splits."""
    clear = [order for order in orders if order.gain > MIN_GAIN and order.deviations > MIN_DEVIATIONS]
    return max(clear, key=lambda order: order.nearer, default=None)
