"""What a fixed tree becomes: when that changes, folders that were prepared before are old, and have to be told so."""

import hashlib
import json

import pyarrow.parquet as pq
import pytest

from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.manifest import ROW_FORMAT
from support.older import row_of, write_list, write_pictures
from support.reference import FOLDERS, write_small_tree

# Of ROW_FORMAT 3. Since 1 what systems leave beside files is in no quarantine; since 2 PNGs with a damaged chunk are,
# and a face with an unknown suffix is there once. The digests of 1 and 2 are the same.
DIGESTS = {
    "AffectNet+": "10cf2c8fcc3359492ccb606e3a634b6609619953ccdbb6b02e45742a664d29ec",
    "AffectNet": "c443fc5ef0f640a3e22f9d1341eb8a41f707536264b24845dad32e706a79dbc7",
}


def affectnet_plus(root):
    """Every label, subset and null, and three faces that cannot be rows."""
    write_small_tree(root)
    for stem, damage in ((50, "{"), (51, "[1]"), (52, '{"human-label": 17}')):
        folder = root / FOLDERS["train"]
        (folder / "images" / f"{stem}.jpg").write_bytes((folder / "images" / "7.jpg").read_bytes())
        (folder / "annotations" / f"{stem}.json").write_text(damage)


def affectnet(root):
    """An older release: rows without soft labels, and one whose picture is missing."""
    rows = [row_of("10/b.jpg", expression="10", valence="-2", arousal="-2"), row_of("2/a.jpg"), row_of("3/gone.jpg")]
    write_list(root / "training.csv", rows)
    write_list(root / "validation.csv", [row_of("2/c.jpg", expression="0", valence="-1", arousal="1")])
    write_pictures(root / "Manually_Annotated_Images", "10/b.jpg", "2/a.jpg", "2/c.jpg")


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("tree", [affectnet_plus, affectnet])
def test_the_same_tree_becomes_the_same_rows_or_the_format_has_another_number(tree, embed, tmp_path):
    name = {"affectnet_plus": "AffectNet+", "affectnet": "AffectNet"}[tree.__name__]
    tree(tmp_path / name)
    prepare(tmp_path / name, tmp_path / "out", embed)
    found = digest_of(tmp_path / "out", tmp_path / name)
    assert (ROW_FORMAT, found) == (3, DIGESTS[name]), (
        f"{name} becomes other rows or files than before ({found}). Is that meant? Then raise ROW_FORMAT in "
        "preparing/manifest.py, so that older folders are told to be old, and pin number and digest here"
    )


def digest_of(out, tree) -> str:
    """Of names and columns of the files, of all rows but the coded pixels, and of who is in quarantine.

    Words, such as the reasons in quarantine, do not count: a folder is not old for them.
    """
    files = []
    for path in sorted((out / "data").iterdir()):
        table = pq.read_table(path)
        names = [f"{field.name}: {field.type}" for field in table.schema]
        files.append([path.name, names, [plain(row, tree) for row in table.to_pylist()]])
    quarantine = [json.loads(line)["image_id"] for line in (out / "quarantine.jsonl").read_text().splitlines()]
    return hashlib.sha256(json.dumps([files, quarantine]).encode()).hexdigest()


def plain(row: dict, tree) -> dict:
    """The row with the name of its picture alone, after a look at what it stands for."""
    path, content = row["image"]["path"], row["image"]["bytes"]
    if content is None:
        assert path.startswith(str(tree))
    else:
        assert content in {file.read_bytes() for file in tree.rglob(path)}
    return row | {"image": path.rpartition("/")[2]}
