"""What takes a folder takes what was loaded from it too, and says the same of it."""

import datasets
import pytest

import affectnet_plus_modeling as ap
from affectnet_plus_modeling.data.dataset import about_faces, choose, load_prepared

FEW = ap.EvaluationOptions(resamples=20)
# What things are called, and the baseline that the folder of a model knows.
NAMED = {"model", "data", "view", "split", "command", "crop", "baselines"}


@pytest.fixture(scope="module")
def data(drawn):
    return datasets.load_dataset(str(drawn), "default")


def test_a_data_set_and_a_model_in_memory_have_the_numbers_of_their_folders(trained, drawn, data):
    by_folder = ap.evaluate(trained, drawn, options=FEW)
    model = ap.load_model(trained)
    for given in (data, data["validation"]):
        found = ap.evaluate(model, given, options=FEW)
        assert {name: found[name] for name in found.keys() - NAMED} == {
            name: by_folder[name] for name in by_folder.keys() - NAMED
        }
        assert (found["view"], found["split"]) == ("default", "validation")
        assert found["data"]["origin"] is None and found["model"] == by_folder["model"]


def test_two_models_are_compared_without_a_folder_to_write(trained, data):
    found = ap.compare(ap.load_model(trained), trained, data, options=FEW)
    assert found["differences"]["kl"]["difference"] == 0 and found["model"] == trained.name


def test_a_model_in_memory_is_calibrated_where_it_is(trained, model_copy, drawn, data):
    model = ap.load_model(model_copy)
    before = (model_copy / "config.json").read_bytes()
    found = ap.calibrate(model, data["train"])  # which it has learnt a little of
    assert (model_copy / "config.json").read_bytes() == before
    assert model.config.logit_temperature == found["uncertainty"]["temperature"]
    on_disk = ap.calibrate(model_copy, drawn, split="train")
    by_class = [calibrated["after"].pop("covered_by_class") for calibrated in (on_disk, found)]
    assert by_class[0] == pytest.approx(by_class[1], nan_ok=True)
    assert on_disk["after"] == pytest.approx(found["after"])
    assert "prediction_set" in next(ap.predict(model, data["validation"]))


def test_a_data_set_says_itself_what_it_is(data):
    easy = choose(data["train"], "all", "validation")
    assert (easy.view, easy.split, easy.rows) == ("default", "train", data["train"])
    assert about_faces(data) == {"name": data["train"].info.dataset_name, "origin": None, "fingerprint": None}
    assert set(load_prepared(data["train"], "default")) == {"train"}
    with pytest.raises(ValueError, match="the data has no split 'test', but train, validation"):
        load_prepared(data, "default", "test")


def test_training_takes_what_was_loaded(data, tmp_path):
    options = ap.TrainingOptions(
        size="mini", epochs=1, image_size=16, patch_size=8, batch_size=16, bf16=False, allow_empty_classes=True
    )
    record = ap.train(data, tmp_path / "model", options)
    assert record["rows"] == {split: len(rows) for split, rows in data.items()}
    assert record["data"]["origin"] is None and ap.load_model(tmp_path / "model").config.image_size == 16
