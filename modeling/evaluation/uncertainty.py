"""How sure a model is: its temperature, the quantile of its prediction sets, and when it should not answer.

Arrays in, numbers out, in float64. The rule of a prediction set itself is in `vit.answers`: it travels with the model.
"""

import hashlib
import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import beta

from ..vit.answers import nonconformity

TEMPERATURES = (0.05, 20.0)  # beyond these the faces do not say how sure the model should be


def soften(probabilities, temperature: float) -> np.ndarray:
    """softmax(log p / temperature): what a model says whose logits are divided by `temperature`, (n, classes)."""
    return softmax(_logits(probabilities) / temperature, axis=1)


def fit_temperature(probabilities, targets) -> float:
    """The temperature T with the least mean KL(target || softmax(log p / T)) in nats (Guo et al. 2017).

    The mean is convex in 1 / T, and T is where its slope, the mean of sum_k (softmax(log p / T) - target)_k log p_k,
    is 0: a root is found to the last digits, a minimum to half of them.

    Args:
        probabilities: (n, classes) what the model says, rows that sum to 1.
        targets: (n, classes) soft labels or one-hot labels, rows that sum to 1; a row with a NaN is left out.

    Raises:
        ValueError: no target is known, the model calls all classes equally probable for every face, or the best
            temperature is outside `TEMPERATURES`.
    """
    targets = np.asarray(targets, dtype=np.float64)
    known = ~np.isnan(targets).any(axis=1)
    if not known.any():
        raise ValueError(f"none of {len(targets)} faces has a known target; there is nothing to fit a temperature to")
    logits, targets = _logits(probabilities)[known], targets[known]
    if not np.ptp(logits, axis=1).any():
        raise ValueError(f"all classes are equally probable for each of {len(logits)} faces; check the weights")

    def slope(log_temperature: float) -> float:
        predicted = softmax(logits / np.exp(log_temperature), axis=1)
        return float(((predicted - targets) * logits).sum(axis=1).mean())

    low, high = np.log(TEMPERATURES)
    if slope(low) <= 0:
        raise ValueError(
            f"the best temperature of {len(logits)} faces is below {TEMPERATURES[0]}: the model is right about all of"
            " them, or nearly so. Give faces that it was not trained on, or more of them"
        )
    if slope(high) >= 0:
        raise ValueError(
            f"the best temperature of {len(logits)} faces is above {TEMPERATURES[1]}: what the model says of them is"
            " no better than chance. Give the faces that it was trained for, or train it longer"
        )
    return float(np.exp(brentq(slope, low, high, xtol=1e-13)))


def _logits(probabilities) -> np.ndarray:
    """Logits of the same softmax; a probability of 0, which a softmax gives by rounding alone, becomes 2e-308."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), np.finfo(np.float64).tiny))


def fit_quantile(probabilities, labels, method: str, coverage: float) -> float:
    """The quantile for `vit.answers.prediction_set` by split conformal prediction; 1 takes every class.

    The set of a new face, exchangeable with these, holds its label with a probability of at least `coverage`, on
    average over faces and calibration sets. That is exact for probabilities that were fixed before; a temperature
    fitted on the same faces makes it approximate, by an amount that vanishes with their number. A face's score is
    the least quantile with which its set holds its label (Gupta et al. 2022, "Nested conformal prediction"): 0 if it
    is the most probable class, which is in every set. Its own nonconformity would make the sets larger than promised.

    Args:
        probabilities: (n, classes) of the calibrated model.
        labels: (n,) classes, none unknown. Drawn by `draw_votes`, the promise is of such a draw.
        method: "threshold" or "aps", see `vit.answers.nonconformity`.
        coverage: between 0 and 1.

    Raises:
        ValueError: no faces, an unknown label, another method, a coverage outside (0, 1).
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if (labels < 0).any():
        raise ValueError(f"row {int(np.argmax(labels < 0))} has no label, expected one of every face")
    scores = nonconformity(torch.from_numpy(probabilities), method).numpy()
    needed = np.where(labels == probabilities.argmax(axis=1), 0.0, scores[np.arange(len(labels)), labels])
    return min(conformal_quantile(needed, coverage), 1.0)


def fit_class_quantiles(probabilities, labels, method: str, coverage: float) -> list[float]:
    """One quantile of each class, from its own faces: the coverage holds for the faces of each class.

    Class-conditional or Mondrian conformal prediction (Vovk et al. 2005, section 4.5). A class with fewer faces than
    `fewest_rows` has 1: it is in every set.

    Args and errors: as for `fit_quantile`.
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    classes = range(probabilities.shape[1])
    rows = [np.flatnonzero(labels == index) for index in classes]
    return [fit_quantile(probabilities[of], labels[of], method, coverage) if len(of) else 1.0 for of in rows]


def conformal_quantile(scores, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n scores; infinite where n is less than `fewest_rows`.

    A further score, exchangeable with these, is at most that with a probability of at least `coverage`; where no two
    are equal, of at most coverage + 1 / (n + 1) (Vovk et al. 2005; Angelopoulos & Bates 2021, "A gentle introduction
    to conformal prediction and distribution-free uncertainty quantification", appendix D).

    Raises:
        ValueError: no scores, a NaN among them, a coverage outside (0, 1).
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not len(scores):
        raise ValueError("there are no scores, expected one of each face")
    if np.isnan(scores).any():
        raise ValueError(f"the score of row {int(np.argmax(np.isnan(scores)))} is NaN, expected a number")
    rank = math.ceil((len(scores) + 1) * _exactly(coverage))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def fewest_rows(coverage: float) -> int:
    """How many faces it takes for a coverage below 1 to be promised without taking every class."""
    exact = _exactly(coverage)
    return math.ceil(exact / (1 - exact))


def _exactly(coverage: float) -> Fraction:
    """As it is written: 0.55 of 100 are 55, of which the nearest binary number would make 56."""
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}, expected a number between 0 and 1, such as 0.9")
    return Fraction(str(float(coverage)))


def draw_votes(soft_labels, image_ids: Iterable[str], seed: int) -> np.ndarray:
    """(n,) one class of each face, drawn from its soft label; -1 where that is unknown (a NaN in the row).

    A quantile of such labels keeps its promise for one random annotator's vote (Stutz et al. 2023, "Conformal
    prediction under ambiguous ground truth", with one draw of each face, for which it is exact). The draw hangs on
    the seed and the image_id, not on the order of the faces.
    """
    soft_labels = np.asarray(soft_labels, dtype=np.float64)
    reached = soft_labels.cumsum(axis=1)
    places = _uniform(image_ids, seed, "vote")[:, None] * reached[:, -1:]
    votes = (reached <= places).sum(axis=1)
    return np.where(np.isnan(soft_labels).any(axis=1), -1, votes)


def in_share(image_ids: Iterable[str], share: float, seed: int) -> np.ndarray:
    """(n,) bool: which faces are in a random share, the same ones in whatever order and company they come.

    Each is in with the probability `share`, so that their number is near n * share and not exactly that. A larger
    share with the same seed holds the faces of the smaller one.

    Raises:
        ValueError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected more than 0 and at most 1")
    return _uniform(image_ids, seed, "share") < share


def _uniform(image_ids: Iterable[str], seed: int, purpose: str) -> np.ndarray:
    """(n,) in [0, 1), a multiple of 2^-32 of each name; two purposes are independent of each other."""
    texts = (f"{purpose} {seed} {name}" for name in image_ids)
    numbers = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
    return np.array(numbers, dtype=np.float64) / 2**32


def fit_abstain_entropy(entropies, correct, accuracy: float, confidence: float) -> float | None:
    """An entropy up to which new faces are answered right at least as often as `accuracy`; None if there is none.

    With the probability `confidence` over the faces of the fit, the accuracy of new faces, exchangeable with these,
    is as promised: the thresholds of a binary search are accepted where the exact lower bound of the accuracy reaches
    it, the error shared among the steps (Geifman & El-Yaniv 2017, "Selective classification for deep neural
    networks", algorithm 1, with Clopper and Pearson's bound). A confidence of 0 takes the largest threshold that
    keeps the accuracy of these very faces, which new faces miss in about half of the cases: the point of the risk-
    coverage curve.

    Args:
        entropies: (n,) of the calibrated model; faces of the same entropy are answered together.
        correct: (n,) bool, whether the most probable class is the label.
        accuracy: in (0, 1].
        confidence: in [0, 1). None keeps an accuracy of 1.

    Raises:
        ValueError: unequal lengths, an accuracy outside (0, 1], or a confidence outside [0, 1).
    """
    entropies, correct = np.asarray(entropies, dtype=np.float64), np.asarray(correct, dtype=bool)
    if entropies.shape != correct.shape:
        raise ValueError(f"shapes {entropies.shape} and {correct.shape} differ, expected the same")
    if not 0 < accuracy <= 1:
        raise ValueError(f"accuracy is {accuracy}, expected more than 0 and at most 1")
    if not 0 <= confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected at least 0 and less than 1")
    order = entropies.argsort()
    last = entropies[order]
    answered = np.flatnonzero(np.append(last[1:] != last[:-1], True)[: len(order)]) + 1  # up to an entropy's last face
    right = correct[order].cumsum()[answered - 1]
    if confidence == 0:
        good = np.flatnonzero(right >= accuracy * answered)
        return float(last[answered[good[-1]] - 1]) if len(good) else None
    place = _largest_sure(right, answered, accuracy, 1 - confidence)
    return None if place is None else float(last[answered[place] - 1])


def _largest_sure(right: np.ndarray, answered: np.ndarray, accuracy: float, error: float) -> int | None:
    """Where a binary search ends among thresholds whose exact bound reaches the accuracy; None where none does."""
    low, high = -1, len(answered)
    steps = max(math.ceil(math.log2(max(high, 1) + 1)), 1)
    while high - low > 1:
        middle = (low + high) // 2
        bound = beta.ppf(error / steps, right[middle], answered[middle] - right[middle] + 1) if right[middle] else 0.0
        low, high = (middle, high) if bound >= accuracy else (low, middle)
    return low if low >= 0 else None
