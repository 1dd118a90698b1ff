"""The label table: orders are permutations of AffectNet's names, and remap moves numbers without losing any."""

import numpy as np
import pytest

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.labels import CIRCUMPLEX, ORDERS, remap


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_names_all_eight_emotions_or_all_but_contempt(order):
    assert sorted(ORDERS[order]) in (sorted(EMOTIONS), sorted(EMOTIONS[:7]))


def test_the_alphabetical_orders_are_alphabetical_in_the_words_that_folders_have():
    words = {"happy": "happiness", "sad": "sadness"}  # sorts the same either way
    for order in ("alphabetical", "alphabetical-7"):
        names = [words.get(name, name) for name in ORDERS[order]]
        assert names == sorted(names) and list(ORDERS[order]) == sorted(ORDERS[order])


def test_openface_3_differs_from_affectnet_by_anger_before_disgust_alone():
    differing = [(ours, theirs) for ours, theirs in zip(EMOTIONS, ORDERS["openface3"]) if ours != theirs]
    assert differing == [("disgust", "anger"), ("anger", "disgust")]


@pytest.mark.parametrize(
    "order, expected",
    [
        ("alphabetical", [6, 7, 5, 4, 1, 0, 2, 3]),
        ("ferplus", [0, 1, 3, 2, 6, 5, 4, 7]),
        ("openface3", [0, 1, 2, 3, 4, 6, 5, 7]),
    ],
)
def test_remap_to_affectnet_puts_each_class_where_its_name_is(order, expected):
    """Worked by hand: the value of a class is its AffectNet code, so AffectNet's order counts up."""
    assert remap(expected, order, "affectnet").tolist() == list(range(8))


@pytest.mark.parametrize("old", [name for name, order in ORDERS.items() if len(order) == 8])
@pytest.mark.parametrize("new", [name for name, order in ORDERS.items() if len(order) == 8])
def test_remap_there_and_back_gives_the_same_array(old, new):
    values = np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)
    there = remap(values, old, new)
    assert there.dtype == np.float32 and there.shape == values.shape
    np.testing.assert_array_equal(remap(there, new, old), values)
    if old != new:
        assert not np.array_equal(there, values)


def test_remap_from_seven_classes_and_back():
    values = np.arange(7.0)
    there = remap(values, "fer2013", "affectnet", fill=-1)
    assert there.tolist() == [6, 3, 4, 5, 2, 1, 0, -1]
    np.testing.assert_array_equal(remap(there, "affectnet", "fer2013", drop=True), values)


def test_remap_refuses_to_invent_or_to_lose_a_class_unless_told():
    with pytest.raises(ValueError, match="'rafdb' has no contempt; pass fill="):
        remap(np.zeros(7), "rafdb", "affectnet")
    with pytest.raises(ValueError, match="'rafdb' has no contempt; pass drop=True"):
        remap(np.zeros(8), "affectnet", "rafdb", fill=0)


def test_remap_refuses_other_lengths_and_unknown_orders():
    for values in (np.zeros((2, 7)), np.zeros(()), 3):
        with pytest.raises(ValueError, match=r"expected \(\.\.\., 8\) for the order 'ferplus'"):
            remap(values, "ferplus", "affectnet")
    with pytest.raises(ValueError, match="'fer' is not known, expected one of affectnet, alphabetical"):
        remap(np.zeros(8), "affectnet", "fer")


def test_remap_does_not_write_into_its_input_and_takes_no_rows():
    values = np.arange(8)
    remap(values, "affectnet", "ferplus")[:] = -1
    assert values.tolist() == list(range(8))
    assert remap(np.zeros((0, 8)), "affectnet", "fer2013", drop=True).shape == (0, 7)


def test_the_places_on_the_circumplex_have_the_signs_that_emonet_asks_for():
    valence, arousal = np.array([CIRCUMPLEX[name] for name in EMOTIONS]).T
    assert (np.sign(valence) == [0, 1, -1, 1, -1, -1, -1, -1]).all()
    assert (np.sign(arousal) == [0, 1, -1, 1, 1, 1, 1, 1]).all()
