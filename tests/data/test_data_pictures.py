"""What may be labelled: every kind of input gives the same pictures, and nothing is taken for what it is not."""

import io
import os
import shutil
import tarfile

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from affectnet_plus import MAX_IMAGE_BYTES, SPLITS, BadRow, LayoutError
from affectnet_plus_modeling.data.pictures import open_pictures
from affectnet_plus_modeling.images import decode
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.terms import UNKNOWN, terms_of
from support.archives import FILES, as_folder, as_tar, as_zip
from support.older import row_of, write_list, write_pictures

NAMES = ["a.jpg", "b.png", "sub/a.JPEG", "sub/deep er/ü.jpg"]


MAKERS = {
    "folder": lambda place: as_folder(place / "faces"),
    "tar": lambda place: as_tar(place / "faces.tar"),
    "tar made of .": lambda place: as_tar(place / "faces.tar", prefix="./"),
    "zip": lambda place: as_zip(place / "faces.zip"),
}


def opened(source):
    """As `label` opens it."""
    return open_pictures(source, annotated=True)


def read_all(images) -> list[tuple]:
    return [(picture.image_id, picture.name, *images.read(picture)) for picture in images.pictures()]


def problem(images, name: str) -> str:
    (found,) = (picture for picture in images.pictures() if picture.name == name)
    with pytest.raises(BadRow) as refused:
        images.read(found)
    return str(refused.value)


# ---- plain pictures


@pytest.mark.parametrize("kind", MAKERS)
def test_pictures_are_found_in_depth_and_numbered_by_name(tmp_path, kind):
    images = opened(MAKERS[kind](tmp_path))
    assert read_all(images) == [(f"no_human/{n}", name, {}, FILES[name]) for n, name in enumerate(NAMES, start=1)]
    assert images.passed_over == 1


@pytest.mark.parametrize("kind", MAKERS)
def test_nobody_knows_whose_plain_pictures_are_so_they_are_not_free(tmp_path, kind):
    assert opened(MAKERS[kind](tmp_path)).origin == UNKNOWN
    assert not terms_of(UNKNOWN).free


@pytest.mark.parametrize("kind", MAKERS)
def test_the_fingerprint_is_that_of_the_pictures_and_changes_with_them(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    before = opened(path).fingerprint()
    moved = tmp_path / "moved" / path.name
    moved.parent.mkdir()
    shutil.move(path, moved)
    assert opened(moved).fingerprint() == before
    if moved.is_dir():
        (moved / "a.jpg").write_bytes(FILES["b.png"])
    else:
        {".tar": as_tar, ".zip": as_zip}[moved.suffix](moved, FILES | {"a.jpg": FILES["b.png"]})
    assert opened(moved).fingerprint() != before


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_what_is_no_whole_picture_is_a_reason(tmp_path, kind):
    files = {
        "cut.jpg": FILES["a.jpg"][:300],
        "empty.jpg": b"",
        "gif.jpg": b"GIF89a" + bytes(50),
        "good.jpg": FILES["a.jpg"],
        "large.png": os.urandom(MAX_IMAGE_BYTES + 1),
    }
    path = {"folder": as_folder, "tar": as_tar, "zip": as_zip}[kind](tmp_path / "faces", files)
    path = path.rename(tmp_path / f"faces.{kind}")
    images = opened(path)
    assert problem(images, "cut.jpg").startswith("image cannot be read: ")
    assert problem(images, "empty.jpg") == f"image has 0 bytes, expected 1 to {MAX_IMAGE_BYTES}"
    assert problem(images, "gif.jpg") == "image is not a JPEG or PNG"
    assert f"{MAX_IMAGE_BYTES + 1}" in problem(images, "large.png") or "at most" in problem(images, "large.png")
    assert len(images.pictures()) == 5


def test_names_that_lead_out_of_an_archive_write_nothing_there(tmp_path):
    images = opened(as_tar(tmp_path / "faces.tar", {"../../out.jpg": FILES["a.jpg"], "/abs.jpg": FILES["a.jpg"]}))
    for (_, name, known, content), expected in zip(read_all(images), ("../../out.jpg", "/abs.jpg"), strict=True):
        assert (name, known, content) == (expected, {}, FILES["a.jpg"])
    zipped = opened(as_zip(tmp_path / "faces.zip", {"../out.jpg": FILES["a.jpg"], "in.jpg": FILES["a.jpg"]}))
    assert problem(zipped, "../out.jpg").startswith("its name in the archive is '../out.jpg'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.tar", "faces.zip"]


def test_links_and_a_name_that_stands_twice_in_a_tar_are_reasons(tmp_path):
    with tarfile.open(tmp_path / "faces.tar", "w") as tar:
        for name in ("twice.jpg", "twice.jpg", "once.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(FILES["a.jpg"])
            tar.addfile(member, io.BytesIO(FILES["a.jpg"]))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    images = opened(tmp_path / "faces.tar")
    assert problem(images, "link.jpg").startswith("is a link, a device or a file with holes")
    found = {picture.name: picture.problem for picture in images.pictures()}
    assert found["twice.jpg"] == "stands 2 times in the archive, expected once" and found["once.jpg"] is None


def test_a_tar_that_is_cut_off_or_compressed_is_refused(tmp_path):
    path = as_tar(tmp_path / "faces.tar", {"a.jpg": FILES["a.jpg"], "b.jpg": FILES["a.jpg"]})
    images = opened(path)
    with tarfile.open(tmp_path / "faces.tar.gz", "w:gz") as tar:
        tar.add(path, "a.jpg")
    with pytest.raises(LayoutError, match="faces.tar.gz is not a whole, uncompressed tar: .*decompress it"):
        opened(tmp_path / "faces.tar.gz")
    os.truncate(path, 512 + 1024 + 512 + 100)
    assert problem(images, "b.jpg") == f"has 100 of its {len(FILES['a.jpg'])} bytes: the tar is cut off"
    with pytest.raises(LayoutError, match="faces.tar is not a whole, uncompressed tar: .*Fetch it again"):
        opened(path)


def test_a_zip_that_unpacks_to_far_more_than_it_has_is_refused(tmp_path):
    path = as_zip(tmp_path / "bomb.zip", {f"{n}.jpg": bytes(60_000) for n in range(5)})
    with pytest.raises(LayoutError, match="bytes of bomb.zip unpack to 300000: over 20 times as many"):
        opened(path)


def test_a_name_that_is_no_text_is_shown_with_its_bytes(tmp_path):
    (tmp_path / "faces").mkdir()
    with open(os.fsencode(tmp_path / "faces") + b"/\xff.jpg", "wb") as file:
        file.write(FILES["a.jpg"])
    assert [row[1:] for row in read_all(opened(tmp_path / "faces"))] == [("\\xff.jpg", {}, FILES["a.jpg"])]


def test_what_holds_no_picture_is_refused_with_what_may_be_given(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing does not exist; give a folder, tar or zip of pictures"):
        opened(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", as_zip(tmp_path / "a.zip", {"a.txt": b"x"}), as_tar(tmp_path / "a.tar", {})):
        with pytest.raises(LayoutError, match="holds no .jpg, .jpeg, .png .* give a folder, tar or zip of pictures"):
            opened(path)
    (tmp_path / "file").write_bytes(b"text")
    with pytest.raises(LayoutError, match="file is not a whole, uncompressed tar"):
        opened(tmp_path / "file")


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
@pytest.mark.parametrize("name", ["somewhere/annotations/1.json", "validation.csv"])
def test_annotations_that_cannot_be_read_are_not_passed_over(tmp_path, kind, name):
    files = FILES | {name: b"{}"}
    path = {"folder": as_folder, "tar": as_tar, "zip": as_zip}[kind](tmp_path / "faces", files)
    path = path.rename(tmp_path / f"faces.{kind}")
    with pytest.raises(LayoutError, match=f"holds {name}, so something is known of its faces already; "):
        opened(path)


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_what_systems_leave_beside_pictures_is_none(tmp_path, kind):
    left = (
        "._a.jpg",
        "__MACOSX/sub/._a.jpg",
        "@eaDir/a.jpg/SYNO.jpg",
        ".ipynb_checkpoints/a-copy.jpg",
        "Thumbs.db",
    )
    files = FILES | dict.fromkeys(left, FILES["a.jpg"])
    path = {"folder": as_folder, "tar": as_tar, "zip": as_zip}[kind](tmp_path / "faces", files)
    path = path.rename(tmp_path / f"faces.{kind}")
    assert [picture.name for picture in opened(path).pictures()] == NAMES


def test_a_tree_is_a_folder_of_pictures_where_nothing_is_asked_of_its_faces(raw_tree):
    images = open_pictures(raw_tree)
    assert images.passed_over and all(picture.image_id.startswith("no_human/") for picture in images.pictures())
    assert {picture.name.split("/")[-2] for picture in images.pictures()} == {"images"}


# ---- pictures that are no folder


def test_files_and_pictures_in_memory_are_read_alike(tmp_path):
    folder = as_folder(tmp_path / "faces")
    expected = [image[2:] for image in read_all(opened([folder / name for name in NAMES]))]
    assert expected == [({}, FILES[name]) for name in NAMES]
    held = opened([Image.open(folder / name) for name in NAMES])
    for picture, name in zip(held.pictures(), NAMES, strict=True):
        known, content = held.read(picture)
        assert known == {} and np.array_equal(decode(content), decode(folder / name))
    assert held.fingerprint() == opened([decode(folder / name) for name in NAMES]).fingerprint()
    with pytest.raises(ValueError, match="1 of 2 are paths and the others pictures"):
        opened([folder / "a.jpg", decode(folder / "a.jpg")])
    with pytest.raises(FileNotFoundError, match="gone.jpg is no file"):
        opened([folder / "a.jpg", folder / "gone.jpg"])


def test_a_picture_in_memory_stays_as_it_is(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.arange(1800, dtype=np.uint8).reshape(20, 30, 3)).save(tmp_path / "1.png", exif=turned)
    image = Image.open(tmp_path / "1.png")
    assert decode(image).shape == (30, 20, 3) and image.size == (30, 20)
    assert np.array_equal(decode(image), decode(tmp_path / "1.png"))


def test_the_parquet_of_any_data_set_is_read_and_one_without_pictures_refused(tmp_path):
    rows = [{"bytes": FILES[name], "path": name} for name in NAMES]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": rows, "emotion": [1, 2, 3, 4]}), tmp_path / "set" / "train.parquet")
    for source in (tmp_path / "set", tmp_path / "set" / "train.parquet"):
        images = opened(source)
        assert [row[0::2] for row in read_all(images)] == [(f"no_human/{n}", {}) for n in range(1, 5)]
        assert [row[3] for row in read_all(images)] == [FILES[name] for name in NAMES] and images.origin == UNKNOWN
    data = datasets.Dataset.from_dict({"image": rows}, datasets.Features({"image": datasets.Image()}))
    assert [row[2:] for row in read_all(opened(data))] == [row[2:] for row in read_all(images)]
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    with pytest.raises(LayoutError, match="text.parquet has no column image of bytes and path .but text."):
        opened(tmp_path / "text.parquet")


def test_rows_with_labels_are_not_taken_for_plain_pictures(drawn):
    data = datasets.load_dataset(str(drawn), split="validation")
    assert len(open_pictures(data).pictures()) == len(data)
    with pytest.raises(LayoutError, match="has the columns arousal, label, .* give the folder that prepare wrote"):
        opened(data)


# ---- faces of which something is known


@pytest.fixture(scope="module")
def kinds(raw_tree, tmp_path_factory):
    place = tmp_path_factory.mktemp("kinds")
    prepare(raw_tree, place / "embedded", embed=True)
    prepare(raw_tree, place / "by path")
    shutil.make_archive(str(place / "raw"), "zip", raw_tree.parent, raw_tree.name)
    return {"tree": raw_tree, "zip": place / "raw.zip", "embedded": place / "embedded", "by path": place / "by path"}


@pytest.mark.parametrize("kind", ["zip", "embedded", "by path"])
def test_every_kind_gives_the_faces_of_the_tree_with_all_that_is_known(kinds, kind):
    expected = {row[0]: row for row in read_all(opened(kinds["tree"]))}
    images = opened(kinds[kind])
    assert images.origin == "AffectNet+" and len(images.pictures()) == len(expected) == 50
    for image_id, name, known, content in read_all(images):
        _, there, row, image = expected[image_id]
        assert (name, content) == (there, image) and image_id == name
        for column in ("label", "valence", "arousal", "age", "gender", "race", "pose", "landmarks_68", "landmarks_29"):
            if row[column] is None or np.ndim(row[column]) == 2:
                assert known[column] == row[column]
            else:
                assert known[column] == pytest.approx(row[column], abs=1e-5)


def test_the_origin_is_kept(drawn_tree, drawn):
    assert opened(drawn_tree).origin == opened(drawn).origin == "drawn"


def test_a_face_that_the_source_cannot_read_is_a_reason(tree_copy):
    (tree_copy / SPLITS["train"] / "annotations" / "1.json").unlink()
    (tree_copy / SPLITS["train"] / "images" / "4.JPEG").write_bytes(b"x")
    images = opened(tree_copy)
    assert problem(images, "train/1") == "has no annotation"
    assert problem(images, "train/4") == "image is not a JPEG or PNG"


def test_stems_that_a_tree_cannot_hold_are_numbered_in_each_split(tmp_path):
    write_pictures(tmp_path / "Manually_Annotated_Images", "1/a.jpg", "1/b.jpg", "2/c.jpg")
    write_list(tmp_path / "training.csv", [row_of("1/a.jpg"), row_of("2/c.jpg")])
    write_list(tmp_path / "validation.csv", [row_of("1/b.jpg")])
    images = opened(tmp_path)
    names = [(picture.image_id, picture.name) for picture in images.pictures()]
    assert names == [("train/1", "train/1/a"), ("train/2", "train/2/c"), ("validation/1", "validation/1/b")]
    assert images.read(images.pictures()[0])[0]["label"] == 3 and images.origin == "AffectNet"


def test_a_manifest_of_something_else_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(LayoutError, match="manifest.json cannot be read: Expected .*prepare again"):
        opened(tmp_path)


def test_a_picture_that_an_index_of_paths_does_not_find_any_more_is_a_reason(tree_copy, tmp_path):
    prepare(tree_copy, tmp_path / "out")
    (tree_copy / SPLITS["train"] / "images" / "1.jpg").unlink()
    assert problem(opened(tmp_path / "out"), "train/1").startswith("cannot be opened: ")
