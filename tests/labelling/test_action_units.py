"""Scores from action units: the fit against an independent solver, what a table lacks, and recovery on drawn faces."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.labelling.action_units.emotions import (
    UNITS,
    VOTES,
    WEIGHTS,
    score_emotions,
    scored_emotions,
)
from affectnet_plus_modeling.sources.synthetic import expressions

OPENFACE_2 = (
    "AU01",
    "AU02",
    "AU04",
    "AU05",
    "AU06",
    "AU07",
    "AU09",
    "AU10",
    "AU12",
    "AU14",
    "AU15",
    "AU17",
    "AU20",
    "AU23",
    "AU25",
    "AU26",
    "AU45",
)
LIBREFACE = ("AU01", "AU02", "AU04", "AU05", "AU06", "AU09", "AU12", "AU15", "AU17", "AU20", "AU25", "AU26")


def drawn(seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Units (n, 17) as their table has them, over 5, and true soft labels (n, 8), without drawing the pictures."""
    rng = np.random.default_rng(seed)
    intensities = [expressions.random_intensities(rng) for _ in range(number)]
    rows = [expressions.openface_row(expressions.action_units(some, rng)) for some in intensities]
    truth = [expressions.soft_label(some) for some in intensities]
    return np.array([list(row.values()) for row in rows]) / 5, np.array(truth)


def random_values(units, number=40, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random((number, len(units))) ** 2


def column(emotion: str) -> int:
    return EMOTIONS.index(emotion)


# ---- the table of weights


def test_a_weight_is_the_mean_of_the_two_votes():
    assert WEIGHTS.shape == (7, len(UNITS)) and list(VOTES) == list(EMOTIONS[1:])
    weights = {emotion: dict(zip(UNITS, row, strict=True)) for emotion, row in zip(VOTES, WEIGHTS, strict=True)}
    assert weights["happy"]["AU06"] == pytest.approx((1 + 0.51) / 2)
    assert weights["fear"]["AU26"] == pytest.approx((0.5 + 0.33) / 2)
    assert weights["happy"]["AU04"] == 0
    assert weights["contempt"]["AU14"] == 0.5, "one side of two"


def test_the_units_of_drawn_faces_are_known_and_their_weights_are_others():
    assert set(expressions.ACTION_UNITS) <= set(UNITS)
    shared = [(emotion, unit) for emotion in VOTES for unit in VOTES[emotion] if unit in expressions.ACTION_UNITS]
    same = [sum(VOTES[emotion][unit]) / 2 == expressions.PROTOTYPES[emotion].get(unit) for emotion, unit in shared]
    assert np.mean(same) < 0.5


# ---- the formula


@pytest.mark.parametrize("units", [UNITS, OPENFACE_2, expressions.ACTION_UNITS])
def test_scores_are_those_of_an_independent_solver(units):
    values = random_values(units)
    scores = score_emotions(values, units)
    known = [unit for unit in units if unit in UNITS]
    weights = WEIGHTS[:, [UNITS.index(unit) for unit in known]]
    for row, found in zip(values, scores, strict=True):
        observed = [row[units.index(unit)] for unit in known]
        expected = lsq_linear(weights.T, observed, (0, 1), tol=1e-12).x
        np.testing.assert_allclose(found, [1 - expected.max(), *expected], atol=1e-5)


def test_a_resting_face_is_neutral_and_nothing_else():
    assert score_emotions(np.zeros((1, len(UNITS))), UNITS).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("emotion", EMOTIONS[1:])
def test_the_units_of_one_emotion_are_that_emotion_alone(emotion, strength):
    expected = np.zeros(8)
    expected[[0, column(emotion)]] = 1 - strength, strength
    found = score_emotions(strength * WEIGHTS[column(emotion) - 1 : column(emotion)], UNITS)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_the_units_of_two_emotions_are_both():
    happy, surprise = WEIGHTS[column("happy") - 1], WEIGHTS[column("surprise") - 1]
    found = score_emotions(0.5 * happy[None] + 0.4 * surprise, UNITS)[0]
    np.testing.assert_allclose(found, [0.5, 0.5, 0, 0.4, 0, 0, 0, 0], atol=1e-5)


def test_the_order_of_the_columns_and_units_of_no_emotion_make_no_difference():
    values = random_values(OPENFACE_2)
    expected = score_emotions(values, OPENFACE_2)
    assert np.array_equal(score_emotions(values[:, ::-1], OPENFACE_2[::-1]), expected)
    assert "AU45" not in UNITS
    assert np.array_equal(score_emotions(values[:, :-1], OPENFACE_2[:-1]), expected)


def test_many_rows_are_scored_as_each_alone():
    values = random_values(UNITS, 10_000)
    together = score_emotions(values, UNITS)
    assert together.dtype == np.float64 and together.min() >= 0 and together.max() <= 1
    for row in (0, 4095, 4096, 9999):
        np.testing.assert_allclose(score_emotions(values[row : row + 1], UNITS)[0], together[row], atol=1e-5)
    assert score_emotions(values[:0], UNITS).shape == (0, 8)


# ---- what is not known


def test_an_emotion_whose_units_a_table_lacks_is_nan_in_every_row():
    assert scored_emotions(OPENFACE_2) == EMOTIONS
    assert scored_emotions(LIBREFACE) == ("neutral", "happy", "sad", "surprise", "fear", "disgust")
    assert scored_emotions(["AU45"]) == ()
    scores = score_emotions(random_values(LIBREFACE), LIBREFACE)
    assert np.isnan(scores).all(axis=0).tolist() == [False] * 6 + [True] * 2
    assert not np.isnan(scores[:, :6]).any()
    np.testing.assert_allclose(scores[:, 0], 1 - scores[:, 1:6].max(axis=1))
    assert np.isnan(score_emotions(np.ones((2, 1)), ["AU45"])).all()


def test_without_au14_there_is_no_contempt():
    units = [unit for unit in UNITS if unit != "AU14"]
    assert set(EMOTIONS) - set(scored_emotions(units)) == {"contempt"}


def test_a_unit_that_is_not_known_in_a_row_leaves_its_emotions_and_neutral_unknown_in_that_row():
    values = random_values(UNITS, 6)
    expected = score_emotions(values, UNITS)
    values[2, UNITS.index("AU14")] = np.nan
    values[4] = np.nan
    scores = score_emotions(values, UNITS)
    assert [EMOTIONS[k] for k in np.flatnonzero(np.isnan(scores[2]))] == ["neutral", "contempt"]
    assert np.isnan(scores[4]).all()
    others = [0, 1, 3, 5]
    np.testing.assert_allclose(scores[others], expected[others], atol=1e-5)


def test_an_unknown_unit_does_not_lend_its_emotion_to_another():
    """Fear with AU04 unknown: fear is not known, but it still explains the raised brows, so this is no surprise."""
    values = WEIGHTS[[column("fear") - 1]].copy()
    values[0, UNITS.index("AU04")] = np.nan
    scores = score_emotions(values, UNITS)[0]
    assert np.isnan(scores[column("fear")]) and scores[column("surprise")] < 1e-4


# ---- refusals


@pytest.mark.parametrize(
    ("values", "units", "words"),
    [
        (np.zeros((2, 3)), ("AU01", "AU02"), r"shape \(2, 3\), expected \(n, 2\)"),
        (np.zeros(2), ("AU01", "AU02"), r"shape \(2,\), expected"),
        (np.zeros((1, 1)), ("AU1",), "units are AU1; expected names such as AU01"),
        (np.zeros((1, 2)), ("AU01", "AU01"), "each once"),
        ([[0, 1.5]], ("AU01", "AU12"), "row 0 has AU12 = 1.5, expected 0 to 1"),
        ([[0.5, 1], [-0.1, 0]], ("AU01", "AU12"), "row 1 has AU01 = -0.1"),
        ([[0, np.inf]], ("AU01", "AU12"), "AU12 = inf"),
    ],
)
def test_what_are_no_units_in_0_to_1_is_refused(values, units, words):
    with pytest.raises(ValueError, match=words):
        score_emotions(values, units)


# ---- recovery


def figures(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    correlations = [np.corrcoef(scores[:, k], truth[:, k])[0, 1] for k in range(8)]
    agreement = np.mean(scores.argmax(axis=1) == truth.argmax(axis=1))
    return float(np.abs(scores - truth).mean()), float(np.mean(correlations)), float(agreement)


def test_the_true_soft_label_of_drawn_faces_is_recovered():
    """A constant has an error of .21. The formula and the weights were chosen on another seed."""
    values, truth = drawn(seed=7, number=1000)
    error, correlation, agreement = figures(score_emotions(values, expressions.ACTION_UNITS), truth)
    assert error < 0.055 and correlation > 0.96 and agreement > 0.92
    mean = values @ WEIGHTS[:, [UNITS.index(unit) for unit in expressions.ACTION_UNITS]].T / WEIGHTS.sum(axis=1)
    usual = np.column_stack([1 - mean.max(axis=1), mean])
    assert error < figures(usual, truth)[0] / 2


def test_the_units_of_openface_2_recover_it_nearly_as_well():
    values, truth = drawn(seed=8, number=1000)
    kept = [column for column, unit in enumerate(expressions.ACTION_UNITS) if unit in OPENFACE_2]
    units = [expressions.ACTION_UNITS[column] for column in kept]
    error, correlation, agreement = figures(score_emotions(values[:, kept], units), truth)
    assert error < 0.06 and correlation > 0.95 and agreement > 0.9
