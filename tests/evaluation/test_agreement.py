"""Every measure between two soft labels against an independent reference, with ties, zeros and unknown rows."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.spatial.distance import cityblock
from scipy.spatial.distance import cosine as cosine_distance
from scipy.stats import entropy, spearmanr

from affectnet_plus_modeling.evaluation.agreement import agreement
from affectnet_plus_modeling.labels import subset_of
from affectnet_plus_modeling.metrics.soft_label.formulas import (
    cosine,
    jensen_shannon,
    kl_divergence,
    spearman,
    top_2,
    total_variation,
)


def distributions(rows, seed) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(8, 0.5), rows)


def votes(rows, seed) -> np.ndarray:
    """Ten votes each, so with many ties."""
    rng = np.random.default_rng(seed)
    return np.array([rng.multinomial(10, p) for p in distributions(rows, seed + 100)]) / 10


def row(*values) -> np.ndarray:
    return np.array([[*values, *[0.0] * (8 - len(values))]])


# ---- divergences and angles


def test_kl_is_smoothed_as_fer_plus_figures_are():
    true, predicted = votes(50, 0), votes(50, 1)
    expected = entropy(true, 0.999 * predicted + 0.001 / 8, axis=1)
    np.testing.assert_allclose(kl_divergence(true, predicted), expected, rtol=1e-12)
    assert kl_divergence(row(1), row(0, 1))[0] == pytest.approx(np.log(8000))
    assert kl_divergence(row(1), row(1))[0] == pytest.approx(-np.log(0.999 + 0.000125))


def test_total_variation_and_cosine_are_scipys():
    true, predicted = votes(50, 2), distributions(50, 3)
    pairs = list(zip(true, predicted, strict=True))
    np.testing.assert_allclose(total_variation(true, predicted), [cityblock(*pair) / 2 for pair in pairs])
    np.testing.assert_allclose(cosine(true, predicted), [1 - cosine_distance(*pair) for pair in pairs])
    assert total_variation(row(1), row(0, 1))[0] == 1 and total_variation(row(1), row(1))[0] == 0
    assert cosine(row(1), row(0, 1))[0] == 0
    assert np.isnan(cosine(row(1), row(0))[0]), "nothing has no direction"
    same = distributions(500, 4)
    assert cosine(same, same).max() == 1 and cosine(same, same).min() > 1 - 1e-12


# ---- ranks


@pytest.mark.parametrize("make", [votes, distributions])
def test_spearman_is_scipys_row_by_row(make):
    true, predicted = votes(60, 5), make(60, 6)
    expected = [spearmanr(*pair).statistic for pair in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(spearman(true, predicted), expected, atol=1e-12)


def test_spearman_of_orders_and_constants():
    up = np.arange(1, 9) / 36
    assert spearman(up[None], up[None] ** 3)[0] == 1 and spearman(up[None], up[None, ::-1])[0] == -1
    assert np.isnan(spearman(np.full((1, 8), 1 / 8), up[None])[0])
    assert np.isnan(spearman(up[None], np.full((1, 8), 0.125))[0])


def top_sets(values) -> set[frozenset[int]]:
    """All that the first two of a sorted row can be, by trying every order of the classes."""
    orders = permutations(range(len(values)))
    return {frozenset(sorted(order, key=lambda k: -values[k])[:2]) for order in orders}


def expected_top_2(true, predicted) -> float:
    shares = [max(len(one & other) for other in top_sets(true)) / 2 for one in top_sets(predicted)]
    return sum(shares) / len(shares)


def test_the_top_two_are_compared_over_every_order_that_ties_allow():
    """Five classes with values of 0 to 2: every order of the classes can be tried."""
    rng = np.random.default_rng(7)
    true, predicted = rng.integers(0, 3, (60, 5)) / 10, rng.integers(0, 3, (60, 5)) / 10
    expected = [expected_top_2(*pair) for pair in zip(true, predicted, strict=True)]
    assert len(set(expected)) > 5
    np.testing.assert_allclose(top_2(true, predicted), expected)


def test_the_top_two_of_named_cases():
    assert top_2(row(0.6, 0.3, 0.1), row(0.3, 0.6, 0.1))[0] == 1, "the order of the two does not matter"
    assert top_2(row(0.6, 0.3, 0.1), row(0.6, 0.1, 0.3))[0] == 0.5
    assert top_2(row(0.6, 0.4), row(0, 0, 0.6, 0.4))[0] == 0
    assert top_2(row(0.6, 0.2, 0.2), row(0.6, 0.1, 0.3))[0] == 1, "the people are divided about the second"
    assert top_2(row(1), row(0.6, 0.1, 0.3))[0] == 1, "nobody named a second"
    assert top_2(row(0.6, 0.4), row(1))[0] == pytest.approx(0.5 + 0.5 / 7), "a one-hot second place is a lot"
    uniform = np.full((1, 8), 1 / 8)
    assert top_2(row(0.6, 0.4), uniform)[0] == pytest.approx(2 / 8), "two of eight by lot"
    assert top_2(uniform, row(0.6, 0.4))[0] == 1


def test_untied_top_twos_are_plain_sets():
    true, predicted = distributions(40, 8), distributions(40, 9)
    expected = [
        len(set(np.argsort(one)[-2:]) & set(np.argsort(other)[-2:])) / 2
        for one, other in zip(true, predicted, strict=True)
    ]
    assert top_2(true, predicted).tolist() == expected


# ---- everything together


def test_all_measures_of_a_table():
    true, predicted = votes(30, 10), distributions(30, 11)
    labels = true.argmax(axis=1)
    labels[3], labels[4] = -1, 8
    found = agreement(true, predicted, labels)
    assert list(found) == ["kl", "js", "total_variation", "cosine", "spearman", "top_2", "subset"]
    assert all(values.shape == (30,) and values.dtype == np.float64 for values in found.values())
    assert np.array_equal(found["kl"], kl_divergence(true, predicted))
    assert np.array_equal(found["js"], jensen_shannon(true, predicted))
    assert np.array_equal(found["spearman"], spearman(true, predicted), equal_nan=True)
    for place in (0, 1, 2, *range(5, 30)):
        label = labels[place]
        assert found["subset"][place] == (subset_of(label, true[place]) == subset_of(label, predicted[place]))
    assert np.isnan(found["subset"][3:5]).all()
    assert set(found["subset"][5:]) == {0, 1}
    assert "subset" not in agreement(true, predicted)


def test_a_label_agrees_with_itself_and_one_unknown_row_is_nan_everywhere():
    true = votes(20, 12)
    found = agreement(true, true, true.argmax(axis=1))
    assert 0 < found["kl"].max() < 1e-3  # smoothed, so that equal rows are a little apart
    for name, best in {"js": 0, "total_variation": 0, "cosine": 1, "spearman": 1, "subset": 1}.items():
        np.testing.assert_allclose(found[name], best, atol=1e-12)
    other = true.copy()
    other[4] = np.nan
    for pair in ((true, other), (other, true)):
        for name, values in agreement(*pair, true.argmax(axis=1)).items():
            assert np.flatnonzero(np.isnan(values)).tolist() == [4], name
    assert np.isnan(agreement(np.full((1, 8), np.nan), np.full((1, 8), np.nan))["top_2"]).all()
    assert all(values.shape == (0,) for values in agreement(np.empty((0, 8)), np.empty((0, 8))).values())


@pytest.mark.parametrize(
    "bad, words",
    [
        (np.full(8, 0.2), r"predicted of row 2: found .*0\.2.*expected a distribution"),
        ([1.5, -0.5, 0, 0, 0, 0, 0, 0], "predicted of row 2: found .*-0.5"),
        ([np.nan, 1, 0, 0, 0, 0, 0, 0], "predicted of row 2: found .*nan"),
    ],
)
def test_what_is_no_distribution_is_refused_by_its_row(bad, words):
    predicted = distributions(4, 13)
    predicted[2] = bad
    with pytest.raises(ValueError, match=words):
        agreement(distributions(4, 14), predicted)
    with pytest.raises(ValueError, match=words.replace("predicted", "true")):
        agreement(predicted, distributions(4, 14))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(3, 8\) and \(8,\)"):
        agreement(distributions(3, 15), np.full(8, 1 / 8))


def test_pairs_of_eight_classes_are_all_28():
    """A vote for each pair alone: the pair is found whatever its place."""
    for pair in combinations(range(8), 2):
        values = np.zeros((1, 8))
        values[0, list(pair)] = 0.5
        assert top_2(values, values)[0] == 1
        assert top_2(values, np.roll(values, 1))[0] == len({*pair} & {(k + 1) % 8 for k in pair}) / 2
