"""What stock tools make of a published model, in a process that has no package of ours: see `stranger.py`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import load_dataset

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.predict import load_model
from affectnet_plus_modeling.publishing.hub import HubOptions
from affectnet_plus_modeling.publishing.publish import publish
from affectnet_plus_modeling.shipped import pretrained
from hub.client import signed_in
from support.alone import ALONE
from support.models import CODE, LOADED

pytestmark = pytest.mark.slow  # one process does it all

WHOLE = sorted([*CODE, *LOADED])
FITTED = {  # as of `ferplus`, which was calibrated
    name: value
    for name, value in json.loads(Path(pretrained(), "config.json").read_text()).items()
    if name in ("logit_temperature", "uncertainty")
} | {"class_weights": [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]}


@pytest.fixture(scope="module")
def calibrated(trained, tmp_path_factory) -> Path:
    """`trained` with a temperature, a prediction set and class weights."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("calibrated") / "model"))
    (folder / "metrics.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | FITTED))
    return folder


@pytest.fixture(scope="module")
def done(calibrated, drawn, tmp_path_factory) -> dict:
    work = tmp_path_factory.mktemp("stranger")
    faces = load_dataset(str(drawn), split="train")
    for row, (face, label) in enumerate(zip(faces["image"], faces["label"], strict=True)):
        path = work / "classes" / faces.features["label"].int2str(label) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        face.save(path)
    with pytest.MonkeyPatch.context() as patch, signed_in(patch, work / "here") as hub:
        publish(calibrated, "tester/faces", HubOptions())
        arguments = ["tester/faces", str(drawn), str(work / "classes"), str(work)]
        child = subprocess.run(
            [sys.executable, "-I", "-c", ALONE + Path(__file__).with_name("stranger.py").read_text(), *arguments],
            env=hub.environment(work / "home"),
            cwd=work,
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert child.returncode == 0, child.stderr
        report = json.loads((work / "report.json").read_text())
        assert report["ours"] == [], "premise: nothing of this package was loaded"
        return report | {"hub": sorted(hub.files("tester/my_awesome_food_model"))}


def test_the_code_of_the_hub_gives_the_same_numbers(done, calibrated):
    found = done["loads_it"]
    assert found["class"] == ["transformers_modules", "AffectNetPlusForSoftLabels"]
    pixels = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        here = load_model(calibrated)(pixels).logits
    for logits in found["logits"].values():
        torch.testing.assert_close(torch.tensor(logits), here, atol=1e-5, rtol=1e-5)


def test_the_stock_trainer_keeps_every_tensor_of_the_best_checkpoint(done):
    found = done["trains_on_rows"]
    assert found["best is the first"] and found["best and last differ"] > 0.9 * found["tensors"], "premise"
    assert found["not of the best"] == []
    assert done["follows_the_tutorial"]["not of the best"] == []


def test_the_stock_trainer_goes_on_to_the_same_weights(done):
    assert done["trains_on_rows"]["not gone on with"] == []


def test_the_evaluation_has_a_loss_and_regular_arrays(done):
    found = done["trains_on_rows"]
    assert {"eval_loss", "eval_score"} <= set(found["logged"])
    assert found["shapes"][:3] == [[[8, 8], [8, 8]]] * 3, "logits and soft labels of the 8 faces"
    assert found["with affect"] == [[8, 8], [8, 2]], "where it is asked for"


def test_training_further_drops_what_was_fitted_to_the_old_weights_and_says_so_once(done):
    found = done["trains_on_rows"]
    for part in ("before training", "after evaluating"):
        assert found[part] == [FITTED["logit_temperature"], False], "premise: it was calibrated"
    assert found["after training"] == found["of the checkpoint"] == found["saved"] == [1.0, True]
    assert len(found["said"]) == 1 and found["said"][0].endswith("as it was, logit_temperature, uncertainty")
    assert "prediction_set" not in found["answer"] and "abstain" not in found["answer"]


@pytest.mark.parametrize("where", ["files of a checkpoint", "files"])
def test_what_the_trainer_saves_is_whole(done, where):
    assert set(WHOLE) <= set(done["trains_on_rows"][where])
    assert list(done["trains_on_rows"]["answer"]["soft_label"]) == list(EMOTIONS)


def test_the_tutorial_trains_evaluates_keeps_the_best_and_pushes(done):
    found = done["follows_the_tutorial"]
    assert len(found["accuracies"]) == len(found["losses"]) == 3
    assert all(0 <= value <= 1 for value in found["accuracies"]) and all(value > 0 for value in found["losses"])
    assert list(found["answer"]["soft_label"]) == found["labels"] == sorted(found["labels"])
    assert {entry["label"] for entry in found["stock"]} <= set(found["labels"])
    assert set(WHOLE) <= set(done["hub"])


def test_after_any_number_of_saves_the_folder_is_whole_and_answers_the_same(done):
    found = done["saves_and_loads"]
    assert found["files"] == [WHOLE] * 4 and found["same code"]
    for answer in found["answers"][1:]:
        assert answer == found["answers"][0]


def test_another_head_drops_what_was_fitted_to_the_old_one_and_says_so(done):
    found = done["replaces_the_head"]
    others = [f"class {index}" for index in range(3)]
    expected = {"number": others, "names": ["negative", "neutral", "positive"], "two": others[:2]}
    expected |= {"order": list(reversed(EMOTIONS))}
    for case, names in expected.items():
        assert found[case]["names"] == names and found[case]["fitted"] == [1.0, True, None]
        assert found[case]["label2id"] == {name: index for index, name in enumerate(names)}
        assert [text for text in found[case]["said"] if "dropped" in text] == [found[case]["said"][0]]
        assert found[case]["said"][0].endswith("fitted to others, logit_temperature, uncertainty, class_weights")
        assert list(found[case]["answer"]["soft_label"]) == names and "prediction_set" not in found[case]["answer"]
    assert "a head that was trained is in the old one" in found["order"]["said"][1]
    assert found["same"]["fitted"] == [FITTED["logit_temperature"], False, FITTED["class_weights"]]
    assert not found["same"]["said"]
    assert "prediction_set" in found["same"]["answer"]


def test_export_and_checkpointing_work(done):
    assert done["exports_it"]["difference"] < 1e-5
    assert done["checkpoints_gradients"]["on"] and done["checkpoints_gradients"]["loss"] > 0


def test_lora_trains_keeps_its_best_and_merges_into_a_whole_model(done):
    found = done["adds_lora"]
    if found is None:
        pytest.skip("peft is not installed")
    assert found["moved"] > 1e-3 and found["lost"] == 0 and found["merged"] < 1e-5
    assert found["not of the best"] == []
    assert list(found["answer"]["soft_label"]) == list(EMOTIONS)


def test_int8_weights_of_torchao_say_nearly_the_same(done):
    if done["quantises_it"] is None:
        pytest.skip("torchao is not installed")
    assert done["quantises_it"]["difference"] < 0.01
