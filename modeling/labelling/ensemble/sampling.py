"""Which faces a binary classifier is shown: as many of its emotion as of all others, some of those the hard ones."""

import numpy as np


def balanced_draws(
    labels: np.ndarray,
    emotion: int,
    confusion: np.ndarray | None,
    epochs: float,
    fewest: int,
    hard: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Places in `labels` for a whole training, and the class of each: 1 is the emotion, 0 the rest.

    Positives come as often as each other, give or take one; there are `epochs` times as many as faces of the emotion,
    or as `fewest` if that is more. There are as many negatives: a share `hard` is drawn in proportion to `confusion`,
    the others evenly, both with replacement.

    Args:
        labels: (n,) hard labels.
        confusion: (n,) how far each face is taken for the emotion, at least 0; None draws every negative evenly.

    Raises:
        ValueError: no face has the emotion, or every face.
    """
    positives, negatives = np.flatnonzero(labels == emotion), np.flatnonzero(labels != emotion)
    if not len(positives) or not len(negatives):
        raise ValueError(f"class {emotion} has {len(positives)} of {len(labels)} faces, expected some, and not all")
    count = round(epochs * max(len(positives), fewest))
    rounds = [rng.permutation(positives) for _ in range(-(-count // len(positives)))]
    hard_count = 0 if confusion is None or not confusion[negatives].any() else round(hard * count)
    drawn = [np.concatenate(rounds)[:count], rng.choice(negatives, count - hard_count)]
    if hard_count:
        odds = confusion[negatives] / confusion[negatives].sum()  # type: ignore[index]
        drawn.append(rng.choice(negatives, hard_count, p=odds))
    return np.concatenate(drawn), np.repeat([1, 0], count)
