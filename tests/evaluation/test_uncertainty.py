"""Temperature, quantile, votes, shares and abstaining against torch, scipy, numpy, worked values and simulation."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import binom, chisquare, ks_1samp, uniform

from affectnet_plus_modeling.evaluation.calibrate import covered_by_class
from affectnet_plus_modeling.evaluation.uncertainty import (
    conformal_quantile,
    draw_votes,
    fewest_rows,
    fit_abstain_entropy,
    fit_class_quantiles,
    fit_quantile,
    fit_temperature,
    in_share,
    soften,
)
from affectnet_plus_modeling.vit.answers import prediction_set


def some_logits(rows=300, seed=0, scale=2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (rows, 8))


def one_hot(labels) -> np.ndarray:
    return np.eye(8)[labels]


def drawn_labels(probabilities, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(1, probabilities).argmax(axis=1)


def near(probabilities, seed=0) -> np.ndarray:
    """Soft labels that are not the probabilities, one Dirichlet draw for each face."""
    drawn = np.random.default_rng(seed).gamma(3 * probabilities + 0.05)
    return drawn / drawn.sum(axis=1, keepdims=True)


def names(count, start=0) -> list[str]:
    return [f"train/{number}" for number in range(start, start + count)]


# ---- temperature


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 1.7, 12.0])
def test_a_known_temperature_is_found_again(temperature):
    logits = some_logits()
    soft = softmax(logits / temperature, axis=1)
    assert fit_temperature(softmax(logits, axis=1), soft) == pytest.approx(temperature, rel=1e-9)
    np.testing.assert_allclose(soften(softmax(logits, axis=1), temperature), soft, atol=1e-12)


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("scale", [0.5, 2.0, 6.0])
def test_the_temperature_is_the_one_that_torch_and_a_grid_find(kind, scale):
    logits = some_logits(scale=scale)
    soft = near(softmax(logits / scale, axis=1))
    targets = soft if kind == "soft" else one_hot(drawn_labels(soft))
    found = fit_temperature(softmax(logits, axis=1), targets)

    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    exact = {"tolerance_grad": 1e-12, "tolerance_change": 0, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS([log_t], max_iter=200, **exact)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(torch.tensor(logits) / log_t.exp(), torch.tensor(targets))
        loss.backward()
        return loss

    optimizer.step(closure)
    assert found == pytest.approx(float(log_t.detach().exp()), rel=1e-6)

    def divergence(log_temperature):
        predicted = np.exp(log_softmax(logits / np.exp(log_temperature), axis=1))
        return rel_entr(targets, predicted).sum(axis=1).mean()

    minimum = minimize_scalar(divergence, bounds=np.log((0.05, 20)), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(minimum.x), rel=1e-5)
    grid = np.exp(np.linspace(-2.9, 2.9, 400))
    assert divergence(np.log(found)) <= min(map(divergence, np.log(grid)))


def test_the_gradient_of_the_divergence_is_zero_at_the_temperature():
    logits, targets = some_logits(), one_hot(drawn_labels(softmax(some_logits() / 3, axis=1)))
    found = torch.tensor(fit_temperature(softmax(logits, axis=1), targets), dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(torch.tensor(logits) / found, torch.tensor(targets)).backward()
    assert abs(float(found.grad)) < 1e-12


def test_an_unknown_target_is_left_out():
    logits = some_logits(40)
    probabilities, targets = softmax(logits, axis=1), softmax(logits / 2, axis=1)
    targets[::3] = softmax(logits[::3] * 9, axis=1)
    targets[::3, 5] = np.nan
    assert fit_temperature(probabilities, targets) == pytest.approx(2)


def test_one_face_is_enough_and_more_of_the_same_change_nothing():
    probabilities, target = np.array([[0.5, 0.3, 0.2]]), np.array([[0.45, 0.35, 0.2]])
    alone = fit_temperature(probabilities, target)
    again = fit_temperature(np.repeat(probabilities, 50, axis=0), np.repeat(target, 50, axis=0))
    assert alone == pytest.approx(again, rel=1e-12) and 1 < alone < 2


def test_a_temperature_never_raises_the_divergence():
    for seed in range(10):
        logits = some_logits(30, seed, scale=1 + seed)
        targets = near(softmax(logits / (1 + seed), axis=1), seed)
        probabilities = softmax(logits, axis=1)
        after = soften(probabilities, fit_temperature(probabilities, targets))
        assert rel_entr(targets, after).sum() <= rel_entr(targets, probabilities).sum()


def test_a_probability_of_zero_stays_one_and_breaks_nothing():
    probabilities = np.array([[1.0, 0.0, 0.0], [0.6, 0.4, 0.0]])
    found = fit_temperature(probabilities, np.array([[1.0, 0.0, 0.0], [0.55, 0.45, 0.0]]))
    after = soften(probabilities, found)
    assert np.isfinite(after).all() and after[0].tolist() == pytest.approx([1, 0, 0], abs=1e-100)
    assert after[1, 0] == pytest.approx(0.55, abs=1e-6)


@pytest.mark.parametrize(
    "probabilities, targets, words",
    [
        ([[0.5, 0.5]], [[np.nan, 1.0]], "none of 1 faces has a known target"),
        (np.full((3, 8), 1 / 8), one_hot([0, 1, 2]), "equally probable for each of 3 faces"),
        (softmax(some_logits(), axis=1), one_hot(some_logits().argmax(axis=1)), "300 faces is below 0.05: .* right"),
        (softmax(some_logits(), axis=1), one_hot(some_logits().argmin(axis=1)), "above 20.0: .* no better"),
        (softmax(some_logits(), axis=1), np.full((300, 8), 1 / 8), "above 20.0"),
    ],
)
def test_faces_that_give_no_temperature_are_refused(probabilities, targets, words):
    with pytest.raises(ValueError, match=words):
        fit_temperature(probabilities, targets)


# ---- the quantile


def test_the_quantile_of_nine_scores_worked_by_hand():
    scores = np.array([0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.8, 0.6, 0.4])
    assert conformal_quantile(scores, 0.9) == 0.9, "the ninth of nine: ceil(10 * 0.9)"
    assert conformal_quantile(scores, 0.5) == 0.5
    assert conformal_quantile(scores, 0.51) == 0.6
    assert conformal_quantile(scores, 0.91) == math.inf, "the tenth of nine"
    assert conformal_quantile([0.25], 0.5) == 0.25 and conformal_quantile([0.25], 0.6) == math.inf


@pytest.mark.parametrize("rows", [20, 100, 333])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("digits", [1, 8])
def test_the_quantile_is_numpys(rows, coverage, digits):
    scores = np.random.default_rng(rows).uniform(size=rows).round(digits)  # one digit: many ties
    level = math.ceil(round((rows + 1) * coverage, 9)) / rows
    found = conformal_quantile(scores, coverage)
    assert found == np.quantile(scores, level - 1e-9, method="inverted_cdf")
    # "higher" counts positions from 0 to n - 1
    assert found == np.quantile(scores, (level * rows - 1 - 1e-9) / (rows - 1), method="higher")


def test_a_coverage_is_the_decimal_that_is_written():
    assert 0.55 * 100 > 55, "premise: in binary it is more"
    assert conformal_quantile(np.arange(1, 100), 0.55) == 55


@pytest.mark.parametrize("coverage", [0.5, 0.55, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_fewer_faces_than_it_takes_give_no_quantile(coverage):
    fewest = fewest_rows(coverage)
    assert math.isfinite(conformal_quantile(np.zeros(fewest), coverage))
    assert conformal_quantile(np.zeros(fewest - 1), coverage) == math.inf if fewest > 1 else coverage <= 0.5
    assert fewest == {0.5: 1, 0.55: 2, 0.8: 4, 0.9: 9, 0.95: 19, 0.99: 99, 0.999: 999}[coverage]


@pytest.mark.parametrize("method", ["threshold", "aps"])
def test_too_few_faces_take_every_class(method):
    probabilities = softmax(some_logits(8), axis=1)
    quantile = fit_quantile(probabilities, np.arange(8), method, 0.9)
    assert quantile == 1
    assert prediction_set(torch.tensor(probabilities), {"method": method, "quantile": quantile}).all()


@pytest.mark.parametrize("method, expected", [("threshold", [0.0, 0.8, 0.85]), ("aps", [0.0, 0.8, 0.95])])
def test_the_quantile_is_one_of_the_scores_of_the_labels(method, expected):
    """The first, second and third of three; the most probable class scores 0, being in the set anyway."""
    probabilities = np.repeat([[0.6, 0.2, 0.15, 0.05]], 3, axis=0)
    found = [fit_quantile(probabilities, [2, 0, 1], method, coverage) for coverage in (0.25, 0.5, 0.75)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("method", ["threshold", "aps"])
def test_a_model_that_is_right_often_enough_needs_its_first_answer_only(method):
    probabilities = np.repeat([[0.5, 0.3, 0.2]], 19, axis=0)
    quantile = fit_quantile(probabilities, [0] * 18 + [1], method, 0.9)
    assert prediction_set(torch.tensor(probabilities), {"method": method, "quantile": quantile}).sum() == 19


@pytest.mark.parametrize("method", ["threshold", "aps"])
def test_the_sets_of_the_fitted_faces_hold_as_many_labels_as_the_rank_says(method):
    for seed in range(20):
        probabilities = softmax(some_logits(100, seed), axis=1)
        labels = drawn_labels(near(probabilities, seed), seed)
        quantile = fit_quantile(probabilities, labels, method, 0.9)
        members = prediction_set(torch.tensor(probabilities), {"method": method, "quantile": quantile}).numpy()
        assert members[np.arange(100), labels].sum() == 91, "ceil(101 * 0.9)"


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: conformal_quantile([], 0.9), "there are no scores"),
        (lambda: conformal_quantile([0.1, np.nan], 0.9), "score of row 1 is NaN"),
        (lambda: conformal_quantile([0.1], 1.0), "coverage is 1.0, expected"),
        (lambda: conformal_quantile([0.1], math.nan), "coverage is nan"),
        (lambda: fewest_rows(0.0), "coverage is 0.0"),
        (lambda: fit_quantile(softmax(some_logits(3), axis=1), [0, -1, 2], "aps", 0.5), "row 1 has no label"),
        (lambda: fit_quantile(softmax(some_logits(3), axis=1), [0, 1, 2], "raps", 0.5), "method is 'raps'"),
        (lambda: in_share(["a"], 0.0, 0), "share is 0.0"),
        (lambda: in_share(["a"], 1.5, 0), "share is 1.5"),
        (lambda: fit_abstain_entropy([0.1, 0.2], [True], 0.9, 0), r"shapes \(2,\) and \(1,\) differ"),
        (lambda: fit_abstain_entropy([0.1], [True], 0.0, 0), "accuracy is 0.0"),
        (lambda: fit_abstain_entropy([0.1], [True], 0.5, 1.0), "confidence is 1.0"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- the promise


@pytest.mark.parametrize("method", ["threshold", "aps"])
@pytest.mark.parametrize("of", ["label", "vote"])
def test_the_promise_is_kept_and_not_far_exceeded(method, of):
    """Of a wrong model, in 400 draws of 60 calibration faces and 60 new ones; people disagree about each face.

    Without equal scores the expected coverage is exactly 55 / 61 = 0.902: ceil(61 * 0.9) of 61.
    """
    covered = []
    for seed in range(400):
        logits = some_logits(120, seed)
        soft = softmax(logits, axis=1)
        wrong = softmax(1.8 * logits + np.random.default_rng(seed + 1000).normal(0, 1, 8), axis=1)
        votes = drawn_labels(soft, seed)
        if of == "vote":
            calibration = draw_votes(soft[:60], names(60, 120 * seed), seed)
        else:
            calibration = votes[:60]
        quantile = fit_quantile(wrong[:60], calibration, method, 0.9)
        members = prediction_set(torch.tensor(wrong[60:]), {"method": method, "quantile": quantile}).numpy()
        covered.append(members[np.arange(60), votes[60:]].mean())
    error = np.std(covered) / np.sqrt(len(covered))
    assert error < 0.004 and abs(np.mean(covered) - 55 / 61) < 3 * error


def test_a_temperature_fitted_on_the_same_faces_costs_no_coverage_to_speak_of():
    covered = []
    for seed in range(300):
        logits = some_logits(160, seed)
        soft, wrong = softmax(logits, axis=1), softmax(2.5 * logits, axis=1)
        votes = drawn_labels(soft, seed)
        after = soften(wrong, fit_temperature(wrong[:80], one_hot(votes[:80])))
        quantile = fit_quantile(after[:80], votes[:80], "threshold", 0.9)
        members = prediction_set(torch.tensor(after[80:]), {"method": "threshold", "quantile": quantile}).numpy()
        covered.append(members[np.arange(80), votes[80:]].mean())
    error = np.std(covered) / np.sqrt(len(covered))
    assert error < 0.003 and abs(np.mean(covered) - 73 / 81) < 3 * error


# ---- votes and shares


def test_votes_come_as_often_as_the_soft_label_says():
    soft = np.repeat([[0.0, 0.5, 0.0, 0.2, 0.3, 0.0]], 20_000, axis=0)
    counts = np.bincount(draw_votes(soft, names(20_000), 3), minlength=6)
    assert counts[[0, 2, 5]].sum() == 0, "what nobody voted for is never drawn"
    assert chisquare(counts[[1, 3, 4]], [10_000, 4_000, 6_000]).pvalue > 0.001


def test_a_vote_hangs_on_the_face_and_the_seed_alone():
    soft, faces = softmax(some_logits(500, scale=1), axis=1), names(500)
    votes = draw_votes(soft, faces, 0)
    order = np.random.default_rng(0).permutation(500)
    assert (draw_votes(soft[order], [faces[row] for row in order], 0) == votes[order]).all()
    assert (draw_votes(soft, faces, 1) != votes).any()


def test_an_unknown_soft_label_gives_no_vote_and_a_certain_one_its_class():
    soft = np.eye(8)
    soft[3, 0] = np.nan
    assert draw_votes(soft, names(8), 0).tolist() == [0, 1, 2, -1, 4, 5, 6, 7]
    assert draw_votes(np.empty((0, 8)), [], 0).tolist() == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_has_about_that_many_faces(share):
    low, high = binom.interval(0.999, 10_000, share)
    assert low <= in_share(names(10_000), share, 0).sum() <= high


def test_a_share_hangs_on_the_face_and_the_seed_alone():
    faces = names(1000)
    chosen = in_share(faces, 0.5, 7)
    assert (in_share(faces[::-1], 0.5, 7) == chosen[::-1]).all()
    assert (in_share(faces[500:], 0.5, 7) == chosen[500:]).all()
    assert (in_share(faces, 0.5, 8) != chosen).sum() > 400
    assert in_share(faces, 1.0, 7).all() and not in_share(faces, 1e-9, 7).any()
    assert in_share([], 0.5, 7).tolist() == []


def test_a_larger_share_holds_the_smaller_one():
    shares = [in_share(names(1000), share, 2) for share in (0.2, 0.5, 0.8)]
    assert (shares[0] <= shares[1]).all() and (shares[1] <= shares[2]).all()


def test_a_share_is_the_same_on_every_machine():
    faces = ["validation/1", "validation/2", "validation/3", "train/1"]
    assert in_share(faces, 0.5, 0).tolist() == [False, True, True, True]


def test_votes_do_not_hang_on_being_in_the_share():
    """One number for both would give the faces of half a share only the first half of the classes."""
    faces = [name for name, chosen in zip(names(4000), in_share(names(4000), 0.5, 0), strict=True) if chosen]
    votes = draw_votes(np.full((len(faces), 8), 1 / 8), faces, 0)
    assert chisquare(np.bincount(votes, minlength=8)).pvalue > 0.001
    places = draw_votes(np.full((len(faces), 1000), 1 / 1000), faces, 0) / 1000
    assert ks_1samp(places, uniform.cdf).pvalue > 0.001


# ---- abstaining


def abstain_by_hand(entropies, correct, accuracy):
    return max((e for e in entropies if correct[entropies <= e].mean() >= accuracy), default=None)


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("digits", [1, 8])
def test_the_threshold_is_that_of_trying_all(accuracy, digits):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        entropies = rng.uniform(0, 2, 60).round(digits)
        correct = rng.uniform(size=60) > entropies / 3
        assert fit_abstain_entropy(entropies, correct, accuracy, 0) == abstain_by_hand(entropies, correct, accuracy)


def test_thresholds_worked_by_hand():
    entropies, correct = [0.4, 0.1, 0.3, 0.2], [True, True, False, True]
    assert fit_abstain_entropy(entropies, correct, 0.75, 0) == 0.4, "all are answered: three of four are right"
    assert fit_abstain_entropy(entropies, correct, 0.8, 0) == 0.2
    assert fit_abstain_entropy(entropies, correct, 1.0, 0) == 0.2


def test_faces_of_one_entropy_are_answered_together_or_not_at_all():
    assert fit_abstain_entropy([0.1, 0.1], [True, False], 0.9, 0) is None
    assert fit_abstain_entropy([0.1, 0.1], [True, False], 0.5, 0) == 0.1
    assert fit_abstain_entropy([0.0, 0.1, 0.1], [True, False, True], 0.9, 0) == 0.0


def test_an_accuracy_that_cannot_be_reached_gives_no_threshold():
    assert fit_abstain_entropy([0.1, 0.2, 0.3], [False, True, True], 0.9, 0) is None
    assert fit_abstain_entropy([0.3], [False], 0.1, 0) is None and fit_abstain_entropy([0.3], [True], 1.0, 0) == 0.3
    assert fit_abstain_entropy([], [], 0.9, 0) is None


def test_the_threshold_of_new_faces_keeps_their_accuracy_as_often_as_it_says():
    """New faces miss the accuracy of a threshold without a margin in about half of the repeats; with one in 5 %."""
    generator, accuracy = np.random.default_rng(0), 0.9
    entropies = generator.uniform(0, 2, 50000)
    correct = generator.uniform(size=50000) < 1 - 0.12 * entropies**2
    missed, answered = {0.0: 0, 0.95: 0}, 0
    for _ in range(200):
        rows = generator.integers(50000, size=800)
        for confidence in missed:
            threshold = fit_abstain_entropy(entropies[rows], correct[rows], accuracy, confidence)
            if threshold is not None:
                missed[confidence] += correct[entropies <= threshold].mean() < accuracy
                answered += confidence > 0
    assert missed[0.95] / 200 <= 0.06 < 0.35 < missed[0.0] / 200 and answered > 190


def test_few_faces_promise_no_accuracy_of_new_ones():
    assert fit_abstain_entropy([0.1] * 9, [True] * 9, 0.9, 0.95) is None
    assert fit_abstain_entropy([0.1] * 100, [True] * 100, 0.9, 0.95) == 0.1
    assert fit_abstain_entropy([], [], 0.9, 0.95) is None
    assert fit_abstain_entropy([0.1] * 3, [False] * 3, 0.5, 0.5) is None


def test_quantiles_of_each_class_cover_the_faces_of_each_class():
    """A marginal .8 holds little of a class that is rare and hard; one quantile of each class holds .8 of it too."""
    generator = np.random.default_rng(0)
    labels = generator.choice(3, p=[0.7, 0.25, 0.05], size=60000)
    logits = generator.normal(0, 1, (60000, 3)) + np.array([2.5, 1.5, -0.5])[labels][:, None] * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    shares = {fit_quantile: [], fit_class_quantiles: []}
    for _ in range(30):
        rows = generator.integers(60000, size=1500)
        for fit, found in shares.items():
            quantile = fit(probabilities[rows], labels[rows], "threshold", 0.8)
            sets = prediction_set(
                torch.from_numpy(probabilities), {"method": "threshold", "quantile": quantile}
            ).numpy()
            found.append(covered_by_class(np.eye(3)[labels], sets))
    marginal, conditional = (np.mean(found, axis=0) for found in shares.values())
    assert marginal[2] < 0.5 and (conditional > 0.79).all() and conditional[2] < 0.9


def test_a_class_with_too_few_faces_is_in_every_set():
    probabilities, labels = np.tile([0.9, 0.08, 0.02], (40, 1)), np.r_[np.zeros(38, int), 1, 1]
    assert fit_class_quantiles(probabilities, labels, "threshold", 0.9) == [0.0, 1.0, 1.0]
    assert np.isnan(covered_by_class(np.eye(3)[labels], np.ones((40, 3), bool))[2])
