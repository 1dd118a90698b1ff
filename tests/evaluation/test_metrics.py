"""Every number of an evaluation against an independent reference, and every bad input against its message."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, pearsonr
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.report_text import format_metrics
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.metrics.affect_dimensions.formulas import concordance_correlation, root_mean_square_error
from affectnet_plus_modeling.metrics.calibration.formulas import expected_calibration_error, reliability_bins
from affectnet_plus_modeling.metrics.soft_label.formulas import (
    PROBABILITY_FLOOR,
    jensen_shannon,
    kl_divergence,
    kl_unsmoothed,
)


def distributions(rows, seed, concentration=0.5):
    return np.random.default_rng(seed).dirichlet(np.full(8, concentration), rows)


def some_predictions(rows=60, seed=0) -> Predictions:
    generator = np.random.default_rng(seed)
    return Predictions(
        image_ids=[f"face-{row}" for row in range(rows)],
        probabilities=distributions(rows, seed + 1),
        soft_labels=distributions(rows, seed + 2),
        labels=generator.integers(0, 8, rows),
        valence_arousal=generator.uniform(-1, 1, (rows, 2)),
        true_valence_arousal=generator.uniform(-1, 1, (rows, 2)),
    )


def changed(field, row, value) -> dict:
    array = np.array(getattr(some_predictions(), field))
    array[row] = value
    return {field: array}


def one_hot(labels) -> np.ndarray:
    return np.eye(8)[labels]


def smoothed(predicted) -> np.ndarray:
    return 0.999 * predicted + 0.001 / 8


# ---- divergences


def test_unsmoothed_kl_is_scipys_relative_entropy():
    soft, guess = distributions(50, 1), distributions(50, 2)
    np.testing.assert_allclose(kl_unsmoothed(soft, guess), entropy(soft, guess, axis=1), rtol=1e-12)


def test_unsmoothed_kl_of_zeros_in_the_soft_label_is_finite_and_by_hand():
    soft, guess = np.array([[0.5, 0.5, 0, 0]]), np.array([[0.25, 0.25, 0.5, 0]])
    np.testing.assert_allclose(kl_unsmoothed(soft, guess), [np.log(2)])


def test_unsmoothed_kl_of_a_zero_prediction_is_bounded_by_the_floor():
    found = kl_unsmoothed(one_hot([0]), one_hot([1]))
    np.testing.assert_allclose(found, [-np.log(PROBABILITY_FLOOR)])
    assert 27 < found[0] < 28


def test_unsmoothed_kl_of_equal_rows_is_never_below_zero():
    soft = distributions(500, 3)
    found = kl_unsmoothed(soft, soft * (1 + 1e-16))
    assert (found >= 0).all() and found.max() < 1e-12


def test_kl_is_smoothed_so_that_a_zero_costs_nine_nats_and_rounding_less():
    assert kl_divergence(one_hot([0]), one_hot([1]))[0] == pytest.approx(np.log(8000))
    soft, guess = distributions(500, 3), distributions(500, 4)
    rounded = guess.round(2) / guess.round(2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(kl_divergence(soft, guess), entropy(soft, smoothed(guess), axis=1), rtol=1e-9)
    small, large = (abs(kl(soft, rounded) - kl(soft, guess)).mean() for kl in (kl_divergence, kl_unsmoothed))
    assert 5 * small < large


def test_jensen_shannon_is_scipys_distance_squared():
    soft, guess = distributions(50, 4), distributions(50, 5)
    np.testing.assert_allclose(jensen_shannon(soft, guess), jensenshannon(soft, guess, axis=1) ** 2, rtol=1e-9)


def test_jensen_shannon_reaches_both_ends_of_its_range_and_is_symmetric():
    np.testing.assert_allclose(jensen_shannon(one_hot([0, 3]), one_hot([1, 3])), [np.log(2), 0], atol=1e-15)
    soft, guess = distributions(9, 6), distributions(9, 7)
    np.testing.assert_allclose(jensen_shannon(soft, guess), jensen_shannon(guess, soft))


@pytest.mark.parametrize("divergence", [kl_divergence, kl_unsmoothed, jensen_shannon])
def test_divergence_of_an_unknown_row_is_nan_and_of_other_shapes_an_error(divergence):
    soft = distributions(3, 8)
    soft[1] = np.nan
    assert np.isnan(divergence(soft, distributions(3, 9))).tolist() == [False, True, False]
    with pytest.raises(ValueError, match=r"\(3, 8\) and \(8,\)"):
        divergence(soft, np.full(8, 1 / 8))


# ---- calibration


def test_calibration_error_by_hand():
    # Two bins: (0, 0.5] holds 0.2 and 0.4 with one right, (0.5, 1] holds 0.6, 0.9 and 0.9 with two right.
    confidence, correct = [0.2, 0.4, 0.6, 0.9, 0.9], [True, False, False, True, True]
    by_hand = 2 / 5 * abs(0.5 - 0.3) + 3 / 5 * abs(2 / 3 - 0.8)
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(by_hand)


def test_calibration_error_against_a_plain_loop():
    generator = np.random.default_rng(10)
    confidence, correct = generator.uniform(0, 1, 400), generator.integers(0, 2, 400)
    total = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        total += abs(confidence[inside].sum() - correct[inside].sum()) / 400
    assert expected_calibration_error(confidence, correct) == pytest.approx(total)


def test_edges_belong_to_the_bin_below_and_zero_to_the_first():
    bins = reliability_bins([0.0, 0.1, 0.3, 0.7, 1.0], [0, 1, 1, 0, 1], bins=10)
    assert bins["rows"].tolist() == [2, 0, 1, 0, 0, 0, 1, 0, 0, 1]
    assert bins["accuracy"][0] == 0.5 and bins["confidence"][0] == pytest.approx(0.05)
    assert np.isnan(bins["accuracy"][1]) and np.isnan(bins["confidence"][1])
    assert bins["edges"][[0, 3, 10]].tolist() == [0.0, 0.3, 1.0]


def test_calibration_extremes():
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1
    assert np.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize(
    "confidence, correct, bins, words",
    [
        ([0.5, 1.2], [1, 1], 15, "1.2"),
        ([np.nan], [1], 15, "nan"),
        ([0.5], [1, 1], 15, "differ"),
        ([0.5], [1], 0, "bins is 0"),
    ],
)
def test_bad_calibration_input(confidence, correct, bins, words):
    with pytest.raises(ValueError, match=words):
        reliability_bins(confidence, correct, bins)


# ---- valence and arousal


def test_concordance_by_its_definition_from_pearson():
    generator = np.random.default_rng(11)
    x = generator.normal(0, 1, 80)
    y = 0.4 * x + generator.normal(0.3, 0.5, 80)
    definition = 2 * pearsonr(x, y)[0] * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert concordance_correlation(x, y) == pytest.approx(definition)
    assert concordance_correlation(y, x) == pytest.approx(definition)


def test_concordance_knows_shift_and_sign_where_correlation_does_not():
    x = np.array([-0.5, 0.0, 0.5])
    assert concordance_correlation(x, x) == pytest.approx(1)
    assert concordance_correlation(x, -x) == pytest.approx(-1)
    assert concordance_correlation(x, x + 0.5) == pytest.approx(4 / 7)  # 2 * 1/6 / (2 * 1/6 + 1/4)


def test_concordance_of_constants():
    tenth = np.full(3, 0.1)  # whose mean, 0.10000000000000002, is not 0.1
    assert concordance_correlation(tenth, [0.1, 0.2, 0.3]) == 0
    assert concordance_correlation(tenth, np.full(3, 0.2)) == 0
    assert np.isnan(concordance_correlation(tenth, tenth))
    assert np.isnan(concordance_correlation([0.1], [0.4]))


def test_root_mean_square_error():
    assert root_mean_square_error([0.0, 0.0], [0.3, -0.4]) == pytest.approx(np.sqrt(0.125))
    assert np.isnan(root_mean_square_error([], []))


# ---- everything together


def test_numbers_of_the_labels_are_scikit_learns():
    predictions = some_predictions()
    truth, guess = predictions.labels, predictions.probabilities.argmax(axis=1)
    metrics = evaluate_predictions(predictions)
    assert metrics["accuracy"] == accuracy_score(truth, guess)
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert metrics["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))
    for label, name in enumerate(EMOTIONS):
        row = metrics["per_class"][name]
        assert row["support"] == (truth == label).sum()
        assert row["recall"] == pytest.approx((guess[truth == label] == label).mean())
        assert row["precision"] == pytest.approx((truth[guess == label] == label).mean())
        assert row["f1"] == pytest.approx(2 / (1 / row["recall"] + 1 / row["precision"]) if row["recall"] else 0)
        assert [int(((truth == label) & (guess == k)).sum()) for k in range(8)] == metrics["confusion"][label]


def test_divergences_and_agreement_are_means_over_the_rows():
    predictions = some_predictions()
    soft, guess = predictions.soft_labels, predictions.probabilities
    metrics = evaluate_predictions(predictions)
    assert metrics["kl"] == pytest.approx(entropy(soft, smoothed(guess), axis=1).mean())
    assert metrics["kl_unsmoothed"] == pytest.approx(entropy(soft, guess, axis=1).mean())
    assert metrics["js"] == pytest.approx((jensenshannon(soft, guess, axis=1) ** 2).mean())
    assert metrics["top_label_agreement"] == np.mean(soft.argmax(axis=1) == guess.argmax(axis=1))
    confidence, correct = guess.max(axis=1), guess.argmax(axis=1) == predictions.labels
    assert metrics["ece"] == pytest.approx(expected_calibration_error(confidence, correct))
    assert sum(metrics["reliability"]["rows"]) == 60 and None in metrics["reliability"]["accuracy"]


def test_valence_and_arousal_are_kept_apart():
    predictions = some_predictions()
    metrics = evaluate_predictions(predictions)
    for column, name in enumerate(("valence", "arousal")):
        guess, true = predictions.valence_arousal[:, column], predictions.true_valence_arousal[:, column]
        assert metrics[name]["ccc"] == pytest.approx(concordance_correlation(guess, true))
        assert metrics[name]["rmse"] == pytest.approx(np.linalg.norm(guess - true) / np.sqrt(60))


def test_baselines_with_the_training_sets_mean():
    predictions, prior = some_predictions(), distributions(1, 12, concentration=5)[0]
    baselines = evaluate_predictions(predictions, prior)["baselines"]
    constant, uniform = baselines["mean_soft_label"], baselines["uniform"]
    soft = predictions.soft_labels
    assert constant["prior_from"] == "training rows"
    assert constant["kl"] == pytest.approx(entropy(soft, smoothed(np.tile(prior, (60, 1))), axis=1).mean())
    assert constant["js"] == pytest.approx((jensenshannon(soft, np.tile(prior, (60, 1)), axis=1) ** 2).mean())
    assert constant["accuracy"] == np.mean(predictions.labels == prior.argmax())
    assert constant["label"] == EMOTIONS[prior.argmax()]
    assert uniform["kl"] == pytest.approx(np.mean(np.log(8) - entropy(soft, axis=1)))
    assert uniform["accuracy"] == 1 / 8


def test_baselines_without_a_prior_say_so_and_are_the_best_constant_answer():
    predictions = some_predictions()
    constant = evaluate_predictions(predictions)["baselines"]["mean_soft_label"]
    assert constant["prior_from"] == "evaluated rows"
    for seed in range(20):  # the mean minimises the mean KL among all constants
        other = 0.9 * predictions.soft_labels.mean(axis=0) + 0.1 * distributions(1, seed)[0]
        assert constant["kl"] < entropy(predictions.soft_labels, smoothed(np.tile(other, (60, 1))), axis=1).mean()


def test_unknown_rows_are_left_out_of_what_they_cannot_tell():
    predictions = some_predictions()
    labels, soft = predictions.labels.copy(), predictions.soft_labels.copy()
    true = predictions.true_valence_arousal.copy()
    labels[:20], soft[40:], true[:10, 0], true[30:, 1] = -1, np.nan, np.nan, np.nan
    metrics = evaluate_predictions(replace(predictions, labels=labels, soft_labels=soft, true_valence_arousal=true))
    labelled, softly = predictions.take(range(20, 60)), predictions.take(range(40))
    assert (metrics["rows"], metrics["rows_with_label"], metrics["rows_with_soft_label"]) == (60, 40, 40)
    for key in ("accuracy", "macro_f1", "confusion", "per_class", "ece"):
        assert metrics[key] == evaluate_predictions(labelled)[key]
    for key in ("kl", "js", "top_label_agreement"):
        assert metrics[key] == evaluate_predictions(softly)[key]
    assert metrics["valence"] == evaluate_predictions(predictions.take(range(10, 60)))["valence"]
    assert metrics["arousal"] == evaluate_predictions(predictions.take(range(30)))["arousal"]
    assert metrics["valence"]["rows"] == 50 and metrics["arousal"]["rows"] == 30


def test_nothing_known_gives_none_and_plain_json():
    rows = 3
    unknown = Predictions(
        ["a", "b", "c"],
        distributions(rows, 1),
        np.full((rows, 8), np.nan),
        np.full(rows, -1),
        np.zeros((rows, 2)),
        np.full((rows, 2), np.nan),
    )
    metrics = json.loads(json.dumps(evaluate_predictions(unknown), allow_nan=False))
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "kl", "js", "ece", "top_label_agreement"):
        assert metrics[key] is None, key
    assert metrics["valence"] == {"ccc": None, "pearson": None, "rmse": None, "sagr": None, "rows": 0}
    assert metrics["baselines"]["uniform"] == {"kl": None, "js": None, "accuracy": None}
    assert metrics["baselines"]["mean_soft_label"]["kl"] is None
    assert metrics["confusion"] == [[0] * 8] * 8
    assert format_metrics(metrics).count(" - ") > 10


def test_classes_never_present_are_none_and_outside_the_means():
    labels = [0, 0, 1]
    guess = [0, 2, 1]  # "sad" is predicted but never true
    metrics = evaluate_predictions(
        Predictions(["a", "b", "c"], one_hot(guess), one_hot(labels), labels, np.zeros((3, 2)), np.zeros((3, 2)))
    )
    assert metrics["per_class"]["fear"] == {"recall": None, "precision": None, "f1": None, "support": 0}
    assert metrics["per_class"]["sad"] == {"recall": None, "precision": 0.0, "f1": 0.0, "support": 0}
    assert metrics["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics["confusion"][0] == [1, 0, 1, 0, 0, 0, 0, 0]
    # two equal constants
    assert metrics["arousal"] == {"ccc": None, "pearson": None, "rmse": 0.0, "sagr": 1.0, "rows": 3}


def test_one_row_and_ties():
    soft = [[0.4, 0.4, 0.2, 0, 0, 0, 0, 0]]
    guess = [[0.1, 0.35, 0.35, 0.2, 0, 0, 0, 0]]  # the first of equals, "happy", is the predicted label
    metrics = evaluate_predictions(Predictions(["only"], guess, soft, [1], [[0.5, 0]], [[0.25, -1]]))
    assert metrics["accuracy"] == 1 and metrics["ece"] == pytest.approx(0.65)
    assert metrics["top_label_agreement"] == 1  # ties with the soft label's largest
    assert metrics["valence"] == {"ccc": None, "pearson": None, "rmse": 0.25, "sagr": 1.0, "rows": 1}
    json.dumps(metrics, allow_nan=False)


def test_single_precision_input_is_computed_in_double():
    predictions = some_predictions()
    single = replace(predictions, probabilities=predictions.probabilities.astype(np.float32))
    assert single.probabilities.dtype == np.float64
    np.testing.assert_allclose(single.probabilities.sum(axis=1), 1, rtol=1e-15)
    assert evaluate_predictions(single)["kl"] == pytest.approx(evaluate_predictions(predictions)["kl"], abs=1e-6)


def test_take_keeps_rows_together_and_leaves_the_callers_arrays_alone():
    given = np.full((2, 8), 1 / 8) * (1 + 5e-5)
    predictions = Predictions(["a", "b"], given, given, [3, 4], np.zeros((2, 2)), [[0.1, 0.2], [0.3, 0.4]])
    assert given.sum() != 2 and predictions.probabilities.sum() == 2
    taken = predictions.take(np.array([1, 1, 0]))
    assert taken.image_ids == ["b", "b", "a"] and taken.labels.tolist() == [4, 4, 3]
    assert taken.true_valence_arousal[:, 0].tolist() == [0.3, 0.3, 0.1]


# ---- bad input


@pytest.mark.parametrize(
    "change, words",
    [
        (changed("probabilities", 7, np.full(8, 0.1)), r"probabilities of face-7 \(row 7\).*sum of 1.*not 0.8"),
        (changed("probabilities", 7, np.nan), "probabilities of face-7.*found.*nan.*expected finite"),
        (changed("probabilities", 7, [2, -1, 0, 0, 0, 0, 0, 0]), "probabilities of face-7.*-1.*at least 0"),
        (changed("soft_labels", 9, np.full(8, 12.5)), "soft_labels of face-9.*not 100, or all NaN"),
        (changed("soft_labels", 9, [np.nan, 1, 0, 0, 0, 0, 0, 0]), "soft_labels of face-9.*nan.*or all NaN"),
        (changed("labels", 3, 8), r"labels of face-3 \(row 3\): found 8, expected -1 \(unknown\) or 0..7"),
        (changed("labels", 3, -2), "labels of face-3.*found -2"),
        ({"labels": np.zeros(60)}, "labels are float64, expected integers"),
        (changed("valence_arousal", 5, [0, 1.5]), r"valence_arousal of face-5.*1.5.*\[-1, 1\]"),
        (changed("valence_arousal", 5, np.nan), "valence_arousal of face-5.*nan"),
        (changed("true_valence_arousal", 5, [-2, -2]), "true_valence_arousal of face-5.*-2.*NaN where unknown"),
        ({"probabilities": np.full((60, 7), 1 / 7)}, r"probabilities has shape \(60, 7\), expected \(60, 8\)"),
        ({"labels": np.zeros(59, int)}, r"labels has shape \(59,\), expected \(60,\)"),
        ({"image_ids": ["a", "b"]}, r"expected \(2, 8\)"),
        ({"image_ids": []}, "no predictions to evaluate: 0 rows"),
    ],
)
def test_bad_rows_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        replace(some_predictions(), **change)


@pytest.mark.parametrize(
    "prior, words",
    [
        (np.full(7, 1 / 7), r"\(7,\), expected \(8,\)"),
        (np.full(8, 0.2), "sum to 1"),
        (np.full(8, np.nan), "nan"),
        ([2, -1, 0, 0, 0, 0, 0, 0], "at least 0"),
    ],
)
def test_bad_prior(prior, words):
    with pytest.raises(ValueError, match=words):
        evaluate_predictions(some_predictions(), prior)


# ---- the table


def test_table_holds_every_number_and_fits_a_terminal():
    metrics = evaluate_predictions(some_predictions())
    table = format_metrics(metrics)
    lines = table.splitlines()
    assert max(map(len, lines)) <= 72
    assert lines[0] == "Faces: 60, of which 60 have a label and 60 a soft label"
    kl = [metrics["kl"], *(metrics["baselines"][key]["kl"] for key in ("mean_soft_label", "uniform"))]
    assert ["KL,", "nats", *(f"{value:.4f}" for value in kl)] in [line.split() for line in lines]
    for name in EMOTIONS:
        row = metrics["per_class"][name]
        cells = [f"{row[key]:.4f}" for key in ("recall", "precision", "f1")]
        assert [name, *cells, str(row["support"])] in [line.split() for line in lines]
    assert f"{metrics['arousal']['ccc']:.4f}" in lines[-1]
