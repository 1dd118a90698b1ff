"""Pictures that pass `prepare` and cannot be decoded: training names them and goes on without, or ends if told to."""

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image

from affectnet_plus import check_image
from affectnet_plus_modeling.data import dataset
from affectnet_plus_modeling.data.dataset import FaceDataset, first_side, load_prepared
from affectnet_plus_modeling.labelling.action_units.model import ActionUnitOptions, train_action_units
from affectnet_plus_modeling.labelling.action_units.tables import ActionUnitTable
from affectnet_plus_modeling.labelling.ensemble import train as ensemble
from affectnet_plus_modeling.labelling.ensemble.options import EnsembleOptions
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.tree import writing_tree
from affectnet_plus_modeling.training.pretrain import pretrain
from affectnet_plus_modeling.training.pretrain_options import PretrainingOptions
from affectnet_plus_modeling.training.train import train
from support.archives import as_zip
from support.ensembles import RESNET
from support.models import quick
from support.trees import full_record


def photo(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


@cache
def unreadable_jpeg() -> bytes:
    """A JPEG with a flipped bit in a table that is not looked at before the pixels are decoded."""
    content = photo(0)
    for place in range(20, len(content)):
        damaged = content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :]
        try:
            check_image(damaged)
        except ValueError:
            continue
        try:
            dataset.images.decode(damaged)
        except OSError:
            return damaged
    raise AssertionError("premise: some flipped bit is found by decoding alone")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """12 faces to train on, the first and the last undecodable, and 11 to choose with, one undecodable; read-only."""
    place, bad = tmp_path_factory.mktemp("undecodable"), unreadable_jpeg()
    with writing_tree(place / "raw") as tree:
        for split, count, unreadable in (("train", 12, (0, 11)), ("validation", 11, (2,))):
            for n in range(count):
                tree.add(split, n, bad if n in unreadable else photo(n), full_record(n % 8, None, seed=n))
    prepare(place / "raw", place / "ready")
    return place / "ready"


@pytest.mark.parametrize("held_in_memory", [True, False])
def test_a_lenient_data_set_says_which_faces_cannot_be_decoded(data, monkeypatch, held_in_memory):
    monkeypatch.setattr(dataset, "MEMORY_BYTES", 10**9 * held_in_memory)
    rows = load_prepared(data, "default", "train")
    faces = FaceDataset(rows, 24, lenient=True)
    assert sorted(faces.image_ids[row] for row in faces.unreadable) == ["train/0", "train/11"]
    assert first_side(rows) == 24
    if not held_in_memory:
        with pytest.raises(OSError, match="train/0: "):
            faces.batch(range(len(faces)))


SAID = "{} faces cannot be decoded and are left out: "


def check_said(said: list[str], *names: str) -> None:
    """All of them are named with their reason, in one line."""
    (line,) = [text for text in said if "left out" in text]
    assert line.startswith(SAID.format(len(names))) and "\n" not in line
    assert all(f"{name} (" in line for name in names)


def test_training_names_and_counts_the_faces_that_it_leaves_out(data, tmp_path, tiny):
    said: list[str] = []
    record = train(data, tmp_path / "model", quick(epochs=1, batch_size=4), say=said.append)
    assert (record["training_faces"], record["choosing_faces"], record["left_out"]) == (10, 10, 3)
    check_said(said, "train/0", "train/11", "validation/2")
    with pytest.raises(OSError, match="/(0|11): .*cannot be read as JPEG or PNG"):
        train(data, tmp_path / "strict", quick(epochs=1, batch_size=4), strict=True)
    assert not (tmp_path / "strict").exists()


@pytest.mark.slow
def test_so_does_the_training_of_an_ensemble(data, tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble, "RESNET", RESNET)
    shape = {"backbones": ("resnet",), "folds": 1, "image_size": 24, "trunk_epochs": 0, "epochs": 1, "bf16": False}
    options, said = EnsembleOptions(**shape, fewest_positives=4), []
    record = ensemble.train_ensemble(data, tmp_path / "model", options, say=said.append)
    assert sum(record["faces"]) == 10 and record["left_out"] == 3 and record["calibration"]["faces"] == 10
    check_said(said, "train/0", "train/11", "validation/2")
    with pytest.raises(OSError, match="/(0|2|11): .*cannot be read as JPEG or PNG"):
        ensemble.train_ensemble(data, tmp_path / "strict", options, strict=True)
    assert not (tmp_path / "strict").exists()


def test_so_does_the_training_on_action_units(data, tmp_path):
    names = [f"train/{n}" for n in range(12)] + [f"validation/{n}" for n in range(11)]
    units = ("AU01", "AU12")
    values = np.random.default_rng(0).random((23, 2))
    table = ActionUnitTable("drawn faces", names, units, values, (), {})
    options, said = ActionUnitOptions(image_size=24, embedding_size=8, hidden_sizes=(8,), depths=(1,), epochs=1), []
    record = train_action_units(data, table, tmp_path / "model", options, say=said.append)
    found = [(record[split]["faces"], record[split]["left_out"]) for split in ("training", "choosing")]
    assert found == [(10, 2), (10, 1)]
    check_said(said, "train/0", "train/11", "validation/2")
    with pytest.raises(OSError, match="/(0|2|11): .*cannot be read as JPEG or PNG"):
        train_action_units(data, table, tmp_path / "strict", options, strict=True)
    assert not (tmp_path / "strict").exists()


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["prepared", "folder", "zip"])
def test_so_does_pre_training(data, tmp_path, tiny, pack):
    names = [f"{n}.jpg" for n in range(5)]
    bad = ["3.jpg", "no.jpg"]
    files = {name: photo(n) for n, name in enumerate(names)} | {"3.jpg": unreadable_jpeg(), "no.jpg": b"no"}
    images, faces = tmp_path / "faces", 4
    if pack == "prepared":
        images, faces, bad = data, 10, ["train/0", "train/11"]
    elif pack == "zip":
        images = as_zip(tmp_path / "faces.zip", files)
    else:
        images.mkdir()
        for name, content in files.items():
            (images / name).write_bytes(content)
        (images / "out.jpg").symlink_to(tmp_path / "private.jpg")
        (tmp_path / "private.jpg").write_bytes(photo(9))
        (images / "folder.jpg").mkdir()
        bad += ["out.jpg", "folder.jpg"]
    options, said = PretrainingOptions(epochs=1, batch_size=4, image_size=24, bf16=False), []
    for _ in range(2):  # of an archive, the second reads what datasets keeps of the first
        record = pretrain(images, tmp_path / "encoder", options, say=said.append, overwrite=True)
        assert (record["images"]["faces"], record["images"]["left_out"]) == (faces, len(bad))
        check_said(said, *bad)
        said.clear()
    with pytest.raises(OSError, match=f"({'|'.join(bad)}): "):
        pretrain(images, tmp_path / "strict", options, strict=True)
    assert not (tmp_path / "strict").exists()
