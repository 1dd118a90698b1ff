"""Training of an ensemble on drawn faces: what it writes, that it never looks at soft labels, and that it goes on."""

import json
import shutil
import subprocess
import sys

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared, normalise
from affectnet_plus_modeling.labelling.ensemble import train as module
from affectnet_plus_modeling.labelling.ensemble.model import ALL_FOLDS, load_ensemble
from affectnet_plus_modeling.labelling.ensemble.options import EnsembleOptions
from affectnet_plus_modeling.labelling.ensemble.seen import SEEN_FILE, folds_of, read_seen
from affectnet_plus_modeling.labelling.ensemble.train import OUT_OF_FOLD_FILE, train_ensemble
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.synthetic import draw_tree

SMALL = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
OPTIONS = {
    "backbones": ("resnet",),
    "folds": 2,
    "image_size": 24,
    "trunk_epochs": 1,
    "epochs": 2,
    "fewest_positives": 40,
    "batch_size": 32,
    "bf16": False,
}


SOFT = ["soft_label", "soft_label_normalized", "subset"]


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(module, "RESNET", SMALL)


def options(**others) -> EnsembleOptions:
    return EnsembleOptions(**(OPTIONS | others))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """320 drawn faces, prepared: enough of each emotion for two folds."""
    place = tmp_path_factory.mktemp("drawn")
    draw_tree(place / "raw", 320, seed=5, validation_fraction=0.25)
    prepare(place / "raw", place / "prepared")
    return place / "prepared"


@pytest.fixture(scope="module")
def ensemble(drawn, tmp_path_factory):
    """A cross-fitted ensemble of one backbone, two seeds and two folds; read-only."""
    out = tmp_path_factory.mktemp("ensemble") / "ebc"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESNET", SMALL)
        record = train_ensemble(drawn, out, options(seeds=2), say=lambda text: None)
    assert record == json.loads((out / "training.json").read_text())
    return out


@pytest.mark.slow
def test_the_folder_holds_a_model_its_folds_its_record_and_its_card(ensemble, drawn):
    model = load_ensemble(ensemble)
    assert [(member["seed"], member["fold"]) for member in model.config.members] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    record = json.loads((ensemble / "training.json").read_text())
    faces = len(load_prepared(drawn, "default", "train"))
    assert sum(record["faces"]) == faces and record["networks"] == 4 * 8 and record["emotions"] == list(EMOTIONS)
    assert record["calibration"]["faces"] == faces and "did not see it" in record["calibration"]["split"]
    card = (ensemble / "README.md").read_text()
    assert f"{faces} faces" in card and "cross-fitted in 2 folds" in card and ", ".join(EMOTIONS) in card
    assert not ensemble.with_name("ebc.training").exists()
    assert sorted(path.name for path in ensemble.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        OUT_OF_FOLD_FILE,
        "preprocessor_config.json",
        SEEN_FILE,
        "training.json",
    ]


@pytest.mark.slow
def test_each_training_face_is_answered_by_the_networks_that_did_not_see_it(ensemble, drawn):
    model = load_ensemble(ensemble)
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 24, "hard")
    stored = pq.read_table(ensemble / OUT_OF_FOLD_FILE)
    assert stored["image_id"].to_pylist() == faces.image_ids
    pixels = faces.batch(range(len(faces)))["pixels"]
    folds = folds_of(pixels.permute(0, 2, 3, 1).numpy(), read_seen(ensemble / SEEN_FILE))
    assert folds.tolist() == stored["fold"].to_pylist() and set(folds) == {0, 1}
    with torch.inference_mode():
        found = model(normalise(pixels), folds=torch.from_numpy(folds)).logits
        every = model(normalise(pixels)).logits
    np.testing.assert_allclose(found.numpy(), np.array(stored["log_odds"].to_pylist()), atol=1e-4)
    assert (found - every).abs().mean() > 1e-3
    trunk = np.array(stored["trunk"].to_pylist())
    np.testing.assert_allclose(trunk.sum(axis=1), 1, atol=1e-6)


@pytest.mark.slow
def test_what_is_kept_of_unseen_faces_is_what_the_saved_ensemble_says_after_training_in_bfloat16_too(drawn, tmp_path):
    train_ensemble(drawn, tmp_path / "ebc", options(bf16=True), say=lambda text: None)
    model = load_ensemble(tmp_path / "ebc")
    stored = pq.read_table(tmp_path / "ebc" / OUT_OF_FOLD_FILE)
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 24, "hard")
    with torch.inference_mode():
        pixels = normalise(faces.batch(range(len(faces)))["pixels"])
        found = model(pixels, folds=torch.tensor(stored["fold"].to_pylist())).logits
    np.testing.assert_allclose(found.numpy(), np.array(stored["log_odds"].to_pylist()), atol=1e-4)


@pytest.mark.slow
def test_a_face_of_the_validation_split_is_answered_by_every_member(ensemble, drawn):
    faces = FaceDataset(load_prepared(drawn, "default", "validation"), 24)
    pixels = faces.batch(range(len(faces)))["pixels"].permute(0, 2, 3, 1).numpy()
    assert set(folds_of(pixels, read_seen(ensemble / SEEN_FILE))) == {ALL_FOLDS}


@pytest.mark.slow
def test_soft_labels_are_not_looked_at(drawn, tmp_path):
    stripped = tmp_path / "stripped"
    for split, rows in datasets.load_dataset(str(drawn), "default").items():
        unknown = datasets.Features({name: rows.features[name] for name in SOFT})
        blank = datasets.Dataset.from_dict({name: [None] * len(rows) for name in SOFT}, features=unknown)
        rows = datasets.concatenate_datasets([rows.remove_columns(SOFT), blank], axis=1)
        (stripped / "data").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(stripped / "data" / f"{split}-00000-of-00001.parquet")
    shutil.copy(drawn / "manifest.json", stripped)
    (stripped / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n"
        "  - split: validation\n    path: data/validation-*\n---\n"
    )
    weights = []
    for data, name in ((drawn, "with"), (stripped, "without")):
        train_ensemble(data, tmp_path / name, options(), say=lambda text: None)
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


@pytest.mark.slow
def test_without_cross_fitting_the_validation_split_calibrates(drawn, tmp_path):
    record = train_ensemble(drawn, tmp_path / "one", options(folds=1, calibration="isotonic"), say=lambda text: None)
    assert record["calibration"]["split"] == "validation" and record["calibration"]["kind"] == "isotonic"
    assert record["calibration"]["faces"] == len(load_prepared(drawn, "default", "validation"))
    model = load_ensemble(tmp_path / "one")
    assert [member["fold"] for member in model.config.members] == [ALL_FOLDS]
    assert not (tmp_path / "one" / OUT_OF_FOLD_FILE).exists()
    assert "must not label the faces that it was trained on" in (tmp_path / "one" / "README.md").read_text()


@pytest.mark.slow
def test_our_vit_and_a_checkpoint_are_backbones_too(drawn, tmp_path):
    train_ensemble(drawn, tmp_path / "own", options(backbones=("mini",), folds=1), say=lambda text: None)
    network = load_ensemble(tmp_path / "own").members[0][0]
    assert network.config.model_type == "affectnet_plus"
    network.save_pretrained(tmp_path / "start")
    checkpoint = options(backbones=(str(tmp_path / "start"),), folds=1, trunk_epochs=0)
    record = train_ensemble(drawn, tmp_path / "again", checkpoint, say=lambda text: None)
    assert record["options"]["backbones"] == ["start"]  # and not where it lies on this machine
    again = load_ensemble(tmp_path / "again").members[0][1]
    position = "vit.embeddings.position_embeddings"
    near = (again.state_dict()[position] - network.state_dict()[position]).abs().mean()
    assert 0 < near < 0.01 < network.state_dict()[position].abs().mean()


RUN = """
import sys
from affectnet_plus_modeling.labelling.ensemble import train as module
from affectnet_plus_modeling.labelling.ensemble.options import EnsembleOptions
module.RESNET = {small}
if __name__ == "__main__":
    module.train_ensemble({data!r}, {out!r}, EnsembleOptions(**{options}), say=lambda text: print(text, flush=True))
"""


@pytest.mark.slow
def test_the_model_that_comes_with_the_package_is_a_backbone_too(drawn, tmp_path):
    """Its stem and encoder are the start, and neither its class weights nor its calibration follow it."""
    ferplus = options(backbones=("ferplus",), folds=1, trunk_epochs=0, epochs=0.1, image_size=48)
    record = train_ensemble(drawn, tmp_path / "ebc", ferplus, say=lambda text: None)
    assert record["networks"] == 8
    model = load_ensemble(tmp_path / "ebc")
    config = model.config.backbones[0]
    assert config["class_weights"] is None and config["uncertainty"] is None and config["logit_temperature"] == 1
    assert config["stem_type"] == "residual" and len(config["id2label"]) == 2


def started(drawn, out) -> subprocess.Popen:
    program = RUN.format(small=SMALL, data=str(drawn), out=str(out), options=OPTIONS)
    command, quiet = [sys.executable, "-c", program], subprocess.DEVNULL
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True)


def same_networks(one, two) -> bool:
    first, second = (load_file(folder / "model.safetensors") for folder in (one, two))
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.slow
def test_a_killed_run_goes_on_and_two_processes_share_the_work(drawn, tmp_path):
    train_ensemble(drawn, tmp_path / "undisturbed", options(), say=lambda text: None)
    process = started(drawn, tmp_path / "out")
    for line in process.stdout:
        if "fear" in line:
            break
    process.kill()
    process.wait()
    work = tmp_path / "out.training" / "backbone0-seed0-fold0"
    kept = {path.name for path in work.glob("*.safetensors")}
    assert {"trunk.safetensors", "surprise.safetensors"} <= kept and "contempt.safetensors" not in kept
    for resume in (False, True):
        with pytest.raises(ValueError, match="an unfinished run of another command: epochs was .* and is 3. Give"):
            train_ensemble(drawn, tmp_path / "out", options(epochs=3), say=lambda text: None, resume=resume)
    content = (work / "surprise.safetensors").read_bytes()  # after a power cut: a hole in what was declared done
    (work / "surprise.safetensors").write_bytes(content[:4096] + bytes(512) + content[4608:])
    processes = [started(drawn, tmp_path / "out"), started(drawn, tmp_path / "out")]
    said = [process.communicate(timeout=900)[0] for process in processes]
    # One that starts when the other has finished is refused, as the ensemble is there.
    assert 0 in [process.returncode for process in processes], said
    assert same_networks(tmp_path / "undisturbed", tmp_path / "out")


@pytest.mark.slow
def test_what_cannot_be_trained_on_is_refused_before_the_work(drawn, tmp_path, prepared):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="--overwrite"):
        train_ensemble(drawn, tmp_path / "there", options())
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        train_ensemble(drawn, tmp_path / "out", options(), resume=True)
    with pytest.raises(FileNotFoundError, match="holds no manifest.json"):
        train_ensemble(tmp_path / "there", tmp_path / "out", options())
    with pytest.raises(ValueError, match="choose a view of the 8 emotions"):
        train_ensemble(prepared, tmp_path / "out", options(view="all"))
    with pytest.raises(ValueError, match="expected a share"):
        options(label_smoothing=1.5)
    with pytest.raises(ValueError, match="needs a backbone"):
        options(backbones=())


@pytest.mark.parametrize("name, parameters", [("resnet-50", 23_512_130), ("efficientnet-b3", 10_699_306)])
def test_the_backbones_that_are_named_are_those_of_transformers(name, parameters):
    """As many weights as the published networks have without their thousand classes, and two classes."""
    with torch.device("meta"):
        network = module.make_network(module._backbone(name, 48))
    assert sum(value.numel() for value in network.parameters()) == parameters
    assert network.config.id2label == {0: "rest", 1: "emotion"}
