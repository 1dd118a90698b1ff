"""The doctor examines faces as delivered and prepared folders, says what is wrong with them, and writes nothing."""

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.examination import doctor, format_examination
from affectnet_plus_modeling.labels import ORDERS
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.synthetic import draw_tree

TRAIN = Path("human_annotated/train_set")


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """A tree of 60 drawn faces, 48 of them for training; read-only."""
    root = tmp_path_factory.mktemp("faces") / "raw"
    draw_tree(root, 60)
    return root


@pytest.fixture
def copy(faces, tmp_path) -> Path:
    """A copy of `faces` that a test may damage."""
    return Path(shutil.copytree(faces, tmp_path / "raw"))


@pytest.fixture
def ready(copy, tmp_path) -> Path:
    """`copy` prepared, images by path."""
    prepare(copy, tmp_path / "ready")
    return tmp_path / "ready"


def of_level(report, level) -> list[tuple[str, str]]:
    return [(found["check"], found["message"]) for found in report["findings"] if found["level"] == level]


def listing(folder) -> list:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def rewrite(path: Path, **fields) -> None:
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(record | fields))


# --- faces as delivered ----------------------------------------------------------------------------------------------


def test_drawn_faces_are_examined_without_an_error_and_without_writing(faces):
    before = listing(faces)
    report = doctor(faces)
    assert listing(faces) == before
    assert report["kind"] == "source" and report["left_out"] == {}
    assert of_level(report, "error") == []
    assert {split: counts["rows"] for split, counts in report["counts"].items()} == {"train": 48, "validation": 12}
    assert sum(report["counts"]["train"]["labels"].values()) == 48
    assert ("near duplicates", "no two pictures are nearly or exactly the same") in of_level(report, "note")
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.slow
def test_two_processes_report_what_one_does(faces, monkeypatch):
    monkeypatch.setattr("affectnet_plus_modeling.examination.FACES_AT_A_TIME", 7)  # 7 and 2 chunks
    assert doctor(faces, workers=2) == doctor(faces)


def test_progress_counts_every_face_with_those_left_out(copy, monkeypatch):
    monkeypatch.setattr("affectnet_plus_modeling.examination.FACES_AT_A_TIME", 20)
    next((copy / TRAIN / "annotations").iterdir()).write_text("{")
    seen = []
    doctor(copy, near_duplicates=False, progress=lambda *call: seen.append(call))
    assert seen == [("examine", done, 60) for done in (20, 40, 48, 60)]


def test_faces_that_cannot_be_rows_are_an_error_with_their_reasons(copy):
    annotations = sorted((copy / TRAIN / "annotations").iterdir())
    rewrite(annotations[0], **{"soft-label": [1.5] * 8})
    rewrite(annotations[1], **{"soft-label": [-0.5] * 8})
    annotations[2].write_text("[]")
    report = doctor(copy, near_duplicates=False)
    [(check, message)] = of_level(report, "error")
    assert check == "rows" and message.startswith("3 faces cannot be rows: 2 x soft-label[N] is N, expected")
    assert sum(report["left_out"].values()) == 3 and report["counts"]["train"]["rows"] == 45


def test_a_picture_that_cannot_be_decoded_is_an_error(copy):
    """Header, end and checksums are whole, as the loader asks; only decoding shows that the middle is not."""
    path = copy / TRAIN / "images" / "0.png"
    for old in (copy / TRAIN / "images").glob("0.*"):
        old.unlink()
    Image.new("L", (64, 64)).save(path)
    data = path.read_bytes()
    middle = b"IDAT" + b"\xff" * 40
    chunk = struct.pack(">I", 40) + middle + struct.pack(">I", zlib.crc32(middle))
    path.write_bytes(data[: data.index(b"IDAT") - 4] + chunk + data[data.index(b"IEND") - 4 :])
    report = doctor(copy)
    assert ("pictures", "1 cannot be decoded") in of_level(report, "error")
    assert [found["examples"] for found in report["findings"] if found["level"] == "error"] == [["train/0"]]


def test_pictures_of_one_colour_are_said_and_not_called_duplicates(raw_tree):
    report = doctor(raw_tree)
    warnings = dict(of_level(report, "warning"))
    assert warnings["pictures"].endswith(" are of one colour, and were not compared with others")
    assert not any(check.startswith("near") for check in warnings)


def test_without_near_duplicates_no_picture_is_decoded(raw_tree):
    report = doctor(raw_tree, near_duplicates=False)
    assert not any(found["check"] in ("pictures", "near duplicates") for found in report["findings"])


def test_a_leak_is_found_by_file_and_by_sight(copy):
    images = copy / TRAIN / "images"
    there = copy / "human_annotated/validation_set/images"
    same, alike = sorted(there.iterdir())[:2]
    shutil.copy(images / f"5{same.suffix}", same)
    Image.open(images / f"6{alike.suffix}").convert("RGB").save(alike, quality=60)
    report = doctor(copy)
    warnings = dict(of_level(report, "warning"))
    assert warnings["duplicates, leakage"] == "1 pictures of validation are the same file as 1 of train"
    assert warnings["near duplicates, leakage"] == (
        "2 pictures of validation are nearly or exactly the same as 2 of train"
    )


@pytest.mark.parametrize("order", ["alphabetical", "ferplus", "openface3"])
def test_a_tree_whose_labels_are_in_another_order_is_an_error(order, tmp_path):
    """Pictures do not matter to this, so all faces of a large tree have the same one."""
    from affectnet_plus_modeling.sources.synthetic import expressions
    from affectnet_plus_modeling.sources.tree import annotation, writing_tree

    rng, image = np.random.default_rng(0), _picture()
    with writing_tree(tmp_path / "raw") as tree:
        for stem in range(800):
            soft = expressions.soft_label(expressions.random_intensities(rng))
            valence, arousal = expressions.valence_arousal(soft)
            label = ORDERS[order].index(EMOTIONS[expressions.human_label(soft, rng)])
            record = annotation(label=label, soft_label=soft.tolist(), valence=valence, arousal=arousal)
            tree.add("train", stem, image, record)
    errors = of_level(doctor(tmp_path / "raw", near_duplicates=False), "error")
    assert [check for check, _ in errors] == ["label order"] * 2
    assert all(f"in the order {order!r}" in message for _, message in errors)


def _picture() -> bytes:
    import io

    content = io.BytesIO()
    Image.new("RGB", (24, 24)).save(content, "JPEG")
    return content.getvalue()


def test_what_doctor_does_not_take_is_said(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a model. Name faces after it that prepare wrote and that have labels"):
        doctor(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is not an AffectNet"):
        doctor(tmp_path / "empty")


# --- prepared folders ------------------------------------------------------------------------------------------------


def test_a_prepared_folder_has_the_findings_of_its_source(copy, ready):
    before = listing(ready)
    prepared, source = doctor(ready), doctor(copy)
    assert listing(ready) == before
    assert prepared["kind"] == "prepared" and of_level(prepared, "error") == []
    for split in source["counts"]:
        for part in source["counts"][split]:
            assert prepared["counts"][split][part] == source["counts"][split][part]

    def numbers(report):
        return sorted(
            (found["level"], found["check"], found["message"], found["count"])
            for found in report["findings"]
            if found["level"] != "note"
        )

    assert numbers(prepared) == numbers(source)


@pytest.mark.slow
def test_an_embedded_folder_is_examined_without_its_source(copy, tmp_path):
    prepare(copy, tmp_path / "embedded", embed=True)
    here = doctor(copy)
    shutil.rmtree(copy)
    report = doctor(tmp_path / "embedded", workers=2)
    assert "have no picture" not in str(report["findings"])
    assert report["counts"]["train"]["rows"] == here["counts"]["train"]["rows"]
    assert [found for found in of_level(report, "note") if "duplicates" in found[0]] == [
        found for found in of_level(here, "note") if "duplicates" in found[0]
    ]


def test_pictures_that_are_gone_or_damaged_are_an_error(copy, ready):
    gone, cut = sorted((copy / TRAIN / "images").iterdir())[:2]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    report = doctor(ready)
    [message] = [message for check, message in of_level(report, "error") if check == "pictures"]
    assert message.startswith("2 faces have no picture: ") and "No such file" in message
    examples = [found["examples"] for found in report["findings"] if found["check"] == "pictures"][0]
    assert sorted(text.split(":")[0] for text in examples) == sorted([f"train/{gone.stem}", f"train/{cut.stem}"])
    assert report["counts"]["train"]["rows"] == 46


def test_a_folder_whose_pictures_are_all_gone_is_examined_to_the_end(copy, ready):
    shutil.rmtree(copy)
    report = doctor(ready)
    assert "60 faces have no picture: " in str(of_level(report, "error"))
    assert report["counts"]["train"] == {"rows": 0, "labels": {}, "subsets": {}}


def test_a_damaged_manifest_is_an_error(ready):
    (ready / "manifest.json").write_text("{")
    assert [check for check, _ in of_level(doctor(ready), "error")] == ["manifest"]


def test_faces_that_prepare_left_out_are_a_warning(copy, tmp_path):
    (copy / TRAIN / "annotations" / "0.json").write_text("{")
    prepare(copy, tmp_path / "ready")
    report = doctor(tmp_path / "ready", near_duplicates=False)
    [message] = [message for check, message in of_level(report, "warning") if check == "rows"]
    assert message.startswith("1 faces were left out when this was prepared: 1 x annotation is not JSON")
    assert of_level(report, "error") == []


def test_a_parquet_file_that_was_changed_is_an_error(ready):
    path = sorted((ready / "data").glob("*.parquet"))[0]
    data = path.read_bytes()
    path.write_bytes(data[:-8] + data[-8:].replace(b"PAR1", b"PAR2"))
    errors = of_level(doctor(ready, near_duplicates=False), "error")
    assert any(path.name in message for _, message in errors)
    assert any(check == "files" and message.startswith(f"{path.name} cannot be read") for check, message in errors)


def test_what_verify_finds_is_in_the_report(ready):
    """A table of another folder: as good as the one that should be there, but not the same."""
    path = sorted((ready / "data").glob("train-*.parquet"))[0]
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    report = doctor(ready, near_duplicates=False)
    assert any(path.name in str(found) for found in report["findings"] if found["level"] == "error")


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_for_people_has_counts_and_every_finding(copy):
    (copy / TRAIN / "annotations" / "0.json").write_text("{")
    report = doctor(copy)
    lines = format_examination(report).splitlines()
    assert lines[0] == "train: 47 rows" and lines[1].startswith("  labels: neutral ")
    assert lines[6].startswith("error: rows: 1 faces cannot be rows")
    assert len(lines) == 6 + len(report["findings"])
