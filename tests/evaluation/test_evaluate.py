"""One evaluation: that its numbers are those of the model on that split, and what it writes."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared, normalise
from affectnet_plus_modeling.evaluation import evaluate as evaluate_module
from affectnet_plus_modeling.evaluation.audit import audit
from affectnet_plus_modeling.evaluation.calibrate import CalibrationOptions, calibrate
from affectnet_plus_modeling.evaluation.evaluate import EvaluationOptions, evaluate, measure
from affectnet_plus_modeling.evaluation.groups import GROUPS_ARE, attribute_groupings, subset_grouping
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.report_text import format_metrics
from affectnet_plus_modeling.evaluation.uncertainty import in_share
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence
from affectnet_plus_modeling.sources.tree import annotation
from support.trees import picture

FILES = [
    "ambiguous.png",
    "circumplex.png",
    "circumplex.svg",
    "confusion.png",
    "confusion.svg",
    "faces.png",
    "groups.png",
    "groups.svg",
    "metrics.json",
    "mistakes.png",
    "reliability.png",
    "reliability.svg",
    "report.html",
    "subsets.png",
    "subsets.svg",
]
FEW = EvaluationOptions(resamples=20)


def recomputed(model_folder, rows, prior) -> dict:
    """The numbers of `audit` by the plain way: one face at a time through the model."""
    model = load_model(model_folder)
    faces = FaceDataset(rows, model.config.image_size)
    with torch.no_grad():
        outputs = [model(normalise(face["pixels"])[None]) for face in faces]
    return audit(
        Predictions(
            image_ids=rows["image_id"][:],
            probabilities=torch.cat([output.logits for output in outputs]).double().softmax(dim=1).numpy(),
            soft_labels=np.array(rows["soft_label_normalized"][:]),
            labels=np.array(rows["label"][:]),
            valence_arousal=torch.cat([output.valence_arousal for output in outputs]).numpy(),
            true_valence_arousal=np.array([rows["valence"][:], rows["arousal"][:]]).T,
        ),
        prior,
        subset_grouping(rows),
        attribute_groupings(rows)[0],
    )


def numbers(value, path=()) -> dict:
    """Every leaf of a JSON value by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for key, part in items for name, leaf in numbers(part, (*path, key)).items()}
    return {path: value}


def about_equal(first: dict, second: dict) -> bool:
    first, second = numbers(first), numbers(second)
    return first.keys() == second.keys() and all(
        value == pytest.approx(second[path], abs=1e-6) if isinstance(value, float) else value == second[path]
        for path, value in first.items()
    )


def test_the_numbers_are_those_of_the_model_on_the_split(drawn, trained):
    written, _ = measure(trained, drawn, split="train")
    rows = load_prepared(drawn, "default", "train")
    prior = np.mean(rows["soft_label_normalized"][:], axis=0)
    expected = recomputed(trained, rows, prior)
    found = {name: written[name] for name in expected}
    assert about_equal(found, expected)
    about = {name: value for name, value in written.items() if name not in expected}
    assert about.pop("version")
    manifest = json.loads((drawn / "manifest.json").read_text())
    edges = about.pop("yaw_edges")
    assert edges == attribute_groupings(rows)[1] and 0 < edges[0] < edges[1]
    assert about == {
        "model": "model",
        "data": {"name": "drawn", "origin": "drawn", "fingerprint": manifest["source"]["fingerprint"]},
        "view": "default",
        "split": "train",
        "command": "affectnet-plus evaluate model drawn --view default --split train",
        "crop": "drawn: pictures as prepared, the first of 224x224 pixels",
        "calibrated_on_this_split": False,
        "calibrated_share": None,
        "calibrated_rows": 0,
        "calibrated_left_out": 0,
        "predictions": None,
        "resamples": 2000,
        "level": 0.95,
        "seed": 0,
        "min_cell": 50,
        "groups_are": GROUPS_ARE,
        "comparison": None,
    }


def test_everything_the_user_asked_for_is_in_the_numbers(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    for name in ("accuracy", "macro_f1", "kl", "js", "ece"):
        assert isinstance(metrics[name], float), name
    assert list(metrics["per_class"]) == list(EMOTIONS)
    assert all("recall" in row for row in metrics["per_class"].values())
    for name in ("valence", "arousal"):
        assert isinstance(metrics[name]["ccc"], float) and isinstance(metrics[name]["rmse"], float)
    assert np.array(metrics["confusion"]).shape == (8, 8) and np.sum(metrics["confusion"]) == metrics["rows"] == 8


@pytest.mark.slow
def test_the_files_are_whole_and_nothing_else_is_there(drawn, trained, tmp_path):
    out = tmp_path / "deeper" / "out"
    written = evaluate(trained, drawn, out, options=FEW)
    assert json.loads((out / "metrics.json").read_text()) == written
    assert sorted(os.listdir(out)) == FILES
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(out / name) as image:
                image.load()
                assert image.format == "PNG" and image.width >= 900, name


def test_evaluating_into_the_model_folder_keeps_the_model_and_no_picture_of_other_faces(
    drawn, model_copy, prepared_from
):
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    one = prepared_from([(picture(), annotation(label=0))])
    metrics = evaluate(model_copy, one, model_copy, view="all", split="train", options=FEW)
    after = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    assert metrics["rows_with_soft_label"] == 0
    gone = before.keys() - after.keys()
    assert {"ambiguous.png", "circumplex.png", "circumplex.svg", "groups.png", "groups.svg"} <= gone <= set(FILES)
    changed = {name for name in after if before.get(name) != after[name]}
    assert {"metrics.json", "report.html", "confusion.png", "faces.png"} <= changed <= set(FILES)


def test_a_failing_evaluation_leaves_what_was_there(drawn, model_copy, monkeypatch):
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}

    def broken(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(evaluate_module, "write_report", broken)
    for name in ("draw_pictures", "draw_sheets"):  # they take seconds
        monkeypatch.setattr(evaluate_module, name, lambda *_: [])
    with pytest.raises(OSError, match="No space left"):
        evaluate(model_copy, drawn, model_copy, split="train", options=FEW)
    assert {path.name: path.read_bytes() for path in model_copy.iterdir()} == before


def test_the_batch_size_changes_nothing(drawn, trained):
    first, second, third = (
        measure(trained, drawn, split="train", batch_size=size, options=FEW)[0] for size in (1, 7, 64)
    )
    assert about_equal(first, second) and about_equal(second, third)


def test_the_same_seed_gives_the_same_intervals_and_the_command_says_what_was_asked(drawn, trained, tmp_path):
    asked = EvaluationOptions(resamples=30, level=0.5, seed=3, min_cell=5)
    first, second = (measure(trained, drawn, split="train", options=asked)[0] for _ in range(2))
    assert first == second
    assert first["command"].endswith("--split train --resamples 30 --level 0.5 --seed 3 --min-cell 5")
    other, _ = measure(trained, drawn, split="train", options=EvaluationOptions(30, 0.5, 4, 5))
    assert other["kl"] == first["kl"] and other["gaps"] != first["gaps"], "those by lot"
    assert "accuracy" in first["groups"]["age"]["60+"], "32 faces in 4 bands are enough for 5"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"resamples": 0}, "resamples is 0; it must be at least 1"),
        ({"level": 95}, r"level is 95; it must be in \(0, 1\)"),
        ({"min_cell": 0}, "min_cell is 0; it must be at least 1"),
    ],
)
def test_options_out_of_their_range_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        EvaluationOptions(**changes)


def test_another_model_is_set_beside_it_face_by_face(drawn, trained, model_copy):
    weights = load_file(model_copy / "model.safetensors")
    bias = next(name for name in weights if name.endswith("classifier.bias"))
    weights[bias][1] += 5  # it says happy of every face
    save_file(weights, model_copy / "model.safetensors", {"format": "pt"})
    options = EvaluationOptions(resamples=30, compare=str(model_copy))
    metrics, _ = measure(trained, drawn, split="train", options=options)
    other, _ = measure(model_copy, drawn, split="train", options=FEW)
    comparison = metrics["comparison"]
    assert comparison["model"] == "model" and comparison["rows"] == 32
    for name in ("kl", "accuracy"):
        difference = comparison["differences"][name]["difference"]
        assert difference == pytest.approx(metrics[name] - other[name]), name
    apart = comparison["mcnemar"]["only_this"] - comparison["mcnemar"]["only_other"]
    assert apart == round(32 * (metrics["accuracy"] - other["accuracy"]))
    told = format_metrics(metrics)
    assert (
        "over the same 32 faces (intervals are given from 100 on)" in " ".join(told.split())
        and max(map(len, told.splitlines())) <= 79
    )


def test_faces_that_a_model_was_calibrated_on_are_left_out(drawn, model_copy, trained):
    calibrate(model_copy, drawn, CalibrationOptions(share=0.5, coverage=0.5), split="train")
    among = in_share(load_prepared(drawn, "default", "train")["image_id"][:], 0.5, 0)
    told, predictions = measure(model_copy, drawn, split="train", options=FEW)
    assert told["calibrated_on_this_split"] and told["calibrated_share"] == 0.5 and told["calibrated_rows"] == 0
    assert told["rows"] == len(predictions.image_ids) == (~among).sum() and told["calibrated_left_out"] == among.sum()
    assert f"{among.sum()} others, which calibrated the model" in format_metrics(told).replace("\n", " ")
    assert "fitted on" not in format_metrics(told)
    all_of_them = replace(FEW, calibrated_faces="measure")
    whole, _ = measure(model_copy, drawn, split="train", options=all_of_them)
    assert whole["rows"] == len(among) and whole["calibrated_rows"] == among.sum() and not whole["calibrated_left_out"]
    assert "fitted on" in format_metrics(whole) and "--calibrated-faces measure" in whole["command"]
    rival, _ = measure(trained, drawn, split="train", options=replace(FEW, compare=str(model_copy)))
    assert rival["comparison"]["rows"] == rival["rows"] == (~among).sum() and not rival["calibrated_on_this_split"]
    other, _ = measure(model_copy, drawn, options=FEW)
    assert not other["calibrated_on_this_split"] and other["calibrated_rows"] == other["calibrated_left_out"] == 0
    calibrate(model_copy, drawn, CalibrationOptions(coverage=0.5), split="train")
    none_left, _ = measure(model_copy, drawn, split="train", options=FEW)
    assert none_left["calibrated_rows"] == none_left["rows"] == len(among)


def test_a_head_that_was_never_trained_is_not_measured(drawn, model_copy):
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps(config | {"valence_arousal_weight": 0.0}))
    metrics, predictions = measure(model_copy, drawn, options=FEW)
    assert metrics["valence"]["ccc"] is None and metrics["valence"]["rows"] == 0
    assert np.isnan(predictions.valence_arousal).all()


def test_every_face_is_predicted_once_and_in_order(drawn, trained):
    model = load_model(trained)
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 48)
    seen = []
    predictions = predict_faces(model, faces, 5, progress=lambda *call: seen.append(call))
    assert seen == [("predict", done, 7) for done in range(8)]
    assert predictions.image_ids == faces.image_ids
    with torch.no_grad():
        alone = model(normalise(faces[17]["pixels"])[None]).logits.double().softmax(dim=1)
    assert predictions.probabilities[17] == pytest.approx(alone[0].numpy(), abs=1e-6)
    assert predictions.names == EMOTIONS


def test_the_baseline_comes_from_the_training_record(drawn, model_copy, tmp_path):
    record = json.loads((model_copy / "training.json").read_text())
    record["train_mean_soft_label"] = [0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    (model_copy / "training.json").write_text(json.dumps(record))
    baseline = measure(model_copy, drawn, options=FEW)[0]["baselines"]["mean_soft_label"]
    soft = np.array(load_prepared(drawn, "default", "validation")["soft_label_normalized"][:])
    answer = np.broadcast_to(np.array(record["train_mean_soft_label"]), soft.shape)
    assert baseline["kl"] == pytest.approx(kl_divergence(soft, answer).mean(), abs=1e-6)
    assert baseline["prior_from"] == "training rows"
    (model_copy / "training.json").unlink()
    assert measure(model_copy, drawn, options=FEW)[0]["baselines"]["mean_soft_label"]["prior_from"] == "evaluated rows"


def test_the_view_chooses_the_faces(drawn, trained, tmp_path):
    everything, _ = measure(trained, drawn, split="train", options=FEW)
    easy, _ = measure(trained, drawn, view="easy", split="train", options=FEW)
    rows = load_prepared(drawn, "easy", "train")
    assert 0 < easy["rows"] == len(rows) < everything["rows"]
    assert (easy["view"], easy["split"]) == ("easy", "train")
    with pytest.raises(ValueError, match="nosuch"):
        measure(trained, drawn, view="nosuch")
    with pytest.raises(ValueError, match="nosuch"):
        measure(trained, drawn, split="nosuch")


def test_faces_of_which_little_is_known_are_evaluated(trained, prepared_from, tmp_path):
    soft = [0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.125, 0.125]
    faces = [(picture(), annotation(label=0)), (picture((9, 9, 9)), annotation(label=None, soft_label=soft))]
    metrics, _ = measure(trained, prepared_from(faces), view="all", split="train", options=FEW)
    assert (metrics["rows"], metrics["rows_with_label"], metrics["rows_with_soft_label"]) == (2, 1, 1)
    assert metrics["valence"]["ccc"] is None and metrics["valence"]["rows"] == 0
    assert metrics["groups"]["age"] == {"unknown": {"rows": 2, "too_few": True}} and metrics["yaw_edges"] is None
    assert "age: not known of any face" in format_metrics(metrics)


def test_a_folder_that_is_no_model_is_refused(drawn, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing does not exist; give"):
        evaluate(tmp_path / "nothing", drawn, tmp_path / "nothing")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="half holds no model.safetensors"):
        evaluate(tmp_path / "half", drawn, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["half"], "a refused evaluation made a folder"


def test_another_kind_of_model_is_refused(drawn, model_copy, tmp_path):
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ValueError, match="model holds a 'bert' model, expected 'affectnet_plus'"):
        evaluate(model_copy, drawn, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_was_not_prepared_is_refused(drawn_tree, trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="give the folder that prepare wrote"):
        evaluate(trained, drawn_tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
