"""The one label table: the orders in which other tools and data sets put the emotions, and where each lies in affect;
and the one rule that makes a difficulty subset of a label and a soft label.

A model or a file that says "class 4" means another emotion in each of these orders, and nothing in it says which.
"""

import numpy as np

from affectnet_plus import EMOTIONS

# AffectNet's names for every order: angry, happiness, sadness and the like are the same emotions in other words.
ORDERS = {
    # AffectNet and AffectNet+ (Mollahosseini et al. 2017), LibreFace, DDAMFN, DAN, EmoNet-8, py-feat 2
    "affectnet": EMOTIONS,
    # class folders read by name (torchvision ImageFolder, `datasets` imagefolder), EmotiEffLib
    "alphabetical": ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    # the same without contempt: EmotiEffLib's models of 7 classes
    "alphabetical-7": ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    # FER2013 (Goodfellow et al. 2013), DeepFace, fer, py-feat 1
    "fer2013": ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    # FER+ (Barsoum et al. 2016); its "unknown" and "not a face" come after these
    "ferplus": ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt"),
    # RAF-DB (Li et al. 2017); its files count from 1
    "rafdb": ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral"),
    # weights of OpenFace 3.0 (Hu et al. 2025), as a user measured them; its own documentation prints AffectNet's order
    "openface3": ("neutral", "happy", "sad", "surprise", "fear", "anger", "disgust", "contempt"),
}

# (valence, arousal): places on Russell's circumplex (1980). The numbers are this project's own; their signs are those
# by which EmoNet (Toisoul et al. 2021) cleans AffectNet.
CIRCUMPLEX = {
    "neutral": (0.0, 0.0),
    "happy": (0.85, 0.4),
    "sad": (-0.75, -0.4),
    "surprise": (0.2, 0.85),
    "fear": (-0.6, 0.8),
    "disgust": (-0.7, 0.35),
    "anger": (-0.6, 0.65),
    "contempt": (-0.5, 0.2),
}


def remap(values, from_order: str, to_order: str, fill: float | None = None, drop: bool = False) -> np.ndarray:
    """Put the classes of an array into another order.

    Args:
        values: (..., classes of `from_order`), one number for each class: logits, probabilities, votes.
        from_order, to_order: names in `ORDERS`.
        fill: what a class gets that `from_order` does not have, such as 0 for a probability.
        drop: leave out the classes that `to_order` does not have. What is left of a distribution is not rescaled.

    Returns:
        A new array (..., classes of `to_order`) of the same type.

    Raises:
        ValueError: an order is not known, the last axis has another length, or a class has no place in the other
            order and neither `fill` nor `drop` says what to do.
    """
    for order in (from_order, to_order):
        if order not in ORDERS:
            raise ValueError(f"order {order!r} is not known, expected one of {', '.join(ORDERS)}")
    old, new, values = ORDERS[from_order], ORDERS[to_order], np.asarray(values)
    if values.ndim == 0 or values.shape[-1] != len(old):
        raise ValueError(f"values have shape {values.shape}, expected (..., {len(old)}) for the order {from_order!r}")
    lacking = [name for name in new if name not in old]
    if lacking and fill is None:
        raise ValueError(f"{from_order!r} has no {', '.join(lacking)}; pass fill= to say what they get")
    homeless = [name for name in old if name not in new]
    if homeless and not drop:
        raise ValueError(f"{to_order!r} has no {', '.join(homeless)}; pass drop=True to leave them out")
    columns = [values[..., old.index(name)] if name in old else np.full_like(values[..., 0], fill) for name in new]
    return np.stack(columns, axis=-1)


def subset_of(label: int, soft_label) -> int:
    """`subsets` for one face: 0 easy, 1 challenging, 2 difficult."""
    return int(subsets(np.array([label]), np.array([soft_label]))[0])


def subsets(labels, soft) -> np.ndarray:
    """Difficulty subset of each face by the release's rule: the rank of its human label in its soft label.

    Rank 1 is 0 (easy), 2 and 3 are 1 (challenging), 4 to 8 are 2 (difficult). Only strictly larger confidences rank
    before the label, so ties count for it, and the subset is the same for raw and for normalised confidences.

    Args:
        labels: (n,) int, -1 where there is no human label.
        soft: (n, 8), a row with NaN where unknown.

    Returns:
        (n,) int64; -1 where there is no human label, the label is no emotion (8 and above), or the row has NaN.

    Raises:
        ValueError: the shapes are not these, or labels are no integers.
    """
    labels, soft = np.asarray(labels), np.asarray(soft)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or soft.shape != (len(labels), len(EMOTIONS)):
        found = f"{labels.dtype} labels {labels.shape} and soft labels {soft.shape}"
        raise ValueError(f"{found}, expected integers (n,) and (n, {len(EMOTIONS)})")
    known = (labels >= 0) & (labels < len(EMOTIONS)) & ~np.isnan(soft).any(axis=1)
    own = soft[np.arange(len(labels)), np.where(known, labels, 0)]
    rank = 1 + (soft > own[:, None]).sum(axis=1)
    return np.select([~known, rank == 1, rank <= 3], [-1, 0, 1], 2)
