"""Links, pipes, loops and folders among what is read: nothing outside is read unasked, and nothing hangs."""

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectnet_plus import BadRow, LayoutError
from affectnet_plus_modeling.data.pictures import open_pictures
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.manifest import verify
from affectnet_plus_modeling.publishing.publish import stage
from affectnet_plus_modeling.sources.delivered import open_source
from affectnet_plus_modeling.sources.ferplus import import_ferplus
from support.trees import picture

PRIVATE = picture((1, 2, 3), "PNG", (48, 48))


@pytest.fixture
def private(tmp_path):
    """A picture that nobody delivered."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "me.png").write_bytes(PRIVATE)
    return tmp_path / "private" / "me.png"


def said(images) -> dict[str, str]:
    """Name of each picture that cannot be read -> why."""
    found = {}
    for one in images.pictures():
        for read in (images.encoded, images.read):
            try:
                read(one)
            except BadRow as reason:
                found[one.name] = str(reason)
    return found


def test_a_folder_of_pictures(tmp_path, private):
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(picture())
    (folder / "inside.jpg").symlink_to("good.jpg")
    (folder / "out.jpg").symlink_to(private)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "linked").symlink_to(private.parent)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    found = said(open_pictures(folder))
    assert found.keys() == {*("out.jpg", "loop.jpg", "nowhere.jpg", "folder.jpg", "linked/", "pipe.jpg", "device.jpg")}
    assert found["out.jpg"] == "'out.jpg' is a link that leaves its folder (--follow-links follows it)"
    assert found["folder.jpg"] == "is a folder, expected a picture" and found["pipe.jpg"] == "'pipe.jpg' is not a file"
    assert found["linked/"] == "is a link to a folder (--follow-links follows it)"
    (private.parent / "back").symlink_to(folder)  # a loop of folders
    followed = open_pictures(folder, follow_links=True)
    assert {one.name for one in followed.pictures()} >= {"out.jpg", "linked/me.png", "linked/back/"}
    assert said(followed).keys() == {
        *("loop.jpg", "nowhere.jpg", "folder.jpg", "pipe.jpg", "device.jpg", "linked/back/")
    }
    assert open_pictures(folder).fingerprint() != followed.fingerprint()


def test_a_tree(tree_copy, tmp_path, private):
    images = tree_copy / "human_annotated" / "train_set" / "images"
    (images / "1.jpg").unlink()
    (images / "1.jpg").symlink_to(private)
    report = prepare(tree_copy, tmp_path / "out", embed=True)
    assert report["quarantined"] == 1
    followed = prepare(tree_copy, tmp_path / "followed", embed=True, follow_links=True)
    assert followed["quarantined"] == 0 and not [one for one in verify(tmp_path / "followed") if one.level != "note"]
    private.write_bytes(PRIVATE + b"\0")  # what it leads to counts
    assert [one.check for one in verify(tmp_path / "followed") if one.level == "error"] == ["source"]
    annotations = images.with_name("annotations")
    shutil.move(annotations, tmp_path / "elsewhere")
    annotations.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LayoutError, match="annotations is a link that leaves .*Pass --follow-links"):
        open_source(tree_copy)
    assert open_source(tree_copy, follow_links=True).faces("train")


def test_ferplus(tmp_path, private):
    folder = tmp_path / "ferplus" / "FER2013Train"
    folder.mkdir(parents=True)
    rows = ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"]
    rows += [f"Training,fer000000{number}.png,10,0,0,0,0,0,0,0,0,0" for number in (1, 2)]
    (folder.parent / "fer2013new.csv").write_text("\n".join(rows))
    (folder / "fer0000001.png").write_bytes(PRIVATE)
    (folder / "fer0000002.png").symlink_to(private)
    report = import_ferplus(folder.parent, tmp_path / "out")
    assert report["rejected_by_reason"] == {"link that leaves its folder": 1}
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1
    import_ferplus(folder.parent, tmp_path / "followed", follow_links=True)
    assert len(list((tmp_path / "followed").rglob("*.png"))) == 2
    table = folder.parent / "fer2013new.csv"
    shutil.move(table, private.parent / "votes.csv")
    table.symlink_to(private.parent / "votes.csv")
    with pytest.raises(ValueError, match="fer2013new.csv.* is a link that leaves its folder"):
        import_ferplus(folder.parent, tmp_path / "again")


def test_rows_that_hold_paths(tmp_path, private, prepared):
    image = pa.array([{"bytes": None, "path": str(private)}])
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"image": image}), tmp_path / "data" / "x.parquet")
    assert said(open_pictures(tmp_path / "data")) == {"0": "its row holds the path of a picture, and not the picture"}
    copy = shutil.copytree(prepared, tmp_path / "copy")
    assert not said(open_pictures(copy))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"embedded": True}))
    assert set(said(open_pictures(copy)).values()) == {"its row holds the path of a picture, and not the picture"}
    manifest["source"]["path"] = str(tmp_path / "elsewhere")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (reason,) = set(said(open_pictures(copy)).values())
    assert reason.startswith("its picture lies outside of ")


def test_parquet_files_that_are_links(tmp_path, prepared):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "x.parquet").symlink_to(next((prepared / "data").iterdir()))
    with pytest.raises(LayoutError, match="x.parquet is a link that leaves"):
        open_pictures(folder)
    assert open_pictures(folder, follow_links=True).pictures()


def test_what_is_published(model_copy, tmp_path):
    outside = tmp_path / "elsewhere.json"
    shutil.move(model_copy / "training.json", outside)
    (model_copy / "training.json").symlink_to(outside)
    with pytest.raises(ValueError, match="training.json is a link that leaves .*: put the file itself in its place"):
        stage(model_copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
