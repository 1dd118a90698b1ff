"""Two models on the same faces: their differences, and McNemar's test against worked values."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from affectnet_plus_modeling.evaluation.bootstrap import paired_difference
from affectnet_plus_modeling.evaluation.compare import mcnemar, paired_differences
from affectnet_plus_modeling.evaluation.intervals import CELL
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence
from support.predictions import informed_predictions


def another(predictions, weight=0.3, seed=9):
    noise = np.random.default_rng(seed).dirichlet(np.full(8, 0.5), len(predictions.image_ids))
    return replace(predictions, probabilities=(1 - weight) * predictions.probabilities + weight * noise)


def right(both, only_this, only_other, neither):
    counts = (both, only_this, only_other, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


# ---- McNemar's test


def test_a_worked_value_of_fagerland_lydersen_and_laake():
    """Their table 1, of 21 children: 1 and 7 discordant pairs, exact p .070 and mid-p .039."""
    found = mcnemar(*right(1, 1, 7, 12))
    assert (found["rows"], found["only_this"], found["only_other"]) == (21, 1, 7)
    assert found["p_exact"] == pytest.approx(0.0703125)
    assert found["p_mid"] == pytest.approx(0.0390625)


@pytest.mark.parametrize("only_this, only_other", [(0, 5), (5, 0), (3, 3), (12, 4), (200, 260)])
def test_it_is_the_sign_test_and_does_not_know_which_model_is_first(only_this, only_other):
    found = mcnemar(*right(9, only_this, only_other, 4))
    assert found["p_exact"] == pytest.approx(binomtest(only_this, only_this + only_other).pvalue)
    turned = mcnemar(*right(9, only_other, only_this, 4))
    assert (turned["p_exact"], turned["p_mid"]) == (found["p_exact"], found["p_mid"])
    assert 0 < found["p_mid"] <= found["p_exact"] <= 1


def test_models_that_are_right_about_the_same_faces_are_not_apart():
    assert mcnemar(*right(5, 2, 2, 3))["p_mid"] == pytest.approx(1 - 0.5 * 6 / 16), "by the book, and not 1"
    assert mcnemar(*right(5, 0, 0, 3)) == {"rows": 8, "only_this": 0, "only_other": 0, "p_exact": 1, "p_mid": 1}
    assert mcnemar([], [])["p_exact"] == 1


# ---- differences


def test_differences_are_of_the_reported_numbers():
    this = informed_predictions(200)
    other = another(this)
    found = paired_differences(this, other, 200, 0, 0.95)
    one, two = evaluate_predictions(this), evaluate_predictions(other)
    assert found["rows"] == 200 and list(found["differences"]) == list(CELL)
    for name in CELL:
        dimension, _, ccc = name.rpartition("_")
        expected = one[dimension]["ccc"] - two[dimension]["ccc"] if ccc == "ccc" else one[name] - two[name]
        assert found["differences"][name]["difference"] == pytest.approx(expected, abs=1e-9), name
    assert found["mcnemar"]["rows"] == one["rows_with_label"]
    apart = found["mcnemar"]["only_this"] - found["mcnemar"]["only_other"]
    assert apart / one["rows_with_label"] == pytest.approx(one["accuracy"] - two["accuracy"])


def test_the_interval_of_kl_is_that_of_the_paired_difference():
    this = informed_predictions(150)
    other = another(this)
    row = paired_differences(this, other, 300, 4, 0.9)["differences"]["kl"]
    rows = [kl_divergence(said.soft_labels, said.probabilities) for said in (this, other)]
    wider = 1 - 2 * norm.cdf(-np.sqrt(150 / 149) * t.ppf(0.95, 149))
    mean, low, high = paired_difference(*rows, resamples=300, seed=4, level=wider)
    assert (row["difference"], row["interval"]) == (pytest.approx(mean), pytest.approx([low, high]))


def test_a_model_is_no_different_from_itself_and_the_other_way_round_turns_the_sign():
    this = informed_predictions(110)
    for row in paired_differences(this, this, 50, 0, 0.95)["differences"].values():
        assert row == {"difference": 0, "interval": pytest.approx([0, 0], abs=1e-12)}
    other = another(this)
    one, two = (paired_differences(*pair, 50, 0, 0.95)["differences"] for pair in ((this, other), (other, this)))
    for name in CELL:
        assert one[name]["difference"] == pytest.approx(-two[name]["difference"])
        assert one[name]["interval"] == pytest.approx([-end for end in two[name]["interval"][::-1]])


def test_a_tool_that_says_no_valence_has_no_difference_in_it():
    this = informed_predictions(60)
    silent = replace(this, valence_arousal=np.full((60, 2), np.nan))
    assert paired_differences(this, silent, 50, 0, 0.95)["differences"]["valence_ccc"] == {
        "difference": None,
        "interval": None,
    }


def test_other_faces_are_refused():
    this = informed_predictions(60)
    with pytest.raises(ValueError, match="the faces differ: 60 and 59, expected the same ones"):
        paired_differences(this, this.take(range(59)), 50, 0, 0.95)
