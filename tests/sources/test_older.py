"""The older layouts of AffectNet, csv and npy, give rows with what they have, and name what cannot be matched."""

import csv
import os
import pickle
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pytest

from affectnet_plus import BadRow, Face, LayoutError, features
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.delivered import open_source
from affectnet_plus_modeling.sources.older_csv import HEADER, CsvSource
from affectnet_plus_modeling.sources.older_npy import NpySource
from support.older import POINTS, TEXT, row_of, write_list, write_pictures
from support.trees import known_points

IMAGES = "Manually_Annotated_Images"


def everything(source):
    """({image_id: row}, {image_id: [reason, ...]}) of all splits; pictures are checked against their files."""
    rows, reasons = {}, {}
    for split in source.splits():
        for face in source.faces(split):
            assert face.image_id.startswith(f"{split}/")
            try:
                row, image = source.read(split, face)
            except BadRow as reason:
                reasons.setdefault(face.image_id, []).append(str(reason))
                continue
            assert image == Path(row["image"]["path"]).read_bytes() and row["image"]["bytes"] is None
            assert row["image_id"] == face.image_id and face.image_id not in rows
            assert row.keys() == features().keys()
            rows[face.image_id] = row
    assert not rows.keys() & reasons.keys()
    return rows, reasons


@pytest.fixture
def release(tmp_path) -> Path:
    """Two training faces, one to validate, two that a network labelled."""
    root = tmp_path / "AffectNet"
    rows = [row_of("10/b.jpg", expression="10", valence="-2", arousal="-2"), row_of("2/a.JPG")]
    write_list(root / "training.csv", rows)
    write_list(root / "validation.csv", [row_of("2/c.png", expression="0", valence="-1", arousal="1")])
    write_pictures(root / IMAGES, "10/b.jpg", "2/a.JPG", "2/c.png")
    auto = [row_of("1/a.jpg", expression="6"), row_of("1/ü b.jpg", points="", expression="7")]
    write_list(root / "automatically_annotated.csv", auto)
    write_pictures(root / "Automatically_Annotated_Images", "1/a.jpg", "1/ü b.jpg")
    return root


# --- csv -------------------------------------------------------------------------------------------------------------


def test_the_csv_release_gives_labels_affect_and_landmarks(release):
    source = open_source(release)
    assert isinstance(source, CsvSource) and source.origin == "AffectNet" and source.holds_files
    assert source.splits() == ["train", "validation", "no_human"]
    assert [face.image_id for face in source.faces("train")] == ["train/2/a", "train/10/b"], "folders as numbers"
    rows, reasons = everything(source)
    assert reasons == {}
    first = rows["train/2/a"]
    assert (first["label"], first["valence"], first["arousal"]) == (3, 0.5, -0.25)
    assert first["landmarks_68"] == POINTS
    assert first["image"]["path"] == str(release / IMAGES / "2/a.JPG")
    empty = {name for name, value in first.items() if value is None}
    assert empty == {"soft_label", "soft_label_normalized", "subset", "age", "gender", "race", "pose", "landmarks_29"}
    assert [rows["train/10/b"][name] for name in ("label", "valence", "arousal")] == [10, None, None]
    assert [rows["validation/2/c"][name] for name in ("label", "valence", "arousal")] == [0, -1, 1]


def test_what_a_network_labelled_has_no_human_label(release):
    rows, _ = everything(open_source(release))
    for name in ("a", "ü b"):
        row = rows[f"no_human/1/{name}"]
        assert row["label"] is None and row["valence"] == 0.5
    assert rows["no_human/1/a"]["landmarks_68"] == POINTS and row["landmarks_68"] is None


@pytest.mark.parametrize("embed", [False, True])
def test_prepare_makes_the_csv_release_loadable(release, tmp_path, embed):
    prepare(release, tmp_path / "out", embed=embed)
    opened = datasets.load_dataset(str(tmp_path / "out"), "all", cache_dir=str(tmp_path / "cache"))
    rows = {row["image_id"]: row for split in opened.values() for row in split}
    assert rows.keys() == {"train/2/a", "train/10/b", "validation/2/c"}
    assert rows["train/2/a"]["label"] == 3 and rows["train/2/a"]["valence"] == 0.5
    assert rows["train/10/b"]["valence"] is None and rows["train/2/a"]["soft_label"] is None
    assert known_points(rows["train/2/a"]["landmarks_29"]) is None
    np.testing.assert_array_equal(rows["train/2/a"]["landmarks_68"], POINTS)


@pytest.mark.parametrize(
    ("lists", "images"),
    [
        ("", IMAGES),
        ("", f"Manually_Annotated/{IMAGES}"),
        ("", "Manually_Annotated"),
        ("", ""),
        ("Manually_Annotated_file_lists", IMAGES),
        ("Manually_Annotated_file_lists", ""),
        ("Manually_Annotated", f"Manually_Annotated/{IMAGES}"),
        ("Manually_Annotated", "Manually_Annotated"),
    ],
)
def test_lists_and_pictures_are_found_in_these_places(tmp_path, lists, images):
    write_list(tmp_path / lists / "training.csv", [row_of()])
    write_pictures(tmp_path / images, "1/a.jpg")
    rows, reasons = everything(open_source(tmp_path))
    assert list(rows) == ["train/1/a"] and reasons == {}


@pytest.mark.parametrize("lists", ["", "Automatically_annotated_file_list", "Automatically_Annotated_file_lists"])
def test_the_automatic_part_alone_is_found_too(tmp_path, lists):
    write_list(tmp_path / lists / "automatically_annotated.csv", [row_of()])
    write_pictures(tmp_path / "Automatically_Annotated" / "Automatically_Annotated_Images", "1/a.jpg")
    assert list(everything(open_source(tmp_path))[0]) == ["no_human/1/a"]


def test_what_has_no_other_half_is_named(release):
    write_list(release / "training.csv", [row_of("2/a.JPG"), row_of("2/gone.jpg"), row_of("2/A.jpg")])
    rows, reasons = everything(open_source(release))
    assert "train/2/a" in rows and "validation/2/c" in rows
    assert reasons == {
        "train/2/gone": ["has no picture: line 3 of training.csv names '2/gone.jpg'"],
        "train/2/A": ["has no picture: line 4 of training.csv names '2/A.jpg'"],
        "train/10/b": ["'10/b.jpg' has no row in training.csv or validation.csv"],
    }


def test_two_rows_for_one_picture_are_neither_of_them(release):
    rows = [row_of("2/a.JPG"), row_of("10/b.jpg"), row_of("2/a.JPG", expression="4"), row_of("2/a.JPG")]
    write_list(release / "training.csv", rows)
    write_list(release / "validation.csv", [row_of("10/b.jpg"), row_of("2/c.png")])
    rows, reasons = everything(open_source(release))
    across = ["has 2 rows: line 3 of training.csv, line 2 of validation.csv"]
    assert reasons == {
        "train/2/a": ["has 3 rows: line 2 of training.csv, line 4 of training.csv, line 5 of training.csv"],
        "train/10/b": across,
        "validation/10/b": across,
    }
    assert "validation/2/c" in rows


def test_two_files_with_one_stem_are_neither_of_them(tmp_path):
    write_list(tmp_path / "training.csv", [row_of("1/a.jpg"), row_of("1/b.jpg"), row_of("1/b.png"), row_of("1/c.jpg")])
    write_pictures(tmp_path, "1/a.jpg", "1/a.png", "1/b.jpg", "1/c.jpg")
    rows, reasons = everything(open_source(tmp_path))
    assert list(rows) == ["train/1/c"]
    same = "another row or picture has the same name but for its suffix"
    assert {image_id: sorted(found) for image_id, found in reasons.items()} == {
        "train/1/a": [same],
        "train/1/b": [same, "has no picture: line 4 of training.csv names '1/b.png'"],
    }


@pytest.mark.parametrize(
    "path",
    [
        "../a.jpg",
        "../../etc/passwd",
        "1/..",
        "./a.jpg",
        "/1/a.jpg",
        "/etc/passwd",
        "file:///etc/passwd",
        "C:/a.jpg",
        "1\\a.jpg",
        "1/../1/a.jpg",
        "a.jpg",
        "1/2/a.jpg",
        "1/",
        "",
        "1/a\0.jpg",
    ],
)
def test_a_path_that_is_not_folder_and_file_is_refused(tmp_path, path):
    write_pictures(tmp_path / "in", "1/a.jpg")
    write_pictures(tmp_path, "a.jpg")
    write_list(tmp_path / "in" / "training.csv", [row_of(), row_of(path)])
    try:
        rows, reasons = everything(open_source(tmp_path / "in"))
    except LayoutError as error:  # what csv says to a NUL before Python 3.11
        assert "line contains NUL" in str(error)
        return
    assert list(rows) == ["train/1/a"]
    assert reasons == {"train/line 3 of training.csv": [f"names {path!r}, expected <folder>/<file> of a picture"]}


def test_bytes_that_are_no_text_spoil_one_row(tmp_path):
    write_pictures(tmp_path, "1/a.jpg")
    write_list(tmp_path / "training.csv", [row_of(), row_of("1/X.jpg")])
    path = tmp_path / "training.csv"
    path.write_bytes(path.read_bytes().replace(b"X", b"\xff"))
    rows, reasons = everything(open_source(tmp_path))
    assert list(rows) == ["train/1/a"] and list(reasons) == ["train/line 3 of training.csv"]


def test_a_link_out_of_the_pictures_is_refused(tmp_path):
    write_pictures(tmp_path / "other", "5/secret.jpg")
    write_pictures(tmp_path / "in", "1/a.jpg")
    (tmp_path / "in" / "1" / "b.jpg").symlink_to(tmp_path / "other" / "5" / "secret.jpg")
    (tmp_path / "in" / "5").symlink_to(tmp_path / "other" / "5")
    write_list(tmp_path / "in" / "training.csv", [row_of(), row_of("1/b.jpg"), row_of("5/secret.jpg")])
    rows, reasons = everything(open_source(tmp_path / "in"))
    assert list(rows) == ["train/1/a"]
    assert reasons == {
        "train/1/b": ["'b.jpg' is a link that leaves its folder (--follow-links follows it)"],
        "train/5/secret": ["its folder '5' is a link to a folder (--follow-links follows it)"],
    }
    followed = open_source(tmp_path / "in", follow_links=True)
    rows, reasons = everything(followed)
    assert list(rows) == ["train/1/a", "train/1/b", "train/5/secret"] and not reasons
    before = followed.fingerprint()
    os.utime(tmp_path / "other" / "5" / "secret.jpg", ns=(1, 1))
    assert followed.fingerprint() != before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expression": "11"}, "human-label is 11, expected a whole number in [0, 10]"),
        ({"expression": "3.5"}, "expression is '3.5', expected a whole number"),
        ({"expression": ""}, "expression is '', expected a whole number"),
        ({"expression": "٣"}, "expression is '٣', expected a whole number"),
        ({"expression": "9" * 5000}, f"expression is '{'9' * 60}', expected a whole number"),
        ({"valence": "1.5"}, "valence is 1.5, expected a number in [-1, 1]"),
        ({"valence": "nan"}, "valence is 'nan', expected a number"),
        ({"arousal": "1e999"}, "annotation holds Infinity, expected finite numbers"),
        ({"arousal": "0,5"}, "arousal is '0,5', expected a number"),
        ({"points": TEXT.rpartition(";")[0]}, "landmark-68 has 135 values, expected 136 numbers"),
        ({"points": TEXT + ";"}, "facial_landmarks is '', expected a number"),
        ({"points": "x" + TEXT}, "facial_landmarks is 'x0.25', expected a number"),
    ],
)
def test_a_bad_value_is_quarantined(tmp_path, changes, reason):
    write_pictures(tmp_path, "1/a.jpg", "1/b.jpg")
    write_list(tmp_path / "training.csv", [row_of("1/b.jpg", **changes), row_of()])
    rows, reasons = everything(open_source(tmp_path))
    assert list(rows) == ["train/1/a"] and reasons == {"train/1/b": [reason]}


def test_a_row_of_another_length_is_quarantined(tmp_path):
    write_pictures(tmp_path, "1/a.jpg", "1/b.jpg", "1/c.jpg")
    write_list(tmp_path / "training.csv", [row_of("1/b.jpg")[:-1], row_of(), row_of("1/c.jpg") + ["x"]])
    rows, reasons = everything(open_source(tmp_path))
    assert list(rows) == ["train/1/a"]
    assert reasons == {f"train/1/{n}": [f"its row has {k} columns, expected 9"] for n, k in (("b", 8), ("c", 10))}


@pytest.mark.parametrize("options", [{"quoting": csv.QUOTE_ALL}, {"lineterminator": "\n"}, {}])
def test_quoted_cells_new_lines_and_a_byte_order_mark_are_read(tmp_path, options):
    names = ["1/a, b.jpg", '1/c "d".jpg', "1/e\nf.jpg", "1/g.jpg"]
    write_pictures(tmp_path, *names)
    write_list(tmp_path / "training.csv", [row_of(name, expression=f"{n}") for n, name in enumerate(names)], **options)
    path = tmp_path / "training.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    rows, reasons = everything(open_source(tmp_path))
    assert reasons == {}
    labels = {f"{image_id[6:]}.jpg": row["label"] for image_id, row in rows.items()}
    assert labels == {name: number for number, name in enumerate(names)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (",".join(row_of()) + "\n", "training.csv begins with '1/a.jpg,10,20.*expected the columns subDirectory_file"),
        ("", "begins with '', expected the columns"),
        (HEADER.replace("valence,arousal", "arousal,valence") + "\n", "begins with .*expected the columns"),
        (HEADER + '\n"1/a.jpg,1\n', r"line 2 is not csv \(unexpected end of data\). Fetch the file again"),
        (HEADER + "\n" + "x" * 100_001 + "\n", "has a line of more than 100000 bytes. It is no list of pictures"),
        (HEADER + '\n"' + "x\n" * 70_000, "is not csv .field larger than field limit"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path, content, message):
    write_pictures(tmp_path, "1/a.jpg")
    (tmp_path / "training.csv").write_text(content)
    with pytest.raises(LayoutError, match=message):
        everything(open_source(tmp_path))


def test_a_csv_source_can_be_pickled_and_notices_changes(release):
    source = open_source(release)
    faces = source.faces("train")
    copy = pickle.dumps(source)
    assert len(copy) < 2000 and pickle.loads(copy).faces("train") == faces
    first = source.fingerprint()
    assert open_source(release).fingerprint() == first
    write_pictures(release / IMAGES, "2/new.jpg")
    second = open_source(release).fingerprint()
    write_list(release / "training.csv", [row_of("2/new.jpg"), row_of("2/a.JPG")])
    assert len({first, second, open_source(release).fingerprint()}) == 3
    with pytest.raises(BadRow, match="line 2 of training.csv names another picture than before: the file has changed"):
        source.read("train", faces[1])
    (release / "training.csv").unlink()
    with pytest.raises(BadRow, match="line 3 of training.csv cannot be read any more"):
        source.read("train", faces[0])
    places = source.places()
    assert (release / "training.csv") in places and (release / IMAGES) in places


def test_listing_many_rows_takes_little_memory(tmp_path):
    write_pictures(tmp_path, "1/a.jpg")
    write_list(tmp_path / "training.csv", [row_of(f"{n % 100}/{n:056d}.jpg") for n in range(3000)])
    source = open_source(tmp_path)
    tracemalloc.start()
    assert len(source.faces("train")) == 3001
    assert tracemalloc.get_traced_memory()[1] < 1000 * 3001, "a row has 1.4 kB"
    tracemalloc.stop()


# --- npy -------------------------------------------------------------------------------------------------------------


def arrays(exp="3", val="0.5", aro="-0.25", lnd=None) -> dict:
    lnd = np.array(POINTS).reshape(-1) if lnd is None else lnd
    return {"exp": np.array(exp), "val": np.array(val), "aro": np.array(aro), "lnd": np.array(lnd)}


def write_face(folder: Path, stem, content=None, suffix=".jpg") -> None:
    write_pictures(folder / "images", f"{stem}{suffix}")
    (folder / "annotations").mkdir(exist_ok=True)
    for kind, array in (content or arrays()).items():
        np.save(folder / "annotations" / f"{stem}_{kind}.npy", array)


@pytest.fixture
def eight(tmp_path) -> Path:
    """AffectNet-8: training faces 2 and 10, 7 to validate."""
    root = tmp_path / "AffectNet-8"
    write_face(root / "train_set", 10, arrays("7", "-2", "-2.0"))
    write_face(root / "train_set", 2)
    write_face(root / "val_set", 7, arrays(np.int64(0), np.float64(-1), np.float32(0.5)))
    return root


def test_the_npy_release_gives_labels_affect_and_landmarks(eight):
    source = open_source(eight)
    assert isinstance(source, NpySource) and source.origin == "AffectNet" and source.holds_files
    assert source.splits() == ["train", "validation"]
    assert [face.image_id for face in source.faces("train")] == ["train/2", "train/10"]
    rows, reasons = everything(source)
    assert reasons == {}
    first = rows["train/2"]
    assert (first["label"], first["valence"], first["arousal"]) == (3, 0.5, -0.25)
    assert first["landmarks_68"] == POINTS and first["soft_label"] is None and first["subset"] is None
    assert [rows["train/10"][name] for name in ("label", "valence", "arousal")] == [7, None, None]
    assert [rows["validation/7"][name] for name in ("label", "valence", "arousal")] == [0, -1, 0.5]


@pytest.mark.parametrize(("name", "split"), [("train_set", "train"), ("val_set", "validation")])
def test_one_split_of_the_npy_release_is_enough(eight, name, split):
    assert open_source(eight / name).splits() == [split]
    alone = everything(open_source(eight / name))[0]
    assert alone == {key: row for key, row in everything(open_source(eight))[0].items() if key.startswith(split)}


def test_prepare_makes_the_npy_release_loadable(eight, tmp_path):
    prepare(eight, tmp_path / "out")
    opened = datasets.load_dataset(str(tmp_path / "out"), "default", cache_dir=str(tmp_path / "cache"))
    assert {split: sorted(rows["image_id"]) for split, rows in opened.items()} == {
        "train": ["train/10", "train/2"],
        "validation": ["validation/7"],
    }
    row = next(row for row in opened["train"] if row["image_id"] == "train/2")
    assert row["label"] == 3 and row["image"].size == (24, 24)
    np.testing.assert_array_equal(row["landmarks_68"], POINTS)


def test_a_missing_array_is_named_and_missing_points_are_null(eight):
    train = eight / "train_set"
    for stem in range(20, 25):
        write_face(train, stem)
    for name in ("20_exp", "21_val", "21_aro", "22_lnd"):
        (train / "annotations" / f"{name}.npy").unlink()
    write_pictures(train / "images", "30.jpg")
    (train / "images" / "23.jpg").unlink()
    write_pictures(train / "images", "24.png", "x.jpg")
    (train / "annotations" / "40.json").write_text("{}")
    rows, reasons = everything(open_source(eight))
    assert rows["train/22"]["landmarks_68"] is None and rows["train/22"]["label"] == 3
    assert reasons == {
        "train/20": ["has no 20_exp.npy"],
        "train/21": ["has no 21_val.npy, 21_aro.npy"],
        "train/23": ["has no image"],
        "train/24": ["has 2 images, expected 1"],
        "train/30": ["has no 30_exp.npy, 30_val.npy, 30_aro.npy"],
        "train/40": ["has no image"],
        "train/x": ["'x.jpg' is not named <whole number>.jpg|png|json"],
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"exp": "11"}, "human-label is 11, expected a whole number in [0, 10]"),
        ({"exp": 3.5}, "human-label is 3.5, expected a whole number in [0, 10]"),
        ({"exp": "3.0"}, "exp is '3.0', expected a whole number"),
        ({"exp": True}, "'5_exp.npy' holds bool of shape (), expected 1 numbers"),
        ({"exp": [1, 2]}, "'5_exp.npy' holds int64 of shape (2,), expected 1 numbers"),
        ({"val": "high"}, "val is 'high', expected a number"),
        ({"val": 1.5}, "valence is 1.5, expected a number in [-1, 1]"),
        ({"val": np.nan}, "annotation holds NaN, expected finite numbers"),
        ({"aro": np.inf}, "annotation holds Infinity, expected finite numbers"),
        ({"aro": 1 + 2j}, "'5_aro.npy' holds complex128 of shape (), expected 1 numbers"),
        ({"lnd": np.zeros(135)}, "'5_lnd.npy' holds float64 of shape (135,), expected 136 numbers"),
        ({"lnd": np.full(136, 1e6)}, "landmark-68[0] is 1000000.0, expected a number in [-4096, 8192]"),
    ],
)
def test_a_bad_array_is_quarantined(eight, content, reason):
    write_face(eight / "train_set", 5, arrays(**content))
    rows, reasons = everything(open_source(eight))
    assert reasons == {"train/5": [reason]} and len(rows) == 3


@pytest.mark.parametrize(
    "points", [np.array(POINTS), np.asfortranarray(POINTS), np.array(POINTS).ravel().astype("U8")]
)
def test_points_may_be_pairs_or_text(eight, points):
    write_face(eight / "train_set", 5, arrays(lnd=points))
    assert everything(open_source(eight))[0]["train/5"]["landmarks_68"] == POINTS


def npy(shape="()", kind="<f8", data=b"\0" * 8) -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an array",
        b"\x93NUMPY\1\0",
        b"\x93NUMPY\7\0" + bytes(100),
        b"\x93NUMPY\1\0\xff\x26" + b"(" * 9983,
        npy(kind="|O"),
        npy(kind="<U9999999999", data=b""),
        npy(shape="(1000000000000,)"),
        npy(shape="(1,)", kind="<U0", data=b""),
        npy(shape="(0, 2)"),
        npy(kind="<f16", data=bytes(16)),
        npy(data=b"\0" * 7),
        npy(data=b"\0" * 9),
        npy(kind="<U1", data=b"\xff\xff\xff\xff"),
        npy(data=bytes(2_000_000)),
        pickle.dumps(os.getcwd),
    ],
)
def test_a_file_that_is_no_array_is_quarantined(eight, content):
    write_face(eight / "train_set", 5)
    (eight / "train_set" / "annotations" / "5_val.npy").write_bytes(content)
    tracemalloc.start()
    rows, reasons = everything(open_source(eight))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert list(reasons) == ["train/5"] and len(rows) == 3


def test_a_pickled_object_is_never_loaded(eight):
    write_face(eight / "train_set", 5, arrays(val=np.array({"a": 1}, dtype=object)))
    assert "holds object of shape ()" in everything(open_source(eight))[1]["train/5"][0]


def test_a_npy_source_can_be_pickled_and_notices_changes(eight):
    source = open_source(eight)
    assert everything(pickle.loads(pickle.dumps(source))) == everything(source)
    first = source.fingerprint()
    write_face(eight / "val_set", 8)
    assert open_source(eight).fingerprint() != first
    assert source.places() == [eight / "train_set", eight / "val_set"]


def test_a_face_that_went_away_since_is_a_reason(eight):
    source = open_source(eight)
    (eight / "train_set" / "annotations" / "2_aro.npy").unlink()
    with pytest.raises(BadRow, match="cannot be opened"):
        source.read("train", Face("train/2", "2.jpg", "2"))
