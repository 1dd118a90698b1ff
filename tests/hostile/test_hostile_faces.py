"""Faces as accidents and tools leave them: damaged pictures, deep annotations, odd names, in a folder and in a zip."""

import io
import json
import shutil

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from affectnet_plus import SPLITS, BadRow, check_image, read_annotation
from affectnet_plus_modeling.data.pictures import open_pictures
from affectnet_plus_modeling.images import decode
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.manifest import verify
from affectnet_plus_modeling.sources.delivered import open_source
from hostile.damage import damaged_bytes, many, nested, runs
from support.archives import as_folder, as_zip
from support.older import row_of, write_list
from support.trees import full_record, picture

TRAIN = SPLITS["train"]
MAX_DEPTH = 32
RECORD = json.dumps(full_record(3, 0)).encode()


def photo(kind: str, mode: str = "RGB") -> bytes:
    """A picture whose pixels take most of its bytes."""
    rng, file = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).convert(mode).save(file, kind)
    return file.getvalue()


# --- pictures --------------------------------------------------------------------------------------------------------


@runs(300, 20_000)
def test_a_png_that_is_accepted_can_be_decoded(count):
    good = [photo("PNG"), photo("PNG", "P"), photo("PNG", "L"), picture(kind="PNG")]

    def check(content):
        try:
            check_image(content)
        except BadRow:
            return
        decode(content)

    many(count, st.sampled_from(good).flatmap(damaged_bytes), check)


@pytest.mark.parametrize("mode", ["RGB", "P", "LA"])
def test_no_flipped_bit_of_a_png_passes(mode):
    content = photo("PNG", mode)
    for place in range(0, len(content), 7):
        damaged = content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        with pytest.raises(BadRow):
            check_image(damaged)
    check_image(content)
    check_image(content + b"bytes behind the end")
    with pytest.raises(BadRow, match="image cannot be read: the PNG is truncated"):
        check_image(content[:-12])


# --- annotations -----------------------------------------------------------------------------------------------------

HEAD = b'{"human-label": 3, "extra": '


@pytest.mark.parametrize("kind", ["list", "object"])
def test_the_depth_of_an_annotation_has_one_limit_in_every_process(kind):
    assert read_annotation(HEAD + nested(MAX_DEPTH - 1, kind) + b"}")["label"] == 3
    answers = set()

    def read(depth, above):
        if above:
            return read(depth, above - 1)
        try:
            read_annotation(HEAD + nested(depth, kind) + b"}")
        except BadRow as reason:
            answers.add(str(reason))

    for depth in (MAX_DEPTH, 300, 900, 980, 5000, 100_000):
        for above in (0, 200, 600):
            read(depth, above)
    assert answers == {f"annotation is nested more than {MAX_DEPTH} deep"}


def test_brackets_in_texts_are_no_depth_and_many_quotes_take_no_time():
    assert read_annotation(HEAD + json.dumps('[{"' * 1000 + "\\").encode() + b"}")["label"] == 3
    assert read_annotation((HEAD + b"[" * 20 + b"]" * 20 + b"}").decode().encode("utf-16"))["label"] == 3
    for text in (b'[{"' + b'\\"' * 400_000, b'"' * 900_000 + b"[" * 100, b"[" * 40 + b'"' + b"\\" * 900_000):
        with pytest.raises(BadRow):
            read_annotation(text)


def test_a_deep_annotation_is_in_quarantine_and_the_others_are_rows(tree_copy, tmp_path):
    (tree_copy / TRAIN / "annotations" / "1.json").write_bytes(HEAD + nested(980) + b"}")
    shutil.make_archive(str(tmp_path / "faces"), "zip", tree_copy.parent, tree_copy.name)
    for number, source in enumerate((tree_copy, tmp_path / "faces.zip")):
        report = prepare(source, tmp_path / f"out{number}")
        assert report["quarantine_reasons"] == {"annotation is nested more than N deep": 1}


# --- names -----------------------------------------------------------------------------------------------------------

SYSTEM = (".DS_Store", "Thumbs.db", "._1.jpg", "._1.json", "desktop.ini", "@eaDir/1.jpg", ".ipynb_checkpoints/1.jpg")


def reasons(source) -> dict[str, list[str]]:
    """image_id -> the reasons that it cannot be read; each face is to have one."""
    found: dict[str, list[str]] = {}
    for split in source.splits():
        for face in source.faces(split):
            try:
                source.read(split, face)
            except BadRow as reason:
                found.setdefault(face.image_id, []).append(str(reason))
    return found


@pytest.mark.parametrize("pack", ["folder", "zip"])
def test_a_face_with_an_unknown_suffix_counts_once_and_system_files_never(tmp_path, pack):
    files = {f"{TRAIN}/images/{n}.jpg": picture() for n in (1, 2)} | {f"{TRAIN}/annotations/1.json": RECORD}
    files |= {f"{TRAIN}/annotations/2.xml": b"<a/>", f"{TRAIN}/images/3.webp": b"RIFF", f"{TRAIN}/images/4.gif": b"G"}
    files |= {f"{TRAIN}/annotations/{n}.json": RECORD for n in (3, 4, 7)} | {f"{TRAIN}/images/4.bmp": b"BM"}
    files |= {f"{TRAIN}/images/5.tif": b"II", f"{TRAIN}/annotations/5.txt": b""}
    files |= {f"{TRAIN}/{part}/{name}": b"" for part in ("images", "annotations") for name in SYSTEM}
    files |= {"__MACOSX/human_annotated/train_set/images/._1.jpg": b"", "._source.json": b"\0\5\x16\7"}
    if pack == "zip":
        files |= {f"{TRAIN}/images/../../7.jpg": picture(), "._faces.zip": b""}
    make = {"folder": as_folder, "zip": as_zip}[pack]
    (tmp_path / "._faces.zip").write_bytes(b"\0\5\x16\7")
    found = reasons(open_source(make(tmp_path / f"faces.{pack}", files)))
    named = "{!r} is not named <whole number>.jpg|png|json".format
    expected = {
        "train/2": [named("2.xml")],
        "train/3": [named("3.webp")],
        "train/4": [named("4.bmp")],
        "train/5": [named("5.tif")],
        "train/7": ["has no image"],
    }
    if pack == "zip":
        path = "its name in the archive is {!r}, expected a path inside of it with / between"
        expected["train/../../7.jpg"] = [path.format(f"{TRAIN}/images/../../7.jpg")]
    assert found == expected


def test_in_a_zip_whose_members_cannot_be_read_a_face_with_an_unknown_suffix_counts_once(tmp_path):
    files = {f"{TRAIN}/images/1.jpg": picture(), f"{TRAIN}/annotations/1.json": RECORD}
    path = as_zip(
        tmp_path / "faces.zip", files | {f"{TRAIN}/images/3.webp": b"R", f"{TRAIN}/annotations/3.json": RECORD}
    )
    content = path.read_bytes()
    at = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    at = content.index(b"PK\1\2", at + 1)
    path.write_bytes(content[: at + 8] + b"\1" + content[at + 9 :])  # the flag of encryption
    assert list(reasons(open_source(path))) == ["train/3"]


def test_in_the_older_layouts_a_face_with_an_unknown_suffix_counts_once(tmp_path):
    csv = tmp_path / "csv"
    as_folder(
        csv,
        {
            "1/a.webp": b"RIFF",
            "1/b.jpg": picture(),
            "1/c.gif": b"",
            "1/c.bmp": b"",
            "1/d.png": b"",
            "1/.DS_Store": b"",
        },
    )
    write_list(csv / "training.csv", [row_of("1/a.jpg"), row_of("1/b.jpg")])
    found = reasons(open_source(csv))
    assert found["train/1/a"] == ["has no picture: line 2 of training.csv names '1/a.jpg', and there is '1/a.webp'"]
    assert set(found) == {"train/1/a", "train/1/c", "train/1/d"} and len(found["train/1/c"]) == 2
    arrays = {"1": picture(), "2": b"RIFF"}
    values = io.BytesIO()
    np.save(values, np.float64(0))
    files = {
        f"train_set/annotations/{stem}_{kind}.npy": values.getvalue() for stem in arrays for kind in ("val", "aro")
    }
    label = io.BytesIO()
    np.save(label, np.int64(3))
    files |= {f"train_set/annotations/{stem}_exp.npy": label.getvalue() for stem in arrays}
    files |= {
        "train_set/images/1.jpg": arrays["1"],
        "train_set/images/2.webp": b"R",
        "train_set/annotations/._1_exp.npy": b"",
    }
    assert reasons(open_source(as_folder(tmp_path / "npy", files))) == {
        "train/2": ["'2.webp' is not named <whole number>.jpg|png|json"]
    }


def test_a_prepared_folder_is_whole_with_what_systems_leave_in_it(raw_tree, tmp_path):
    prepare(raw_tree, tmp_path / "out", embed=True)
    for name in ("._all.parquet", ".DS_Store"):
        (tmp_path / "out" / "data" / name).write_bytes(b"\0\5\x16\7")
    assert [finding.level for finding in verify(tmp_path / "out")] == ["note"]
    (tmp_path / "out" / "manifest.json").unlink()
    assert len(open_pictures(tmp_path / "out").pictures()) == 50
