"""The intervals of rates and calibration errors: against closed forms, at their edges, and how often they cover."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.calibration_interval import calibration_interval
from affectnet_plus_modeling.evaluation.covering import covering_intervals, divergence_interval
from affectnet_plus_modeling.evaluation.rates import exact_interval, f1_interval, interval_of_mean
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence
from affectnet_plus_modeling.words import MIN_CLASSWISE, MIN_OF_CALIBRATION, MIN_OF_DIVERGENCE
from support.predictions import informed_predictions


@pytest.mark.filterwarnings("error")
def test_the_interval_of_a_rate_is_scipys_exact_one():
    hits, of = np.array([0, 1, 3, 20, 20]), np.array([4, 4, 7, 20, 31])
    expected = [binomtest(h, n).proportion_ci(0.9, "exact") for h, n in zip(hits.tolist(), of.tolist(), strict=True)]
    np.testing.assert_allclose(np.stack(exact_interval(hits, of, 0.9), axis=1), expected, atol=1e-12)
    assert np.isnan(exact_interval(0, 0, 0.9)).all()


def test_the_interval_of_an_f1_is_that_of_its_rate():
    low, high = exact_interval(6, 10, 0.95)
    assert f1_interval(6, 10, 0.95) == (2 * low / (1 + low), 2 * high / (1 + high))
    assert f1_interval(0, 3, 0.95)[0] == 0 and f1_interval(3, 3, 0.95)[1] == 1


def test_the_interval_of_a_mean_is_as_far_as_the_root_of_the_squares():
    assert interval_of_mean([0.5, 0.7], [0.2, 0.3], [0.6, 0.9]) == pytest.approx((0.6 - 0.25, 0.6 + 0.05**0.5 / 2))
    assert np.isnan(interval_of_mean([0.5, 0.7], [0.2, np.nan], [0.6, np.nan])).all()


def test_a_calibration_error_of_gaps_that_are_sure_has_the_interval_of_their_sum():
    """Two bins, gaps of .3 and .1 that no noise can make: 400 rows each, right in .5 and .9 of them."""
    confidence = np.repeat([0.8, 0.99], 400)[:, None]
    truth = np.r_[np.arange(400) % 2, np.arange(400) % 10 > 0].astype(float)[:, None]
    low, high = calibration_interval(confidence, truth, 0.95)
    error = (0.3 + 0.09) / 2
    reach = 1.96 * np.sqrt(400 * (0.25 + 0.09)) / 800
    assert (low, high) == pytest.approx((error - reach, error + reach), rel=0.02)
    assert calibration_interval(confidence[:1], truth[:1], 0.95)[0] == 0, "one face tells nothing"
    assert np.isnan(calibration_interval(confidence[:0], truth[:0], 0.95)).all()


@pytest.mark.slow
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_intervals_of_calibration_errors_cover_the_error_of_all_faces(power, soft):
    """A model that is calibrated, and one that is not sure enough; benchmarks/coverage.py has more of it."""
    generator = np.random.default_rng(0)
    rates = generator.dirichlet(np.full(8, 0.3), 20000)
    said = rates**power / (rates**power).sum(axis=1, keepdims=True)
    votes = np.stack([generator.multinomial(10, rate) for rate in rates[:20000]]) / 10
    truth = votes if soft else np.eye(8)[(rates.cumsum(axis=1) < generator.uniform(size=(20000, 1))).sum(axis=1) % 8]
    top = said.argmax(axis=1)
    for confidence, came_true in (
        (said.max(axis=1)[:, None], np.take_along_axis(truth, top[:, None], axis=1)),
        (said, truth),
    ):
        expected = np.mean([_error(c, t) for c, t in zip(confidence.T, came_true.T, strict=True)])
        inside, faces = 0, MIN_OF_CALIBRATION if confidence.shape[1] == 1 else MIN_CLASSWISE
        for _ in range(150):
            rows = generator.integers(20000, size=faces)
            low, high = calibration_interval(confidence[rows], came_true[rows], 0.95)
            inside += low <= expected <= high
        assert inside / 150 > 0.93


@pytest.mark.parametrize(
    "name, faces", [("ece", MIN_OF_CALIBRATION), ("ece_soft", MIN_OF_CALIBRATION), ("classwise_ece", MIN_CLASSWISE)]
)
def test_a_calibration_error_has_an_interval_from_so_many_faces_on(name, faces):
    predictions = informed_predictions(faces, holes=False)
    assert covering_intervals(predictions, 0.95)[name] is not None
    assert covering_intervals(predictions.take(np.arange(1, faces)), 0.95)[name] is None


def _error(confidence, truth) -> float:
    index = np.maximum(np.ceil(confidence * 15).astype(int) - 1, 0)
    return np.abs(np.bincount(index, truth - confidence, minlength=15)).sum() / len(confidence)


@pytest.mark.slow
@pytest.mark.parametrize("faces", [MIN_OF_DIVERGENCE, 50, 200, 1000])
def test_intervals_of_kl_cover_that_of_all_faces_though_few_are_far_off(faces):
    """Votes of ten people, and a model that does not know all of them; percentiles of resamples cover .90 at 30."""
    generator = np.random.default_rng(1)
    truth = generator.multinomial(10, generator.dirichlet(np.full(8, 0.2), 20000)) / 10
    said = np.exp(1.25 * (np.log(0.85 * truth + 0.15 / 8) + generator.normal(0, 0.9, truth.shape)))
    every = kl_divergence(truth, said / said.sum(axis=1, keepdims=True))
    inside = percentiles = 0
    for place in range(repeats := 4000):
        values = every[generator.integers(len(every), size=faces)]
        low, high = divergence_interval(values, 0.95)
        inside += low <= every.mean() <= high
        if faces == MIN_OF_DIVERGENCE and place < 800:
            resampled = values[generator.integers(faces, size=(300, faces))].mean(axis=1)
            ends = np.percentile(resampled, [2.5, 97.5])
            percentiles += ends[0] <= every.mean() <= ends[1]
    assert inside / repeats > 0.93
    assert faces > MIN_OF_DIVERGENCE or percentiles / 800 < 0.93
    assert np.isnan(divergence_interval(every[: MIN_OF_DIVERGENCE - 1], 0.95)).all()
    assert divergence_interval(np.zeros(faces), 0.95) == (0, 0)


def test_every_interval_holds_the_number_that_is_reported():
    predictions = informed_predictions(600, holes=False)
    metrics, found = evaluate_predictions(predictions), covering_intervals(predictions, 0.9)
    for name, ends in found.items():
        number, _, emotion = name.partition(":")
        value = metrics["per_class"][emotion][number] if emotion else metrics[name]
        assert ends[0] <= value <= ends[1], name


@pytest.mark.filterwarnings("error")
def test_where_few_faces_are_there_is_no_interval_of_a_mean_over_emotions():
    predictions = informed_predictions(300, holes=False)
    labels = np.where(predictions.labels == 7, 0, predictions.labels)
    labels[:4] = 7
    found = covering_intervals(replace(predictions, labels=labels), 0.95)
    assert [name for name, ends in found.items() if ends is None] == [
        "balanced_accuracy",
        "macro_f1",
        "classwise_ece",
        "classwise_ece_soft",
    ]
    assert found["recall:contempt"][1] > 0.6, "four faces tell next to nothing"
    unknown = replace(predictions, labels=np.full(300, -1), soft_labels=np.full((300, 8), np.nan))
    assert set(covering_intervals(unknown, 0.95).values()) == {None} and EMOTIONS[7] == "contempt"
