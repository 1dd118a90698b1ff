"""How far groups of faces are apart: in what a model gets right, in what it says, and in the data itself.

**Sources.** "Faces of Fairness" (Hosseini, Fard & Mahoor 2025, arXiv 2502.11049) measures expression data sets by
seven numbers and models by four, of which its formulas were not at hand: these are the standard definitions. Of the
model: demographic parity, equal opportunity and equalised odds as differences (Hardt et al. 2016, in the form of
Fairlearn's metrics), and treatment equality (Berk et al. 2021). Of the data: those of "Metrics for Dataset Demographic
Bias" (Dominguez-Catena, Paternain & Galar 2024, arXiv 2303.15889), who measured 20 expression data sets.

**Every emotion is one question**, "this emotion or another?". A rate counts where it is over at least `min_cell` faces
of a group; an emotion where it does for two groups or more. Faces whose group is unknown are left out.

**A gap** is the largest value of a group less the smallest. Even without any real difference it is above 0, the more
so the more and the smaller the groups are. Beside it stands the gap to expect if it were chance who is in which group,
and how probable one as large then is, corrected for the number of all gaps: see `chance`.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import entropy
from scipy.stats.contingency import association
from sklearn.metrics import mutual_info_score

from .chance import share_as_large

GAPS = ("accuracy", "kl", "js", "ece", "valence_ccc", "arousal_ccc")


def group_gaps(
    values: Mapping[str, Mapping[str, float]],
    drawn: Mapping[str, Mapping[str, np.ndarray]],
    counts: Mapping[str, np.ndarray],
    emotions: tuple[str, ...],
    min_cell: int,
) -> dict:
    """The gaps between the groups of one attribute, as metrics.json has them, their `p` not yet corrected.

    Args:
        values: group -> its numbers, by name; only those groups that are known and large enough.
        drawn: the same numbers of groups that were drawn by lot, as `chance.by_lot` gives them.
        counts: group -> its confusion matrix, rows are labels.
    """
    gaps: dict[str, dict | None] = {}
    for index, emotion in enumerate(emotions):
        large = [group for group in values if counts[group][index].sum() >= min_cell]
        gaps[emotion] = _gap(large, values, drawn, f"recall:{emotion}")
    sizes = [gap["gap"] for gap in gaps.values() if gap is not None]
    rates = gaps | {"mean": float(np.mean(sizes)) if sizes else None, "max": max(sizes, default=None)}
    return {"tpr_gap": rates} | {f"{name}_gap": _gap(list(values), values, drawn, name) for name in GAPS}


def _gap(groups: list[str], values: Mapping, drawn: Mapping, name: str) -> dict | None:
    known = {group: values[group][name] for group in groups if not np.isnan(values[group][name])}
    if len(known) < 2:
        return None
    highest = max(known, key=lambda group: known[group])
    lowest = min(reversed(known), key=lambda group: known[group])  # of equals, not the same group
    gap, of_all = known[highest] - known[lowest], np.stack([drawn[group][name] for group in known])
    of_all = of_all[:, ~np.isnan(of_all).any(axis=0)]
    by_chance = np.ptp(of_all, axis=0)
    return {
        "gap": gap,
        "highest": highest,
        "lowest": lowest,
        "by_chance": float(by_chance.mean()) if len(by_chance) else None,
        "p": share_as_large(by_chance, gap),
    }


def every_gap(gaps: Mapping[str, dict]) -> list[dict]:
    """The gaps of all attributes, those of the emotions first."""
    found = [
        gap
        for of_attribute in gaps.values()
        for gap in (*of_attribute["tpr_gap"].values(), *(of_attribute[f"{name}_gap"] for name in GAPS))
    ]
    return [gap for gap in found if isinstance(gap, dict)]


def model_fairness(counts: Mapping[str, np.ndarray], emotions: tuple[str, ...], min_cell: int) -> dict | None:
    """Four differences between the groups in what the model says, from their confusion matrices (rows are labels).

    For each emotion, with TP, FP, FN and TN of "this emotion or another", the largest value of a group less the
    smallest, of

    - `demographic_parity`: the share of faces of which the emotion is said, (TP + FP) / all;
    - `equal_opportunity`: the true positive rate, TP / (TP + FN);
    - `equalized_odds`: that, or the same of the false positive rate FP / (FP + TN), whichever is larger;
    - `treatment_equality`: FN / (FN + FP), the share of misses among the errors. Berk et al. compare FN / FP, which
      orders groups alike and is infinite without false positives.

    Returns:
        measure -> `mean` and `max` over the emotions, and the `emotion` of the largest; all None where no emotion
        counts. None for fewer than two groups.
    """
    if len(counts) < 2:
        return None
    every = np.stack(list(counts.values())).astype(np.float64)  # (groups, labels, said)
    hits = np.einsum("gkk->gk", every)
    missed, false = every.sum(axis=2) - hits, every.sum(axis=1) - hits
    total = np.broadcast_to(every.sum(axis=(1, 2))[:, None], hits.shape)

    def differences(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        rates = np.where(below >= max(min_cell, 1), above / np.maximum(below, 1), np.nan)
        return np.array([_spread(column) for column in rates.T])

    opportunity = differences(hits, hits + missed)
    measures = {
        "demographic_parity": differences(hits + false, total),
        "equal_opportunity": opportunity,
        "equalized_odds": np.fmax(opportunity, differences(false, total - hits - missed)),
        "treatment_equality": differences(missed, missed + false),
    }
    return {name: _summary(values, emotions) for name, values in measures.items()}


def _spread(values: np.ndarray) -> float:
    """Largest less smallest; NaN for fewer than two numbers."""
    known = values[~np.isnan(values)]
    return float(np.ptp(known)) if len(known) >= 2 else np.nan


def _summary(values: np.ndarray, emotions: tuple[str, ...]) -> dict:
    if np.isnan(values).all():
        return {"mean": None, "max": None, "emotion": None}
    largest = int(np.nanargmax(values))
    return {"mean": float(np.nanmean(values)), "max": float(values[largest]), "emotion": emotions[largest]}


def data_fairness(sizes: Mapping[str, int], labels: np.ndarray) -> dict:
    """How evenly the groups are there, and how much a group tells of the label.

    - `groups`: how many of them have a face. `entropy`: Shannon's, of their shares, in nats; `effective_groups`: e to
      the entropy, so many equal groups have it; `evenness`: entropy / ln(groups), 0 to 1 (Pielou), None for one group.
    - `normalized_deviation` of the shares, from 0 (equal) to 1 (one group has all): their standard deviation times
      groups / sqrt(groups - 1), None for one group.
    - `cramers_v` of group and label, from 0 (independent) to 1, and `mutual_information` of them in nats; None where
      there is one group or one label.

    Args:
        sizes: group -> faces, of every known group that has any.
        labels: (groups, classes) labelled faces, in the same order.
    """
    counts = np.array(list(sizes.values()))
    spread = float(entropy(counts))
    table = labels[labels.sum(axis=1) > 0][:, labels.sum(axis=0) > 0]
    linked = min(table.shape) >= 2
    return {
        "groups": len(counts),
        "entropy": spread,
        "effective_groups": float(np.exp(spread)),
        "evenness": float(spread / np.log(len(counts))) if len(counts) > 1 else None,
        "normalized_deviation": _normalized_deviation(counts / counts.sum()),
        "cramers_v": float(association(table, method="cramer")) if linked else None,
        "mutual_information": float(mutual_info_score(None, None, contingency=table)) if linked else None,
    }


def _normalized_deviation(shares: np.ndarray) -> float | None:
    groups = len(shares)
    return float(shares.std() * groups / np.sqrt(groups - 1)) if groups > 1 else None
