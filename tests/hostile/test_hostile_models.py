"""Damaged folders of models: a sentence, in a moment, without much memory, and never a wrong answer."""

import json
import shutil
import time
import tracemalloc

import pytest
import torch
from safetensors.torch import load_file, save_file

from affectnet_plus_modeling import checkpoints
from affectnet_plus_modeling.evaluation.predict import load_model
from affectnet_plus_modeling.training.train import large_for, train
from affectnet_plus_modeling.vit import AffectNetPlusForSoftLabels
from hostile.damage import POINTER, damaged_json, damaged_safetensors, many, refused_or_done, run_verb, runs
from support.models import quick

CONFIG = {  # what each change of a configuration is refused with
    "model_type": (None, "names no model_type"),
    "num_hidden_layers": (-1, "expected"),
    "hidden_size": (0, "Expected `int` >= 1"),
    "image_size": ("48", "Expected `int`, got `str`"),
    "patch_size": (10**7, "Expected `int` <= 4096"),
    "id2label": ({"a": "b"}, "describes no affectnet_plus model"),
    "stem_channels": ([-8, 16], "Expected `int` >= 1"),
    "logit_temperature": (0, "Expected"),
    "uncertainty": ({"method": "threshold"}, "missing required field"),
}


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", CONFIG)
def test_a_value_that_no_model_can_have_is_named_before_torch_is_asked(model_copy, name):
    value, said = CONFIG[name]
    change(model_copy, **{name: value})
    with pytest.raises(ValueError, match="config.json") as refused:
        checkpoints.check_model(model_copy)
    assert said.lower() in str(refused.value).lower()


def test_every_verb_that_reads_a_model_says_so_in_one_sentence(model_copy, drawn, tmp_path):
    (model_copy / "model.safetensors").write_bytes(POINTER)
    face = next((drawn.parent / "raw").rglob("*.jpg"))
    for words in (
        ["predict", model_copy, face],
        ["evaluate", model_copy, drawn],
        ["calibrate", model_copy, drawn],
        ["export", model_copy, tmp_path / "onnx"],
        ["publish", model_copy, tmp_path / "out", "--to-folder"],
        ["doctor", model_copy, drawn],
        ["app", model_copy],
        ["train", drawn, tmp_path / "new", "--from-pretrained", model_copy],
    ):
        status, _, said = run_verb(words)
        assert status == 1 and "is a pointer of git-lfs" in said and said.count("\n") == 1, (words, said)


def test_layers_that_have_no_weights_take_neither_time_nor_memory(model_copy):
    for config in ({"num_hidden_layers": 10**4}, {"hidden_size": 65536, "intermediate_size": 10**6}):
        copy = shutil.copytree(model_copy, model_copy.with_name("copy"), dirs_exist_ok=True)
        change(copy, **config)
        tracemalloc.start()
        began = time.process_time()
        with pytest.raises(ValueError, match="copy"):
            load_model(copy)
        assert time.process_time() - began < 10 and tracemalloc.get_traced_memory()[1] < 100_000_000
        tracemalloc.stop()


@pytest.mark.parametrize("change_of", ["more", "less", "shape", "layers"])
def test_weights_and_configuration_must_be_of_the_same_model(model_copy, change_of):
    path = model_copy / "model.safetensors"
    weights = load_file(path)
    if change_of == "more":
        weights["vit.extra.weight"] = torch.zeros(2)
    elif change_of == "less":
        del weights["classifier.bias"]
    elif change_of == "shape":
        weights["classifier.weight"] = weights["classifier.weight"][:, :-1].contiguous()
    else:
        change(model_copy, num_hidden_layers=1)
    save_file(weights, path, {"format": "pt"})
    said = {"more": "no place for", "less": "lacks the weights classifier.bias", "shape": "do not fit"}
    with pytest.raises(ValueError, match=said.get(change_of, "no place for")):
        load_model(model_copy)


# ---- no pickle is loaded


class Opened:
    """What a pickle would do when it is loaded."""

    def __reduce__(self):
        return print, ("a pickle was loaded",)


@pytest.mark.parametrize("option", ["from_vit", "from_pretrained"])
def test_no_start_is_a_pickle(model_copy, drawn, tmp_path, option, monkeypatch, tiny):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    weights = load_file(model_copy / "model.safetensors")
    if option == "from_vit":
        change(model_copy, model_type="vit")
    torch.save(weights, model_copy / "pytorch_model.bin")
    (model_copy / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="pytorch_model.bin, are never loaded"):
        train(drawn, tmp_path / "new", quick(**{option: str(model_copy)}))
    for start in (AffectNetPlusForSoftLabels.from_vit, AffectNetPlusForSoftLabels.from_faces):
        with pytest.raises((OSError, ValueError)):
            start(str(model_copy))


@pytest.mark.slow
def test_no_checkpoint_holds_a_pickle_that_is_gone_on_with(drawn, tmp_path, monkeypatch, tiny):
    from affectnet_plus_modeling.training.soft_label_trainer import SoftLabelTrainer

    options, out = quick(), tmp_path / "model"
    evaluate = SoftLabelTrainer.evaluate

    def interrupted(self, *given, **named):
        if self.state.global_step > 2:
            raise KeyboardInterrupt
        return evaluate(self, *given, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SoftLabelTrainer, "evaluate", interrupted)
        train(drawn, out, options)
    (checkpoint,) = (tmp_path / "model.training").glob("checkpoint-*")
    kinds = {path.suffix for path in checkpoint.iterdir()} - {".json", ".safetensors", ".py"}
    assert kinds <= {".bin"} and [path.name for path in checkpoint.glob("*.bin")] == ["training_args.bin"]
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt", "pytorch_model.bin"):
        torch.save(Opened(), checkpoint / name)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    state = checkpoint / "optimizer.safetensors"
    good = state.read_bytes()
    for bad in (good[:100], POINTER, b""):
        state.write_bytes(bad)
        with pytest.raises(ValueError, match="optimizer.safetensors is no state of a training"):
            train(drawn, out, options)
    state.write_bytes(good)
    (checkpoint / "trainer_state.json").write_text("[]")
    with pytest.raises(ValueError, match="trainer_state.json is damaged"):
        train(drawn, out, options)


# ---- what it costs is said first


def test_large_pictures_are_named_before_memory_is_taken():
    said = large_for(quick(from_pretrained="ferplus", image_size=None), 1024)
    assert said.startswith("the pictures are 1024 pixels a side: a batch of 16 takes about 309 GB for attention alone")
    assert said.endswith("--image-size 48, which ferplus was trained with, takes 0.0")
    assert large_for(quick(from_pretrained="ferplus", image_size=None), 64) is None
    assert large_for(quick(from_pretrained="ferplus", image_size=1024), 1024) is None  # it was chosen


# ---- fuzzing


@runs(40, 500)
def test_a_damaged_configuration_is_a_sentence_or_does_its_work(model_copy, count):
    path = model_copy / "config.json"
    good = json.loads(path.read_text())

    def check(content: bytes):
        path.write_bytes(content)
        with refused_or_done():
            model = load_model(model_copy)
            side = model.config.image_size
            logits = model(torch.zeros(1, model.config.num_channels, side, side)).logits
            assert logits.shape == (1, model.config.num_labels)

    many(count, damaged_json(good), check)


@runs(40, 500)
def test_damaged_weights_are_a_sentence_or_the_same_numbers_of_other_values(model_copy, count):
    path = model_copy / "model.safetensors"

    def check(content: bytes):
        path.write_bytes(content)
        with refused_or_done():
            load_model(model_copy)

    many(count, damaged_safetensors(path.read_bytes()), check)
