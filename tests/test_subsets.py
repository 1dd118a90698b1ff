"""Subsets of many faces: the same as the release's rule for one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectnet_plus_modeling.labels import subset_of, subsets

# Few different values, so that ties are common.
confidence = st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 0.9, 1])
faces = st.lists(st.tuples(st.integers(0, 7), st.lists(confidence, min_size=8, max_size=8)), min_size=1, max_size=20)


@settings(max_examples=200, deadline=None)
@given(faces, st.sampled_from([np.float32, np.float64]))
def test_many_faces_get_what_the_rule_gives_each(faces, dtype):
    labels, soft = np.array([label for label, _ in faces]), np.array([soft for _, soft in faces], dtype=dtype)
    expected = [subset_of(label, row) for label, row in zip(labels, soft, strict=True)]
    assert subsets(labels, soft).tolist() == expected


def test_every_rank_has_its_subset_and_ties_count_for_the_label():
    soft = np.array([[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]])
    assert [int(subsets(np.array([label]), soft)[0]) for label in range(8)] == [0, 1, 1, 2, 2, 2, 2, 2]
    assert subsets(np.array([7]), np.zeros((1, 8))).tolist() == [0], "all tied"
    tied = np.array([[0.9, 0.5, 0.4, 0.4, 0.4, 0, 0, 0]] * 3)
    assert subsets(np.array([4, 2, 5]), tied).tolist() == [1, 1, 2]


def test_without_a_label_an_emotion_or_a_soft_label_there_is_none():
    soft = np.full((6, 8), 0.5)
    soft[3], soft[4, 6] = np.nan, np.nan
    assert subsets(np.array([-1, 8, 10, 0, 0, 0]), soft).tolist() == [-1, -1, -1, -1, -1, 0]
    none = subsets(np.empty(0, dtype=int), np.empty((0, 8)))
    assert none.shape == (0,) and none.dtype == np.int64


def test_normalising_does_not_change_a_subset():
    rng = np.random.default_rng(0)
    soft, labels = rng.integers(0, 6, (500, 8)) / 10, rng.integers(0, 8, 500)
    soft[:, 0] += 0.1
    assert np.array_equal(subsets(labels, soft), subsets(labels, soft / soft.sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("labels, soft", [((3,), (3, 7)), ((3,), (2, 8)), ((3, 1), (3, 8)), ((3,), (8,))])
def test_shapes_that_do_not_fit_are_refused(labels, soft):
    with pytest.raises(ValueError, match=r"expected integers \(n,\) and \(n, 8\)"):
        subsets(np.zeros(labels, dtype=int), np.zeros(soft))


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(ValueError, match="float64 labels"):
        subsets(np.zeros(3), np.zeros((3, 8)))
