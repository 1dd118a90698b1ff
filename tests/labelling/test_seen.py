"""Folds of the training faces, and how a face is known again."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from affectnet_plus_modeling.labelling.ensemble.model import ALL_FOLDS
from affectnet_plus_modeling.labelling.ensemble.seen import (
    assign_folds,
    folds_of,
    pixel_digests,
    read_seen,
    write_seen,
)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (200, 6, 6, 3), dtype=np.uint8)


def test_pixels_and_nothing_else_make_the_digest(pictures):
    digests = pixel_digests(pictures)
    assert digests.dtype == np.uint64 and len(set(digests.tolist())) == 200
    assert np.array_equal(pixel_digests(pictures[::-1])[::-1], digests)
    assert np.array_equal(pixel_digests(np.asfortranarray(pictures)), digests)
    changed = pictures.copy()
    changed[7, 3, 3, 1] ^= 1
    assert np.flatnonzero(pixel_digests(changed) != digests).tolist() == [7]
    assert pixel_digests(pictures[:0]).shape == (0,)


def test_folds_hold_equal_shares_of_every_emotion_and_never_part_equal_pictures():
    rng = np.random.default_rng(0)
    labels = rng.choice(8, 3000, p=[0.5, 0.2, 0.1, 0.08, 0.05, 0.04, 0.02, 0.01])
    digests = rng.integers(0, 2700, 3000).astype(np.uint64)  # about a third of them occur more than once
    folds = assign_folds(labels, digests, 4, seed=0)
    assert set(folds) == {0, 1, 2, 3}
    for digest in np.unique(digests):
        assert len(set(folds[digests == digest])) == 1
    shares = np.array([np.bincount(folds[labels == code], minlength=4) / (labels == code).sum() for code in range(8)])
    assert np.abs(shares[:4] - 0.25).max() < 0.02 and np.abs(shares - 0.25).max() < 0.1
    assert np.array_equal(folds, assign_folds(labels, digests, 4, seed=0))
    assert not np.array_equal(folds, assign_folds(labels, digests, 4, seed=1))


def test_one_fold_is_no_folds_and_too_many_are_refused():
    labels = np.array([0, 0, 0, 1, 1])
    assert assign_folds(labels, np.arange(5), 1, 0).tolist() == [0] * 5
    with pytest.raises(ValueError, match="an emotion has 2 faces, fewer than the 3 folds; ask for fewer"):
        assign_folds(labels, np.arange(5), 3, 0)
    with pytest.raises(ValueError, match="folds is 0"):
        assign_folds(labels, np.arange(5), 0, 0)


def test_a_face_is_found_again_in_its_fold(pictures, tmp_path):
    folds = np.arange(100) % 3
    order = np.random.default_rng(1).permutation(100)
    write_seen(tmp_path / "a", pixel_digests(pictures[:100]), folds)
    write_seen(tmp_path / "b", pixel_digests(pictures[order]), folds[order])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    seen = read_seen(tmp_path / "a")
    assert folds_of(pictures, seen).tolist() == [*folds, *[ALL_FOLDS] * 100]
    assert pq.read_table(tmp_path / "a").column_names == ["digest", "fold"]
    assert folds_of(pictures[:0], seen).tolist() == []
