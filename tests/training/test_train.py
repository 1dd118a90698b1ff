"""Training: options, what is refused, the record, and that something is learned."""

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import PartialState
from PIL import Image
from safetensors.torch import load_file
from transformers import ViTConfig, ViTModel

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data.dataset import load_prepared
from affectnet_plus_modeling.evaluation.evaluate import evaluate
from affectnet_plus_modeling.evaluation.predict import load_model, predict
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.stages import silent
from affectnet_plus_modeling.training import arguments, soft_label_trainer
from affectnet_plus_modeling.training import faces as faces_module
from affectnet_plus_modeling.training import train as train_module
from affectnet_plus_modeling.training.arguments import bf16_is_faster
from affectnet_plus_modeling.training.faces import training_faces
from affectnet_plus_modeling.training.options import SIZES, Augmentation, TrainingOptions
from affectnet_plus_modeling.training.train import train
from affectnet_plus_modeling.training.work_folder import claimed, newest_checkpoint
from affectnet_plus_modeling.unfinished import held
from support.models import TINY, quick
from support.trees import full_record, picture

STILL = Augmentation(flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erase=0)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def coloured(number: int, **known) -> list[tuple[bytes, dict]]:
    """Pictures of 24 pixels with labels in turn, and nothing known of them but `known`."""
    return [(picture((20 * row, 90, 9)), annotation(label=row % 8, **known)) for row in range(number)]


# ---- options


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"size": "huge"}, "size is 'huge'; it must be one of mini, tiny, wide, small, base"),
        ({"target": "medium"}, "target is 'medium'; it must be one of soft, hard"),
        ({"holdout": 1.0}, r"holdout is 1.0; it must be in \[0, 1\)"),
        ({"holdout": -0.1}, "holdout is -0.1"),
    ],
)
def test_unusable_options_are_refused(option, words):
    with pytest.raises(ValueError, match=words):
        TrainingOptions(**option)


def test_every_size_is_a_model_for_grey_48_and_colour_224():
    for size, shape in SIZES.items():
        for pixels, patch in ((48, 8), (224, 16)):
            with torch.device("meta"):
                options = train_module._decided(TrainingOptions(size=size), pixels)
                model = train_module._model(options, pixels, EMOTIONS, knows_affect=True)
            assert model.config.image_size == pixels and model.config.patch_size == patch
            assert model.config.hidden_size == shape["hidden_size"]
            assert model.vit.embeddings.position_embeddings.shape[1] == 1 + (pixels // patch) ** 2


def test_whether_bf16_is_faster_is_measured(monkeypatch):
    assert type(bf16_is_faster()) is bool
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for half, faster in ((1.0, False), (0.9, False), (0.5, True)):
        seconds = {torch.bfloat16: half, torch.float32: 1.0}
        monkeypatch.setattr(arguments, "_product_seconds", seconds.__getitem__)
        assert bf16_is_faster() is faster


# ---- what is there already


def claim(folder: Path, work: Path, resume: bool, overwrite: bool, **options) -> None:
    data = {"source of the data": "x", "faces": [24, 8]}
    with claimed(folder, work, quick(**options), data, resume, overwrite, PartialState(cpu=True)):
        pass


@pytest.mark.parametrize(("out", "work", "resume", "overwrite"), list(itertools.product((False, True), repeat=4)))
def test_what_is_there_is_claimed_refused_or_kept(tmp_path, out, work, resume, overwrite):
    folder, training = tmp_path / "model", tmp_path / "model.training"
    if work:
        claim(folder, training, resume=False, overwrite=False)
    for path, present in ((folder, out), (training / "checkpoint-2", work)):
        if present:
            path.mkdir(parents=True)
            (path / "trainer_state.json").touch()
    if out and not overwrite:
        refused = (FileExistsError, "model exists. Name another folder, or pass --overwrite")
    elif resume and not work:
        refused = (FileNotFoundError, "model.training holds no unfinished run, so there is no run to resume")
    else:
        refused = None
    if refused:
        with pytest.raises(refused[0], match=refused[1]):
            claim(folder, training, resume, overwrite)
    else:
        claim(folder, training, resume, overwrite)
    assert folder.exists() == out, "OUT is replaced when the new model is whole, not before"
    assert training.exists() == (work or refused is None)
    kept = refused is not None or resume or not overwrite
    assert (training / "checkpoint-2").exists() == (work and kept)


def test_a_run_of_other_options_is_refused_and_one_that_is_at_work_too(tmp_path):
    folder, training = tmp_path / "model", tmp_path / "model.training"
    claim(folder, training, resume=False, overwrite=False)
    with pytest.raises(ValueError, match="another command: learning_rate was 0.001 and is 0.01. Give the command"):
        claim(folder, training, resume=False, overwrite=False, learning_rate=0.01)
    with held(training), pytest.raises(FileExistsError, match="another process is at work in .*model.training"):
        claim(folder, training, resume=False, overwrite=False)


def test_the_newest_whole_checkpoint_is_the_one_to_resume(tmp_path):
    assert newest_checkpoint(tmp_path / "nothing") is None
    for step, whole in ((9, True), (10, True), (100, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").touch()
        if whole:
            (folder / "trainer_state.json").write_text("{}")
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")


# ---- unusable data


def test_data_without_a_train_split_is_refused(prepared, tmp_path, monkeypatch):
    only = {"validation": load_prepared(prepared, "default", "validation")}
    monkeypatch.setattr(faces_module, "load_prepared", lambda data, view: only)
    with pytest.raises(ValueError, match=r"the data has the splits \['validation'\]; training needs train"):
        train(prepared, tmp_path / "model", quick(holdout=0.5))


def test_data_without_validation_needs_a_holdout(prepared_from, tmp_path, tiny):
    data = prepared_from(coloured(12, soft_label=[1.0] * 8))
    with pytest.raises(ValueError, match="training needs train, and validation or --holdout"):
        train(data, tmp_path / "model", quick())
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["raw", "ready"]
    assert train(data, tmp_path / "model", quick(holdout=0.25, image_size=24, epochs=1))["choosing_faces"] == 3


@pytest.mark.slow
def test_data_without_soft_labels_needs_the_hard_target(prepared_from, tmp_path, tiny):
    data = prepared_from(coloured(8), coloured(8))
    with pytest.raises(ValueError, match="of the 8 faces to train on, none has a soft label"):
        train(data, tmp_path / "model", quick())
    record = train(data, tmp_path / "model", quick(target="hard", image_size=None, epochs=1))
    assert record["train_mean_soft_label"] is None
    metrics = evaluate(tmp_path / "model", data, tmp_path / "model")
    assert metrics["kl"] is None and metrics["accuracy"] is not None


def test_a_holdout_of_no_face_is_refused(drawn, tmp_path, tiny):
    with pytest.raises(ValueError, match="of the 0 faces to choose the best checkpoint with, none has a soft label"):
        train(drawn, tmp_path / "model", quick(holdout=0.01))


def test_a_folder_that_was_not_prepared_is_refused(drawn_tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="give the folder that prepare wrote"):
        train(drawn_tree, tmp_path / "model", quick())
    assert not any(tmp_path.iterdir())


# ---- what is recorded


def test_the_record_tells_what_was_done(drawn, trained):
    record = json.loads((trained / "training.json").read_text())
    expected = vars(quick(patch_size=8)) | {"augmentation": vars(Augmentation())}
    assert record["options"] == json.loads(json.dumps(expected))
    manifest = json.loads((drawn / "manifest.json").read_text())["source"]
    assert record["data"] == {"name": "drawn", "origin": manifest["origin"], "fingerprint": manifest["fingerprint"]}
    assert (record["training_faces"], record["choosing_faces"]) == (32, 8)
    assert record["rows"] == {"train": 32, "validation": 8}
    assert record["emotions"] == list(EMOTIONS)
    assert (record["steps"], record["options"]["bf16"]) == (4, False)
    assert record["best_step"] in (2, 4)
    soft = load_prepared(drawn, "default", "train")["soft_label_normalized"][:]
    assert record["train_mean_soft_label"] == pytest.approx(np.mean(soft, axis=0), abs=1e-6)
    assert record["parameters"] == sum(parameter.numel() for parameter in load_model(trained).parameters())
    assert record["versions"]["torch"] == torch.__version__
    assert [entry["step"] for entry in record["log"] if "eval_kl" in entry] == [2, 4]
    assert record["seconds"] > 0 and record["hardware"]
    assert str(trained.parent) not in (trained / "training.json").read_text() + (trained / "config.json").read_text()


def test_the_record_holds_the_soft_labels_whatever_the_target(drawn, trained, tmp_path, tiny):
    record = train(drawn, tmp_path / "model", quick(target="hard", epochs=1, allow_empty_classes=True))
    soft = json.loads((trained / "training.json").read_text())
    assert record["train_mean_soft_label"] == soft["train_mean_soft_label"]


def divided(data, options):
    found = training_faces(data, options).read(48, silent, False, PartialState(cpu=True))
    return found.training.dataset, found.training, found.choosing


def test_the_holdout_is_taken_out_of_the_training_faces(drawn):
    every, training, choosing = divided(drawn, quick(holdout=0.25, seed=3))
    assert (len(training), len(choosing)) == (24, 8)
    assert sorted([*training.indices, *choosing.indices]) == list(range(32))
    assert training.dataset is choosing.dataset is every
    again, other = (divided(drawn, quick(holdout=0.25, seed=seed))[2] for seed in (3, 4))
    assert again.indices == choosing.indices != other.indices


def test_without_a_holdout_the_validation_split_chooses(drawn):
    every, training, choosing = divided(drawn, quick())
    assert list(training.indices) == list(range(32)) and len(choosing) == 8
    assert {face.partition("/")[0] for face in choosing.dataset.image_ids} == {"validation"}
    assert {face.partition("/")[0] for face in every.image_ids} == {"train"}


# ---- kinds of data and models


def test_a_model_that_never_saw_valence_and_arousal_says_so(prepared_from, tmp_path, tiny):
    faces = coloured(8, soft_label=[0.5, 0.25, 0.125, 0.0, 0.0, 0.0, 0.0, 0.125])
    data = prepared_from(faces, faces)
    train(data, tmp_path / "model", quick(epochs=1, image_size=24, allow_empty_classes=True))
    assert load_model(tmp_path / "model").config.valence_arousal_weight == 0
    (line,) = predict(tmp_path / "model", [tmp_path / "raw" / "human_annotated" / "train_set" / "images" / "0.jpg"])
    assert line["valence"] is None and line["arousal"] is None and "error" not in line


def test_some_valence_and_arousal_is_enough(prepared_from, tmp_path, tiny):
    soft = {"soft_label": [1.0] * 8}
    faces = [*coloured(7, **soft), (picture(), full_record(0, 0))]
    train(prepared_from(faces, faces), tmp_path / "model", quick(epochs=1, image_size=24, valence_arousal_weight=0.5))
    assert load_model(tmp_path / "model").config.valence_arousal_weight == 0.5


def grey(seed: int) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


def one_step(data, out, **options):
    record = train(data, out, TrainingOptions(**({"epochs": 0.01, "batch_size": 4, "bf16": False} | options)))
    assert record["steps"] == 1
    return load_model(out).config, record


def test_grey_faces_of_48_pixels_train_as_they_are(prepared_from, tmp_path):
    faces = [(grey(seed), full_record(seed, 0, seed)) for seed in range(8)]
    config, record = one_step(prepared_from(faces, faces), tmp_path / "model")
    assert (config.image_size, config.patch_size, config.hidden_size) == (48, 8, 192)
    assert record["options"]["image_size"] == 48


def test_colour_faces_of_224_pixels_train_as_they_are(drawn, tmp_path, tiny):
    config, record = one_step(drawn, tmp_path / "model")
    assert (config.image_size, config.patch_size) == (224, 16)


def test_image_and_patch_size_are_options(drawn, tmp_path, tiny):
    config, _ = one_step(drawn, tmp_path / "model", image_size=32, patch_size=4)
    assert (config.image_size, config.patch_size) == (32, 4)
    with pytest.raises(ValueError, match="the patch must divide the image"):
        one_step(drawn, tmp_path / "other", image_size=50)
    assert not (tmp_path / "other").exists()


def test_a_run_in_bfloat16_saves_float32(drawn, tmp_path, tiny):
    _, record = one_step(drawn, tmp_path / "model", image_size=48, bf16=True)
    assert record["options"]["bf16"] is True
    assert {tensor.dtype for tensor in weights(tmp_path / "model").values()} == {torch.float32}


def test_a_run_can_start_from_a_vit(drawn, tmp_path):
    shape = {name: TINY[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")}
    torch.manual_seed(5)
    vit = ViTModel(ViTConfig(**shape, num_attention_heads=2, image_size=32, patch_size=8), add_pooling_layer=False)
    vit.save_pretrained(tmp_path / "some-vit")
    _, record = one_step(
        drawn, tmp_path / "model", from_vit=str(tmp_path / "some-vit"), image_size=32, learning_rate=0.0
    )
    assert record["options"]["from_vit"] == "some-vit", "a path would tell of the machine"
    found = load_model(tmp_path / "model").vit.state_dict()
    assert same(found, vit.state_dict())


def test_class_weights_and_label_smoothing_are_of_the_training_and_not_of_the_model(
    drawn, tmp_path, tiny, monkeypatch
):
    """So that the loss of the stock Trainer, which goes on from the model, is that of its documentation."""
    monkeypatch.setattr(train_module, "remove", lambda work: None)
    chosen = {"class_weights": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), "label_smoothing": 0.1}
    config, record = one_step(drawn, tmp_path / "model", image_size=48, **chosen)
    (checkpoint,) = (tmp_path / "model.training").glob("checkpoint-*/config.json")
    taught, weights = json.loads(checkpoint.read_text()), list(chosen["class_weights"])
    assert taught["class_weights"] == weights == list(record["options"]["class_weights"])
    assert taught["label_smoothing"] == 0.1 == record["options"]["label_smoothing"]
    assert config.class_weights is None and config.label_smoothing == 0


def test_faces_are_augmented_in_training_only(drawn, tmp_path, tiny, monkeypatch):
    seen = []

    def noted(pictures, strength):
        seen.append((len(pictures), strength))
        return pictures

    monkeypatch.setattr(soft_label_trainer, "augment", noted)
    options = quick(epochs=1, augmentation=Augmentation(flip=0.25))
    train(drawn, tmp_path / "model", options)
    assert seen == [(16, options.augmentation)] * 2


@pytest.mark.slow
def test_something_is_learned(drawn_tree, prepared_from, tmp_path, tiny):
    """Drawn faces are learned by heart: their soft labels, valence and arousal, and through what the faces show."""
    folder = drawn_tree / "human_annotated" / "train_set"
    images = [(folder / "images" / f"{stem}.jpg").read_bytes() for stem in range(32)]
    records = [json.loads((folder / "annotations" / f"{stem}.json").read_text()) for stem in range(32)]
    faces = list(zip(images, records, strict=True))
    data = prepared_from(faces, faces)  # the faces to learn are the faces that choose: no other checkpoint is wanted
    record = train(data, tmp_path / "model", quick(epochs=60, learning_rate=5e-3, augmentation=STILL))
    losses = [entry["loss"] for entry in record["log"] if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    metrics = evaluate(tmp_path / "model", data, tmp_path / "evaluation", split="train")
    assert metrics["kl"] < 0.6 * metrics["baselines"]["mean_soft_label"]["kl"]
    assert metrics["accuracy"] > 0.5
    assert min(metrics["valence"]["ccc"], metrics["arousal"]["ccc"]) > 0.7
