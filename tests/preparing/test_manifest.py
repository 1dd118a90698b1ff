"""A prepared folder knows what it was made from and what it holds, and a change of either is noticed."""

import hashlib
import json
import os
import re
import shutil

import datasets
import pyarrow.parquet as pq
import pytest

from affectnet_plus import SPLITS, features
from affectnet_plus_modeling.preparing import manifest as manifests
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.manifest import verify
from support.trees import picture


@pytest.fixture
def made(tree_copy, tmp_path):
    """A tree that may be changed, and a folder that was prepared from it."""
    prepare(tree_copy, tmp_path / "out")
    return tree_copy, tmp_path / "out"


def manifest_of(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def edit_manifest(folder, **changes) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest_of(folder) | changes))


def test_the_manifest_holds_what_is_there(made):
    tree, out = made
    manifest = manifest_of(out)
    listed = manifest["files"] | manifest["documents"]
    there = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.is_file()}
    assert set(listed) == there - {"manifest.json"}
    for name, size in listed.items():
        content = (out / name).read_bytes()
        assert (size["bytes"], size["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    for name, size in manifest["files"].items():
        assert size["rows"] == pq.read_metadata(out / name).num_rows
    assert sum(size["rows"] for size in manifest["files"].values()) == sum(manifest["counts"].values()) == 50
    assert manifest["counts"] == {"train": 36, "validation": 9, "no_human": 5}
    source = manifest["source"]
    assert (source["path"], source["kind"], source["origin"]) == (str(tree), "FolderSource", "AffectNet+")
    assert re.fullmatch("[0-9a-f]{64}", source["fingerprint"])
    assert manifest["format"] == manifests.ROW_FORMAT
    assert manifest["embedded"] is False and re.fullmatch(r"[0-9]+(\.[0-9]+)+", manifest["version"])


def test_a_file_says_by_itself_what_its_columns_are(made):
    for path in (made[1] / "data").iterdir():
        assert datasets.Features.from_arrow_schema(pq.read_schema(path)) == features("all")


# --- prepared again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_changed_nothing_is_done(made, tmp_path, workers):
    tree, out = made
    before = {path: path.stat() for path in tmp_path.rglob("*") if tree not in path.parents}
    said, told = [], []
    report = prepare(tree, out, workers=workers, progress=lambda *what: told.append(what), say=said.append)
    assert report == json.loads((out / "report.json").read_text())
    assert said == [f"nothing has changed since {out} was written"] and told == []
    after = {path: path.stat() for path in tmp_path.rglob("*") if tree not in path.parents}
    assert {path: (found.st_mtime_ns, found.st_ino) for path, found in after.items()} == {
        path: (found.st_mtime_ns, found.st_ino) for path, found in before.items()
    }


def test_overwriting_without_a_change_writes_the_same_again(made):
    tree, out = made
    before = {path.name: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    inode = out.stat().st_ino
    told = []
    prepare(tree, out, overwrite=True, progress=lambda *what: told.append(what))
    assert {path.name: path.read_bytes() for path in out.rglob("*.*") if path.is_file()} == before
    assert out.stat().st_ino != inode and told[0] == ("read", 0, 50)


def annotation_gone(tree, out):
    (tree / SPLITS["train"] / "annotations" / "1.json").unlink()


def annotation_touched(tree, out):
    os.utime(tree / SPLITS["no_human"] / "annotations" / "8.json", ns=(1, 1))


def image_changed(tree, out):
    (tree / SPLITS["validation"] / "images" / "1.jpg").write_bytes(picture((9, 9, 9)))


def file_cut(tree, out):
    path = out / "data" / "train-00000.parquet"
    path.write_bytes(path.read_bytes()[:-7])


def file_gone(tree, out):
    (out / "quarantine.jsonl").unlink()


def file_added(tree, out):
    shutil.copy(out / "data" / "train-00000.parquet", out / "data" / "train-00001.parquet")


CHANGES = {
    annotation_gone: "the source has changed since",
    annotation_touched: "the source has changed since",
    image_changed: "the source has changed since",
    file_cut: r"data/train-00000.parquet has [0-9]+ bytes, expected [0-9]+",
    file_gone: "quarantine.jsonl is missing",
    file_added: "data/train-00001.parquet is not listed in the manifest",
    lambda tree, out: (out / "manifest.json").write_text("{"): "its manifest.json cannot be read",
    lambda tree, out: (out / "manifest.json").write_text("[]"): "its manifest.json cannot be read",
    lambda tree, out: edit_manifest(out, format=0, version="0.0.9"): r"written by other code \(version 0.0.9\)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named_and_overwriting_mends_it(made, change):
    tree, out = made
    change(tree, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(FileExistsError, match=f"out exists, and .*{CHANGES[change]}. Name another .* --overwrite"):
        prepare(tree, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    prepare(tree, out, overwrite=True)
    said: list[str] = []
    prepare(tree, out, say=said.append)
    assert said == [f"nothing has changed since {out} was written"]


def test_other_options_or_another_source_are_named(made, raw_tree):
    tree, out = made
    with pytest.raises(FileExistsError, match="out exists, and it holds paths and no images. Name another"):
        prepare(tree, out, embed=True)
    with pytest.raises(FileExistsError, match=re.escape(f"out exists, and it was made from {tree}. Name another")):
        prepare(raw_tree, out)
    prepare(tree, out, embed=True, overwrite=True)
    with pytest.raises(FileExistsError, match="out exists, and it holds the images themselves. Name another"):
        prepare(tree, out)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_prepare_did_not_write_is_never_replaced(raw_tree, tmp_path, overwrite):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="out exists and holds no manifest.json, so prepare did not write it"):
        prepare(raw_tree, tmp_path / "out", overwrite=overwrite)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileExistsError, match="file is a file, expected a folder to write"):
        prepare(raw_tree, tmp_path / "file", overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "out", "thesis.txt"]


def test_an_empty_folder_is_refused_but_may_be_overwritten(raw_tree, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="out exists. Name another folder, or pass --overwrite"):
        prepare(raw_tree, tmp_path / "out")
    assert list(tmp_path.rglob("*")) == [tmp_path / "out"]
    prepare(raw_tree, tmp_path / "out", overwrite=True)
    assert verify(tmp_path / "out")[0].level == "note"


def test_overwriting_gives_the_new_rows(tree_copy, tmp_path):
    def rows():
        out, cache = str(tmp_path / "out"), str(tmp_path / "cache")
        return len(datasets.load_dataset(out, "default", split="train", cache_dir=cache))

    prepare(tree_copy, tmp_path / "out")
    assert rows() == 26
    (tree_copy / SPLITS["train"] / "annotations" / "1.json").write_text("no")
    prepare(tree_copy, tmp_path / "out", overwrite=True)
    assert rows() == 25, "not the rows of the first run from the cache"


# --- verified --------------------------------------------------------------------------------------------------------


def levels(folder) -> list[tuple[str, str]]:
    return [(finding.level, finding.check) for finding in verify(folder)]


def flip_a_bit(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_folder_as_it_was_written_is_well(made):
    (finding,) = verify(made[1])
    count = len(list(made[1].rglob("*.*"))) - 1
    assert (finding.level, finding.count) == ("note", count)
    assert finding.message == f"all {count} are as they were written, and the source too"


@pytest.mark.parametrize("name", ["data/train-00000.parquet", "report.json", "README.md"])
def test_one_flipped_bit_is_an_error(made, name):
    flip_a_bit(made[1] / name)
    (finding,) = verify(made[1])
    assert (finding.level, finding.check, finding.count, finding.examples) == ("error", "files", 1, [name])
    assert f"{name} has another checksum; prepare again" in finding.message


@pytest.mark.parametrize("change", [file_cut, file_gone, file_added])
def test_a_damaged_missing_or_additional_file_is_an_error(made, change):
    change(*made)
    (finding,) = verify(made[1])
    assert (finding.level, finding.count) == ("error", 1)
    assert re.search(CHANGES[change], finding.message)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'"x"', b"{}", b"\xff"])
def test_a_manifest_that_cannot_be_read_is_an_error(made, content):
    (made[1] / "manifest.json").unlink()
    if content is not None:
        (made[1] / "manifest.json").write_bytes(content)
    assert levels(made[1]) == [("error", "manifest")]


def test_a_source_that_changed_or_went_is_told(made):
    tree, out = made
    image_changed(tree, out)
    (finding,) = verify(out)
    assert (finding.level, finding.message) == ("error", f"{tree} has changed since; prepare again")
    shutil.rmtree(tree / "human_annotated" / "train_set")
    assert levels(out) == [("error", "source")]
    shutil.rmtree(tree)
    tree.mkdir()
    assert levels(out) == [("error", "source")]
    tree.rmdir()
    (finding,) = verify(out)
    assert (finding.level, finding.message) == ("warning", f"{tree} is not there any more")


def test_other_code_is_a_warning(made, monkeypatch):
    monkeypatch.setattr(manifests, "ROW_FORMAT", 0)
    assert levels(made[1]) == [("warning", "code")]


def test_a_folder_that_was_written_before_formats_had_numbers_is_old(made):
    tree, out = made
    manifest = manifest_of(out)
    del manifest["format"]
    (out / "manifest.json").write_text(json.dumps(manifest | {"code": "0" * 64}))
    assert levels(out) == [("warning", "code")]
    with pytest.raises(FileExistsError, match="it was written by other code"):
        prepare(tree, out)


def test_a_published_folder_has_no_source_to_look_for(made):
    edit_manifest(made[1], source=manifest_of(made[1])["source"] | {"path": None})
    assert levels(made[1]) == [("note", "source")]
