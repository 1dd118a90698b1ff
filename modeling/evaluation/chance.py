"""How far groups would be apart if it were chance who is in which: the same faces, their groups drawn by lot.

The largest difference between groups is above 0 without any real one, and its two groups were chosen by the very faces
that tell how far apart they are, so that an interval of the difference between them promises nothing. Shuffling says
what gap to expect, and how often it is as large as the one that was found (Fisher 1935; Phipson & Smyth 2010).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from .bootstrap import MOST_ROWS, blocks_of
from .intervals import Numbers

BLOCK = 2**22  # cells of memberships at a time: 32 MB


def by_lot(numbers: Numbers, groups: Mapping[str, np.ndarray], draws: int, seed: int) -> dict[str, dict]:
    """The numbers of groups of these sizes, their faces drawn by lot from those of all of them, without replacement.

    Args:
        groups: group -> positions of its faces.

    Returns:
        group -> name of the number -> (draws,), NaN where undefined.
    """
    rows, sizes = np.concatenate(list(groups.values())), [len(members) for members in groups.values()]
    generator = np.random.default_rng(seed)
    if len(rows) > MOST_ROWS:
        drawn = _in_blocks(numbers, rows, sizes, draws, generator)
    else:
        drawn = _at_once(numbers, rows, sizes, draws, generator)
    return {group: dict(zip(numbers.names, drawn[:, place].T, strict=True)) for place, group in enumerate(groups)}


def _at_once(numbers: Numbers, rows: np.ndarray, sizes: list[int], draws: int, generator) -> np.ndarray:
    """(draws, groups, numbers)."""
    columns, member = numbers.columns(rows), np.repeat(np.arange(len(sizes)), sizes)
    block = max(1, BLOCK // (len(rows) * len(sizes)))
    found: list[np.ndarray] = []
    for start in range(0, draws, block):
        shuffled = np.stack([generator.permutation(member) for _ in range(min(block, draws - start))])
        inside = (shuffled[:, None, :] == np.arange(len(sizes))[:, None]).astype(np.float64)
        sums = inside.reshape(-1, len(rows)) @ columns
        found.append(numbers.of_sums(sums).reshape(len(shuffled), len(sizes), -1))
    return np.concatenate(found)


def _in_blocks(numbers: Numbers, rows: np.ndarray, sizes: list[int], draws: int, generator) -> np.ndarray:
    """The same of many rows, with the columns of some of them in memory at a time: how many of a block are in which
    group is drawn first (hypergeometric), then which."""
    left = np.tile(np.array(sizes), (draws, 1))  # places of each group that are still to be drawn
    sums = np.zeros((draws, len(sizes), numbers.width))
    for block in blocks_of(rows):
        columns = numbers.columns(block)
        for draw in range(draws):
            taken = generator.multivariate_hypergeometric(left[draw], len(block), method="marginals")
            left[draw] -= taken
            order, ends = generator.permutation(len(block)), np.cumsum(taken)
            inside = csr_array((np.ones(len(block)), order, [0, *ends]), (len(sizes), len(block)))
            sums[draw] += inside @ columns
    return numbers.of_sums(sums.reshape(draws * len(sizes), -1)).reshape(draws, len(sizes), -1)


def share_as_large(drawn: np.ndarray, gap: float) -> float:
    """The p-value of a gap: how often one by lot is as large, counting the one that was found among them.

    With the found one counted it is never 0, and is at most p with a probability of at most p where only chance is at
    work.
    """
    return float((1 + (drawn >= gap - 1e-12).sum()) / (1 + len(drawn)))  # equal shares, but for rounding


def corrected(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: one of them is at most p with a probability of at most p where only chance is at work.

    In the order given, each at least as large as before and at most 1. Source: Holm 1979.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = values.argsort()
    raised = np.maximum.accumulate(values[order] * (len(order) - np.arange(len(order))))
    found = np.empty(len(order))
    found[order] = np.minimum(raised, 1.0)
    return found.tolist()
