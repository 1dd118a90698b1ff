"""One evaluation: that its numbers are those of the model on that split, and what it writes."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation import evaluate as evaluate_module
from affectnet_plus_modeling.evaluation.evaluate import evaluate
from affectnet_plus_modeling.evaluation.metrics.soft_label.formulas import kl_divergence
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.training.faces import Faces, load_prepared, normalise
from conftest import annotation, picture

FILES = ["confusion.png", "faces.png", "metrics.json", "reliability.png"]


def recomputed(model_folder, rows, prior) -> dict:
    """The metrics by the plain way: one face at a time through the model."""
    model = load_model(model_folder)
    faces = Faces(rows, model.config.image_size)
    with torch.no_grad():
        outputs = [model(normalise(face["pixels"])[None]) for face in faces]
    return evaluate_predictions(
        Predictions(
            image_ids=rows["image_id"][:],
            probabilities=torch.cat([output.logits for output in outputs]).double().softmax(dim=1).numpy(),
            soft_labels=np.array(rows["soft_label_normalized"][:]),
            labels=np.array(rows["label"][:]),
            valence_arousal=torch.cat([output.valence_arousal for output in outputs]).numpy(),
            true_valence_arousal=np.array([rows["valence"][:], rows["arousal"][:]]).T,
        ),
        prior,
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


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_numbers_are_those_of_the_model_on_the_split(drawn, trained, tmp_path, split):
    written = evaluate(trained, drawn, tmp_path, split=split)
    assert json.loads((tmp_path / "metrics.json").read_text()) == written
    rows = load_prepared(drawn, "default", split)
    prior = np.mean(load_prepared(drawn, "default", "train")["soft_label_normalized"][:], axis=0)
    expected = recomputed(trained, rows, prior)
    found = {name: written[name] for name in expected}
    assert about_equal(found, expected)
    about = {name: value for name, value in written.items() if name not in expected}
    assert about.pop("version")
    assert about == {
        "model": "model",
        "data": "drawn",
        "view": "default",
        "split": split,
        "command": f"affectnet-plus evaluate model drawn --view default --split {split}",
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


def test_the_files_are_whole_and_nothing_else_is_there(drawn, trained, tmp_path):
    out = tmp_path / "deeper" / "out"
    evaluate(trained, drawn, out)
    assert sorted(os.listdir(out)) == FILES
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(out / name) as image:
                image.load()
                assert image.format == "PNG" and image.width >= 900, name


def test_evaluating_into_the_model_folder_keeps_the_model(drawn, model_copy):
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    evaluate(model_copy, drawn, model_copy, split="train")
    after = {path.name: path.read_bytes() for path in model_copy.iterdir()}
    assert before.keys() == after.keys()
    changed = [name for name in before if before[name] != after[name]]
    assert sorted(changed) == FILES


def test_a_failing_evaluation_leaves_what_was_there(drawn, model_copy, monkeypatch):
    before = {path.name: path.read_bytes() for path in model_copy.iterdir()}

    def broken(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(evaluate_module, "prediction_sheet", broken)
    with pytest.raises(OSError, match="No space left"):
        evaluate(model_copy, drawn, model_copy, split="train")
    assert {path.name: path.read_bytes() for path in model_copy.iterdir()} == before


def test_the_batch_size_changes_nothing(drawn, trained, tmp_path):
    first, second, third = (evaluate(trained, drawn, tmp_path, split="train", batch_size=size) for size in (1, 7, 64))
    assert about_equal(first, second) and about_equal(second, third)


def test_every_face_is_predicted_once_and_in_order(drawn, trained):
    model = load_model(trained)
    faces = Faces(load_prepared(drawn, "default", "train"), 48)
    seen = []
    predictions = predict_faces(model, faces, 5, progress=lambda steps: seen.extend(steps) or steps)
    assert seen == [0, 5, 10, 15, 20, 25, 30]
    assert predictions.image_ids == faces.image_ids
    with torch.no_grad():
        alone = model(normalise(faces[17]["pixels"])[None]).logits.double().softmax(dim=1)
    assert predictions.probabilities[17] == pytest.approx(alone[0].numpy(), abs=1e-6)
    assert predictions.names == EMOTIONS


def test_the_baseline_comes_from_the_training_record(drawn, model_copy, tmp_path):
    record = json.loads((model_copy / "training.json").read_text())
    record["train_mean_soft_label"] = [0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    (model_copy / "training.json").write_text(json.dumps(record))
    baseline = evaluate(model_copy, drawn, tmp_path)["baselines"]["mean_soft_label"]
    soft = np.array(load_prepared(drawn, "default", "validation")["soft_label_normalized"][:])
    answer = np.broadcast_to(np.array(record["train_mean_soft_label"]), soft.shape)
    assert baseline["kl"] == pytest.approx(kl_divergence(soft, answer).mean(), abs=1e-6)
    assert baseline["prior_from"] == "training rows"
    (model_copy / "training.json").unlink()
    assert evaluate(model_copy, drawn, tmp_path)["baselines"]["mean_soft_label"]["prior_from"] == "evaluated rows"


def test_the_view_chooses_the_faces(drawn, trained, tmp_path):
    everything = evaluate(trained, drawn, tmp_path, split="train")
    easy = evaluate(trained, drawn, tmp_path, view="easy", split="train")
    rows = load_prepared(drawn, "easy", "train")
    assert 0 < easy["rows"] == len(rows) < everything["rows"]
    assert (easy["view"], easy["split"]) == ("easy", "train")
    with pytest.raises(ValueError, match="nosuch"):
        evaluate(trained, drawn, tmp_path, view="nosuch")
    with pytest.raises(ValueError, match="nosuch"):
        evaluate(trained, drawn, tmp_path, split="nosuch")


def test_faces_of_which_little_is_known_are_evaluated(trained, prepared_from, tmp_path):
    soft = [0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.125, 0.125]
    faces = [(picture(), annotation(label=0)), (picture((9, 9, 9)), annotation(label=None, soft_label=soft))]
    metrics = evaluate(trained, prepared_from(faces), tmp_path / "out", view="all", split="train")
    assert (metrics["rows"], metrics["rows_with_label"], metrics["rows_with_soft_label"]) == (2, 1, 1)
    assert metrics["valence"] == {"ccc": None, "rmse": None, "rows": 0}


def test_a_folder_that_is_no_model_is_refused(drawn, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing holds no config.json and no model.safetensors; give"):
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
