"""Fusion: the formulas by hand, the fit against independent solvers and known truths, and every way to be absent."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime, check_grad
from scipy.special import expit, logit, softmax
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.labelling.fitting import choose_fusion, cross_fitted, fit_fusion
from affectnet_plus_modeling.labelling.fusion import (
    DEFAULT,
    EPSILON,
    FITTED,
    METHODS,
    TAKE_LABELS,
    WEIGHTS,
    Fusion,
    Sources,
    absent,
    normalised,
    pool,
)
from affectnet_plus_modeling.labelling.stacking import fit_logistic, hessian, objective
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence

BOTH = "ensemble+action_units"


def confidences(rows, seed) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.05, 0.95, (rows, 8))


def faces(rows, seed=0) -> tuple[Sources, np.ndarray]:
    """Two noisy looks at each face, the ensemble's the better one, a label, and what ten people voted."""
    rng = np.random.default_rng(seed)
    truth = softmax(np.log([0.3, 0.25, 0.12, 0.14, 0.05, 0.03, 0.09, 0.02]) + rng.normal(0, 2, (rows, 8)), axis=1)
    votes = np.array([rng.multinomial(10, chances) for chances in truth]) / 10
    labels = np.array([rng.choice(8, p=chances) for chances in truth])
    ensemble = expit(logit(truth) * 0.7 + rng.normal(0, 1, (rows, 8)))
    action_units = expit(logit(truth) * 0.4 + 0.5 + rng.normal(0, 1.5, (rows, 8)))
    return Sources(ensemble, action_units, labels), votes


def without_labels(sources: Sources) -> Sources:
    return replace(sources, labels=None)


def known_stacking() -> dict[str, list]:
    rng = np.random.default_rng(3)
    drawn = {"constant": rng.normal(-1, 0.5, 8), "ensemble": rng.uniform(0.5, 1, 8)}
    drawn |= {"action_units": rng.uniform(0.2, 0.5, 8), "label": rng.uniform(-1, 1, (8, 8))}
    return {name: values.tolist() for name, values in drawn.items()}


# ---- the formulas


def test_the_mean_is_a_weighted_mean_and_the_product_one_of_log_odds():
    e, a = confidences(20, 0), confidences(20, 1)
    mean, reasons = pool("mean", 0.3).apply(Sources(e, a))
    np.testing.assert_allclose(mean, 0.3 * e + 0.7 * a)
    assert reasons == [None] * 20
    odds = (e / (1 - e)) ** 0.3 * (a / (1 - a)) ** 0.7
    np.testing.assert_allclose(pool("product", 0.3).apply(Sources(e, a))[0], odds / (1 + odds))


def test_the_default_is_the_product_in_which_the_ensemble_weighs_most():
    e, a = confidences(5, 0), confidences(5, 1)
    np.testing.assert_allclose(DEFAULT.apply(Sources(e, a))[0], expit(0.8 * logit(e) + 0.2 * logit(a)))
    assert DEFAULT == pool("product", 0.8)


def test_the_fitted_forms_by_hand():
    sources, _ = faces(10)
    w = {name: np.array(values) for name, values in known_stacking().items()}
    z = w["constant"] + w["ensemble"] * logit(sources.ensemble.clip(EPSILON, 1 - EPSILON))
    z += w["action_units"] * logit(sources.action_units.clip(EPSILON, 1 - EPSILON))
    z += np.stack([w["label"][label] for label in sources.labels])
    pattern = {BOTH + "+label": known_stacking()}
    np.testing.assert_allclose(Fusion("stacking", pattern).apply(sources)[0], 1 / (1 + np.exp(-z)))
    found, _ = Fusion("softmax", pattern).apply(sources)
    np.testing.assert_allclose(found, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))


def test_in_the_dirichlet_the_label_is_one_vote_and_a_branch_as_many_as_fit():
    """The posterior mean by hand, and the number of votes found again that the faces were made of."""
    sources, _ = faces(400)
    shares, one_hot = sources.ensemble / sources.ensemble.sum(axis=1, keepdims=True), np.eye(8)[sources.labels]
    alone = Sources(sources.ensemble, absent(400), sources.labels)
    fusion, report = fit_fusion("dirichlet", alone, (2.5 * shares + one_hot) / 3.5)
    found = fusion.coefficients["ensemble+label"]
    np.testing.assert_allclose(found["ensemble"], [2.5] * 8, rtol=0.01)
    assert found["constant"] == [0.0] * 8 and found["label"] == np.eye(8).tolist() and report["kl"] < 1e-4
    np.testing.assert_allclose(fusion.apply(alone)[0], (2.5 * shares + one_hot) / 3.5, atol=1e-3)
    np.testing.assert_allclose(fusion.apply(without_labels(alone))[0], shares)
    units = sources.action_units / sources.action_units.sum(axis=1, keepdims=True)
    both, _ = fit_fusion("dirichlet", sources, (2 * shares + 0.5 * units + one_hot) / 3.5)
    found = both.coefficients[BOTH + "+label"]
    np.testing.assert_allclose([found["ensemble"][0], found["action_units"][0]], [2, 0.5], rtol=0.02)
    lacking = sources.action_units.copy()
    lacking[0, 3] = np.nan
    single, _ = both.apply(Sources(sources.ensemble, lacking, sources.labels))
    expected, _ = both.apply(alone)
    np.testing.assert_allclose(single[0], expected[0])
    with pytest.raises(ValueError, match="expected to be >= 0"):
        Fusion("dirichlet", {"ensemble": {"constant": [0.0] * 8, "ensemble": [-1.0] * 8}})


def test_the_class_mean_is_the_mean_target_of_the_label():
    sources, votes = faces(4000)
    found, reasons = fit_fusion("class-mean", sources, votes)[0].apply(sources)
    means = np.stack([normalised(votes)[sources.labels == code].mean(axis=0) for code in range(8)])
    np.testing.assert_allclose(found, means[sources.labels], atol=0.02)
    assert not any(reasons)


@pytest.mark.slow
def test_the_best_fusion_has_few_numbers_where_votes_are_few_and_many_where_they_are_many():
    sources, votes = faces(4000, seed=1)
    few, told = choose_fusion(sources.take(slice(0, 30)), votes[:30])
    assert few.method in ("dirichlet", "class-mean") and told["too_few_votes"]
    many, report = choose_fusion(sources, votes)
    assert many.method in FITTED and not report["too_few_votes"] and report["method"] == many.method
    kl = {row["method"]: row["kl"] for row in report["candidates"]}
    assert kl[many.method] == pytest.approx(report["kl"]) and kl["dirichlet"] > report["kl"] < kl["class-mean"]
    assert choose_fusion(without_labels(sources).take(slice(0, 500)), votes[:500])[0].method != "dirichlet"


def test_zero_and_one_are_no_veto_and_the_mean_keeps_them():
    none, all_ = np.zeros((1, 8)), np.ones((1, 8))
    np.testing.assert_allclose(pool("product").apply(Sources(none, all_))[0], 0.5)
    np.testing.assert_allclose(pool("product").apply(Sources(none, none))[0], EPSILON)
    for weight in WEIGHTS:
        assert (pool("mean", weight).apply(Sources(all_, all_))[0] == 1).all()
    assert (pool("mean").apply(Sources(none, none))[0] == 0).all()
    rounded = Fusion("mean", {"ensemble": {"constant": [0.0] * 8, "ensemble": [1 + 5e-10] * 8}})
    assert (rounded.apply(Sources(all_, absent(1)))[0] == 1).all()
    np.testing.assert_allclose(Fusion("product", DEFAULT.coefficients, 0.1).apply(Sources(none, none))[0], 0.1)


def test_normalised_rows_sum_to_one_and_nothing_has_no_distribution():
    found = normalised(np.array([[1, 1, 0, 0, 0, 0, 0, 0], np.zeros(8), np.full(8, np.nan)]))
    assert found[0].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0] and np.isnan(found[1:]).all()
    assert np.isnan(normalised([[np.nan, 1, 0, 0, 0, 0, 0, 0]])).all()


# ---- what is absent


@pytest.mark.parametrize("method", ["mean", "product"])
def test_a_branch_alone_gives_its_own_confidences(method):
    e = confidences(6, 0)
    np.testing.assert_allclose(pool(method, 0.3).apply(Sources(e, absent(6)))[0], e)
    np.testing.assert_allclose(pool(method, 0.3).apply(Sources(absent(6), e))[0], e)


def fusion_of(method: str) -> Fusion:
    sources, votes = faces(200)
    return fit_fusion(method, without_labels(sources), votes, folds=2)[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_row_without_either_branch_is_null_and_leaves_the_others_alone(method):
    sources, fusion = without_labels(faces(6)[0]), fusion_of(method)
    expected, _ = fusion.apply(sources)
    sources.ensemble[1], sources.action_units[1] = np.nan, np.nan
    found, reasons = fusion.apply(sources)
    assert np.isnan(found[1]).all() and "neither" in reasons[1]
    others = [0, 2, 3, 4, 5]
    assert np.array_equal(found[others], expected[others]) and not any(reasons[row] for row in others)


def test_an_emotion_without_its_action_units_comes_from_the_ensemble():
    e, a = confidences(3, 0), confidences(3, 1)
    a[:, 7], a[1, 4] = np.nan, np.nan
    found, reasons = DEFAULT.apply(Sources(e, a))
    assert reasons == [None] * 3
    expected = expit(0.8 * logit(e) + 0.2 * logit(a))
    expected[:, 7], expected[1, 4] = e[:, 7], e[1, 4]
    np.testing.assert_allclose(found, expected)


def test_action_units_that_lack_an_emotion_are_no_soft_label_by_themselves():
    a = confidences(2, 1)
    a[1, [4, 7]] = np.nan
    found, reasons = DEFAULT.apply(Sources(absent(2), a))
    np.testing.assert_allclose(found[0], a[0])
    assert np.isnan(found[1]).all()
    assert reasons == [None, "the ensemble says nothing, and the action units nothing about fear, contempt"]


def test_a_label_alone_is_no_branch():
    fusion = fit_fusion("stacking", *faces(200), folds=2)[0]
    found, reasons = fusion.apply(Sources(absent(1), absent(1), np.array([3])))
    assert np.isnan(found).all() and "neither" in reasons[0]


@pytest.mark.parametrize("method", FITTED)
def test_a_row_that_lacks_a_source_gets_the_fit_without_that_source(method):
    sources, votes = faces(400)
    fusion, _ = fit_fusion(method, sources, votes, folds=2)
    assert len(fusion.coefficients) == 6
    plain, _ = fit_fusion(method, without_labels(sources), votes, folds=2)
    unlabelled = replace(sources, labels=np.full(400, -1))
    assert np.array_equal(fusion.apply(unlabelled)[0], plain.apply(without_labels(sources))[0])
    alone = replace(sources, action_units=absent(400))
    only, _ = fit_fusion(method, alone, votes, folds=2)
    assert sorted(only.coefficients) == ["ensemble", "ensemble+label"]
    assert np.array_equal(fusion.apply(alone)[0], only.apply(alone)[0])
    labels = sources.labels.copy()
    labels[2] = 9  # uncertain
    mixed = Sources(sources.ensemble, sources.action_units, labels)
    mixed.ensemble[0], mixed.action_units[1] = np.nan, np.nan
    found, reasons = fusion.apply(mixed)
    assert reasons == [None] * 400
    np.testing.assert_allclose(found[1], only.apply(alone)[0][1])
    np.testing.assert_allclose(found[2], plain.apply(without_labels(sources))[0][2])
    assert not np.allclose(found[0], fusion.apply(sources)[0][0])


@pytest.mark.parametrize("method", FITTED)
def test_a_pattern_that_was_never_fitted_is_null_with_the_reason(method):
    sources, votes = faces(100)
    seen = Sources(sources.ensemble, absent(100))
    fusion, _ = fit_fusion(method, seen, votes, folds=2)
    found, reasons = fusion.apply(without_labels(sources))
    assert np.isnan(found).all()
    assert reasons[0] == f"nothing was fitted for {', '.join(EMOTIONS)} from ensemble + action_units"
    assert not np.isnan(fusion.apply(seen)[0]).any()


@pytest.mark.parametrize("method", FITTED)
def test_a_table_that_always_lacks_one_emotion_is_used_for_the_others(method):
    sources, votes = faces(400)
    sources.action_units[:, 7] = np.nan
    lacking = without_labels(sources)
    fusion, _ = fit_fusion(method, lacking, votes, folds=2)
    assert fusion.coefficients[BOTH]["action_units"][7] is None
    assert None not in fusion.coefficients[BOTH]["action_units"][:7]
    found, reasons = fusion.apply(lacking)
    assert not np.isnan(found).any() and reasons == [None] * 400
    ensemble, _ = fusion.apply(Sources(sources.ensemble, absent(400)))
    if method == "stacking":
        assert np.array_equal(found[:, 7], ensemble[:, 7])
    better = kl_divergence(votes, normalised(found)).mean(), kl_divergence(votes, normalised(ensemble)).mean()
    assert better[0] < better[1]
    whole, reasons = fusion.apply(without_labels(faces(3)[0]))
    assert np.isnan(whole).all() and reasons[0] == "nothing was fitted for contempt from ensemble + action_units"


def test_no_faces_give_none():
    found, reasons = DEFAULT.apply(Sources(absent(0), absent(0)))
    assert found.shape == (0, 8) and reasons == []


# ---- the fit


def problem(link: bool, rows=40, seed=0):
    rng = np.random.default_rng(seed)
    design = np.concatenate([np.ones((8, rows, 1)), rng.normal(0, 2, (8, rows, 2))], axis=2)
    design = np.concatenate([design, np.tile(np.eye(8)[rng.integers(0, 8, rows)], (8, 1, 1))], axis=2)
    free = rng.uniform(size=(rows, 8)) > 0.2
    offset, target = rng.normal(0, 1, (rows, 8)), rng.dirichlet(np.ones(8), rows)
    return np.where(free.T[:, :, None], design, 0), free, offset, target, link


@pytest.mark.parametrize("link", [False, True])
def test_gradient_and_hessian_are_the_numeric_ones(link):
    given = problem(link)
    w = np.random.default_rng(1).normal(0, 0.5, 8 * 11)
    assert check_grad(lambda x: objective(x, *given)[0], lambda x: objective(x, *given)[1], w) < 1e-6
    numeric = approx_fprime(w, lambda x: objective(x, *given)[1], 1e-6)
    np.testing.assert_allclose(hessian(w, *given), numeric, atol=1e-6)


@pytest.mark.parametrize("link", [False, True])
def test_the_fit_ends_where_the_gradient_is_zero_and_nothing_nearby_is_less(link):
    given = problem(link, rows=200)
    w = fit_logistic(*given).ravel()
    least, gradient = objective(w, *given)
    assert np.abs(gradient).max() < 1e-7
    for seed in range(20):
        assert objective(w + np.random.default_rng(seed).normal(0, 0.05, len(w)), *given)[0] > least


def test_stacking_is_scikit_learns_logistic_regression_on_rows_that_count_in_part():
    """A soft target is a row with label 1 and the target's weight, and one with label 0 and the rest."""
    sources, votes = faces(500)
    found = fit_fusion("stacking", sources, votes, folds=2)[0].coefficients[BOTH + "+label"]
    e, a = (logit(branch.clip(EPSILON, 1 - EPSILON)) for branch in (sources.ensemble, sources.action_units))
    for k in range(8):
        x = np.tile(np.column_stack([e[:, k], a[:, k], np.eye(8)[sources.labels]]), (2, 1))
        y, share = np.repeat([1, 0], 500), np.concatenate([votes[:, k], 1 - votes[:, k]])
        theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000, solver="newton-cholesky").fit(x, y, share)
        ours = [found["ensemble"][k], found["action_units"][k], *(row[k] for row in found["label"])]
        np.testing.assert_allclose(ours, theirs.coef_[0], atol=2e-3)
        assert found["constant"][k] == pytest.approx(theirs.intercept_[0], abs=2e-3)


def test_softmax_of_labels_alone_is_scikit_learns_multinomial():
    """With an ensemble that says the same of everybody, only constant and label are left."""
    rng = np.random.default_rng(0)
    labels, votes = rng.integers(0, 8, 300), rng.dirichlet(np.ones(8), 300)
    sources = Sources(np.full((300, 8), 0.5), absent(300), labels)
    found = fit_fusion("softmax", sources, votes, folds=2)[0].apply(sources)[0]
    x, y = np.repeat(np.eye(8)[labels], 8, axis=0), np.tile(np.arange(8), 300)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(x, y, votes.ravel())
    np.testing.assert_allclose(found, theirs.predict_proba(np.eye(8)[labels]), atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", FITTED)
def test_known_coefficients_are_recovered(method):
    sources = replace(faces(10_000)[0], labels=np.arange(10_000) % 8)  # the penalty pulls at a rare label
    truth = known_stacking()
    target, _ = Fusion(method, {BOTH + "+label": truth}).apply(sources)
    found = fit_fusion(method, sources, target, folds=2)[0].coefficients[BOTH + "+label"]
    for name in ("ensemble", "action_units"):
        np.testing.assert_allclose(found[name], truth[name], atol=0.01)
    # Constant and label are one number for each label, and for softmax only their differences matter.
    sums = [np.add(w["constant"], w["label"]) for w in (found, truth)]
    if method == "softmax":
        sums = [w - w.mean(axis=1, keepdims=True) for w in sums]
    np.testing.assert_allclose(*sums, atol=0.08)


def test_the_weight_of_the_better_branch_is_found():
    noise, truth = confidences(500, 0), normalised(confidences(500, 1) ** 4)
    for method in ("mean", "product"):
        assert fit_fusion(method, Sources(truth, noise), truth)[0] == pool(method, 1.0)
        assert fit_fusion(method, Sources(noise, truth), truth)[0] == pool(method, 0.0)
    mixed = 0.35 * noise + 0.65 * truth
    fusion, report = fit_fusion("mean", Sources(noise, truth), mixed)
    assert fusion == pool("mean", 0.35) and report["kl"] < 1e-3


def test_the_report_has_every_candidate_with_its_kl():
    sources, votes = faces(120)
    sources = without_labels(sources)
    fusion, report = fit_fusion("product", sources, votes, folds=4, seed=2)
    assert [candidate["weight"] for candidate in report["candidates"]] == list(WEIGHTS)
    for candidate in report["candidates"]:
        fused = normalised(pool("product", candidate["weight"]).apply(sources)[0])
        expected = entropy(votes, 0.999 * fused + 0.001 / 8, axis=1).mean()
        assert candidate["kl"] == pytest.approx(expected)
    best = min(report["candidates"], key=lambda candidate: candidate["kl"])
    assert fusion == pool("product", best["weight"])
    assert report["kl"] >= best["kl"], "a fold cannot know the best weight of all"
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_a_target_are_fused_and_not_fitted(method):
    sources, votes = faces(150)
    sources = without_labels(sources)
    sources.ensemble[:3], sources.action_units[:3] = np.nan, np.nan
    votes[100:], votes[99] = np.nan, 0
    fusion, report = fit_fusion(method, sources, votes, folds=3)
    assert [report[key] for key in ("rows", "rows_without_target", "rows_without_fusion")] == [96, 51, 3]
    kept = slice(3, 100 if method == "stacking" else 99)  # all 0 is a target for each emotion, and no distribution
    same, _ = fit_fusion(method, sources.take(kept), votes[kept], folds=3)
    assert same == fusion
    fused, reasons = cross_fitted(method, sources, votes, folds=3)
    assert np.isnan(fused).any(axis=1).tolist() == [True] * 3 + [False] * 147
    assert all(reasons[:3]) and not any(reasons[3:])


@pytest.mark.slow
@pytest.mark.parametrize("method", FITTED)
def test_more_sources_come_nearer_to_the_people(method):
    sources, votes = faces(1500)
    found = [
        fit_fusion(method, given, votes)[1]["kl"]
        for given in (
            Sources(absent(1500), sources.action_units),
            Sources(sources.ensemble, absent(1500)),
            without_labels(sources),
            sources,
        )
    ]
    assert sorted(found, reverse=True) == found
    pools = [fit_fusion(name, without_labels(sources), votes)[1]["kl"] for name in ("mean", "product")]
    assert found[2] < min(pools)


@pytest.mark.parametrize("method", FITTED)
def test_an_emotion_without_a_vote_and_three_faces_have_finite_coefficients(method):
    sources, votes = faces(300)
    votes[:, 7] = 0
    votes[votes.sum(axis=1) == 0, 0] = 1
    fused, _ = fit_fusion(method, sources, votes, folds=2)[0].apply(sources)
    assert np.isfinite(fused).all() and fused[:, 7].max() < 0.01
    few = sources.take(slice(0, 3))
    assert np.isfinite(fit_fusion(method, few, votes[:3], folds=2)[0].apply(few)[0]).all()


# ---- cross-fitting


@pytest.mark.parametrize("method", FITTED)
def test_a_rows_own_target_does_not_move_its_cross_fitted_confidences(method):
    sources, votes = faces(60)
    before, _ = cross_fitted(method, sources, votes, folds=3)
    votes[17] = votes[17, ::-1]
    after, _ = cross_fitted(method, sources, votes, folds=3)
    assert np.array_equal(before[17], after[17])
    moved = (before != after).any(axis=1)
    assert 35 <= moved.sum() <= 45, "the rows of the other two folds"


def test_a_group_stays_in_one_fold():
    sources, votes = faces(60)
    groups = np.arange(60) // 6
    before, _ = cross_fitted("stacking", sources, votes, 5, groups, seed=1)
    votes[12] = votes[12, ::-1]
    after, _ = cross_fitted("stacking", sources, votes, 5, groups, seed=1)
    assert np.array_equal(before[12:18], after[12:18])
    assert (before != after).any(axis=1).sum() == 48


def test_cross_fitted_is_the_fit_to_the_others():
    """Two groups and two folds: each row comes from the fit to the other group."""
    sources, votes = faces(80)
    groups = np.arange(80) % 2
    found, _ = cross_fitted("softmax", sources, votes, 2, groups)
    for mine, other in ((0, 1), (1, 0)):
        fusion, _ = fit_fusion("softmax", sources.take(groups == other), votes[groups == other], 2)
        expected, _ = fusion.apply(sources.take(groups == mine))
        np.testing.assert_allclose(found[groups == mine], expected, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_and_another_seed_other_folds(method):
    sources, votes = faces(60)
    sources = sources if method in TAKE_LABELS else without_labels(sources)
    first = fit_fusion(method, sources, votes, seed=1)
    assert first == fit_fusion(method, sources, votes, seed=1)
    if method in FITTED:
        assert first[1]["kl"] != fit_fusion(method, sources, votes, seed=2)[1]["kl"]


# ---- storing


@pytest.mark.parametrize("method", METHODS)
def test_a_fusion_comes_back_from_json_the_same(method):
    sources, votes = faces(60)
    sources = sources if method in TAKE_LABELS else without_labels(sources)
    sources.action_units[:, 5] = np.nan
    fusion, _ = fit_fusion(method, sources, votes, folds=2)
    back = Fusion.from_dict(json.loads(json.dumps(fusion.to_dict(), allow_nan=False)))
    assert back == fusion
    assert np.array_equal(back.apply(sources)[0], fusion.apply(sources)[0], equal_nan=True)


def test_another_order_of_the_emotions_is_refused_with_both():
    record = DEFAULT.to_dict() | {"emotions": sorted(EMOTIONS)}
    with pytest.raises(ValueError) as caught:
        Fusion.from_dict(record)
    assert "['anger', 'contempt'" in str(caught.value) and "expected ['neutral', 'happy'" in str(caught.value)
    with pytest.raises(ValueError, match="expected .*'contempt'"):
        Fusion.from_dict(record | {"emotions": list(EMOTIONS[:7])})


def changed(pattern, **terms) -> dict:
    coefficients = {**DEFAULT.coefficients, pattern: {**DEFAULT.coefficients.get(pattern, {}), **terms}}
    return {"coefficients": coefficients}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"method": "vote"}, "'vote' is not known, expected one of mean, product"),
        ({"more": 1}, "has the keys .*found .*more"),
        ({"epsilon": 0.5}, "epsilon is 0.5"),
        ({"epsilon": "0.1"}, "epsilon is '0.1'"),
        (changed("label"), "coefficients for 'label', expected some of ensemble, "),
        (changed("ensemble", label=[[0.0] * 8] * 8), "'ensemble' has constant, ensemble, label, expected"),
        (changed("ensemble", ensemble=[1.0] * 7), "'ensemble' of 'ensemble' is .*the shape .8,"),
        (changed("ensemble", ensemble=[float("inf")] * 8), "'ensemble' of 'ensemble' is .*inf"),
        ({"method": "mean", **changed("ensemble", ensemble=[1.1] * 8)}, "weights of the mean for 'ensemble'"),
        ({"method": "mean", **changed("ensemble", constant=[0.1] * 8)}, "weights of the mean for 'ensemble'"),
    ],
)
def test_a_record_that_is_no_fusion_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Fusion.from_dict(DEFAULT.to_dict() | change)
    with pytest.raises(ValueError, match="has the keys"):
        Fusion.from_dict({"method": "mean"})


# ---- bad input


def spoilt(name, row, value) -> dict:
    values = confidences(4, 0)
    values[row] = value
    return {name: values}


@pytest.mark.parametrize(
    "change, words",
    [
        (spoilt("ensemble", 2, 1.5), "ensemble of row 2: found .*1.5.*or all NaN where unknown"),
        (spoilt("ensemble", (2, 3), np.nan), "ensemble of row 2: found .*nan.*or all NaN"),
        (spoilt("action_units", (1, 3), -0.1), r"action_units of row 1: found .*-0.1.*in \[0, 1\], or NaN"),
        ({"action_units": confidences(5, 0)}, r"action_units has shape \(5, 8\), expected \(4, 8\)"),
        ({"ensemble": np.zeros((4, 7))}, r"ensemble has shape \(4, 7\), expected \(4, 8\)"),
        ({"labels": np.zeros(4)}, "labels are float64"),
        ({"labels": np.zeros(3, int)}, r"labels are int64 \(3,\), expected integers \(4,\)"),
        ({"labels": np.array([0, -2, 0, 0])}, "labels of row 1: found -2"),
    ],
)
def test_sources_that_cannot_be_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Sources(**{"ensemble": confidences(4, 0), "action_units": confidences(4, 1), **change})


def test_sources_leave_the_callers_arrays_alone():
    e, labels = confidences(2, 0).astype(np.float32), np.array([9, 3])
    sources = Sources(e, absent(2), labels)
    sources.ensemble[0] = 0
    assert sources.ensemble.dtype == np.float64 and e[0].all() and sources.labels.tolist() == [-1, 3]
    assert labels.tolist() == [9, 3] and sources.take([1, 0]).labels.tolist() == [3, -1]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_fit_to_is_an_error(method):
    sources, votes = faces(10)
    sources = without_labels(sources)
    with pytest.raises(ValueError, match="no row has both a branch and a target"):
        fit_fusion(method, sources, np.full((10, 8), np.nan))
    with pytest.raises(ValueError, match="no row has both a branch and a target"):
        fit_fusion(method, Sources(absent(10), absent(10)), votes)
    with pytest.raises(ValueError, match="n_splits=11"):
        fit_fusion(method, sources, votes, folds=11)
    with pytest.raises(ValueError, match="target of row 3: found"):
        fit_fusion(method, sources, votes + np.eye(10, 8, -3) * 9)


def test_labels_where_they_have_no_place_are_refused():
    sources, votes = faces(20)
    for method in ("mean", "product"):
        with pytest.raises(
            ValueError, match=f"a {method} has no place for labels, expected class-mean or dirichlet or stacking"
        ):
            fit_fusion(method, sources, votes)
    with pytest.raises(ValueError, match="labels are given to a product that was made without"):
        DEFAULT.apply(replace(sources, labels=np.full(20, -1)))
    with pytest.raises(ValueError, match="has no single weight"):
        pool("stacking")
    with pytest.raises(ValueError, match="weight is 1.5"):
        pool("mean", 1.5)
    with pytest.raises(ValueError, match="'vote' is not known"):
        fit_fusion("vote", sources, votes)
