"""Chunks: the rows and reasons are those of the plain reader, in the order of the faces, whichever way was taken."""

import json
import os

import numpy as np
import pytest
import xxhash
from PIL import Image

from affectnet_plus import BadRow, Face, features, to_table
from affectnet_plus_modeling.preparing.chunks import ROW_SCHEMA, SIDE_SCHEMA, read_chunk
from affectnet_plus_modeling.preparing.quick import read_quickly
from affectnet_plus_modeling.sources.delivered import FolderSource
from support.trees import full_record, picture

TRAIN = "human_annotated/train_set"


class OtherSource:
    """A source that is no folder, so that every face is read the plain way."""

    def __init__(self, root):
        self._source = FolderSource(root)
        self.root, self.origin, self.holds_files = self._source.root, self._source.origin, True
        self.splits, self.places, self.faces = self._source.splits, self._source.places, self._source.faces
        self.read, self.fingerprint = self._source.read, self._source.fingerprint


def plain_rows(source, split, faces):
    """What the plain reader says of each face, put together here."""
    rows, reasons = [], []
    for face in faces:
        try:
            rows.append(source.read(split, face)[0])
        except BadRow as reason:
            reasons.append({"image_id": face.image_id, "reason": str(reason)})
    return to_table(rows, features("all")).replace_schema_metadata(None), reasons


def assert_plain(source, split, faces):
    chunk = read_chunk(source, split, faces)
    table, reasons = plain_rows(source, split, faces)
    chunk.table.validate(full=True)
    assert chunk.split == split and chunk.quarantined == reasons
    rows = chunk.table.select(ROW_SCHEMA.names)
    assert rows.schema == ROW_SCHEMA and rows.equals(table)
    # Arrow holds 0 and -0 for equal.
    assert repr(rows.to_pylist()) == repr(table.to_pylist())
    return chunk


def test_the_rows_of_a_tree_are_those_of_the_plain_reader(raw_tree):
    source = FolderSource(raw_tree)
    for split in source.splits():
        assert_plain(source, split, source.faces(split))


def test_faces_as_they_are_written_are_all_read_the_quick_way(raw_tree, drawn_tree):
    for root in (raw_tree, drawn_tree):
        source = FolderSource(root)
        for split in source.splits():
            faces = source.faces(split)
            rows, left = read_quickly(source.folder(split), split, faces)
            assert left == [] and rows.column("image_id").to_pylist() == [face.image_id for face in faces]


def test_the_size_and_the_hash_of_a_picture_are_those_of_its_file(tree_copy):
    (tree_copy / TRAIN / "images" / "7.jpg").write_bytes(picture(size=(31, 17)))
    (tree_copy / TRAIN / "images" / "10.jpg").write_bytes(picture(kind="PNG", size=(5, 9)))
    source = FolderSource(tree_copy)
    table = read_chunk(source, "train", source.faces("train")).table
    assert table.select(SIDE_SCHEMA.names).schema == SIDE_SCHEMA
    for row in table.to_pylist():
        path = row["image"]["path"]
        with open(path, "rb") as file, Image.open(path) as image:
            content = file.read()
            assert (row["width"], row["height"]) == image.size
        assert (row["file_bytes"], row["file_hash"]) == (os.path.getsize(path), xxhash.xxh3_128_digest(content))


def damaged(tree):
    """Make one face of each kind that the quick way may not take."""
    images, annotations = tree / TRAIN / "images", tree / TRAIN / "annotations"
    texts = {
        1: b"no",
        7: json.dumps({"Human_Label": 3}).encode(),
        13: (annotations / "13.json").read_bytes().replace(b'"subset": ', b'"subset": 1, "subset": '),
        16: json.dumps(full_record(2, 0) | {"human-label": 11}).encode(),
        19: json.dumps(full_record(2, 0)).replace('"valence": ', '"valence": -1.5, "was": ').encode("utf-16"),
        22: b"",
        25: b" " * 70_000 + (annotations / "25.json").read_bytes(),
        28: b" " * 1_000_000 + (annotations / "28.json").read_bytes(),
    }
    for stem, text in texts.items():
        (annotations / f"{stem}.json").write_bytes(text)
    (images / "31.jpg").write_bytes(picture()[:-3])
    (images / "34.jpg").write_bytes(picture() + b"\0")
    (images / "37.jpg").write_bytes(picture(size=(4097, 1)))
    (images / "40.jpg").write_bytes(b"")
    big = np.random.default_rng(0).integers(0, 256, (300, 300, 3), "uint8")
    Image.fromarray(big).save(images / "43.jpg", quality=95)
    assert (images / "43.jpg").stat().st_size > 1 << 16
    (images / "46.jpg").unlink()
    os.mkfifo(images / "46.jpg")
    (annotations / "49.json").unlink()
    os.mkfifo(annotations / "49.json")
    (images / "52.jpg").unlink()
    (images / "52.jpg").symlink_to("55.jpg")
    (images / "58.jpg").unlink()
    (images / "58.jpg").symlink_to(tree / "human_annotated/validation_set/images/1.jpg")
    (images / "61.jpg").unlink()
    (images / "61.jpg").symlink_to("61.jpg")
    (images / "64.jpg").unlink()
    (images / "64.jpg").mkdir()
    (images / "67.jpg").unlink()
    (images / "notes.txt").write_text("x")


def test_a_chunk_with_every_kind_of_damage_is_that_of_the_plain_reader(tree_copy):
    damaged(tree_copy)
    source = FolderSource(tree_copy)
    faces = source.faces("train")
    chunk = assert_plain(source, "train", faces)
    ids = chunk.table.column("image_id").to_pylist()
    assert ids == [face.image_id for face in faces if face.image_id in ids], "rows keep the order of the faces"
    assert {f"train/{stem}" for stem in (7, 25, 34, 43, 52)} <= set(ids), "rows of both ways are in it"
    reasons = {entry["image_id"]: entry["reason"] for entry in chunk.quarantined}
    assert reasons["train/46"] == "'46.jpg' is not a file" and reasons["train/49"] == "'49.json' is not a file"
    assert "cannot be opened: [Errno 40]" in reasons["train/61"]
    assert len(ids) + len(reasons) == len(faces) and len(reasons) == 16
    assert_plain(OtherSource(tree_copy), "train", faces)


def test_a_source_that_is_no_folder_gives_the_same_chunk(tree_copy):
    damaged(tree_copy)
    source, other = FolderSource(tree_copy), OtherSource(tree_copy)
    for split in source.splits():
        one, two = (read_chunk(each, split, source.faces(split)) for each in (source, other))
        assert one.table.equals(two.table) and one.table.schema == two.table.schema
        assert one.quarantined == two.quarantined


def test_a_label_where_there_are_no_humans_is_quarantined(tree_copy):
    folder = tree_copy / "no_human_annotated"
    (folder / "annotations" / "9.json").write_text(json.dumps(full_record(3, 0)))
    source = FolderSource(tree_copy)
    chunk = assert_plain(source, "no_human", source.faces("no_human"))
    assert [entry["image_id"] for entry in chunk.quarantined] == ["no_human/9"] and chunk.table.num_rows == 4


def test_no_face_and_nothing_but_bad_faces_give_an_empty_table(tree_copy):
    source = FolderSource(tree_copy)
    assert read_chunk(source, "train", []).table.schema == assert_plain(source, "train", []).table.schema
    for path in (tree_copy / TRAIN / "annotations").iterdir():
        path.write_bytes(b"[]")
    chunk = assert_plain(source, "train", source.faces("train"))
    assert chunk.table.num_rows == 0 and len(chunk.quarantined) == 36


@pytest.mark.parametrize("lost", ["images", "annotations"])
def test_a_split_with_a_folder_lost_is_quarantined(tree_copy, lost):
    (tree_copy / TRAIN / lost).rename(tree_copy / "elsewhere")
    source = FolderSource(tree_copy)
    chunk = assert_plain(source, "train", source.faces("train"))
    assert {entry["reason"] for entry in chunk.quarantined} == {f"has no {lost[:-1]}"}


def test_a_face_that_vanishes_after_the_listing_is_quarantined(tree_copy):
    source = FolderSource(tree_copy)
    faces = source.faces("train")
    (tree_copy / TRAIN / "images" / "7.jpg").unlink()
    chunk = assert_plain(source, "train", faces)
    assert "cannot be opened" in chunk.quarantined[0]["reason"]


def test_a_face_of_another_place_is_read_from_its_own_folder(tree_copy):
    source = FolderSource(tree_copy)
    chunk = assert_plain(source, "validation", [Face("validation/2", "2.jpg", "2.json")])
    assert chunk.table.column("image")[0]["path"].as_py() == str(
        source.root / "human_annotated/validation_set/images/2.jpg"
    )


# --- the fingerprint -------------------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_every_file_and_with_nothing_else(tree_copy):
    source = FolderSource(tree_copy)
    before, images = source.fingerprint(), tree_copy / TRAIN / "images"
    seen = [before]

    def changed():
        seen.append(source.fingerprint())
        return len(set(seen)) == len(seen)

    assert FolderSource(tree_copy).fingerprint() == before
    stat = (images / "7.jpg").stat()
    os.utime(images / "7.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert changed(), "another time"
    (images / "7.jpg").write_bytes(b"x")
    os.utime(images / "7.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert changed(), "another size at the same time"
    (images / "7.jpg").rename(images / "8.jpg")
    assert changed(), "another name"
    (images / "8.jpg").unlink()
    assert changed(), "a file less"
    (tree_copy / "no_human_annotated" / "annotations" / "77.json").write_bytes(b"x")
    assert changed(), "a file more"
