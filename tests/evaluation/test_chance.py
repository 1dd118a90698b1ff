"""Groups by lot: the same faces and sizes, and p-values that are right where only chance is at work."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ks_2samp, permutation_test

from affectnet_plus_modeling.evaluation import bootstrap, chance
from affectnet_plus_modeling.evaluation.audit import audit
from affectnet_plus_modeling.evaluation.chance import by_lot, corrected, share_as_large
from affectnet_plus_modeling.evaluation.fairness import every_gap
from affectnet_plus_modeling.evaluation.groups import Grouping
from affectnet_plus_modeling.evaluation.intervals import mean_numbers
from support.predictions import informed_predictions


def test_groups_by_lot_share_out_the_faces_of_all_of_them():
    numbers = mean_numbers({"x": np.arange(100.0)})
    groups = {"A": np.arange(0, 30), "B": np.arange(50, 100)}
    drawn = by_lot(numbers, groups, 400, 0)
    total = 30 * drawn["A"]["x"] + 50 * drawn["B"]["x"]
    np.testing.assert_allclose(total, np.r_[np.arange(30), np.arange(50, 100)].sum())
    assert drawn["A"]["x"].shape == (400,) and np.ptp(drawn["A"]["x"]) > 10
    again = by_lot(numbers, groups, 400, 0)
    assert np.array_equal(drawn["B"]["x"], again["B"]["x"])


def test_many_faces_are_shared_out_in_blocks_as_at_once(monkeypatch):
    numbers, groups = mean_numbers({"x": np.arange(100.0)}), {"A": np.arange(0, 30), "B": np.arange(50, 100)}
    at_once = by_lot(numbers, groups, 2000, 0)
    for module in (chance, bootstrap):
        monkeypatch.setattr(module, "MOST_ROWS", 17)
    drawn = by_lot(numbers, groups, 2000, 0)
    total = 30 * drawn["A"]["x"] + 50 * drawn["B"]["x"]
    np.testing.assert_allclose(total, np.r_[np.arange(30), np.arange(50, 100)].sum())
    assert ks_2samp(drawn["A"]["x"], at_once["A"]["x"]).pvalue > 0.01


def test_the_p_value_is_scipys():
    generator = np.random.default_rng(0)
    x = np.r_[generator.normal(0, 1, 40), generator.normal(0.5, 1, 60)]
    numbers, groups = mean_numbers({"x": x}), {"A": np.arange(40), "B": np.arange(40, 100)}
    drawn = by_lot(numbers, groups, 4000, 1)
    gap = abs(x[:40].mean() - x[40:].mean())
    found = share_as_large(np.abs(drawn["A"]["x"] - drawn["B"]["x"]), gap)
    expected = permutation_test(
        (x[:40], x[40:]), lambda a, b: abs(a.mean() - b.mean()), n_resamples=4000, alternative="greater", rng=2
    )
    assert found == pytest.approx(expected.pvalue, abs=0.015)
    assert share_as_large(np.zeros(99), 1.0) == 0.01 and share_as_large(np.ones(99), 1.0) == 1


def test_holms_correction_by_hand():
    assert corrected([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert corrected([0.6, 0.7]) == [1.0, 1.0] and corrected([]) == []
    some = np.random.default_rng(0).uniform(size=20)
    assert (np.array(corrected(some)) >= false_discovery_control(some) - 1e-12).all(), "the stricter one"


def _audited(seed: int, real: bool) -> list[dict]:
    """400 faces in four groups by lot; where a difference is real, the last group is never right."""
    predictions = informed_predictions(400, seed, holes=False)
    of_rows = np.random.default_rng(seed).integers(4, size=400)
    if real:
        wrong = np.where(of_rows == 3, (predictions.probabilities.argmax(axis=1) + 1) % 8, predictions.labels)
        predictions.labels[:] = wrong
    grouping = Grouping(("a", "b", "c", "d", "unknown"), of_rows)
    subsets = Grouping(("easy", "unknown"), np.zeros(400, int))
    return every_gap(audit(predictions, None, subsets, {"group": grouping}, 60, min_cell=50)["gaps"])


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_gaps_without_a_real_difference_are_called_more_than_chance_in_one_of_twenty_at_most():
    called = [min(gap["p"] for gap in _audited(seed, False)) < 0.05 for seed in range(25)]
    assert sum(called) <= 4
    gaps = _audited(0, True)
    assert min(gap["p"] for gap in gaps) <= 0.2 < max(gap["gap"] for gap in gaps)
    assert all(gap["by_chance"] > 0 for gap in gaps)
