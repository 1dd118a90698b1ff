"""What a binary classifier is shown: balance, repetition of rare emotions, and hard negatives."""

import numpy as np
import pytest

from affectnet_plus_modeling.labelling.ensemble.sampling import balanced_draws

LABELS = np.repeat([0, 1, 2, 3], [500, 300, 190, 10])


def draws(emotion, confusion=None, epochs=2.0, fewest=1, hard=0.5, seed=0):
    return balanced_draws(LABELS, emotion, confusion, epochs, fewest, hard, np.random.default_rng(seed))


@pytest.mark.parametrize("emotion, count", [(0, 1000), (1, 600), (3, 20)])
def test_there_are_as_many_negatives_as_positives(emotion, count):
    places, classes = draws(emotion)
    assert classes.sum() == count and len(classes) == 2 * count
    assert (LABELS[places[classes == 1]] == emotion).all() and (LABELS[places[classes == 0]] != emotion).all()


def test_a_rare_emotion_is_repeated_evenly():
    places, classes = draws(3, fewest=155, epochs=1)
    times = np.bincount(places[classes == 1])[LABELS == 3]
    assert classes.sum() == 155 and sorted(set(times)) == [15, 16]


def test_hard_negatives_are_drawn_in_proportion_to_the_confusion():
    confusion = np.where(LABELS == 2, 0.3, np.where(LABELS == 1, 0.1, 0.0))
    places, classes = draws(0, confusion, epochs=40, hard=1.0)
    negatives = LABELS[places[classes == 0]]
    expected = 190 * 0.3 / (190 * 0.3 + 300 * 0.1)
    assert (negatives == 2).mean() == pytest.approx(expected, abs=0.01) and not (negatives == 3).any()
    half, classes = draws(0, confusion, epochs=40, hard=0.5)
    negatives = LABELS[half[classes == 0]]
    assert (negatives == 2).mean() == pytest.approx((expected + 190 / 500) / 2, abs=0.01)


def test_without_any_confusion_the_negatives_are_drawn_evenly():
    for confusion in (None, np.zeros(1000), np.where(LABELS == 0, 1.0, 0.0)):
        places, classes = draws(0, confusion, epochs=40)
        assert (LABELS[places[classes == 0]] == 1).mean() == pytest.approx(300 / 500, abs=0.01)


def test_the_same_seed_gives_the_same_draws():
    assert all(map(np.array_equal, draws(1, seed=3), draws(1, seed=3)))
    assert not np.array_equal(draws(1, seed=3)[0], draws(1, seed=4)[0])


@pytest.mark.parametrize("labels", [[0, 0, 1], [2, 2]])
def test_an_emotion_without_a_face_or_with_every_face_is_refused(labels):
    with pytest.raises(ValueError, match="class 2 has [02] of [23] faces"):
        balanced_draws(np.array(labels), 2, None, 1, 1, 0.5, np.random.default_rng(0))
