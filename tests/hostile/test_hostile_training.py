"""Pictures that pass `prepare` and cannot be decoded: training names them and goes on without, or ends if told to."""

import io

import numpy as np
import pytest
from PIL import Image

from affectnet_plus import check_image
from affectnet_plus_modeling.data import dataset
from affectnet_plus_modeling.data.dataset import FaceDataset, first_side, load_prepared
from affectnet_plus_modeling.training.train import train
from support.models import quick
from support.trees import full_record


def photo(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


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


@pytest.fixture
def data(prepared_from):
    """12 faces to train on, the first and the last undecodable, and 4 to choose with, one undecodable."""
    bad = unreadable_jpeg()
    training = [(bad if n in (0, 11) else photo(n), full_record(n % 8, None, seed=n)) for n in range(12)]
    choosing = [(bad if n == 2 else photo(n), full_record(n % 8, None, seed=n)) for n in range(4)]
    return prepared_from(training, choosing)


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


def test_training_names_and_counts_the_faces_that_it_leaves_out(data, tmp_path, tiny):
    said: list[str] = []
    record = train(data, tmp_path / "model", quick(epochs=1, batch_size=4), say=said.append)
    assert (record["training_faces"], record["choosing_faces"], record["left_out"]) == (10, 3, 3)
    assert len(said) == 1 and said[0].startswith("3 faces cannot be decoded and are left out: train/0 (")
    assert "train/11 (" in said[0] and "validation/2 (" in said[0] and "\n" not in said[0]
    with pytest.raises(OSError, match="/(0|11): .*cannot be read as JPEG or PNG"):
        train(data, tmp_path / "strict", quick(epochs=1, batch_size=4), strict=True)
    assert not (tmp_path / "strict").exists()
