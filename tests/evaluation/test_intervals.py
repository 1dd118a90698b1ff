"""The numbers as functions of sums: equal to the formulas and scikit-learn, resample by resample, in plain loops."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, pearsonr, t

from affectnet_plus_modeling.evaluation import bootstrap
from affectnet_plus_modeling.evaluation.bootstrap import Part, resampled
from affectnet_plus_modeling.evaluation.intervals import (
    AFFECT,
    CELL,
    cell_numbers,
    estimate,
    every_number,
    mean_numbers,
    plain_cell,
)
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.words import MIN_OF_RESAMPLES
from support.predictions import informed_predictions


def flat(metrics: dict) -> dict[str, float]:
    """The numbers of `evaluate_predictions` by the names that `every_number` has for them."""
    found = {name: value for name, value in metrics.items() if isinstance(value, float) or value is None}
    for name, row in metrics["per_class"].items():
        found |= {f"{number}:{name}": row[number] for number in ("recall", "precision", "f1")}
    for dimension in ("valence", "arousal"):
        found |= {f"{dimension}_{name}": metrics[dimension][name] for name in AFFECT}
    return {name: np.nan if value is None else value for name, value in found.items()}


def assert_same(found: dict[str, float], expected: dict[str, float]):
    assert found.keys() <= expected.keys()
    for name, value in found.items():
        assert value == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


# ---- numbers


def test_every_number_is_the_one_that_is_reported():
    for predictions in (
        informed_predictions(),
        informed_predictions(holes=False),
        informed_predictions(7, 3, holes=False),
    ):
        numbers = every_number(predictions)
        expected = flat(evaluate_predictions(predictions))
        assert set(numbers.names) == set(expected)
        assert_same(numbers.of(np.arange(len(predictions.image_ids))), expected)


def test_the_numbers_of_some_rows_are_those_of_these_rows_alone():
    predictions, rows = informed_predictions(), np.arange(5, 70, 3)
    assert_same(every_number(predictions).of(rows), flat(evaluate_predictions(predictions.take(rows))))
    assert set(CELL) <= set(cell_numbers(predictions).names)


@pytest.mark.filterwarnings("error")
def test_where_nothing_is_known_every_number_is_nan():
    predictions = informed_predictions(4, holes=False)
    unknown = replace(
        predictions,
        soft_labels=np.full((4, 8), np.nan),
        labels=np.full(4, -1),
        true_valence_arousal=np.full((4, 2), np.nan),
    )
    assert all(np.isnan(value) for value in every_number(unknown).of(np.arange(4)).values())
    silent = replace(predictions, valence_arousal=np.full((4, 2), np.nan))
    assert np.isnan(cell_numbers(silent).of(np.arange(4))["valence_ccc"])


@pytest.mark.parametrize(
    "guess, true",
    [
        ([0.1, 0.1, 0.1], [0.1, 0.1, 0.1]),  # two equal constants: 0 / 0
        ([0.1, 0.1, 0.1], [0.2, 0.2, 0.2]),
        ([0.1, 0.1, 0.1], [0.1, 0.2, 0.3]),
        ([0.7, 0.7, 0.3], [0.7, 0.1, 0.1]),
        ([0.5], [0.2]),
        ([0.0, -0.5, 0.5], [0.0, 0.0, 0.4]),  # the sign of 0 agrees with that of 0 alone
    ],
)
def test_constants_zeros_and_one_row_are_as_in_the_formulas(guess, true):
    rows = len(guess)
    predictions = replace(
        informed_predictions(rows, holes=False),
        valence_arousal=np.stack([guess, guess], axis=1),
        true_valence_arousal=np.stack([true, true], axis=1),
    )
    assert_same(every_number(predictions).of(np.arange(rows)), flat(evaluate_predictions(predictions)))


def test_a_group_that_is_constant_far_from_the_first_face_is_constant():
    predictions = informed_predictions(40, holes=False)
    affect = predictions.valence_arousal.copy()
    affect[20:] = 0.1 + 0.2  # less the first face's value, its squares do not cancel exactly
    numbers = cell_numbers(replace(predictions, valence_arousal=affect)).of(np.arange(20, 40))
    assert numbers["valence_ccc"] == 0 and np.isnan(numbers["valence_pearson"])


def test_pearson_is_scipys():
    predictions = informed_predictions(60, 4, holes=False)
    expected = pearsonr(predictions.valence_arousal[:, 1], predictions.true_valence_arousal[:, 1])[0]
    assert cell_numbers(predictions).of(np.arange(60))["arousal_pearson"] == pytest.approx(expected)


# ---- resamples


def test_the_resamples_are_those_of_a_loop_over_drawn_faces():
    predictions, seed = informed_predictions(), 5
    numbers, everything = every_number(predictions), np.arange(90)
    [drawn] = resampled([numbers.part(everything)], 90, 25, seed)
    generator = np.random.default_rng(seed)
    for row in drawn:
        again = predictions.take(generator.integers(90, size=90))
        assert_same(dict(zip(numbers.names, row.tolist(), strict=True)), flat(evaluate_predictions(again)))


def test_a_part_has_in_a_resample_the_faces_that_were_drawn_of_it():
    predictions, rows = informed_predictions(), np.arange(0, 90, 2)
    numbers = cell_numbers(predictions)
    drawn = resampled([numbers.part(rows), numbers.part(np.arange(90))], 90, 10, seed=1)
    generator = np.random.default_rng(1)
    for part, everything in zip(*drawn, strict=True):
        draw = generator.integers(90, size=90)
        for found, taken in ((part, draw[draw % 2 == 0]), (everything, draw)):
            expected = flat(evaluate_predictions(predictions.take(taken)))
            assert_same(dict(zip(numbers.names, found.tolist(), strict=True)), expected)


def test_the_size_of_the_blocks_changes_nothing(monkeypatch):
    part = Part(np.arange(30), np.random.default_rng(0).normal(size=(30, 3)).__getitem__, lambda sums: sums)
    [once] = resampled([part], 30, 50, seed=2)
    monkeypatch.setattr("affectnet_plus_modeling.evaluation.bootstrap.BLOCK", 7 * 30)
    [again] = resampled([part], 30, 50, seed=2)
    assert once.shape == (50, 3)
    np.testing.assert_allclose(again, once, rtol=1e-12)


def test_bundles_of_many_rows_have_the_spread_of_the_rows(monkeypatch):
    """Of all numbers, and of a part that has few of the rows."""
    predictions, some = informed_predictions(6000, 3), np.arange(0, 6000, 40)
    numbers = cell_numbers(predictions)
    parts = [numbers.part(np.arange(6000)), numbers.part(some)]
    alone = resampled(parts, 6000, 600, seed=1)
    monkeypatch.setattr(bootstrap, "MOST_ROWS", 1000)
    monkeypatch.setattr(bootstrap, "BUNDLES", 500)
    for rows, bundles in zip(alone, resampled(parts, 6000, 600, seed=1), strict=True):
        for place, name in enumerate(numbers.names):
            if name in CELL:
                assert bundles[:, place].std() == pytest.approx(rows[:, place].std(), rel=0.2), name
                assert abs(bundles[:, place].mean() - rows[:, place].mean()) < 0.3 * rows[:, place].std(), name
    assert numbers.of(np.arange(6000)) == pytest.approx(cell_numbers(predictions).of(np.arange(6000)))


def test_the_memory_of_many_rows_is_that_of_some_of_them(monkeypatch):
    """The sums of 40,000 faces would be 120 MB, and those of their groups as much again."""
    predictions = informed_predictions(40_000, 3)
    numbers, rows = every_number(predictions), np.arange(40_000)
    monkeypatch.setattr(bootstrap, "MOST_ROWS", 2000)
    monkeypatch.setattr(bootstrap, "BUNDLES", 500)
    tracemalloc.start()
    resampled([numbers.part(rows), numbers.part(rows[::2])], 40_000, 20, seed=0)
    numbers.of(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert numbers.width * 8 * 40_000 > 100e6 and peak < 25e6


def test_the_interval_of_a_mean_covers_it_as_often_as_promised():
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        numbers = mean_numbers({"x": generator.normal(0, 1, 100)})
        [found] = estimate([(numbers, np.arange(100))], 100, 300, seed)
        low, high = found.intervals(["x"], 0.9)["x"]
        inside += low < 0 < high
    assert 0.83 < inside / 200 < 0.96


def test_the_interval_of_the_mean_of_normal_numbers_is_students():
    values = np.random.default_rng(0).normal(0, 1, 100)
    [found] = estimate([(mean_numbers({"x": values}), np.arange(100))], 100, 40_000, 0)
    expected = t.interval(0.95, 99, values.mean(), values.std(ddof=1) / 10)
    assert found.intervals(["x"], 0.95)["x"] == pytest.approx(expected, abs=0.03 * np.subtract(*expected[::-1]))


def test_intervals_are_percentiles_and_none_where_nothing_is_known_or_few_faces_are_there():
    predictions = informed_predictions(101, holes=False)
    predictions = replace(predictions, true_valence_arousal=np.full((101, 2), np.nan))
    [found] = estimate([(cell_numbers(predictions), np.arange(101))], 101, 200, 0)
    cell = plain_cell(found, 101, 0.8)
    assert list(cell) == ["rows", *CELL, "intervals"] and list(cell["intervals"]) == list(CELL)
    tail = 100 * norm.cdf(-np.sqrt(101 / 100) * t.ppf(0.9, 100))
    assert 9.5 < tail < 10
    assert cell["intervals"]["kl"] == pytest.approx(np.percentile(found.resampled["kl"], [tail, 100 - tail]).tolist())
    [few] = estimate([(cell_numbers(predictions), np.arange(MIN_OF_RESAMPLES - 1))], 101, 200, 0)
    assert set(few.intervals(CELL, 0.8).values()) == {None}
    assert cell["valence_ccc"] is None and cell["intervals"]["valence_ccc"] is None
    assert plain_cell(None, 7, 0.8) == {"rows": 7, "too_few": True}
