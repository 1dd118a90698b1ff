"""Zip parts as downloaded give the rows of the extracted tree, and nothing in them is believed."""

import io
import json
import os
import pickle
import shutil
import stat
import struct
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectnet_plus import MAX_ANNOTATION_BYTES, BadRow, LayoutError
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources import zip_archive
from affectnet_plus_modeling.sources.delivered import FolderSource, open_source
from affectnet_plus_modeling.sources.zip_archive import Archive
from affectnet_plus_modeling.sources.zips import ZipSource
from support.trees import full_record, picture

TRAIN = "human_annotated/train_set"
RECORD = json.dumps(full_record(3, 0)).encode()


def files_of(tree: Path) -> dict[str, bytes]:
    return {p.relative_to(tree).as_posix(): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


def write_zip(path: Path, files, method=zipfile.ZIP_DEFLATED) -> Path:
    """An archive of name -> content; a name may be a ZipInfo."""
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return path


def face(stem=1, image=None, annotation=RECORD, root=f"{TRAIN}/") -> dict[str, bytes]:
    image = picture((stem % 256, 90, 40)) if image is None else image
    return {f"{root}images/{stem}.jpg": image, f"{root}annotations/{stem}.json": annotation}


def everything(source):
    """({split: [(row, picture), ...]}, {image_id: reason}); of a picture's path only the name."""
    rows, reasons = {}, {}
    for split in source.splits():
        rows[split] = []
        for listed in source.faces(split):
            try:
                row, image = source.read(split, listed)
            except BadRow as reason:
                assert listed.image_id not in reasons
                reasons[listed.image_id] = str(reason)
                continue
            name = os.path.basename(row.pop("image")["path"])
            rows[split].append((row, name, image))
    return rows, reasons


def patched(content: bytes, name: str, offset: int, value: bytes, magic=b"PK\1\2", gap=46) -> bytes:
    """The archive with other bytes at an offset of the header of a member; the directory's, if not said otherwise."""
    at = -1
    while (at := content.index(magic, at + 1)) is not None:
        if content[at + gap :].startswith(name.encode()):
            return content[: at + offset] + value + content[at + offset + len(value) :]


@pytest.fixture(scope="module")
def expected(raw_tree):
    return everything(FolderSource(raw_tree))


# --- the same rows as the folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "AffectNet+/", "数据/AffectNet+/", "a/b/human_annotated/c/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_archive_gives_the_rows_of_the_folder_wherever_the_tree_lies_in_it(
    raw_tree, tmp_path, expected, prefix, method
):
    path = write_zip(tmp_path / "x.zip", {f"{prefix}{n}": data for n, data in files_of(raw_tree).items()}, method)
    source = open_source(path)
    assert isinstance(source, ZipSource) and everything(source) == expected
    assert source.splits() == ["train", "validation", "no_human"]
    assert source.origin == "AffectNet+" and not source.holds_files
    assert [f.image_id for f in source.faces("train")] == [f.image_id for f in FolderSource(raw_tree).faces("train")]


def test_one_split_alone_is_enough(raw_tree, tmp_path, expected):
    files = {name.partition("/")[2]: data for name, data in files_of(raw_tree).items() if "validation_set" in name}
    source = open_source(write_zip(tmp_path / "validation.ZIP", files))
    assert source.splits() == ["validation"]
    assert everything(source)[0]["validation"] == expected[0]["validation"]


def test_members_may_be_spread_over_parts_even_a_picture_apart_from_its_annotation(raw_tree, tmp_path, expected):
    files = list(files_of(raw_tree).items())
    for number in range(3):
        write_zip(tmp_path / "parts" / f"AffectNet+_part{number + 1}.zip", dict(files[number::3]))
    source = open_source(tmp_path / "parts")
    assert everything(source) == expected
    assert {path.name for path in source.places()} == {f"AffectNet+_part{n}.zip" for n in (1, 2, 3)}
    alone = everything(open_source(tmp_path / "parts" / "AffectNet+_part2.zip"))
    assert alone[1] and set(alone[1].values()) == {"has no image", "has no annotation"}


@pytest.mark.parametrize("size", [997, 20_000])
def test_an_archive_cut_anywhere_is_read_from_its_pieces(raw_tree, tmp_path, expected, size):
    content = write_zip(tmp_path / "whole.zip", files_of(raw_tree)).read_bytes()
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, len(content), size)):
        (tmp_path / "parts" / f"x.zip.{number + 1:03d}").write_bytes(content[start : start + size])
    assert everything(open_source(tmp_path / "parts")) == expected
    assert everything(open_source(tmp_path / "parts" / "x.zip.002")) == expected


@pytest.mark.skipif(not shutil.which("zip"), reason="Info-ZIP's zip is not installed")
def test_an_archive_that_spans_disks_is_read_from_its_pieces(raw_tree, tmp_path, expected):
    (tmp_path / "parts").mkdir()
    shutil.copytree(raw_tree, tmp_path / "big")
    noise = tmp_path / "big" / "noise.bin"
    noise.write_bytes(os.urandom(150_000))
    command = ["zip", "-q", "-r", "-s", "64k", "../parts/x.zip", "."]
    subprocess.run(command, cwd=tmp_path / "big", check=True, timeout=900)
    names = sorted(os.listdir(tmp_path / "parts"))
    assert len(names) >= 4 and names[-1] == "x.zip", names
    for piece in ("", "x.zip", "x.z02"):
        source = open_source(tmp_path / "parts" / piece)
        assert everything(source) == expected
    assert [path.name for path in source.places()] == names
    with zipfile.ZipFile(tmp_path / "parts" / "x.zip") as last_piece:  # why there is a reader of our own
        with pytest.raises((zipfile.BadZipFile, OSError)):
            last_piece.read(f"{TRAIN}/images/1.jpg")
    (tmp_path / "parts" / "x.z02").unlink()
    with pytest.raises(LayoutError, match=r"only some pieces of the split archive x.zip: x.z02 missing. Put all"):
        open_source(tmp_path / "parts")
    for name in names[:-1]:
        (tmp_path / "parts" / name).unlink(missing_ok=True)
    with pytest.raises(LayoutError, match=rf"x.zip is the last of {len(names)} pieces, of which 1 are here.*x.z01 to"):
        open_source(tmp_path / "parts" / "x.zip")


@pytest.mark.parametrize("limits", [{"ZIP64_LIMIT": 0}, {"ZIP_FILECOUNT_LIMIT": 10}])
def test_zip64_archives_are_read(raw_tree, tmp_path, expected, monkeypatch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(zipfile, name, value)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files_of(raw_tree).items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert b"PK\6\6" in path.read_bytes()
    assert everything(open_source(path)) == expected


@pytest.mark.slow
def test_more_than_65535_members_are_listed_with_zipfile_as_the_reference(tmp_path):
    members = {f"{TRAIN}/images/{n}.jpg": b"x" for n in range(66_000)} | face(70_000)
    path = write_zip(tmp_path / "x.zip", members, zipfile.ZIP_STORED)
    with zipfile.ZipFile(path) as reference:
        listed = [(e.filename, e.CRC, e.file_size, e.compress_size, e.header_offset) for e in reference.infolist()]
    assert listed == [(e.text(), e.crc, e.size, e.packed, e.offset) for e in Archive([path]).entries()]
    source = open_source(path)
    faces = source.faces("train")
    assert len(faces) == 66_001 and faces[0].image_id == "train/70000" and faces[2].image_id == "train/1"
    assert source.read("train", faces[0])[1] == members[f"{TRAIN}/images/70000.jpg"]


def test_folders_and_what_systems_add_are_passed_over(tmp_path):
    added = {f"AffectNet+/{TRAIN}/images/": b"", f"AffectNet+/{TRAIN}/images/9/": b"", "AffectNet+/README.txt": b"x"}
    added[f"AffectNet+/{TRAIN}/images/.DS_Store"] = b"x"
    added[f"__MACOSX/AffectNet+/{TRAIN}/images/._1.jpg"] = b"x"
    for name in ("Thumbs.db", "desktop.ini", "._1.jpg", "@eaDir/1.jpg", ".ipynb_checkpoints/1.jpg"):
        added[f"AffectNet+/{TRAIN}/images/{name}"] = b"x"
    path = write_zip(tmp_path / "x.zip", added | face(root=f"AffectNet+/{TRAIN}/"))
    rows, reasons = everything(open_source(path))
    assert len(rows["train"]) == 1 and reasons == {}


def test_an_archive_says_whose_faces_it_holds(tmp_path):
    files = {"t/source.json": b'{"origin": "drawn"}', **face(root=f"t/{TRAIN}/")}
    first, second = write_zip(tmp_path / "p" / "1.zip", files), tmp_path / "p" / "2.zip"
    assert open_source(first).origin == "drawn"
    write_zip(second, face(2))
    assert open_source(tmp_path / "p").origin == "drawn"
    write_zip(second, {"source.json": b'{"origin": "FER+"}', **face(2)})
    with pytest.raises(LayoutError, match=r"faces of different origin \(1.zip: drawn, 2.zip: FER\+\)"):
        open_source(tmp_path / "p")
    for content in (b"", b"[]", b'{"origin": 3}', b"[" * 100_000):
        write_zip(second, {"source.json": content, **face(2)})
        with pytest.raises(LayoutError, match="2.zip/source.json does not say|unpacks from"):
            open_source(second)


def test_a_source_in_zips_can_be_pickled_with_files_open_and_is_small(raw_tree, tmp_path, expected):
    source = open_source(write_zip(tmp_path / "x.zip", files_of(raw_tree)))
    assert everything(source) == expected
    copy = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 1000
    assert not copy._archives[0].pieces._open, "a number of an open file means another file in another process"
    assert everything(copy) == expected


def test_a_part_is_opened_once_and_closed_with_its_source(tmp_path):
    path = write_zip(tmp_path / "x.zip", face(1))
    before = len(os.listdir("/proc/self/fd"))
    source = open_source(path)
    for _ in range(5):
        everything(source)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del source
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_member_with_a_long_local_header_is_read(tmp_path):
    files = face(1)
    info = zipfile.ZipInfo(f"{TRAIN}/images/1.jpg")
    info.extra = struct.pack("<HH", 0x9999, 5000) + bytes(5000)
    content = files.pop(info.filename)
    rows, reasons = everything(open_source(write_zip(tmp_path / "x.zip", [*files.items(), (info, content)])))
    assert reasons == {} and rows["train"][0][2] == content


@pytest.mark.parametrize(
    ("offset", "more", "message"),
    [(10, 100, "its directory holds 2 entries, expected 102"), (13, 1, "its directory is not where it says")],
)
def test_an_end_record_that_does_not_fit_the_directory_is_refused(tmp_path, offset, more, message):
    path = write_zip(tmp_path / "x.zip", face(1))
    content = bytearray(path.read_bytes())
    content[len(content) - 22 + offset] += more
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=f"x.zip is damaged: {message}. Fetch it again"):
        open_source(path)


def test_the_fingerprint_changes_with_a_member_a_part_or_a_name(raw_tree, tmp_path):
    files = files_of(raw_tree)
    path = write_zip(tmp_path / "p" / "1.zip", files)
    first = open_source(path).fingerprint()
    os.utime(path, (1, 1))
    assert open_source(path).fingerprint() == first == open_source(tmp_path / "p").fingerprint()
    write_zip(path, files | {f"{TRAIN}/images/1.jpg": files[f"{TRAIN}/images/7.jpg"]})
    changed = open_source(path).fingerprint()
    write_zip(tmp_path / "p" / "2.zip", face(5000))
    more = open_source(tmp_path / "p").fingerprint()
    (tmp_path / "p" / "2.zip").rename(tmp_path / "p" / "3.zip")
    assert len({first, changed, more, open_source(tmp_path / "p").fingerprint()}) == 4


def test_prepare_embeds_the_faces_of_zips_with_the_rows_of_the_folder(raw_tree, tmp_path):
    path = write_zip(tmp_path / "x.zip", files_of(raw_tree))
    prepare(raw_tree, tmp_path / "from-folder", embed=True)
    prepare(path, tmp_path / "from-zip", embed=True)
    rows = []
    for name in ("from-folder", "from-zip"):
        opened = datasets.load_dataset(str(tmp_path / name), "all", split="train", cache_dir=str(tmp_path / "cache"))
        rows.append(opened.cast_column("image", datasets.Image(decode=False)).to_list())
    assert len(rows[0]) == 36 and str(rows[0]) == str(rows[1]), "text, as NaN is not NaN"


# --- what cannot be opened -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "piece", "message"),
    [
        (["x.zip.001", "x.zip.003"], "", "split archive x.zip: x.zip.002 missing. Put all of its pieces into one"),
        (["x.zip.002"], "x.zip.002", "split archive x.zip: x.zip.001 missing"),
        (["x.zip.001", "x.zip.002"], "", "x.zip.002 is not the end of a zip archive: the download is not complete"),
        (["x.z01", "x.z02"], "x.z01", "split archive x.zip: x.zip missing"),
        (["x.z01", "x.z03"], "", "split archive x.zip: x.z02, x.zip missing"),
        (["x.zip"], "x.zip", "x.zip is not the end of a zip archive"),
        (["x.zip", "x.zip.001"], "", r"holds x.zip whole and in pieces \(x.zip.001, ...\). Move one away"),
    ],
)
def test_a_missing_piece_is_named(tmp_path, names, piece, message):
    for name in names:
        (tmp_path / name).write_bytes(b"PK\3\4 the beginning of an archive")
    with pytest.raises(LayoutError, match=message):
        open_source(tmp_path / piece)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": b"", "b/c.txt": b""}, r"x.zip is not a part of AffectNet\+: it holds a.txt, b. Give archives"),
        ({}, "it holds nothing"),
        ({"d/train_set/annotations/1_exp.npy": b""}, "x.zip looks like an older AffectNet release. Extract it"),
        ({"training.csv": b""}, "x.zip looks like an older AffectNet release. Extract it, and give the folder"),
        (face(1, root=f"a/{TRAIN}/") | face(2, root=f"b/{TRAIN}/"), r"x.zip holds 2 trees \(a, b\). Give archives of"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path, files, message):
    write_zip(tmp_path / "x.zip", files)
    for place in (tmp_path, tmp_path / "x.zip"):
        with pytest.raises(LayoutError, match=message):
            open_source(place)


@pytest.mark.parametrize("content", [b"", b"hello", b"Rar!" * 100, bytes(100_000)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(LayoutError, match="x.zip is not a zip archive. Fetch it again"):
        open_source(tmp_path / "x.zip")


# --- what is quarantined ---------------------------------------------------------------------------------------------


def reasons_of(path: Path, kept=1) -> dict[str, str]:
    """Why faces are left out; one good face is there too, which shows that the rest is read."""
    rows, reasons = everything(open_source(path))
    assert sum(map(len, rows.values())) == kept
    return reasons


def test_the_same_face_in_two_parts_is_neither_of_them(tmp_path):
    write_zip(tmp_path / "p" / "1.zip", face(1) | face(2))
    write_zip(tmp_path / "p" / "2.zip", face(1) | {f"{TRAIN}/images/3.png": b"x", f"{TRAIN}/images/3.jpg": b"x"})
    assert reasons_of(tmp_path / "p") == {
        "train/1": "has 2 annotations, in 1.zip and 2.zip, expected 1",
        "train/3": "has 2 images, expected 1",
    }


def test_the_same_name_twice_in_one_archive_is_neither_of_them(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_zip(tmp_path / "x.zip", [*face(1).items(), *face(2).items(), (f"{TRAIN}/images/1.jpg", b"other")])
    assert reasons_of(tmp_path / "x.zip") == {"train/1": "has 2 images, in x.zip and x.zip, expected 1"}


@pytest.mark.parametrize(
    "name",
    ["../{}", "a/../{}", "/{}", "C:/{}", "c:{}", "//host/{}", "{}\0.txt", "/etc/../{}"],
)
def test_a_hostile_name_is_quarantined(tmp_path, name):
    files = face(1) | {f"{TRAIN}/annotations/2.json": RECORD}
    hostile = zipfile.ZipInfo("x")
    hostile.filename = hostile.orig_filename = name.format(f"{TRAIN}/images/2.jpg")
    reasons = reasons_of(write_zip(tmp_path / "x.zip", [*files.items(), (hostile, picture())]))
    assert any("expected a path inside of it with / between" in reason for reason in reasons.values())
    assert set(reasons) <= {"train/2", "train/2.jpg\0.txt"} and "train/2" in reasons
    assert sorted(os.listdir(tmp_path)) == ["x.zip"]


def test_backslashes_in_names_are_quarantined(tmp_path):
    files = [(zipfile.ZipInfo("x"), content) for content in face(2).values()]
    for (info, _), name in zip(files, face(2)):
        info.filename = info.orig_filename = name.replace("/", "\\")
    reasons = reasons_of(write_zip(tmp_path / "x.zip", [*face(1).items(), *files]))
    assert list(reasons) == ["train/2"] and "with / between" in reasons["train/2"]


def test_names_in_odd_encodings_are_quarantined_by_name(tmp_path):
    content = write_zip(tmp_path / "x.zip", face(1) | {f"{TRAIN}/images/é.jpg": b"x"}).read_bytes()
    assert reasons_of(tmp_path / "x.zip") == {"train/é": "'é.jpg' is not named <whole number>.jpg|png|json"}
    (tmp_path / "x.zip").write_bytes(content.replace("é".encode(), b"\xff\xfe"))
    assert list(reasons_of(tmp_path / "x.zip")) == ["train/\\xff\\xfe"]
    write_zip(tmp_path / "x.zip", face(1) | {f"{TRAIN}/images/deep/2.jpg": b"x", f"{TRAIN}/images/x": b""})
    assert reasons_of(tmp_path / "x.zip") == {
        "train/deep/2.jpg": "'deep/2.jpg' is not named <whole number>.jpg|png|json",
        "train/x": "'x' is not named <whole number>.jpg|png|json",
    }


def test_a_link_is_not_followed(tmp_path):
    link = zipfile.ZipInfo(f"{TRAIN}/images/2.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = [*face(1).items(), (f"{TRAIN}/annotations/2.json", RECORD), (link, b"1.jpg")]
    expected = {"train/2": "is a link or a device in the archive, expected a file"}
    assert reasons_of(write_zip(tmp_path / "x.zip", files)) == expected


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_an_encrypted_member_is_quarantined(tmp_path, flag):
    path = write_zip(tmp_path / "x.zip", face(1) | face(2))
    path.write_bytes(patched(path.read_bytes(), f"{TRAIN}/images/2.jpg", 8, struct.pack("<H", flag)))
    assert "is encrypted. Unpack the archive with its password" in reasons_of(path)["train/2"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_quarantined(tmp_path, method):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (face(1) | face(2)).items():
            archive.writestr(name, content, method if "2" in name else zipfile.ZIP_DEFLATED)
    reason = f"is compressed by method {method}, expected 0 (stored) or 8 (deflated). Unpack the archive"
    assert reasons_of(path) == {"train/2": reason}


def test_patched_data_is_quarantined(tmp_path):
    path = write_zip(tmp_path / "x.zip", face(1) | face(2))
    path.write_bytes(patched(path.read_bytes(), f"{TRAIN}/images/2.jpg", 8, struct.pack("<H", 0x20)))
    assert reasons_of(path)["train/2"] == "is a patch of another file, expected the file"


@pytest.mark.parametrize("stored", [True, False])
def test_damaged_bytes_of_a_member_are_quarantined(tmp_path, stored):
    path = write_zip(tmp_path / "x.zip", face(1) | face(2), zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    at = content.index(f"{TRAIN}/images/2.jpg".encode()) + 200
    path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    assert "'2.jpg' is damaged in the archive" in reasons_of(path)["train/2"]


@pytest.mark.parametrize(
    ("offset", "value", "magic", "reason"),
    [
        (16, b"\0\0\0\0", b"PK\1\2", "size or checksum is not the one listed"),
        (24, struct.pack("<L", 100), b"PK\1\2", "size or checksum is not the one listed"),
        (24, struct.pack("<L", 1999), b"PK\1\2", "size or checksum is not the one listed"),
        (42, None, b"PK\1\2", "'2.json' is not where the archive's directory says"),
        (42, struct.pack("<L", 1 << 31), b"PK\1\2", "'2.json' is not where the archive's directory says"),
        (30, b"other", b"PK\3\4", "'2.json' has another name in the archive than in its directory"),
    ],
)
def test_a_member_that_is_not_what_the_directory_says_is_quarantined(tmp_path, offset, value, magic, reason):
    path = write_zip(tmp_path / "x.zip", face(1) | face(2))
    name, content = f"{TRAIN}/annotations/2.json", path.read_bytes()
    value = value or struct.pack("<L", content.index(b"PK\1\2"))  # of the directory itself
    path.write_bytes(patched(content, name, offset, value, magic, 46 if magic == b"PK\1\2" else 30))
    reasons = reasons_of(path)
    assert list(reasons) == ["train/2"] and reason in reasons["train/2"]


# --- bombs -----------------------------------------------------------------------------------------------------------


def test_a_member_that_unpacks_to_far_more_is_not_unpacked(tmp_path):
    path = write_zip(tmp_path / "x.zip", face(1) | face(2, annotation=b" " * 50_000_000))
    tracemalloc.start()
    reasons = reasons_of(path)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()
    assert reasons["train/2"].endswith("bytes to 50000000, expected at most 100 times as many")


def test_a_member_that_hides_its_size_is_unpacked_no_further_than_it_says(tmp_path):
    path = write_zip(tmp_path / "x.zip", face(1) | face(2, annotation=b" " * 50_000_000))
    name = f"{TRAIN}/annotations/2.json"
    path.write_bytes(patched(path.read_bytes(), name, 24, struct.pack("<L", 900_000)))
    tracemalloc.start()
    reasons = reasons_of(path)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()
    assert reasons == {"train/2": "'2.json' is damaged in the archive: its size or checksum is not the one listed"}


def test_a_member_beyond_the_limits_is_not_read_whole(tmp_path):
    noise = os.urandom(600_000).hex().encode()  # 1.2 MB that pack to about half
    path = write_zip(tmp_path / "x.zip", face(1) | face(2, annotation=noise))
    assert reasons_of(path) == {"train/2": f"annotation has 1000001 bytes, expected at most {MAX_ANNOTATION_BYTES}"}
    path = write_zip(tmp_path / "x.zip", face(1) | face(2, annotation=noise), zipfile.ZIP_STORED)
    assert reasons_of(path) == {"train/2": "'2.json' takes 1200000 bytes in the archive, expected at most 1000000"}
    path = write_zip(tmp_path / "x.zip", face(1) | face(2, image=bytes(30_000_000)), zipfile.ZIP_STORED)
    assert reasons_of(path) == {"train/2": "'2.jpg' takes 30000000 bytes in the archive, expected at most 20000000"}


def test_members_that_share_bytes_are_quarantined(tmp_path):
    """The directory names the same bytes under many names: a small archive that unpacks to a large one."""
    path = write_zip(tmp_path / "x.zip", face(1) | face(2) | face(3))
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo(f"{TRAIN}/images/2.jpg").header_offset
    path.write_bytes(patched(content, f"{TRAIN}/images/3.jpg", 42, struct.pack("<L", offset)))
    reason = "shares its bytes with another member of the archive"
    assert reasons_of(path) == {"train/2": reason, "train/3": reason}
    # The second lies within the first, as in Fifield's overlapping bombs.
    path.write_bytes(patched(content, f"{TRAIN}/images/3.jpg", 42, struct.pack("<L", offset + 50)))
    assert reasons_of(path) == {"train/2": reason, "train/3": reason}


def test_archives_that_unpack_to_far_more_in_all_are_refused(tmp_path):
    members = face(1)
    for stem in range(2, 12):
        members |= face(stem, annotation=b" 1," * 20_000 + os.urandom(700))
    with pytest.raises(LayoutError, match=r"the \d+ bytes of x.zip unpack to \d+: over 20 times as many"):
        open_source(write_zip(tmp_path / "x.zip", members))


# --- random damage ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An archive of three faces, once as it is and once with Zip64 records."""
    nobody = json.dumps(full_record(None, None)).encode()
    files = face(1) | face(2) | face(3, root="no_human_annotated/", annotation=nobody)
    folder = tmp_path_factory.mktemp("small")
    plain = write_zip(folder / "plain.zip", files).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 0)
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                with archive.open(name, "w", force_zip64=True) as member:
                    member.write(content)
    return plain, target.getvalue(), files


@settings(max_examples=150, deadline=5000, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_damage_gives_rows_reasons_or_a_layout_error_and_nothing_else(small, tmp_path_factory, data):
    content = bytearray(small[data.draw(st.integers(0, 1))])
    directory = content.index(b"PK\1\2")
    for _ in range(data.draw(st.integers(1, 6))):
        # Most bytes are pictures, so the records, which matter more, are hit more often.
        last = len(content) - 1
        first = data.draw(st.sampled_from([0, min(directory, last), max(last - 97, 0)]))
        at = data.draw(st.integers(first, last))
        kind = data.draw(st.sampled_from(["set", "full", "cut", "insert"]))
        if kind == "cut":
            del content[at : at + data.draw(st.integers(1, 200))]
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=30))
        else:
            new = data.draw(st.binary(min_size=1, max_size=8)) if kind == "set" else b"\xff" * 8
            content[at : at + len(new)] = new
        content = content or bytearray(b"P")
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        rows, _ = everything(open_source(path))
    except LayoutError:
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200e6
    for found in rows.values():
        for row, name, image in found:
            assert image in small[2].values(), f"{row['image_id']} {name} is not as it was packed"


def test_the_ratio_limit_is_above_what_real_members_have():
    assert zip_archive.MAX_RATIO > 10 * len(RECORD) / len(zip_archive.zlib.compress(RECORD))
