"""Faces as tensors: what is decoded, what the targets are, and that the saved processor sees the same."""

import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from transformers import AutoImageProcessor, pipeline

from affectnet_plus_modeling.data import dataset as faces_module
from affectnet_plus_modeling.data.dataset import FaceDataset, collate, decode, first_side, load_prepared, normalise
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.training.arguments import training_arguments
from affectnet_plus_modeling.training.trainer import FaceTrainer
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from support.models import TINY
from support.trees import full_record, picture

SOFT = [0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.125, 0.125]


def saved(image: Image.Image, kind="PNG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def noise(width, height, channels=3, seed=0) -> Image.Image:
    """A picture with structure at all scales, so that every way of resizing shows."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values if channels > 1 else values[:, :, 0])


def as_array(pixels: torch.Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).numpy()


# ---- one picture


def test_a_grey_face_becomes_three_equal_channels():
    face = noise(48, 48, 1)
    pixels = decode(saved(face), 48)
    assert pixels.shape == (3, 48, 48) and pixels.dtype == torch.uint8
    for channel in pixels:
        assert np.array_equal(channel.numpy(), np.array(face))


def test_a_colour_jpeg_keeps_its_channels_in_order():
    pixels = decode(picture((200, 120, 40), size=(64, 64)), 32)
    assert pixels.shape == (3, 32, 32)
    assert [round(float(channel.float().mean())) for channel in pixels] == pytest.approx([200, 120, 40], abs=3)


def test_a_face_of_the_right_size_is_not_touched():
    face = noise(40, 40)
    assert np.array_equal(as_array(decode(saved(face), 40)), np.array(face))


def test_the_exif_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    face = noise(20, 20)
    pixels = decode(saved(face, exif=exif), 20)
    assert np.array_equal(as_array(pixels), np.rot90(np.array(face), -1))


@pytest.mark.parametrize(
    "image",
    [noise(48, 48, 1), noise(224, 224), noise(31, 77), noise(300, 120, 1)],
    ids=["grey48", "colour224", "tall", "wide-grey"],
)
def test_the_saved_processor_sees_the_very_same_pixels(trained, tmp_path, image):
    path = tmp_path / "face.png"
    path.write_bytes(saved(image))
    processor = AutoImageProcessor.from_pretrained(trained)
    theirs = processor(Image.open(path), return_tensors="pt")["pixel_values"][0]
    ours = normalise(decode(path, 48))
    assert theirs.shape == ours.shape == (3, 48, 48)
    assert (theirs - ours).abs().max() < 1e-6, "one grey level is 0.0078: the only difference allowed is rounding"


def test_the_stock_pipeline_sees_the_very_same_pixels(trained, tmp_path):
    classify = pipeline("image-classification", str(trained), trust_remote_code=True)
    exif = Image.Exif()
    exif[0x0112] = 8
    turned, transparent = saved(noise(90, 60), "JPEG", exif=exif), saved(noise(64, 64, 4))
    for name, content in (("turned.jpg", turned), ("transparent.png", transparent)):
        path = tmp_path / name
        path.write_bytes(content)
        theirs = classify.preprocess(str(path))["pixel_values"][0]
        assert (theirs - normalise(decode(path, 48))).abs().max() < 1e-6, name


def test_normalising_spans_minus_one_to_one():
    assert normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def broken_png() -> bytes:
    content = bytearray(saved(noise(24, 24)))
    content[content.index(b"IDAT") + 40] ^= 0xFF
    second = content.index(b"IEND")
    content[second : second + 4] = b"\x01\x02\x03\x04"
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture at all",
        saved(noise(24, 24))[:200],
        saved(noise(24, 24))[:20],
        saved(noise(24, 24), "TIFF"),
        saved(noise(24, 24), "GIF"),
        broken_png(),
        saved(noise(24, 24)).replace(b"\x00\x00\x00\x0dIHDR", b"\x00\x00\x00\x05IHDR"),
    ],
    ids=["empty", "text", "cut", "cut-header", "tiff", "gif", "broken-chunk", "short-header"],
)
def test_what_is_no_jpeg_or_png_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "face-17.png"
    path.write_bytes(content)
    with pytest.raises(OSError, match="face-17.png cannot be read as JPEG or PNG"):
        decode(path, 24)
    with pytest.raises(OSError, match="embedded image cannot be read"):
        decode(content, 24)


def test_a_picture_that_would_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match="cannot be read as JPEG or PNG.*bomb"):
        decode(saved(noise(24, 24)), 24)


def test_a_missing_picture_is_refused_with_its_name(tmp_path):
    with pytest.raises(OSError, match="gone.jpg"):
        decode(tmp_path / "gone.jpg", 24)


# ---- a split


def test_a_face_is_a_dict_of_typed_tensors(drawn):
    rows = load_prepared(drawn, "default", "train")
    faces = FaceDataset(rows, 48)
    assert len(faces) == len(rows) == 32 and faces.image_ids == rows["image_id"][:]
    face = faces[5]
    assert {name: (value.shape, value.dtype) for name, value in face.items()} == {
        "pixels": ((3, 48, 48), torch.uint8),
        "soft_labels": ((8,), torch.float32),
        "valence_arousal": ((2,), torch.float32),
    }
    row = rows[5]
    upright = row["image"].convert("RGB").resize((48, 48), Image.Resampling.BILINEAR)
    assert np.array_equal(as_array(face["pixels"]), np.array(upright))
    assert face["soft_labels"].tolist() == row["soft_label_normalized"]
    assert face["valence_arousal"].tolist() == [row["valence"], row["arousal"]]
    assert faces.labels.tolist() == rows["label"][:]


def test_embedded_and_path_only_faces_are_the_same(prepared_from, tmp_path):
    pairs = [(saved(noise(30, 30, seed=seed)), full_record(seed, 0, seed)) for seed in range(4)]
    by_path = FaceDataset(load_prepared(prepared_from(pairs), "default", "train"), 24)
    prepare(tmp_path / "raw", tmp_path / "embedded", embed=True)
    shutil.rmtree(tmp_path / "raw")
    embedded = FaceDataset(load_prepared(tmp_path / "embedded", "default", "train"), 24)
    assert len(by_path) == len(embedded) == 4
    for one, other in zip(by_path, embedded, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_decoding_as_needed_is_the_same_as_in_advance(drawn, monkeypatch):
    rows = load_prepared(drawn, "default", "validation")
    in_advance = FaceDataset(rows, 48)
    monkeypatch.setattr(faces_module, "MEMORY_BYTES", 3 * 48 * 48 * len(rows) - 1)
    decoded = []
    as_needed = FaceDataset(rows, 48, progress=lambda *call: decoded.append(call))
    assert not decoded, "one byte over the limit, and yet decoded in advance"
    for one, other in zip(in_advance, as_needed, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    monkeypatch.setattr(faces_module, "MEMORY_BYTES", 3 * 48 * 48 * len(rows))
    FaceDataset(rows, 48, progress=lambda *call: decoded.append(call))
    assert decoded == [("read", 0, 1), ("read", 1, 1)]


@pytest.fixture
def gaps(prepared_from):
    """Four faces: all known, no soft label, no label, no valence; the third is in the view `all` only."""
    known = {"soft_label": SOFT, "valence": 0.5, "arousal": -0.25}
    records = [
        annotation(label=0, **known),
        annotation(label=3, valence=0.5, arousal=-0.25),
        annotation(label=None, **known),
        annotation(label=7, soft_label=SOFT[::-1], arousal=0.75),
    ]
    folder = prepared_from([(picture(), record) for record in records])
    rows = load_prepared(folder, "all", "train")
    assert len(rows) == 4
    return rows.sort("image_id")


def test_what_is_unknown_is_nan(gaps):
    faces = FaceDataset(gaps, 24)
    assert faces.labels.tolist() == [0, 3, -1, 7]
    assert faces.soft_labels.isnan().tolist() == [[False] * 8, [True] * 8, [False] * 8, [False] * 8]
    assert faces.valence_arousal.isnan().tolist() == [[False] * 2, [False] * 2, [False] * 2, [True, False]]
    assert faces[0]["soft_labels"].tolist() == SOFT and faces[3]["valence_arousal"][1] == 0.75
    assert torch.equal(faces[3]["soft_labels"], torch.tensor(SOFT[::-1]))


def test_the_hard_target_is_one_hot(gaps):
    faces = FaceDataset(gaps, 24, target="hard")
    targets = torch.stack([face["soft_labels"] for face in faces])
    assert targets[[0, 1, 3]].tolist() == np.eye(8)[[0, 3, 7]].tolist()
    assert targets[2].isnan().all()
    assert faces.soft_labels[0].tolist() == SOFT, "the true soft labels are lost, and evaluation needs them"


def test_the_mean_soft_label_is_over_the_known_ones(gaps, drawn):
    expected = np.mean([SOFT, SOFT, SOFT[::-1]], axis=0)
    for target in ("soft", "hard"):
        assert FaceDataset(gaps, 24, target).mean_soft_label() == pytest.approx(expected, abs=1e-7)
    assert FaceDataset(gaps.select([1]), 24).mean_soft_label() is None
    rows = load_prepared(drawn, "default", "train")
    expected = np.mean(rows["soft_label_normalized"][:], axis=0)
    assert FaceDataset(rows, 48).mean_soft_label() == pytest.approx(expected, abs=1e-6)


def test_labels_beyond_the_emotions_are_refused(prepared):
    with pytest.raises(ValueError, match="train/25 has label 8; choose a view of the 8 emotions"):
        rows = load_prepared(prepared, "all", "train")
        FaceDataset(rows.filter(lambda row: row["image_id"] in ("train/1", "train/25")), 24)


def test_one_unreadable_picture_is_named(drawn_tree, tmp_path, prepared_from):
    folder = prepared_from([(picture(), full_record(0, 0)), (picture(), full_record(1, 0))])
    bad = tmp_path / "raw" / "human_annotated" / "train_set" / "images" / "1.jpg"
    bad.write_bytes(b"gone bad since")
    with pytest.raises(OSError, match="images/1.jpg cannot be read"):
        FaceDataset(load_prepared(folder, "default", "train"), 24)


def test_one_unreadable_picture_in_the_middle_of_an_epoch_is_named(prepared_from, tmp_path, on_disk):
    pairs = [(saved(noise(30, 30, seed=seed), "JPEG"), full_record(seed, 0)) for seed in range(6)]
    folder = prepared_from(pairs)
    images = tmp_path / "raw" / "human_annotated" / "train_set" / "images"
    whole = (images / "4.jpg").read_bytes()
    faces = FaceDataset(load_prepared(folder, "default", "train"), 24)
    (images / "4.jpg").write_bytes(whole[: len(whole) // 2])
    for workers in (0, 1):
        batches = iter(DataLoader(faces, 2, num_workers=workers, collate_fn=collate))
        assert [len(next(batches)["pixels"]) for _ in range(2)] == [2, 2]
        with pytest.raises(OSError, match="train/4: .*images/4.jpg cannot be read as JPEG or PNG"):
            next(batches)
    embedded = load_prepared(folder, "default", "train").map(
        lambda row: {"image": {"bytes": b"not one", "path": "4.jpg"} if row["image_id"] == "train/4" else row["image"]}
    )
    with pytest.raises(OSError, match="train/4: embedded image cannot be read as JPEG or PNG"):
        FaceDataset(embedded, 24).batch([3, 4])


@pytest.fixture
def on_disk(monkeypatch):
    """Every set counts as too large to be decoded in advance."""
    monkeypatch.setattr(faces_module, "MEMORY_BYTES", 0)


@pytest.mark.parametrize("embed", [False, True], ids=["by-path", "embedded"])
@pytest.mark.parametrize("in_advance", [False, True], ids=["as-needed", "in-advance"])
def test_a_batch_holds_the_faces_that_were_asked_for(embed, in_advance, prepared_from, monkeypatch):
    monkeypatch.setattr(faces_module, "MEMORY_BYTES", 10**9 * in_advance)
    monkeypatch.setattr(faces_module, "AT_A_TIME", 3)
    kinds = ("JPEG", "PNG", "JPEG", "PNG", "JPEG")
    pairs = [
        (saved(noise(30, 24 + 2 * seed, seed=seed), kind), full_record(seed, 0, seed))
        for seed, kind in enumerate(kinds)
    ]
    rows = load_prepared(prepared_from(pairs, embed=embed), "default", "train")
    for data in (rows, rows.shuffle(seed=3), rows.select([4, 2, 3, 1])):
        faces = FaceDataset(data, 30)
        asked = [3, 0, 3, 2]
        batch = faces.batch(asked)
        assert batch["pixels"].shape == (4, 3, 30, 30) and batch["pixels"].dtype == torch.uint8
        for place, row in enumerate(asked):
            image = data[row]["image"].convert("RGB").resize((30, 30), Image.Resampling.BILINEAR)
            assert np.array_equal(as_array(batch["pixels"][place]), np.array(image))
            assert batch["soft_labels"][place].tolist() == data[row]["soft_label_normalized"]
            assert batch["valence_arousal"][place].tolist() == [data[row]["valence"], data[row]["arousal"]]
        assert [len(values) for values in faces.batch([]).values()] == [0, 0, 0]
        with pytest.raises(IndexError):
            faces[len(data)]


@pytest.mark.slow
@pytest.mark.parametrize("workers, start", [(0, None), (1, "fork"), (2, "fork"), (1, "spawn")])
def test_workers_give_the_same_batches(drawn, workers, start, on_disk):
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 48)
    part = Subset(faces, list(range(31, 1, -2)))
    batches = list(DataLoader(part, 4, num_workers=workers, multiprocessing_context=start, collate_fn=collate))
    assert [len(batch["pixels"]) for batch in batches] == [4, 4, 4, 3]
    for name in ("pixels", "soft_labels", "valence_arousal"):
        found = torch.cat([batch[name] for batch in batches])
        assert torch.equal(found, torch.stack([faces[row][name] for row in part.indices]))


def test_an_epoch_in_random_order_shows_every_face_once(drawn, on_disk):
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 48)
    torch.manual_seed(0)
    seen = [
        row
        for batch in DataLoader(faces, 5, shuffle=True, collate_fn=collate)
        for row in batch["soft_labels"].tolist()
    ]
    assert sorted(seen) == sorted(faces.soft_labels.tolist()) and seen != faces.soft_labels.tolist()


def test_the_pixels_of_a_batch_are_where_the_model_always_had_them(drawn, on_disk):
    """Convolutions add up in another order where the channels of a pixel lie side by side."""
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 48)
    assert normalise(faces.batch([1, 2, 3])["pixels"]).is_contiguous()


def test_the_trainer_makes_of_a_batch_what_the_model_takes(drawn, tmp_path):
    faces = FaceDataset(load_prepared(drawn, "default", "train"), 48)
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**TINY, image_size=48, patch_size=8))
    trainer = FaceTrainer(None, model=model, args=training_arguments(tmp_path, 1, 3, 1e-3, False))
    batch = trainer._prepare_inputs(collate(faces.batch([0, 1, 2])))
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "pixel_values": (3, 3, 48, 48),
        "soft_labels": (3, 8),
        "valence_arousal": (3, 2),
    }
    assert torch.equal(batch["pixel_values"][1], normalise(faces[1]["pixels"]))
    assert batch["pixel_values"].min() >= -1 and batch["pixel_values"].max() <= 1
    assert torch.equal(batch["soft_labels"][2], faces[2]["soft_labels"])


def test_only_a_prepared_folder_is_loaded(tmp_path, drawn, drawn_tree):
    for folder, why in ((tmp_path / "nothing", "does not exist"), (drawn_tree, "holds no manifest.json")):
        with pytest.raises(FileNotFoundError, match=f"{folder.name} {why}; give the folder that prepare"):
            load_prepared(folder, "default")
    with pytest.raises(ValueError, match="nosuchview"):
        load_prepared(drawn, "nosuchview")
    with pytest.raises(ValueError, match="nosuchsplit"):
        load_prepared(drawn, "default", "nosuchsplit")
    assert set(load_prepared(drawn, "default")) == {"train", "validation"}


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("size", [(24, 30), (30, 24)])
def test_the_first_side_is_the_longer_one_of_the_first_picture(prepared_from, embed, size):
    content = io.BytesIO()
    Image.new("RGB", size).save(content, "JPEG")
    data = prepared_from([(content.getvalue(), annotation(label=1))], embed=embed)
    assert first_side(load_prepared(data, "default", "train")) == 30
