"""FER+ becomes an AffectNet+ tree: the protocols, the three layouts, leaks, and every kind of bad input."""

import csv
import io
import json
import shutil
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from affectnet_plus import EMOTIONS, BadRow, read_annotation, read_file
from affectnet_plus_modeling.sources import ferplus_files
from affectnet_plus_modeling.sources.ferplus import (
    COLUMNS,
    LEAK,
    format_import,
    import_ferplus,
    label_by_votes,
    pixel_digest,
    soft_label,
)
from affectnet_plus_modeling.sources.ferplus_files import FOLDERS, HEADER, Rejections, find_splits, read_votes
from affectnet_plus_modeling.sources.tree import TreeWriter

REAL = Path(__file__).resolve().parents[3] / "shared" / "ferplus"

HAPPY = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
SAD = (1, 0, 0, 8, 0, 0, 0, 0, 1, 0)
UNKNOWN = (1, 0, 0, 0, 0, 0, 0, 0, 9, 0)


def png(shade, mode="L", size=(4, 4), **options):
    content = io.BytesIO()
    Image.new(mode, size, shade).save(content, "PNG", **options)
    return content.getvalue()


def face(number, votes=HAPPY, usage="Training", image=None):
    image = png(number % 251) if image is None else image
    return usage, f"fer{number:07d}.png", votes, image


# Two training faces and one for each test part: the least that exercises every path.
FACES = [face(1), face(20, SAD), face(300, SAD, "PublicTest"), face(4, HAPPY, "PrivateTest")]


def csv_text(rows):
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    return content.getvalue()


def write_images(root, faces):
    for usage, name, _, image in faces:
        (root / FOLDERS[usage]).mkdir(parents=True, exist_ok=True)
        if image:
            (root / FOLDERS[usage] / name).write_bytes(image)


def write_whole_table(root, faces):
    rows = [HEADER.split(",")] + [(usage, name, *votes) for usage, name, votes, _ in faces]
    (root / "fer2013new.csv").write_text(csv_text(rows))


def folders(root, faces=FACES):
    write_images(root, faces)
    write_whole_table(root, faces)
    return root


def split_tables(root, faces=FACES, box=()):
    write_images(root, faces)
    for usage in {entry[0] for entry in faces}:
        rows = [(name, *box, *votes) for part, name, votes, _ in faces if part == usage]
        (root / FOLDERS[usage] / "label.csv").write_text(csv_text(rows))
    return root


def boxed_tables(root, faces=FACES):
    return split_tables(root, faces, box=["(0, 0, 48, 48)"])


def pack(root):
    unpacked = [path for path in root.iterdir() if path.is_dir()]
    for folder in unpacked:
        with tarfile.open(f"{folder}.tar", "w") as tar:
            tar.add(folder, folder.name)
        shutil.rmtree(folder)
    return root


def tars(root, faces=FACES):
    return pack(folders(root, faces))


def tarred_tables(root, faces=FACES):
    return pack(boxed_tables(root, faces))


def add_to_tar(path, *members):
    """Append (name, bytes) pairs, or TarInfo objects that have no content."""
    with tarfile.open(path, "a") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def files_of(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def reasons(report):
    return sorted((entry["name"], entry["reason"]) for entry in report["rejected"])


# ---- votes


@pytest.mark.parametrize(
    ("votes", "a", "b"),
    [
        (HAPPY, "happy", "happy"),
        ((4, 0, 0, 1, 3, 2, 0, 0, 0, 0), "neutral", "no majority"),
        ((0, 0, 0, 0, 5, 0, 0, 5, 0, 0), "anger", "no majority"),  # exactly half is no majority
        ((0, 0, 5, 5, 0, 0, 0, 0, 0, 0), "surprise", "no majority"),  # FER+ has surprise first, AffectNet+ sad
        ((0, 0, 0, 0, 3, 0, 3, 0, 3, 1), "anger", "no majority"),  # FER+ has anger before fear
        ((0, 0, 0, 0, 0, 0, 0, 5, 5, 0), "contempt", "no majority"),  # an emotion wins a tie with unknown
        ((3, 1, 1, 1, 1, 1, 1, 0, 1, 0), "neutral", "neutral"),  # single votes are outliers to protocol B
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "neutral", "no majority"),  # and nothing may be left
        ((0, 0, 0, 0, 0, 5, 0, 0, 4, 1), "disgust", "disgust"),
        (UNKNOWN, "voted unknown", "voted unknown"),
        ((4, 0, 0, 0, 0, 0, 0, 0, 5, 1), "voted unknown", "voted unknown"),
        ((3, 0, 0, 0, 0, 0, 0, 0, 4, 3), "voted unknown", "no majority"),
        ((0, 0, 0, 0, 0, 0, 4, 0, 0, 6), "voted not a face", "voted not a face"),
        ((0, 0, 0, 0, 0, 0, 0, 0, 5, 5), "voted unknown", "no majority"),
        ((4, 0, 0, 0, 0, 3, 1, 0, 1, 0), "neutral", "neutral"),  # nine votes: 4 of the 7 that remain
        ((0, 0, 0, 0, 0, 0, 0, 0, 0, 1), "voted not a face", "no majority"),
    ],
)
def test_protocols(votes, a, b):
    for protocol, expected in (("A", a), ("B", b)):
        label, reason = label_by_votes(votes, protocol)
        assert (reason if label is None else EMOTIONS[label]) == expected


def test_protocols_agree_with_the_rule_written_with_numpy():
    to_affectnet = [0, 1, 3, 2, 6, 5, 4, 7]
    shares = [0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.1, 0.05]
    for votes in np.random.default_rng(0).multinomial(10, shares, 2000):
        top = votes.argmax()
        assert label_by_votes(votes.tolist(), "A")[0] == (to_affectnet[top] if top < 8 else None)
        kept = np.where(votes < 2, 0, votes)
        top = kept.argmax()
        confident = kept.max() > kept.sum() / 2 and top < 8
        assert label_by_votes(votes.tolist(), "B")[0] == (to_affectnet[top] if confident else None)


def test_soft_label_is_the_votes_over_ten_in_affectnet_order():
    assert soft_label((1, 2, 0, 3, 1, 0, 0, 1, 1, 1)) == [0.1, 0.2, 0.3, 0, 0, 0, 0.1, 0.1]
    nine = soft_label((4, 0, 0, 0, 0, 3, 1, 0, 1, 0))
    assert nine == [0.4, 0, 0, 0, 0.1, 0.3, 0, 0]


def test_the_csv_header_has_the_ten_columns_in_the_order_of_the_protocols():
    theirs = {"happiness": "happy", "sadness": "sad", "NF": "not a face"}
    assert [theirs.get(name, name) for name in HEADER.split(",")[2:]] == list(COLUMNS)


# ---- layouts and the tree


@pytest.mark.parametrize("layout", [folders, tars, split_tables, boxed_tables, tarred_tables])
def test_every_layout_gives_the_same_tree(layout, tmp_path):
    report = import_ferplus(layout(tmp_path / "source"), tmp_path / "tree")
    assert [report["splits"][split]["written"] for split in ("train", "validation")] == [2, 1]
    assert not report["rejected"] and not report["absent"]
    written = files_of(tmp_path / "tree")
    assert json.loads(written.pop("ferplus_report.json")) == report
    assert json.loads(written.pop("source.json")) == {"origin": "FER+"}
    assert set(written) == {
        "human_annotated/train_set/images/1.png",
        "human_annotated/train_set/annotations/1.json",
        "human_annotated/train_set/images/20.png",
        "human_annotated/train_set/annotations/20.json",
        "human_annotated/validation_set/images/300.png",
        "human_annotated/validation_set/annotations/300.json",
    }
    assert written["human_annotated/train_set/images/20.png"] == FACES[1][3]
    annotation = written["human_annotated/train_set/annotations/20.json"]
    row = read_annotation(annotation)
    assert (row["label"], row["subset"], row["valence"], row["arousal"]) == (2, 0, None, None)
    assert json.loads(annotation) == {
        "human-label": 2,
        "soft-label": [0.1, 0, 0.8, 0, 0, 0, 0, 0],
        "subset": 0,
        "meta-data": {
            "age": None,
            "gender": None,
            "race": None,
            "valence": -2,
            "arousal": -2,
            "pose": None,
            "landmark-68": None,
            "landmark-29": None,
        },
    }


def test_private_test_as_validation(tmp_path):
    report = import_ferplus(folders(tmp_path / "source"), tmp_path / "tree", validation="PrivateTest")
    assert (tmp_path / "tree/human_annotated/validation_set/images/4.png").is_file()
    assert report["splits"]["validation"]["usage"] == "PrivateTest"
    assert report["unused_rows"] == {"PublicTest": 1}


@pytest.mark.parametrize(("folder", "split"), [("FER2013Valid", "validation"), ("FER2013Train", "train")])
def test_an_absent_split_is_named(folder, split, tmp_path):
    source = folders(tmp_path / "source")
    shutil.rmtree(source / folder)
    report = import_ferplus(source, tmp_path / "tree")
    assert [entry["split"] for entry in report["absent"]] == [split]
    assert report["absent"][0]["rows"] == (1 if split == "validation" else 2)
    assert list(report["splits"]) == [{"train": "validation", "validation": "train"}[split]]
    assert f"left out: no {folder} or {folder}.tar" in format_import(report)
    assert not report["rejected"]


def test_drops_are_counted_by_reason(tmp_path):
    faces = [*FACES, face(5, UNKNOWN), face(6, UNKNOWN), face(7, (4, 0, 0, 1, 3, 2, 0, 0, 0, 0))]
    source = folders(tmp_path / "source", faces)
    with (source / "fer2013new.csv").open("a") as table:
        table.write("Training,,0,0,0,0,0,0,0,0,0,10\n\n")
    train = import_ferplus(source, tmp_path / "a")["splits"]["train"]
    assert train["dropped"] == {"voted unknown": 2, "csv row names no image": 1}
    assert train["rows"] == 6 == train["written"] + sum(train["dropped"].values())
    report = import_ferplus(source, tmp_path / "b", protocol="B")
    assert report["splits"]["train"]["dropped"]["no majority"] == 1
    assert "2 voted unknown" in format_import(report)


def test_progress_counts_to_the_number_of_rows_with_an_image(tmp_path):
    calls = []
    import_ferplus(folders(tmp_path / "source"), tmp_path / "tree", progress=lambda *call: calls.append(call))
    assert calls == [("import", 1, 3), ("import", 2, 3), ("import", 3, 3)]


# ---- leaks


def test_leaks_are_listed_and_left_out_on_request(tmp_path):
    same, other_file = png(90), png(90, compress_level=0)
    assert same != other_file
    faces = [
        face(1, image=same),
        face(2, image=other_file),
        face(3),
        face(4, UNKNOWN, image=same),
        face(10, SAD, "PublicTest", png((90, 90, 90), "RGB")),
        face(11, SAD, "PublicTest"),
    ]
    source = folders(tmp_path / "source", faces)
    report = import_ferplus(source, tmp_path / "kept")
    assert report["leaks"] == [[f"fer000000{n}.png", "fer0000010.png"] for n in (1, 2, 4)]
    assert (report["leaked_train_images"], report["leaked_validation_images"]) == (3, 1)
    assert report["splits"]["train"]["written"] == 3
    assert report["splits"]["train"]["duplicates"] == 2
    assert report["splits"]["validation"]["duplicates"] == 0
    report = import_ferplus(source, tmp_path / "dropped", drop_leaks=True)
    assert report["splits"]["train"]["dropped"] == {LEAK: 2, "voted unknown": 1}
    assert report["splits"]["validation"]["written"] == 2
    assert "left out" in format_import(report)


def test_a_leak_to_a_validation_image_without_label_is_dropped_too(tmp_path):
    faces = [face(1, image=png(9)), face(2), face(3, UNKNOWN, "PublicTest", png(9))]
    report = import_ferplus(folders(tmp_path / "source", faces), tmp_path / "tree", drop_leaks=True)
    assert report["splits"]["train"]["dropped"] == {LEAK: 1}


def test_images_of_another_shape_with_the_same_bytes_are_no_leak():
    assert pixel_digest(png(7, size=(2, 8))) != pixel_digest(png(7, size=(4, 4)))


# ---- bad rows and bad images


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Training,fer0000009.png,5,5,0,0,0,0,0,0,0", "votes are not ten whole numbers >= 0"),
        ("Training,fer0000009.png,5,5,0,0,0,0,0,0,0,0,0", "votes are not ten whole numbers >= 0"),
        ("Training,fer0000009.png,4.5,5.5,0,0,0,0,0,0,0,0", "votes are not ten whole numbers >= 0"),
        ("Training,fer0000009.png,-1,11,0,0,0,0,0,0,0,0", "votes are not ten whole numbers >= 0"),
        ("Training,fer0000009.png,x,10,0,0,0,0,0,0,0,0", "votes are not ten whole numbers >= 0"),
        ("Training,fer0000009.png,\u0661,9,0,0,0,0,0,0,0,0", "votes are not ten whole numbers >= 0"),
        ("Training,fer0000009.png,0,0,0,0,0,0,0,0,0,0", "votes do not sum to 1..10"),
        ("Training,fer0000009.png,10,1,0,0,0,0,0,0,0,0", "votes do not sum to 1..10"),
        ("Training,../fer0000009.png,10,0,0,0,0,0,0,0,0,0", "name is not fer<number>.png"),
        ("Training,a/fer0000009.png,10,0,0,0,0,0,0,0,0,0", "name is not fer<number>.png"),
        ("Training,a\\fer0000009.png,10,0,0,0,0,0,0,0,0,0", "name is not fer<number>.png"),
        ("Training,fer0000009.png.exe,10,0,0,0,0,0,0,0,0,0", "name is not fer<number>.png"),
        ("Training,fer.png,10,0,0,0,0,0,0,0,0,0", "name is not fer<number>.png"),
        ("Training,fer0000001.png,0,0,10,0,0,0,0,0,0,0", "image number appears twice in the csv"),
        ("Training,fer1.png,0,0,10,0,0,0,0,0,0,0", "image number appears twice in the csv"),
        ("Training,fer0000008.png,0,0,10,0,0,0,0,0,0,0", "csv row without an image"),
        ("Test,fer0000009.png,0,0,10,0,0,0,0,0,0,0", "row does not begin with Training, PublicTest, PrivateTest"),
        ("Training", "row does not begin with Training, PublicTest, PrivateTest"),
    ],
)
def test_a_bad_row_is_listed_and_the_rest_is_written(row, reason, tmp_path):
    source = folders(tmp_path / "source")
    with (source / "fer2013new.csv").open("a", encoding="utf-8") as table:
        table.write(row + "\n")
    name = row.split(",")[1] if "," in row else ""
    if name == "fer0000009.png" and not row.startswith("Test"):
        (source / "FER2013Train" / name).write_bytes(png(9))  # such an image is not listed a second time
    report = import_ferplus(source, tmp_path / "tree")
    assert reasons(report) == [(name, reason)]
    assert report["rejected_by_reason"] == {reason: 1}
    assert report["rejected"][0]["where"] == (
        "FER2013Train" if reason == "csv row without an image" else "fer2013new.csv, line 6"
    )
    assert report["splits"]["train"]["written"] == 2
    assert f"1 {reason}" in format_import(report)


def test_a_row_that_is_no_utf8_spoils_only_itself(tmp_path):
    source = folders(tmp_path / "source")
    with (source / "fer2013new.csv").open("ab") as table:
        table.write(b"Training,fer\xff.png,10,0,0,0,0,0,0,0,0,0\n")
    assert reasons(import_ferplus(source, tmp_path / "tree")) == [("fer\ufffd.png", "name is not fer<number>.png")]


def test_a_byte_order_mark_before_the_header_is_no_part_of_it(tmp_path):
    table = folders(tmp_path / "source") / "fer2013new.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert import_ferplus(tmp_path / "source", tmp_path / "tree")["splits"]["train"]["written"] == 2


def bomb():
    """A small PNG whose header claims 60,000 x 60,000 pixels, with the right checksum."""
    start, rest = png(0)[:8], png(0)[33:]
    header = b"IHDR" + (60000).to_bytes(4, "big") * 2 + png(0)[24:29]
    return start + len(header[4:]).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big") + rest


def wide():
    return png(0, size=(4097, 1))


def jpeg():
    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "JPEG")
    return content.getvalue()


def long_text():
    """A PNG whose compressed text is larger than Pillow unpacks."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * (2 << 20), zip=True)
    return png(0, pnginfo=info)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "unreadable PNG"),
        (b"no picture", "unreadable PNG"),
        (png(3)[:-20], "unreadable PNG"),
        (jpeg(), "unreadable PNG"),
        (long_text(), "unreadable PNG"),
        (bomb(), "image side is above 4096 pixels"),
        (wide(), "image side is above 4096 pixels"),
        (b"\x89PNG" + bytes(5 << 20), "file is above 4 MB"),
    ],
    ids=["empty", "text", "cut", "jpeg", "long text", "bomb", "wide", "large"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_bad_image_is_listed_and_the_rest_is_written(image, reason, packed, tmp_path):
    source = folders(tmp_path / "source", [*FACES, face(9)])
    (source / "FER2013Train" / "fer0000009.png").write_bytes(image)
    report = import_ferplus(pack(source) if packed else source, tmp_path / "tree")
    assert reasons(report) == [("fer0000009.png", reason)]
    assert report["splits"]["train"]["written"] == 2


def test_odd_files_in_a_folder_are_listed(tmp_path):
    source = folders(tmp_path / "source")
    train = source / "FER2013Train"
    (train / "fer0000008.png").mkdir()
    (train / "fer0000009.png").write_bytes(png(9))
    (train / "Thumbs.txt").write_bytes(b"")
    (train / "fer0000010.png").symlink_to(train / "nowhere.png")
    assert reasons(import_ferplus(source, tmp_path / "tree")) == [
        ("Thumbs.txt", "name is not fer<number>.png"),
        ("fer0000008.png", "not a plain file"),
        ("fer0000009.png", "image without a csv row"),
        ("fer0000010.png", "not a plain file"),
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_what_systems_leave_in_a_folder_or_tar_is_not_listed(tmp_path, packed):
    source = folders(tmp_path / "source")
    for name in ("Thumbs.db", "._fer0000000.png", ".DS_Store"):
        (source / "FER2013Train" / name).write_bytes(b"x")
    assert reasons(import_ferplus(pack(source) if packed else source, tmp_path / "tree")) == []


def test_a_file_that_cannot_be_read_is_listed(tmp_path, monkeypatch):
    source = folders(tmp_path / "source")

    def refuse(path, most, follow_links):
        if path.name == "fer0000020.png":
            raise BadRow("cannot be opened: Permission denied")
        return read_file(path, most, follow_links)

    monkeypatch.setattr(ferplus_files, "read_file", refuse)
    expected = [("fer0000020.png", "file cannot be opened: Permission denied")]
    assert reasons(import_ferplus(source, tmp_path / "tree")) == expected


def test_odd_tar_members_are_listed_and_nothing_leaves_the_tar(tmp_path):
    source = tars(tmp_path / "source", [*FACES, face(8, image=b"replaced"), face(9, image=b"replaced")])
    shutil.copy(source / "FER2013Valid.tar", tmp_path / "valid.tar")
    path = source / "FER2013Train.tar"
    path.unlink()
    add_to_tar(
        path,
        special("./", tarfile.DIRTYPE),
        special("./FER2013Train/", tarfile.DIRTYPE),
        ("./FER2013Train/fer0000001.png", png(1)),
        ("fer0000020.png", png(20)),
        ("FER2013Train/fer0000001.png", png(1)),
        ("FER2013Train/../../fer0000031.png", png(1)),
        ("/elsewhere/fer0000032.png", png(1)),
        ("FER2013Valid/fer0000300.png", png(1)),
        ("FER2013Train/fer0000033.png", png(1)),
        special("FER2013Train/more", tarfile.DIRTYPE),
        special("FER2013Train/fer0000008.png", tarfile.SYMTYPE, "/etc/hostname"),
        special("FER2013Train/fer0000009.png", tarfile.LNKTYPE, "FER2013Train/fer0000001.png"),
    )
    before = files_of(tmp_path)
    report = import_ferplus(source, tmp_path / "tree")
    assert reasons(report) == sorted(
        [
            ("fer0000001.png", "image name appears twice"),
            ("../../fer0000031.png", "name is not fer<number>.png"),
            ("/elsewhere/fer0000032.png", "name is not fer<number>.png"),
            ("FER2013Valid/fer0000300.png", "name is not fer<number>.png"),
            ("fer0000033.png", "image without a csv row"),
            ("more", "name is not fer<number>.png"),
            ("fer0000008.png", "not a plain file"),
            ("fer0000009.png", "not a plain file"),
        ]
    )
    assert report["splits"]["train"]["written"] == 2
    shutil.rmtree(tmp_path / "tree")
    assert files_of(tmp_path) == before


# ---- wrong sources, and what an error leaves behind


def cut_tar(root):
    tars(root)
    path = root / "FER2013Train.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + 10])


def no_tar(root):
    tars(root)
    (root / "FER2013Train.tar").write_bytes(b"<html>not found</html>" * 100)


def other_columns(root):
    folders(root)
    table = root / "fer2013new.csv"
    table.write_text(table.read_text().replace("surprise,sadness", "sadness,surprise"))


def pixels_as_votes(root):
    folders(root)
    (root / "fer2013new.csv").write_text("emotion,pixels,Usage\n0,70 80 82,Training\n")


def empty_table(root):
    folders(root)
    (root / "fer2013new.csv").write_bytes(b"")


def endless_cell(root):
    folders(root)
    with (root / "fer2013new.csv").open("a") as table:
        table.write("Training," + "x" * 200000 + "\n")


def no_table(root):
    folders(root)
    (root / "fer2013new.csv").unlink()


def one_label_csv_missing(root):
    split_tables(root)
    (root / "FER2013Valid" / "label.csv").unlink()


def affectnet_tree(root):
    (root / "human_annotated" / "train_set").mkdir(parents=True)


def pixels_only(root):
    root.mkdir()
    (root / "fer2013.csv").write_text("emotion,pixels,Usage\n")


def split_folder_itself(root):
    root.mkdir()
    for number in range(9):
        (root / f"fer{number:07d}.png").write_bytes(png(number))


def only_unknown(root):
    folders(root, [face(1, UNKNOWN), face(2, UNKNOWN, "PublicTest")])


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda root: None, FileNotFoundError, "does not exist: give the folder"),
        (Path.mkdir, FileNotFoundError, r"holds nothing but no FER2013Train\[.tar\] or FER2013Valid\[.tar\]"),
        (lambda root: root.write_text(""), ValueError, "is a file: give the folder"),
        (affectnet_tree, ValueError, "holds human_annotated, so it is AffectNet: run `affectnet-plus prepare`"),
        (pixels_only, ValueError, "fer2013.csv, pixels without the votes of FER.: run generate_training_data.py"),
        (split_folder_itself, FileNotFoundError, "fer0000004.png, ... but no FER2013Train"),
        (no_table, FileNotFoundError, "has no fer2013new.csv and FER2013Train no label.csv: put fer2013new.csv"),
        (one_label_csv_missing, FileNotFoundError, "has no fer2013new.csv and FER2013Valid no label.csv"),
        (other_columns, ValueError, "begins with 'Usage,Image name,neutral,happiness,sadness,surprise.* instead of"),
        (pixels_as_votes, ValueError, "begins with 'emotion,pixels,Usage' instead of"),
        (empty_table, ValueError, "begins with '' instead of"),
        (endless_cell, ValueError, "line 6 is not csv"),
        (cut_tar, ValueError, "FER2013Train.tar is not a whole, uncompressed tar"),
        (no_tar, ValueError, "FER2013Train.tar is not a whole, uncompressed tar"),
        (only_unknown, ValueError, r"no face of .* could be written \(2 voted unknown\)"),
    ],
)
def test_a_wrong_source_is_explained_and_nothing_is_written(build, error, says, tmp_path):
    build(tmp_path / "source")
    with pytest.raises(error, match=says) as caught:
        import_ferplus(tmp_path / "source", tmp_path / "tree")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"source"}


@pytest.mark.parametrize("option", [{"validation": "Test"}, {"protocol": "C"}, {"protocol": "a"}])
def test_unknown_choices(option, tmp_path):
    with pytest.raises(ValueError, match="expected (PublicTest or PrivateTest|A or B)"):
        import_ferplus(folders(tmp_path / "source"), tmp_path / "tree", **option)


def test_an_existing_folder_is_replaced_only_on_request(tmp_path):
    source, tree = folders(tmp_path / "source"), tmp_path / "tree"
    tree.mkdir()
    (tree / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="tree exists"):
        import_ferplus(source, tree)
    assert files_of(tree) == {"mine.txt": b"keep"}
    import_ferplus(source, tree, overwrite=True)
    assert not (tree / "mine.txt").exists()


def test_a_failed_overwrite_leaves_the_old_tree(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "mine.txt").write_text("keep")
    cut_tar(tmp_path / "source")
    with pytest.raises(ValueError, match="uncompressed tar"):
        import_ferplus(tmp_path / "source", tree, overwrite=True)
    assert files_of(tree) == {"mine.txt": b"keep"}


@pytest.mark.parametrize("out", ["", "source", "source/FER2013Train", "source/FER2013Valid/tree", "elsewhere"])
def test_the_source_is_never_replaced(out, tmp_path):
    root = tmp_path / "root"
    source = folders(root / "source")
    (source / "FER2013Train").rename(root / "elsewhere")
    (source / "FER2013Train").symlink_to(root / "elsewhere")
    before = files_of(root)
    with pytest.raises(ValueError, match="name another folder"):
        import_ferplus(source, root / out, overwrite=True, follow_links=True)
    assert files_of(root) == before


# ---- the real data


@pytest.mark.skipif(not (REAL / "fer2013new.csv").is_file(), reason="no FER+ in shared/ferplus beside the checkout")
@pytest.mark.slow
def test_real_counts_and_leaks(tmp_path, monkeypatch):
    # What is counted here is what would be written; the writing of 64,000 files is left out.
    monkeypatch.setattr(TreeWriter, "add", lambda *face, **options: None)
    report = import_ferplus(REAL, tmp_path / "tree")
    train, validation = report["splits"]["train"], report["splits"]["validation"]
    assert (train["rows"], validation["rows"]) == (28558, 3579)
    assert (train["written"], validation["written"]) == (28386, 3553)
    assert (report["leaked_train_images"], report["leaked_validation_images"], len(report["leaks"])) == (340, 279, 360)
    # As no image is rejected, the votes alone tell what protocol B keeps.
    assert report["rejected"] == []
    table = read_votes(REAL, find_splits(REAL, "PublicTest"), Rejections())
    kept = {
        usage: sum(label_by_votes(votes, "B")[0] is not None for votes in rows.values())
        for usage, rows in table.rows.items()
    }
    assert kept == {"Training": 25057, "PublicTest": 3199}
