"""Calibration of binary classifiers, against scipy's own minimum and scikit-learn's isotonic regression."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.labelling.ensemble.calibration import KINDS, apply_calibration, fit_calibration


@pytest.fixture
def balanced():
    """Log-odds of 8 classifiers that are twice too sure and shifted, with the labels that they are about."""
    rng = np.random.default_rng(0)
    labels = rng.choice(8, 4000, p=[0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02])
    evidence = rng.normal(size=(4000, 8)) + 1.5 * (labels[:, None] == np.arange(8))
    return 2 * evidence + 0.5, labels


def cross_entropy(parameters, log_odds, positive):
    sign = np.where(positive, 1, -1)
    return np.logaddexp(0, -sign * (parameters[0] * log_odds + parameters[1])).mean()


def test_the_temperature_is_the_minimum_of_the_cross_entropy(balanced):
    log_odds, labels = balanced
    found = fit_calibration("temperature", log_odds, labels, "here")
    for code, name in enumerate(EMOTIONS):
        data = (log_odds[:, code], labels == code)
        best = minimize(cross_entropy, [1.0, 0.0], data, "Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}).x
        assert (found["emotions"][name]["slope"], found["emotions"][name]["shift"]) == pytest.approx(best, abs=2e-3)
    assert found["split"] == "here" and found["faces"] == 4000


@pytest.mark.parametrize("kind", KINDS)
def test_confidences_have_the_true_frequencies(balanced, kind):
    log_odds, labels = balanced
    calibration = json.loads(json.dumps(fit_calibration(kind, log_odds, labels, "here")))
    confidence = apply_calibration(log_odds, calibration)
    assert (0 <= confidence).all() and (confidence <= 1).all()
    assert confidence.mean(axis=0) == pytest.approx(np.bincount(labels) / len(labels), abs=1e-4)
    assert np.abs(expit(log_odds).mean(axis=0) - np.bincount(labels) / len(labels)).min() > 0.05
    order = np.argsort(log_odds[:, 3])
    assert (np.diff(confidence[order, 3]) >= 0).all()


def test_isotonic_is_that_of_scikit_learn_beyond_the_ends_too(balanced):
    log_odds, labels = balanced
    calibration = fit_calibration("isotonic", log_odds, labels, "here")
    asked = np.repeat(np.linspace(-30, 30, 301)[:, None], 8, axis=1)
    found = apply_calibration(asked, calibration)
    for code in range(8):
        stock = IsotonicRegression(out_of_bounds="clip").fit(log_odds[:, code], labels == code)
        np.testing.assert_allclose(found[:, code], stock.predict(asked[:, code]), atol=1e-12)


def test_without_calibration_it_is_the_logistic_function_and_nan_stays_nan(balanced):
    log_odds, labels = balanced
    assert np.array_equal(apply_calibration(log_odds[:5], None), expit(log_odds[:5]))
    asked = np.full((2, 8), np.nan)
    asked[1] = 0
    for calibration in (None, *(fit_calibration(kind, log_odds, labels, "here") for kind in KINDS)):
        assert np.isnan(apply_calibration(asked, calibration)).tolist() == [[True] * 8, [False] * 8]
        assert apply_calibration(asked[:0], calibration).shape == (0, 8)


def test_a_classifier_that_is_the_wrong_way_round_says_the_frequency(balanced):
    log_odds, labels = balanced
    found = fit_calibration("temperature", -log_odds, labels, "here")
    assert apply_calibration(log_odds[:3], found)[:, 0] == pytest.approx([(labels == 0).mean()] * 3)


def test_an_emotion_without_a_face_is_named(balanced):
    log_odds, labels = balanced
    with pytest.raises(ValueError, match="validation: no face is labelled fear, contempt"):
        fit_calibration("temperature", log_odds, np.where(np.isin(labels, (4, 7)), 0, labels), "validation")
    with pytest.raises(ValueError, match="calibration is 'beta', expected one of temperature, isotonic"):
        fit_calibration("beta", log_odds, labels, "validation")
