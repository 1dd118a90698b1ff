"""Bootstrap intervals against scipy's, the normal approximation, and themselves."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from affectnet_plus_modeling.evaluation.bootstrap import bootstrap_mean, paired_difference


def skewed(rows, columns=None, seed=0) -> np.ndarray:
    shape = rows if columns is None else (rows, columns)
    return np.random.default_rng(seed).exponential(2.0, shape)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_the_interval_is_scipys_percentile_interval(level):
    values = skewed(40)
    options = {"confidence_level": level, "n_resamples": 20_000, "method": "percentile", "rng": 1}
    expected = bootstrap((values,), np.mean, **options).confidence_interval
    mean, low, high = bootstrap_mean(values, resamples=20_000, level=level)
    assert mean == pytest.approx(values.mean())
    width = expected.high - expected.low
    assert abs(low - expected.low) < 0.04 * width and abs(high - expected.high) < 0.04 * width


def test_the_interval_of_many_rows_is_the_normal_one():
    values = skewed(5000, 3)
    mean, low, high = bootstrap_mean(values, resamples=4000)
    reach = norm.ppf(0.975) * values.std(axis=0) / np.sqrt(5000)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose(high - mean, reach, rtol=0.08)
    np.testing.assert_allclose(mean - low, reach, rtol=0.08)


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says():
    intervals = [bootstrap_mean(np.random.default_rng(seed).normal(0, 1, 100), 400, seed)[1:] for seed in range(300)]
    covered = np.mean([low < 0 < high for low, high in intervals])
    assert 0.90 < covered < 0.985


def test_a_column_alone_has_the_interval_that_it_has_in_a_table():
    values = skewed(50, 4)
    together = np.array(bootstrap_mean(values, resamples=200, seed=3))
    assert together.shape == (3, 4)
    for column in range(4):
        alone = bootstrap_mean(values[:, column], resamples=200, seed=3)
        assert all(isinstance(number, float) for number in alone)
        np.testing.assert_allclose(alone, together[:, column], rtol=1e-12)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = skewed(30)
    assert bootstrap_mean(values, 100, seed=5) == bootstrap_mean(values, 100, seed=5)
    assert bootstrap_mean(values, 100, seed=5) != bootstrap_mean(values, 100, seed=6)


def test_nan_is_left_out_of_its_column_alone():
    values = skewed(300, 2)
    full = bootstrap_mean(values[:, 1], 500)
    values[:100, 0] = np.nan
    mean, low, high = bootstrap_mean(values, 500)
    assert mean[0] == pytest.approx(np.nanmean(values[:, 0])) and (mean[1], low[1], high[1]) == pytest.approx(full)
    known = bootstrap_mean(values[100:, 0], 500)
    assert (low[0], high[0]) == pytest.approx(known[1:], rel=0.03)


def test_a_resample_that_drew_none_of_the_numbers_is_left_out():
    """One of three numbers is known: 8 of 27 resamples have none of it."""
    assert bootstrap_mean([np.nan, 7.0, np.nan], 200) == (7.0, 7.0, 7.0)


@pytest.mark.filterwarnings("error")
def test_a_column_of_nan_alone_is_nan_without_a_warning():
    mean, low, high = bootstrap_mean([[np.nan, 1.0], [np.nan, 3.0]], 50)
    assert np.isnan([mean[0], low[0], high[0]]).all() and (mean[1], low[1], high[1]) == (2, 1, 3)


def test_one_row_and_one_resample():
    assert bootstrap_mean([0.25]) == (0.25, 0.25, 0.25)
    mean, low, high = bootstrap_mean(skewed(9), resamples=1)
    assert low == high


def test_a_paired_difference_is_far_surer_than_two_intervals():
    a = skewed(400)
    b = a + np.random.default_rng(1).normal(0.1, 0.2, 400)
    mean, low, high = paired_difference(b, a, 1000)
    assert mean == pytest.approx((b - a).mean()) and 0 < low < mean < high
    assert bootstrap_mean(a, 1000)[2] > bootstrap_mean(b, 1000)[1], "their own intervals overlap"
    assert paired_difference(a, b, 1000) == pytest.approx((-mean, -high, -low), rel=0.05)
    assert paired_difference(a, a, 50) == (0, 0, 0)


def test_an_image_without_one_of_the_two_is_left_out_of_the_difference():
    a, b = skewed(50), skewed(50, seed=1)
    a[:10], b[40:] = np.nan, np.nan
    assert paired_difference(a, b, 50)[0] == pytest.approx((a - b)[10:40].mean())
    with pytest.raises(ValueError, match=r"shapes \(50,\) and \(49,\) differ"):
        paired_difference(a, b[:49])


def test_thirty_thousand_images_take_little_memory():
    values = skewed(30_000, 8)
    tracemalloc.start()
    bootstrap_mean(values, resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * values.nbytes, "a matrix of draws would be 100 x 30,000"


@pytest.mark.parametrize(
    "values, options, words",
    [
        ([], {}, r"shape \(0,\), expected"),
        (np.zeros((2, 2, 2)), {}, r"shape \(2, 2, 2\)"),
        ([0.0, np.inf], {}, "row 1 is infinite"),
        ([1.0], {"resamples": 0}, "resamples 0"),
        ([1.0], {"level": 1.0}, "level 1.0"),
    ],
)
def test_bad_input_is_refused(values, options, words):
    with pytest.raises(ValueError, match=words):
        bootstrap_mean(values, **options)
