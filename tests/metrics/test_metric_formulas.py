"""The formulas of the metrics that no test of evaluation holds against a reference."""

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.stats import pearsonr
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss

from affectnet_plus_modeling.metrics.affect_dimensions.formulas import pearson_correlation, sign_agreement
from affectnet_plus_modeling.metrics.calibration.formulas import (
    classwise_calibration_error,
    equal_mass_bins,
    expected_calibration_error,
    reliability_bins,
    top_mass,
)
from affectnet_plus_modeling.metrics.soft_label.formulas import (
    brier,
    canberra,
    chebyshev,
    clark,
    cosine,
    intersection,
    jensen_shannon,
    kl_divergence,
    kl_unsmoothed,
    spearman,
    top_2,
    total_variation,
)

ROW_WISE = [
    brier,
    canberra,
    chebyshev,
    clark,
    cosine,
    intersection,
    jensen_shannon,
    kl_divergence,
    kl_unsmoothed,
    spearman,
    top_2,
    total_variation,
]


def distributions(rows, seed) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(8, 0.5), rows)


def votes(rows, seed) -> np.ndarray:
    """Ten votes each, so with many zeros and ties."""
    rng = np.random.default_rng(seed)
    return np.array([rng.multinomial(10, p) for p in distributions(rows, seed + 100)]) / 10


def row(*values) -> np.ndarray:
    return np.array([[*values, *[0.0] * (8 - len(values))]])


# ---- soft labels


@pytest.mark.parametrize("formula, reference", [(canberra, distance.canberra), (chebyshev, distance.chebyshev)])
@pytest.mark.parametrize("make", [votes, distributions])
def test_distances_are_scipys(formula, reference, make):
    true, predicted = votes(60, 0), make(60, 1)
    expected = [reference(*pair) for pair in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(formula(true, predicted), expected, rtol=1e-12)


def test_clark_by_hand_and_by_its_definition():
    true, predicted = votes(40, 2), distributions(40, 3)
    expected = [
        sum((d - p) ** 2 / (d + p) ** 2 for d, p in zip(one, other, strict=True)) ** 0.5
        for one, other in zip(true, predicted, strict=True)
    ]
    np.testing.assert_allclose(clark(true, predicted), expected, rtol=1e-12)
    assert clark(row(0.5, 0.5), row(0.5, 0.25, 0.25))[0] == pytest.approx((1 / 9 + 1) ** 0.5)


def test_a_class_that_both_call_zero_adds_nothing_and_one_that_one_calls_zero_a_full_one():
    assert clark(row(1), row(1))[0] == 0 and canberra(row(1), row(1))[0] == 0
    tiny = row(1 - 7e-9, *[1e-9] * 7)
    assert canberra(row(1), tiny)[0] == pytest.approx(7) and clark(row(1), tiny)[0] == pytest.approx(7**0.5)


def test_intersection_is_what_total_variation_leaves():
    true, predicted = votes(40, 4), distributions(40, 5)
    expected = [1 - distance.cityblock(*pair) / 2 for pair in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(intersection(true, predicted), expected)
    assert intersection(row(1), row(0, 1))[0] == 0 and intersection(row(0.5, 0.5), row(0.5, 0.5))[0] == 1


def test_brier_of_one_hot_labels_is_scikit_learns():
    labels, predicted = np.arange(40) % 8, distributions(40, 6)
    expected = brier_score_loss(labels, predicted, labels=np.arange(8), scale_by_half=False)
    assert brier(np.eye(8)[labels], predicted).mean() == pytest.approx(expected)


def test_brier_of_soft_labels_by_hand_and_at_its_ends():
    assert brier(row(0.5, 0.5), row(0.5, 0.25, 0.25))[0] == pytest.approx(0.125)
    assert brier(row(1), row(0, 1))[0] == 2 and brier(row(0.3, 0.7), row(0.3, 0.7))[0] == 0


@pytest.mark.parametrize("formula", ROW_WISE)
def test_every_formula_is_row_wise_and_keeps_unknown_rows_and_none_at_all(formula):
    true, predicted = votes(12, 7), distributions(12, 8)
    together = formula(true, predicted)
    alone = [formula(true[[i]], predicted[[i]])[0] for i in range(12)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    true[5] = np.nan
    assert np.isnan(formula(true, predicted)).tolist() == [i == 5 for i in range(12)]
    assert formula(np.empty((0, 8)), np.empty((0, 8))).shape == (0,)
    with pytest.raises(ValueError, match=r"shapes \(12, 8\) and \(8,\) differ"):
        formula(true, np.full(8, 1 / 8))


# ---- valence and arousal


def test_pearson_is_scipys_and_nan_without_variation():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=50), rng.normal(size=50)
    assert pearson_correlation(x, y) == pytest.approx(pearsonr(x, y).statistic)
    assert pearson_correlation(x, 3 * x + 1) == pytest.approx(1)
    assert np.isnan(pearson_correlation(np.full(3, 0.1), [0.1, 0.2, 0.3]))
    assert np.isnan(pearson_correlation([0.1], [0.2])) and np.isnan(pearson_correlation([], []))


def test_sign_agreement_is_the_accuracy_of_signs_and_zero_agrees_with_zero_alone():
    rng = np.random.default_rng(10)
    x, y = rng.integers(-2, 3, 80) / 4, rng.integers(-2, 3, 80) / 4
    assert sign_agreement(x, y) == accuracy_score(np.sign(x), np.sign(y))
    assert sign_agreement([0.0, 0.0, -0.1, -0.0], [0.0, 0.1, -0.9, 0.0]) == 0.75
    assert np.isnan(sign_agreement([], []))


# ---- calibration


def test_equal_width_bins_hold_scikit_learns_calibration_curve():
    rng = np.random.default_rng(11)
    confidence, correct = rng.uniform(0, 1, 300), rng.integers(0, 2, 300)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=10, strategy="uniform")
    bins = reliability_bins(confidence, correct, 10)
    np.testing.assert_allclose(bins["accuracy"], accuracy)
    np.testing.assert_allclose(bins["confidence"], mean)


@pytest.mark.parametrize("rows, bins", [(60, 15), (7, 7), (45, 3)])
def test_equal_mass_bins_are_the_parts_of_the_sorted_rows(rows, bins):
    rng = np.random.default_rng(12)
    confidence, correct = rng.uniform(0, 1, rows), rng.uniform(0, 1, rows)
    parts = np.array_split(np.argsort(confidence), bins)
    found = equal_mass_bins(confidence, correct, bins)
    assert found["rows"].tolist() == [rows // bins] * bins
    np.testing.assert_allclose(found["confidence"], [confidence[part].mean() for part in parts])
    np.testing.assert_allclose(found["accuracy"], [correct[part].mean() for part in parts])
    gap = sum(abs(confidence[part].sum() - correct[part].sum()) for part in parts) / rows
    assert expected_calibration_error(confidence, correct, bins, equal_mass=True) == pytest.approx(gap)


@pytest.mark.parametrize("rows", [1, 14, 16, 100, 1003])
def test_equal_mass_bins_differ_by_at_most_one_row(rows):
    found = equal_mass_bins(np.random.default_rng(13).uniform(0, 1, rows), np.zeros(rows))
    assert found["rows"].sum() == rows and np.ptp(found["rows"]) <= 1


def test_rows_of_one_confidence_share_a_bin_whatever_their_order():
    rng = np.random.default_rng(14)
    confidence, correct = rng.integers(1, 6, 200) / 5, rng.integers(0, 2, 200)
    error = expected_calibration_error(confidence, correct, equal_mass=True)
    for _ in range(10):
        order = rng.permutation(200)
        found = expected_calibration_error(confidence[order], correct[order], equal_mass=True)
        assert found == pytest.approx(error, abs=1e-12)
    all_equal = equal_mass_bins(np.full(10, 0.9), np.arange(10) < 6, bins=4)
    assert all_equal["rows"].tolist() == [0, 0, 10, 0], "the mean of their ranks is 5.5 of 10"
    assert expected_calibration_error(np.full(10, 0.9), np.arange(10) < 6, 4, equal_mass=True) == pytest.approx(0.3)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_classwise_error_is_the_mean_of_the_binary_errors(equal_mass):
    probabilities, labels = distributions(90, 15), np.arange(90) % 8
    errors = [expected_calibration_error(probabilities[:, k], labels == k, 5, equal_mass) for k in range(8)]
    found = classwise_calibration_error(probabilities, np.eye(8)[labels], 5, equal_mass)
    assert found == pytest.approx(np.mean(errors)) and found > 0.01


def test_classwise_error_by_hand():
    probabilities, truth = np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([[1, 0], [0, 1.0]])
    assert classwise_calibration_error(probabilities, truth, bins=2) == pytest.approx(0.3)  # |0.8 - 1/2| for both
    assert classwise_calibration_error(probabilities, truth, bins=10) == pytest.approx((0.1 + 0.7) / 2)


def test_top_mass_is_the_truth_at_the_first_of_the_largest():
    confidence, mass = top_mass([[0.2, 0.4, 0.4], [0.5, 0.3, 0.2]], [[0.1, 0.3, 0.6], [0, 1, 0]])
    assert confidence.tolist() == [0.4, 0.5] and mass.tolist() == [0.3, 0]


@pytest.mark.parametrize("equal_mass", [False, True])
def test_the_error_of_soft_labels_is_where_drawn_labels_lead_to(equal_mass):
    soft, probabilities = distributions(50, 16), distributions(50, 17)
    rng, draws = np.random.default_rng(18), 4000
    labels = np.concatenate([rng.choice(8, draws, p=p) for p in soft])
    drawn = top_mass(np.repeat(probabilities, draws, axis=0), np.eye(8)[labels])
    error = expected_calibration_error(*top_mass(probabilities, soft), equal_mass=equal_mass)
    assert expected_calibration_error(*drawn, equal_mass=equal_mass) == pytest.approx(error, abs=0.005)
    assert expected_calibration_error(*top_mass(soft, soft), equal_mass=equal_mass) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("binned", [reliability_bins, equal_mass_bins])
def test_bins_of_nothing_and_of_what_is_no_share(binned):
    assert binned([], [], 3)["rows"].tolist() == [0, 0, 0]
    assert np.isnan(classwise_calibration_error(np.empty((0, 8)), np.empty((0, 8)), 3, binned is equal_mass_bins))
    with pytest.raises(ValueError, match="correct runs from nan"):
        binned([0.5], [np.nan])
    with pytest.raises(ValueError, match="confidence runs from -0.5 to 0.5"):
        binned([0.5, -0.5], [1, 1])
    with pytest.raises(ValueError, match="bins is 0"):
        binned([0.5], [1], 0)
