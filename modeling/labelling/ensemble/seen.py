"""Which faces an ensemble was trained on, and in which fold: known again by their pixels, wherever they turn up."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from sklearn.model_selection import StratifiedGroupKFold

from ...files import written_whole
from .model import ALL_FOLDS

SEEN_FILE = "seen.parquet"


def pixel_digests(pixels: np.ndarray) -> np.ndarray:
    """(n,) uint64 digests of (n, size, size, 3) uint8 pictures.

    They are taken at the ensemble's own size, so that the same face in another file is the same face. That two among a
    million different ones share 64 bits has a chance of 3e-8, and would only keep members from answering.
    """
    return np.array([xxhash.xxh3_64_intdigest(picture.tobytes()) for picture in pixels], dtype=np.uint64)


def assign_folds(labels: np.ndarray, digests: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each face, 0 to folds - 1: every emotion is spread evenly, and equal pictures stay together.

    One fold means no cross-fitting: all faces are in fold 0.

    Raises:
        ValueError: there are fewer folds than 1, or fewer faces of an emotion than folds.
    """
    if folds < 1:
        raise ValueError(f"folds is {folds}, expected at least 1")
    if folds == 1:
        return np.zeros(len(labels), dtype=int)
    counts = np.bincount(labels)
    fewest = counts[counts > 0].min()
    if fewest < folds:
        raise ValueError(f"an emotion has {fewest} faces, fewer than the {folds} folds; ask for fewer folds")
    groups = np.unique(digests, return_inverse=True)[1]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = np.empty(len(labels), dtype=int)
    for fold, (_, held) in enumerate(splitter.split(labels, labels, groups)):
        found[held] = fold
    return found


def write_seen(path: Path, digests: np.ndarray, folds: np.ndarray) -> None:
    """Write digests with their folds, sorted by digest: the order of the faces does not matter."""
    unique, first = np.unique(digests, return_index=True)
    table = pa.table({"digest": pa.array(unique), "fold": pa.array(folds[first], pa.int16())})
    with written_whole(path) as partial:
        pq.write_table(table, partial)


def read_seen(path: Path) -> dict[int, int]:
    """digest -> fold, as `write_seen` wrote them."""
    table = pq.read_table(path)
    return dict(zip(table["digest"].to_pylist(), table["fold"].to_pylist(), strict=True))


def folds_of(pixels: np.ndarray, seen: dict[int, int]) -> np.ndarray:
    """(n,) fold of (n, size, size, 3) uint8 pictures; ALL_FOLDS for those that were not trained on."""
    return np.array([seen.get(digest, ALL_FOLDS) for digest in pixel_digests(pixels).tolist()], dtype=int)
