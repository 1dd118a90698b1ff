"""An ensemble on the Hub: what is published, what stays because it tells of faces, and the way back."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.labelling.ensemble.model import ALL_FOLDS, BinaryEnsemble, load_ensemble
from affectnet_plus_modeling.labelling.ensemble.seen import read_seen
from affectnet_plus_modeling.training.saving import save_processor
from hub.client import signed_in
from support.ensembles import SIZE, make_ensemble
from support.trees import picture

REPO = "tester/ebc"
FILES = [
    ".gitattributes",
    "README.md",
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "training.json",
]
RECORD = {
    "options": {"backbones": ["resnet"], "folds": 2, "seeds": 1, "image_size": SIZE},
    "faces": [2] * 8,
    "members": 2,
    "networks": 16,
    "calibration": {"kind": "platt", "split": "train", "faces": 16},
}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with signed_in(monkeypatch, tmp_path / "home") as running:
        yield running


@pytest.fixture
def ensemble(tmp_path) -> Path:
    """The folder of an ensemble, as train-ensemble writes it, with a face that it was trained on."""
    folder = make_ensemble(tmp_path / "ebc", folds=(0, 1), seen=[(picture(), 1)])
    save_processor(SIZE, folder)
    (folder / "out_of_fold.parquet").write_bytes(b"a row for each face")
    return learnt_from(folder, "AffectNet+")


def learnt_from(folder: Path, origin: str | None) -> Path:
    (folder / "training.json").write_text(json.dumps(RECORD | {"data": {"name": "data", "origin": origin}}))
    return folder


def publish(folder, *flags) -> int:
    return main(["publish", str(folder), REPO, *flags])


def test_weights_calibration_and_card_are_published_and_nothing_of_a_face(hub, ensemble, capsys):
    assert publish(ensemble) == 0
    files = hub.files(REPO)
    assert sorted(files) == FILES and hub.repo(REPO).private is True
    for name in set(FILES) - {".gitattributes", "README.md"}:
        assert files[name] == (ensemble / name).read_bytes(), name
    card = files["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert (head["license_name"], head["library_name"]) == ("affectnet-academic", "affectnet-plus")
    assert "# ebc\n" in card and f'from_pretrained("{REPO}")' in card and "refuses the ensemble: ask" in card
    assert "learnt from AffectNet+, so they stay closed" in capsys.readouterr().out
    assert publish(ensemble) == 0 and len(hub.repo(REPO).commits) == 2


def test_digests_are_published_for_drawn_faces_or_when_asked_and_taken_back_when_not(hub, ensemble):
    seen = (ensemble / "seen.parquet").read_bytes()
    assert publish(ensemble, "--with-seen") == 0
    assert hub.files(REPO)["seen.parquet"] == seen and "hf download tester/ebc" in card_of(hub)
    assert publish(ensemble) == 0
    assert "seen.parquet" not in hub.files(REPO) and "hf download" not in card_of(hub)
    assert publish(learnt_from(ensemble, "drawn")) == 0
    assert hub.files(REPO)["seen.parquet"] == seen and "out_of_fold.parquet" not in hub.files(REPO)


def card_of(hub) -> str:
    return hub.files(REPO)["README.md"].decode()


@pytest.mark.parametrize(
    "origin, flags, private",
    [
        ("drawn", [], False),
        (None, [], True),
        ("AffectNet+", ["--public"], False),
        (None, ["--public", "--license", "cc-by-nc-4.0"], False),
    ],
)
def test_who_may_read_is_decided_as_for_models(hub, ensemble, origin, flags, private):
    assert publish(learnt_from(ensemble, origin), *flags) == 0
    assert hub.repo(REPO).private is private


def test_what_was_published_answers_as_before_and_can_label(hub, ensemble, tmp_path):
    learnt_from(ensemble, "drawn")
    assert publish(ensemble) == 0
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name, content in hub.files(REPO).items():
        (folder / name).write_bytes(content)
    pixels = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load_ensemble(ensemble)(pixels).logits
        for model in (load_ensemble(folder), BinaryEnsemble.from_pretrained(folder).eval()):
            assert torch.equal(model(pixels).logits, expected)
    assert list(read_seen(folder / "seen.parquet").values()) == [1] != [ALL_FOLDS]


def test_a_folder_holds_what_would_be_pushed(hub, ensemble, tmp_path):
    assert main(["publish", str(ensemble), str(tmp_path / "ebc-out"), "--to-folder"]) == 0
    assert not hub.requests
    assert sorted(path.name for path in (tmp_path / "ebc-out").iterdir()) == FILES[1:]


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda folder: (folder / "training.json").unlink(),
            "holds no training.json; give the folder of train-ensemble",
        ),
        (
            lambda folder: shutil.copyfile(folder / "config.json", folder / "model.safetensors"),
            "is no safetensors file",
        ),
    ],
)
def test_a_damaged_ensemble_is_refused_before_the_hub_is_asked(hub, ensemble, damage, message, capsys):
    damage(ensemble)
    assert publish(ensemble) == 1
    assert message in capsys.readouterr().err and not hub.requests
