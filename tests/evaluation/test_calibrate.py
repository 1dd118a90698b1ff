"""One calibration: what it writes, that the model then says it, on which faces it was fitted, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification

from affectnet_plus_modeling import cli
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared, normalise
from affectnet_plus_modeling.evaluation.calibrate import (
    CalibrationOptions,
    apply_temperature,
    calibrate,
    fit_uncertainty,
    format_calibration,
    known_rows,
    measure_uncertainty,
)
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.uncertainty import draw_votes, fit_temperature, in_share
from affectnet_plus_modeling.metrics.calibration.formulas import expected_calibration_error
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.vit import AffectNetPlusConfig
from affectnet_plus_modeling.vit.answers import answers
from support.trees import picture

KEYS = {
    "method",
    "coverage",
    "of",
    "quantile",
    "abstain_accuracy",
    "abstain_confidence",
    "abstain_entropy",
    "temperature",
    "against",
    "rows",
    "share",
    "seed",
    "data",
    "view",
    "split",
}
TRAIN = {"split": "train"}  # 32 faces, which is enough for a coverage of 0.9; of the other split there are 8


def predicted(model_folder, data, split="train") -> Predictions:
    model = load_model(model_folder)
    return predict_faces(model, FaceDataset(load_prepared(data, "default", split), model.config.image_size), 64)


def drawn_predictions(rows=400, seed=0, temperature=2.0, unknown=0) -> Predictions:
    """Of a model whose logits are `temperature` times too large, beside votes; the last rows know no label."""
    rng = np.random.default_rng(seed)
    soft = rng.dirichlet(np.full(8, 0.6), rows) + 1e-6
    soft /= soft.sum(axis=1, keepdims=True)
    sharp = soft**temperature
    labels = soft.argmax(axis=1)
    labels[rows - unknown :] = -1
    return Predictions(
        image_ids=[f"train/{row}" for row in range(rows)],
        probabilities=sharp / sharp.sum(axis=1, keepdims=True),
        soft_labels=soft,
        labels=labels,
        valence_arousal=np.zeros((rows, 2)),
        true_valence_arousal=np.zeros((rows, 2)),
    )


def written(model_folder) -> dict:
    return json.loads((model_folder / "config.json").read_text())


# ---- what is written


def test_the_configuration_alone_changes_and_only_in_two_places(drawn, model_copy):
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    config = written(model_copy)
    found = calibrate(model_copy, drawn, CalibrationOptions(), **TRAIN)
    after = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["config.json"]
    changed = written(model_copy)
    assert changed.pop("uncertainty") == found["uncertainty"] and config.pop("uncertainty", None) is None
    assert changed.pop("logit_temperature") == found["uncertainty"]["temperature"] != config.pop("logit_temperature")
    assert changed == config
    assert list(changed) == sorted(changed), "as transformers writes it"


def test_the_record_says_what_it_is_of(drawn, model_copy):
    options = CalibrationOptions(0.8, "aps", False, "vote", "hard", 0.4, 0.9, 0.7, 3)
    record = calibrate(model_copy, drawn, options, "easy", "train")["uncertainty"]
    assert record.keys() == KEYS
    easy = load_prepared(drawn, "easy", "train")
    about = {"data": "drawn", "view": "easy", "split": "train", "share": 0.7, "seed": 3}
    about |= {"coverage": 0.8, "method": "aps", "of": "vote", "against": "hard", "abstain_accuracy": 0.4}
    assert {name: record[name] for name in about} == about
    assert record["rows"] == in_share(easy["image_id"], 0.7, 3).sum() < len(easy)


def test_the_temperature_is_the_one_fitted_to_the_split(drawn, model_copy):
    predictions = predicted(model_copy, drawn)
    soft = fit_temperature(predictions.probabilities, predictions.soft_labels)
    hard = fit_temperature(predictions.probabilities, np.eye(8)[predictions.labels])
    assert soft != pytest.approx(hard, rel=1e-3)
    for against, expected in (("soft", soft), ("hard", hard), ("soft", soft)):
        calibrate(model_copy, drawn, CalibrationOptions(against=against), **TRAIN)
        assert written(model_copy)["logit_temperature"] == pytest.approx(expected, rel=1e-4), "of float32 logits"


def test_a_second_calibration_changes_nothing(drawn, model_copy):
    first, second = (
        calibrate(model_copy, drawn, CalibrationOptions(abstain_accuracy=0.2, abstain_confidence=0), **TRAIN)
        for _ in range(2)
    )
    for name in ("temperature", "quantile", "abstain_entropy"):
        assert second["uncertainty"][name] == pytest.approx(first["uncertainty"][name], rel=1e-5)
    assert second["before"]["kl"] == pytest.approx(first["after"]["kl"], rel=1e-6)
    assert first["after"]["kl"] < first["before"]["kl"]


def test_the_model_says_what_was_fitted_in_the_stock_library_too(drawn, model_copy):
    before = predicted(model_copy, drawn)
    found = calibrate(model_copy, drawn, CalibrationOptions(abstain_accuracy=0.07, abstain_confidence=0), **TRAIN)
    expected = apply_temperature(before, found["uncertainty"]["temperature"])
    np.testing.assert_allclose(predicted(model_copy, drawn).probabilities, expected.probabilities, rtol=1e-5)
    model = AutoModelForImageClassification.from_pretrained(model_copy, trust_remote_code=True)
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 48)
    with torch.inference_mode():
        output = model(normalise(faces.batch(range(32))["pixels"]))
    np.testing.assert_allclose(output.logits.softmax(dim=1), expected.probabilities, rtol=1e-4)
    told = answers(model.config, output.logits, output.valence_arousal)
    covered = [faces.labels[row] in map(model.config.label2id.get, told[row]["prediction_set"]) for row in range(32)]
    assert np.mean(covered) >= 0.9
    right = [told[row]["label"] == model.config.id2label[int(faces.labels[row])] for row in range(32)]
    answered = [not answer["abstain"] for answer in told]
    assert np.mean(right) < 0.3 and 0 < sum(answered) < 32, "premise: it has to abstain, and not always"
    # The face at the threshold may be on either side of it, in float32.
    assert abs(sum(answered) - 32 * found["after"]["answered"]) <= 1
    assert np.mean(np.array(right)[answered]) == pytest.approx(found["after"]["answered_accuracy"], abs=0.1)


def test_a_share_is_fitted_to_its_faces_alone(drawn, model_copy):
    predictions = predicted(model_copy, drawn)
    mine = np.flatnonzero(in_share(predictions.image_ids, 0.5, 1))
    options = CalibrationOptions(share=0.5, seed=1, coverage=0.7, abstain_accuracy=0.2, abstain_confidence=0)
    found = calibrate(model_copy, drawn, options, **TRAIN)
    expected = fit_uncertainty(predictions.take(mine), options)
    assert found["uncertainty"]["rows"] == len(mine) < 32 and found["left_out"] == 0
    for name in ("temperature", "quantile", "abstain_entropy"):
        assert found["uncertainty"][name] == pytest.approx(expected[name], rel=1e-5)


# ---- what is fitted and measured


def test_all_parts_are_found_on_predictions_that_are_twice_too_sure():
    options = CalibrationOptions(of="vote")
    found = fit_uncertainty(drawn_predictions(), options)
    assert found["temperature"] == pytest.approx(2, rel=1e-6)
    after = measure_uncertainty(apply_temperature(drawn_predictions(), found["temperature"]), found)
    assert after["kl"] < 1e-3 and after["ece_soft"] == pytest.approx(0, abs=1e-9)
    new = apply_temperature(drawn_predictions(20_000, seed=1), found["temperature"])
    assert measure_uncertainty(new, found)["covered"] == pytest.approx(0.9, abs=0.04), (
        "Beta(361, 40) has a deviation of 0.015"
    )


@pytest.mark.parametrize("of", ["label", "vote"])
@pytest.mark.parametrize("method", ["threshold", "aps"])
def test_the_figures_are_those_of_the_plain_formulas(of, method):
    predictions = drawn_predictions(60, temperature=0.3)
    predictions = replace(predictions, labels=draw_votes(predictions.soft_labels, predictions.image_ids, 5))
    found = fit_uncertainty(predictions, CalibrationOptions(of=of, method=method, against="hard", coverage=0.8))
    figures = measure_uncertainty(predictions, found)
    by_class = figures.pop("covered_by_class")
    model_answers = answers_of(predictions, found)
    sets = np.array([[name in answer["prediction_set"] for name in predictions.names] for answer in model_answers])
    rows = np.arange(60)
    mass = (predictions.soft_labels * sets).sum(axis=1) if of == "vote" else sets[rows, predictions.labels]
    right = predictions.probabilities.argmax(axis=1) == predictions.labels
    answered = ~np.array([answer["abstain"] for answer in model_answers])
    happy = predictions.labels == 1
    share = (predictions.soft_labels * sets)[:, 1].sum() / predictions.soft_labels[:, 1].sum()
    assert by_class["happy"] == pytest.approx(share if of == "vote" else sets[happy, 1].mean())
    assert figures == pytest.approx(
        {
            "kl": kl_divergence(np.eye(8)[predictions.labels], predictions.probabilities).mean(),
            "ece": expected_calibration_error(predictions.probabilities.max(axis=1), right),
            "ece_soft": expected_calibration_error(
                predictions.probabilities.max(axis=1),
                predictions.soft_labels[rows, predictions.probabilities.argmax(axis=1)],
            ),
            "covered": mass.mean(),
            "set_size": sets.sum(axis=1).mean(),
            "answered": answered.mean(),
            "answered_accuracy": right[answered].mean() if answered.any() else np.nan,
        },
        nan_ok=True,
    )


def answers_of(predictions, found) -> list[dict]:
    """What the model's users would read, from logits."""
    logits = torch.tensor(np.log(predictions.probabilities))
    return answers(AffectNetPlusConfig(uncertainty=found), logits, torch.zeros(len(logits), 2))


def test_the_label_and_a_vote_are_two_promises():
    """The label is what most people said, so that it is easier to cover than what any one of them said."""
    label, vote = (fit_uncertainty(drawn_predictions(), CalibrationOptions(of=of)) for of in ("label", "vote"))
    assert label["quantile"] < vote["quantile"]
    drawn_votes = draw_votes(drawn_predictions().soft_labels, drawn_predictions().image_ids, 0)
    as_labels = replace(drawn_predictions(), labels=drawn_votes)
    assert fit_uncertainty(as_labels, CalibrationOptions(of="label"))["quantile"] == vote["quantile"]


def test_an_accuracy_out_of_reach_never_abstains_and_is_said():
    predictions = drawn_predictions()
    predictions = replace(predictions, labels=(predictions.labels + 1) % 8)
    found = fit_uncertainty(predictions, CalibrationOptions(against="soft"))
    assert found["abstain_entropy"] is None
    assert "never, since no threshold of entropy reaches an accuracy of 90.0%" in said(predictions, found)
    assert measure_uncertainty(predictions, found)["answered"] == 1


def test_faces_without_any_label_still_give_votes_and_a_temperature():
    predictions = drawn_predictions(unknown=400)
    found = fit_uncertainty(predictions, CalibrationOptions(of="vote"))
    assert found["abstain_entropy"] is None and found["temperature"] == pytest.approx(2)
    figures = measure_uncertainty(predictions, found)
    assert np.isnan([figures["ece"], figures["answered"], figures["answered_accuracy"]]).all()
    assert "never, since no face has a label" in said(predictions, found)


def said(predictions, found) -> str:
    uncertainty = found | {"data": "drawn", "view": "default", "split": "validation"}
    figures = measure_uncertainty(predictions, found)
    return format_calibration({"uncertainty": uncertainty, "left_out": 0, "before": figures, "after": figures})


def test_too_few_faces_for_the_coverage_take_every_class_and_say_so():
    predictions = drawn_predictions(8)
    found = fit_uncertainty(predictions, CalibrationOptions())
    assert found["quantile"] == 1 and measure_uncertainty(predictions, found)["set_size"] == 8
    assert "every class is in every set: a coverage of 0.9 takes 9 faces at least" in said(predictions, found)


def test_faces_that_lack_what_is_asked_for_are_left_out_and_counted(model_copy, prepared_from):
    rng = np.random.default_rng(0)
    softs = rng.dirichlet(np.ones(8), 20).tolist()
    faces = [(picture((9 * n, 90, 200 - 9 * n)), annotation(label=n % 8, soft_label=softs[n])) for n in range(15)]
    faces += [(picture((9, 9, 9 * n)), annotation(label=n)) for n in range(5)]
    data = prepared_from(faces)
    found = calibrate(model_copy, data, CalibrationOptions(coverage=0.5), split="train")
    assert (found["uncertainty"]["rows"], found["left_out"]) == (15, 5)
    assert "15 faces of ready, train split, default view; 5 more left out" in format_calibration(found)


# ---- what is refused


def test_faces_that_know_nothing_that_is_asked_for_are_refused():
    blind = replace(drawn_predictions(5), soft_labels=np.full((5, 8), np.nan))
    words = r"drawn: of 5 faces 0 have a soft label and 5 a label, none all .*\(against soft, of label\)"
    with pytest.raises(ValueError, match=words):
        known_rows(blind, CalibrationOptions(), "drawn")
    assert len(known_rows(blind, CalibrationOptions(against="hard"), "drawn").image_ids) == 5
    assert len(known_rows(drawn_predictions(5, unknown=2), CalibrationOptions(), "drawn").image_ids) == 3


@pytest.mark.parametrize(
    "options, words",
    [
        ({"coverage": 1.0}, "coverage is 1.0"),
        ({"method": "raps"}, "method is 'raps'"),
        ({"of": "votes"}, "of is 'votes'; it must be one of label, vote"),
        ({"against": "both"}, "against is 'both'"),
        ({"abstain_accuracy": 1.5}, "accuracy is 1.5"),
        ({"share": 1e-9}, "drawn, train split, default view: a share of 1e-09 of 32 faces is none"),
        ({"share": 0.0}, "share is 0.0"),
    ],
)
def test_a_bad_option_is_refused_and_the_model_stays_as_it_was(drawn, model_copy, options, words):
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    with pytest.raises(ValueError, match=words):
        calibrate(model_copy, drawn, CalibrationOptions(**options), **TRAIN)
    assert {path.name: path.read_bytes() for path in model_copy.iterdir()} == before


def test_a_calibration_that_cannot_be_written_leaves_the_model_as_it_was(drawn, model_copy, monkeypatch):
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        calibrate(model_copy, drawn, CalibrationOptions(), **TRAIN)
    assert {path.name: path.read_bytes() for path in model_copy.iterdir()} == before


# ---- the command line


def test_the_command_says_what_it_found_and_that_it_flatters(drawn, model_copy, capsys):
    words = ["calibrate", model_copy, drawn, "--split", "train", "--coverage", ".8", "--method", "aps", "--of", "vote"]
    assert cli.main([str(word) for word in words]) == 0
    printed = capsys.readouterr().out
    record = written(model_copy)["uncertainty"]
    assert (record["method"], record["coverage"], record["of"], record["rows"]) == ("aps", 0.8, "vote", 32)
    assert "prediction set (aps): one random vote in" in printed and "promised 80.0%" in printed
    assert f"temperature {record['temperature']:.4f}, fitted against soft labels" in printed
    assert "better than those of new faces" in printed and f"written: {model_copy}/config.json" in printed
