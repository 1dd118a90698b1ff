"""Every number of metrics.json has its words once, and terminal, report and card all take them from there."""

from pathlib import Path

import numpy as np
import pytest

from affectnet_plus_modeling.evaluation import report_sections, report_text
from affectnet_plus_modeling.evaluation.intervals import AFFECT, CELL
from affectnet_plus_modeling.evaluation.report import write_report
from affectnet_plus_modeling.metrics.soft_label.formulas import MEASURES
from affectnet_plus_modeling.publishing import results
from affectnet_plus_modeling.publishing.card_data import read_record
from affectnet_plus_modeling.words import AFFECT as AFFECT_WORDS
from affectnet_plus_modeling.words import BY_KEY, CALIBRATION, EMOTION, OVERALL, PART, Number
from support.evaluated import some_metrics, some_predictions

MODEL = Path(__file__).parent / "publishing" / "cards" / "model"


def test_every_number_that_is_measured_has_words():
    metrics = some_metrics(some_predictions(60))
    assert set(BY_KEY) == set(metrics["intervals"])
    assert len(BY_KEY) == len(OVERALL) + len(CALIBRATION)
    assert set(PART) == set(CELL)
    assert [number.key for number in AFFECT_WORDS] == list(AFFECT)
    assert [number.key for number in EMOTION] == list(metrics["per_class"]["happy"]["intervals"])


def test_what_the_terminal_calls_a_number_fits_its_column():
    assert {len(number.short) <= 17 for number in (*OVERALL, *CALIBRATION)} == {True}
    assert {number.better for number in (*OVERALL, *CALIBRATION, *AFFECT_WORDS, *EMOTION)} == {"higher", "lower"}


@pytest.mark.parametrize("on_card", [True, False])
def test_a_number_is_added_by_its_formula_and_one_line_of_words(tmp_path, monkeypatch, on_card):
    monkeypatch.setitem(MEASURES, "fidelity", lambda true, predicted: np.sqrt(true * predicted).sum(axis=1))
    line = Number("fidelity", "fidelity of the distributions", "higher", on_card, "fidelity")
    for module in (report_text, report_sections, results):
        monkeypatch.setattr(module, "OVERALL", (*OVERALL, line))
    metrics = some_metrics(some_predictions(120))
    low, high = metrics["intervals"]["fidelity"]
    told = [row.split() for row in report_text.format_metrics(metrics).splitlines()]
    assert ["fidelity", f"{metrics['fidelity']:.4f}", f"{low:.3f}..{high:.3f}"] in told
    page = write_report(metrics, tmp_path).read_text(encoding="utf-8")
    assert line.name in page and f"{low:.3f} to {high:.3f}" in page
    card = results.results_of(read_record(MODEL, "user/faces"), metrics).overall
    row = f"| {line.name} | {metrics['fidelity']:.4f} [{low:.4f}, {high:.4f}] |  |"
    assert (row in card) == on_card
