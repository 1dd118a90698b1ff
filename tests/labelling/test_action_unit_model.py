"""The network for action units: that it learns, what it leaves out, its folder, and what it refuses."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared
from affectnet_plus_modeling.labelling.action_units.model import (
    ActionUnitOptions,
    load_action_unit_model,
    predict_action_units,
    train_action_units,
)
from affectnet_plus_modeling.labelling.action_units.tables import ActionUnitTable, read_action_units
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.synthetic import draw_tree
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.training.options import Augmentation
from support.trees import picture

SMALL = ActionUnitOptions(
    image_size=48,
    embedding_size=16,
    hidden_sizes=(32, 64, 128),
    depths=(1, 1, 1),
    epochs=1,
    batch_size=16,
    learning_rate=2e-3,
    augmentation=Augmentation().scaled(0.2),
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """With batches this small, threads wait for each other for longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def units(drawn_tree) -> ActionUnitTable:
    return read_action_units(drawn_tree / "action_units.csv")


@pytest.fixture(scope="module")
def quick_model(drawn, units, tmp_path_factory) -> Path:
    """A folder after one epoch of 32 faces; read-only."""
    out = tmp_path_factory.mktemp("units") / "model"
    train_action_units(drawn, units, out, SMALL)
    return out


def validation_of(folder: Path) -> tuple[list[str], torch.Tensor]:
    faces = FaceDataset(load_prepared(folder, "default", "validation"), 48)
    return faces.image_ids, faces.batch(range(len(faces)))["pixels"]


def without(table: ActionUnitTable, *names: str) -> ActionUnitTable:
    kept = [row for row, name in enumerate(table.names) if name not in names]
    return replace(table, names=[table.names[row] for row in kept], values=table.values[kept])


# ---- learning


@pytest.mark.slow
def test_units_of_drawn_faces_are_learnt(tmp_path):
    draw_tree(tmp_path / "raw", 400, seed=3)
    prepare(tmp_path / "raw", tmp_path / "ready")
    table = read_action_units(tmp_path / "raw" / "action_units.csv")
    record = train_action_units(tmp_path / "ready", table, tmp_path / "model", replace(SMALL, epochs=20))
    figures = record["choosing"]
    assert figures["mean_absolute_error"] < 0.75 * figures["error_of_training_mean"]
    for unit in ("AU02", "AU25", "AU26"):
        assert figures["per_unit"][unit]["correlation"] > 0.7
    image_ids, pixels = validation_of(tmp_path / "ready")
    guess = predict_action_units(load_action_unit_model(tmp_path / "model"), pixels)
    true = np.array([table.values[table.names.index(name)] for name in image_ids])
    assert np.abs(guess - true).mean() == pytest.approx(figures["mean_absolute_error"], abs=1e-5)
    mean = np.array([row for name, row in zip(table.names, table.values) if name.startswith("train")]).mean(axis=0)
    assert figures["error_of_training_mean"] == pytest.approx(np.abs(mean - true).mean(), abs=1e-5)


def test_the_same_seed_trains_the_same_network(drawn, units, quick_model, tmp_path):
    train_action_units(drawn, units, tmp_path / "again", SMALL)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (quick_model / "model.safetensors").read_bytes()


def test_faces_without_a_whole_row_are_left_out_and_counted(drawn, units, tmp_path):
    values = units.values.copy()
    values[units.names.index("train/3"), 2] = np.nan
    values[units.names.index("train/4")] = np.nan
    table = without(replace(units, values=values), "train/0", "validation/1")
    record = train_action_units(drawn, table, tmp_path / "model", SMALL)
    assert record["training"] == {"faces": 29, "not_in_table": 1, "ambiguous": 0, "a_unit_unknown": 2, "left_out": 0}
    assert record["choosing"]["faces"] == 7 and record["choosing"]["not_in_table"] == 1


# ---- interruption

# A run in a process of its own that says when it is in its third epoch, and then waits to be killed.
WAITING = """
import sys, time
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.labelling.action_units import model

class Waiting(model.FaceTrainer):
    def training_step(self, *args, **kwargs):
        if self.state.global_step == 2:
            print("HERE", flush=True)
            time.sleep(60)
        return super().training_step(*args, **kwargs)

model.FaceTrainer = Waiting
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits_and_another_one_is_refused(drawn, drawn_tree, tmp_path, capsys):
    table = str(drawn_tree / "action_units.csv")
    words = [str(drawn), table, str(tmp_path / "model"), "--image-size", "48", "--epochs", "3"]
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, "train-au", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert any(line.strip() == "HERE" for line in child.stdout)
    child.kill()
    child.communicate(timeout=60)
    assert os.listdir(tmp_path) == ["model.training"] and list(tmp_path.glob("model.training/checkpoint-*"))
    assert main(["train-au", *words[:-1], "4", "--resume"]) != 0
    assert "epochs was 3.0 and is 4.0. Give the command that it was begun with" in capsys.readouterr().err
    assert main(["train-au", *words, "--resume"]) == 0
    assert os.listdir(tmp_path) == ["model"]
    whole = ActionUnitOptions(image_size=48, epochs=3)
    record = train_action_units(drawn, read_action_units(table), tmp_path / "whole", whole)
    names = ("model.safetensors", "config.json")
    assert all((tmp_path / "model" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names)
    found = json.loads((tmp_path / "model" / "training.json").read_text())
    assert found["choosing"] == record["choosing"] and found["best_step"] == record["best_step"]


def test_resume_demands_something_to_resume(drawn, units, tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        train_action_units(drawn, units, tmp_path / "model", SMALL, resume=True)
    assert list(tmp_path.iterdir()) == []


# ---- the folder


def test_the_folder_loads_with_transformers_alone_and_predicts_the_same(drawn, units, quick_model):
    assert {path.name for path in quick_model.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "training.json",
    }
    _, pixels = validation_of(drawn)
    model = load_action_unit_model(quick_model)
    assert model.units == units.units and model.image_size == 48
    found = predict_action_units(model, pixels)
    assert found.shape == (8, 17) and found.min() >= 0 and found.max() <= 1
    stock = AutoModelForImageClassification.from_pretrained(quick_model).eval()
    with torch.no_grad():
        expected = stock(pixel_values=pixels.float() / 127.5 - 1).logits.sigmoid()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(predict_action_units(model, pixels, batch_size=3), found, atol=1e-5)
    assert predict_action_units(model, pixels[:0]).shape == (0, 17)


def test_the_stock_pipeline_gives_the_same_intensities(drawn, quick_model):
    pixels = validation_of(drawn)[1][:1]
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    answers = pipeline("image-classification", str(quick_model))(image, top_k=17)
    found = {answer["label"]: answer["score"] for answer in answers}
    model = load_action_unit_model(quick_model)
    expected = predict_action_units(model, pixels)[0]
    np.testing.assert_allclose([found[unit] for unit in model.units], expected, atol=1e-5)


def test_the_card_and_the_record_say_what_it_was_trained_on(quick_model):
    card = (quick_model / "README.md").read_text()
    assert "Drawn faces are not people" in card and "Trained on 32 faces" in card and "| AU14 | 0." in card
    record = json.loads((quick_model / "training.json").read_text())
    assert record["table"] == "drawn faces" and record["options"]["hidden_sizes"] == [32, 64, 128]
    assert record["choosing"]["faces"] == 8 and set(record["versions"]) == {"torch", "transformers"}


def test_the_card_of_another_tools_units_names_the_tool(drawn, units, tmp_path):
    train_action_units(drawn, replace(units, source="OpenFace 2"), tmp_path / "model", SMALL)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "written by OpenFace 2" in card and "not people" not in card


# ---- refusals


def test_a_folder_that_is_there_is_kept_unless_told_otherwise(drawn, units, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(FileExistsError, match="pass --overwrite"):
        train_action_units(drawn, units, tmp_path / "model", SMALL)


def test_a_table_of_other_faces_is_refused_and_nothing_is_left(drawn, units, tmp_path):
    other = replace(units, names=[f"elsewhere/{row}" for row in range(40)])
    with pytest.raises(ValueError, match="none of the 32 faces of train has a whole row .*: 32 are not in it"):
        train_action_units(drawn, other, tmp_path / "model", SMALL)
    unknown = replace(units, values=np.full_like(units.values, np.nan))
    with pytest.raises(ValueError, match="in 32 rows a unit is not known"):
        train_action_units(drawn, unknown, tmp_path / "model", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_data_without_a_validation_split_is_refused(prepared_from, units, tmp_path):
    with pytest.raises(ValueError, match="has the splits train; training needs train and validation"):
        train_action_units(prepared_from([(picture(), annotation(label=1))]), units, tmp_path / "model", SMALL)


def test_a_model_of_emotions_is_refused_with_what_was_found_and_expected(trained):
    with pytest.raises(ValueError, match="has the outputs neutral, happy, .*; expected AU01, AU02"):
        load_action_unit_model(trained)
    with pytest.raises(FileNotFoundError, match="holds no config.json"):
        load_action_unit_model(trained.parent)


def test_a_model_whose_units_exclude_each_other_is_refused(quick_model, tmp_path):
    config = json.loads((quick_model / "config.json").read_text())
    config["problem_type"] = "single_label_classification"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="problem_type 'single_label_classification'; expected 'multi_label"):
        load_action_unit_model(tmp_path)


def test_pixels_of_another_size_or_type_are_refused(quick_model):
    model = load_action_unit_model(quick_model)
    for pixels in (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 3, 48, 48)):
        with pytest.raises(ValueError, match=r"expected uint8 \(n, 3, 48, 48\)"):
            predict_action_units(model, pixels)
