"""What lies somewhere is recognised for what it is, and what is nothing that we know is refused by name."""

import shutil
import zipfile

import pytest

from affectnet_plus import LayoutError, find_splits
from affectnet_plus_modeling.sources.delivered import FolderSource, open_source
from affectnet_plus_modeling.sources.older_csv import HEADER, CsvSource
from affectnet_plus_modeling.sources.older_npy import NpySource
from affectnet_plus_modeling.sources.zips import ZipSource


def make(root, *files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("human_annotated/train_set/images/1.jpg", b"")
        else:
            path.write_text(HEADER if path.suffix == ".csv" else "x")


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["human_annotated/train_set/images/1.jpg"], FolderSource),
        (["no_human_annotated/annotations/1.json"], FolderSource),
        (["AffectNet+_part1.zip", "AffectNet+_part2.zip"], ZipSource),
        (["training.csv"], CsvSource),
        (["validation.csv", "Manually_Annotated.zip"], CsvSource),
        (["val_set/annotations/1_exp.npy", "AffectNet-8.zip"], NpySource),
        (["train_set/annotations/1_lnd.npy"], NpySource),
        (["human_annotated/train_set/images/1.jpg", "part1.zip", "training.csv"], FolderSource),
    ],
)
def test_every_layout_is_recognised(tmp_path, files, kind):
    make(tmp_path, *files)
    assert type(open_source(tmp_path)) is kind
    assert type(open_source(str(tmp_path))) is kind


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ([], "gone", "gone does not exist"),
        ([], "gone.zip", "gone.zip does not exist"),
        ([], "", "it is empty. Give the extracted"),
        (["a.txt"], "", "it holds a.txt. Give the folder that holds human_annotated/"),
        (["a.txt"], "a.txt", "a.txt is not a folder"),
        (["README.md", "data/x"], "", "it looks prepared already"),
    ],
)
def test_what_is_nothing_that_we_know_is_refused(tmp_path, files, given, message):
    make(tmp_path, *files)
    with pytest.raises(LayoutError, match=message):
        open_source(tmp_path / given)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.zip", "it holds zip parts, which `affectnet-plus prepare` reads as they are. Here, give the extracted"),
        ("x.zip.001", "it holds zip parts"),
        ("x.z01", "it holds zip parts"),
        ("training.csv", r"the first AffectNet release \(csv\), which has no soft labels. `affectnet-plus prepare`"),
        ("val_set/annotations/1_exp.npy", r"the older AffectNet-8 release \(npy\).*`affectnet-plus prepare` reads it"),
    ],
)
def test_the_builder_which_takes_folders_only_says_who_reads_the_others(tmp_path, name, message):
    make(tmp_path, name)
    with pytest.raises(LayoutError, match=message):
        find_splits(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"origin": 1}', b"[" * 100_000])
def test_a_source_file_that_names_no_origin_is_refused(tmp_path, raw_tree, content):
    tree = shutil.copytree(raw_tree, tmp_path / "tree")
    (tree / "source.json").write_bytes(b'{"origin": "drawn"}')
    assert open_source(tree).origin == "drawn" and open_source(raw_tree).origin == "AffectNet+"
    (tree / "source.json").write_bytes(content)
    with pytest.raises(LayoutError, match='source.json does not say {"origin": "..."}. Remove it if'):
        open_source(tree)
