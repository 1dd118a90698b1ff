"""Nothing half-written is ever seen, nothing is lost on the way, and a written tree is the release's layout."""

import json
import math
import os
import shutil
import subprocess
import sys
from typing import TypedDict

import pytest

from affectnet_plus import find_splits, list_faces, read_annotation, read_face
from affectnet_plus_modeling import files
from affectnet_plus_modeling.files import fresh_folder, read_json, refuse_existing, write_json, written_whole
from affectnet_plus_modeling.sources.tree import annotation, writing_tree
from support.trees import picture


@pytest.fixture
def old(tmp_path):
    """A folder that is there already, alone in its parent."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    return folder


def test_a_fresh_folder_appears_only_at_the_end(tmp_path):
    out = tmp_path / "deeper" / "out"
    with fresh_folder(out) as folder:
        (folder / "new.txt").write_text("new")
        assert not out.exists()
        assert folder.parent == out.parent, "a rename is in one step only inside one file system"
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")] == ["deeper/out/new.txt"]
    assert os.listdir(out.parent) == ["out"]


def test_an_existing_folder_is_refused_before_anything_is_written(old):
    with pytest.raises(FileExistsError, match="out exists. Name another folder, or pass --overwrite"):
        with fresh_folder(old):
            pytest.fail("the block ran")
    assert os.listdir(old.parent) == ["out"] and os.listdir(old) == ["old.txt"]


def test_overwriting_replaces_the_whole_folder(old):
    with fresh_folder(old, overwrite=True) as folder:
        assert os.listdir(folder) == [], "the new folder starts empty"
        (folder / "new.txt").write_text("new")
        assert os.listdir(old) == ["old.txt"], "the old one stays in place until the end"
    assert os.listdir(old) == ["new.txt"] and os.listdir(old.parent) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_everything_as_it_was(tmp_path, error, overwrite):
    out = tmp_path / "out"
    if overwrite:
        out.mkdir()
        (out / "old.txt").write_text("old")
    with pytest.raises(error):
        with fresh_folder(out, overwrite) as folder:
            (folder / "half.txt").write_text("half")
            raise error
    assert [path.name for path in tmp_path.rglob("*")] == (["out", "old.txt"] if overwrite else [])


def test_a_failure_at_the_very_last_step_puts_the_old_folder_back(old):
    with pytest.raises(OSError):
        with fresh_folder(old, overwrite=True) as folder:
            shutil.rmtree(folder)  # now it cannot take the place of the old one
    assert os.listdir(old.parent) == ["out"] and os.listdir(old) == ["old.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_never_replaced_by_a_folder(tmp_path, overwrite):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(FileExistsError, match="out is a file, expected a folder to write. Name another one"):
        with fresh_folder(tmp_path / "out", overwrite):
            pytest.fail("the block ran")
    assert os.listdir(tmp_path) == ["out"] and (tmp_path / "out").read_text() == "precious"


def dead_process() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    dead = dead_process()
    living = os.getppid()
    for name in ("out", f".out.partial-{dead}", f".out.old-{dead}", f".out.partial-{living}", f".other.old-{dead}"):
        (tmp_path / name).mkdir()
    with fresh_folder(tmp_path / "out", overwrite=True):
        pass
    assert sorted(os.listdir(tmp_path)) == [f".other.old-{dead}", f".out.partial-{living}", "out"]


def test_a_folder_that_was_half_replaced_is_put_back(tmp_path):
    old = tmp_path / f".out.old-{dead_process()}"
    old.mkdir()
    (old / "precious").write_text("x")
    with pytest.raises(FileExistsError, match="out exists"):
        with fresh_folder(tmp_path / "out"):
            pytest.fail("the block ran")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["out", "out/precious"]


def test_a_link_is_written_where_it_leads_to(tmp_path, old):
    link = tmp_path / "link"
    link.symlink_to(old)
    for _ in range(2):  # a second run finds nothing that the first one left
        with fresh_folder(link, overwrite=True) as folder:
            (folder / "new.txt").write_text("new")
            assert folder.parent == old.parent, "a bigger disk is what it is written to"
        assert link.is_symlink() and os.listdir(old) == ["new.txt"]
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]


@pytest.mark.parametrize("leads_to", ["gone", "link"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path, leads_to):
    (tmp_path / "link").symlink_to(tmp_path / leads_to)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="link is a link that leads nowhere"):
            with fresh_folder(tmp_path / "link", overwrite):
                pytest.fail("the block ran")
        with pytest.raises(FileExistsError, match="link is a link that leads nowhere"):
            refuse_existing(tmp_path / "link", overwrite)
    assert os.listdir(tmp_path) == ["link"]


def test_neither_home_nor_the_working_folder_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "home" / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(FileExistsError, match="holds your home"):
        refuse_existing(tmp_path / "home", True)
    monkeypatch.chdir(tmp_path / "home" / "work")
    monkeypatch.setenv("HOME", "/")
    with pytest.raises(FileExistsError, match="the folder that you are in"):
        refuse_existing(tmp_path / "home", True)


def test_a_folder_that_is_replaced_is_there_at_every_moment(old, monkeypatch):
    program = (
        "import os, sys\n"
        "missing = 0\n"
        "print('ready', flush=True)\n"
        "while not os.path.exists(sys.argv[1] + '.stop'):\n"
        "    missing += not os.path.isdir(sys.argv[1])\n"
        "print(missing)\n"
    )
    watching = subprocess.Popen([sys.executable, "-c", program, str(old)], stdout=subprocess.PIPE, text=True)
    assert watching.stdout.readline() == "ready\n"
    for number in range(200):
        with fresh_folder(old, overwrite=True) as folder:
            (folder / f"{number}.txt").touch()
    old.with_name("out.stop").touch()
    assert watching.communicate()[0] == "0\n" and os.listdir(old) == ["199.txt"]
    old.with_name("out.stop").unlink()
    monkeypatch.setattr(files, "_exchanged", lambda one, other: False)  # where the system cannot
    with fresh_folder(old, overwrite=True) as folder:
        (folder / "last.txt").touch()
    assert os.listdir(old) == ["last.txt"] and os.listdir(old.parent) == ["out"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": "x"}', b'{"a": 1', b"[" * 100_000, b'{"a": NaN}'])
def test_json_is_read_as_what_it_has_to_be(tmp_path, content):
    class Kind(TypedDict):
        a: int

    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json cannot be read: .*\. Write it anew"):
        read_json(tmp_path / "a.json", Kind, "write it anew")
    (tmp_path / "a.json").write_text('{"a": 1, "b": 2}')
    assert read_json(tmp_path / "a.json", Kind, "") == {"a": 1, "b": 2}


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"rows": 1, "name": "\u00fc"})
    for value in (math.nan, math.inf, object()):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"rows": 2, "value": value})
    assert json.loads(path.read_text()) == {"rows": 1, "name": "\u00fc"}
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_file_that_is_written_whole_appears_at_the_end_or_not_at_all(tmp_path):
    (tmp_path / "beside").mkdir()
    with written_whole(tmp_path / "new", tmp_path / "beside") as partial:
        partial.write_text("new")
        assert not (tmp_path / "new").exists() and partial.parent == tmp_path / "beside"
    with pytest.raises(KeyboardInterrupt):
        with written_whole(tmp_path / "new") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt
    assert (tmp_path / "new").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["beside", "new"]


def test_only_one_process_at_a_time_writes(tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from affectnet_plus_modeling.unfinished import alone\n"
        "with alone(Path(sys.argv[1]), lambda text: print(text, flush=True)):\n"
        "    print('alone', flush=True)\n"
        "    sys.stdin.read()\n"
    )

    def start():
        arguments = [sys.executable, "-c", program, str(tmp_path / "out")]
        return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    first = start()
    assert first.stdout.readline() == "alone\n"
    second = start()
    assert second.stdout.readline() == f"another process is writing {tmp_path}/out; waiting until it has finished\n"
    first.kill()
    assert second.stdout.readline() == "alone\n", "a killed process keeps nobody waiting"
    second.communicate()
    first.communicate()
    assert os.listdir(tmp_path) == [".out.lock"]


def test_a_written_tree_has_the_names_of_the_release(tmp_path):
    with writing_tree(tmp_path / "tree") as tree:
        for split in ("train", "validation", "no_human"):
            tree.add(split, 10, picture(), annotation(label=None, soft_label=[0.5] * 8))
        tree.add("train", 9, picture(kind="PNG"), annotation(label=1), suffix=".png")
    files = {path.relative_to(tmp_path / "tree").as_posix() for path in (tmp_path / "tree").rglob("*.*")}
    assert files == {
        "human_annotated/train_set/images/9.png",
        "human_annotated/train_set/images/10.jpg",
        "human_annotated/train_set/annotations/9.json",
        "human_annotated/train_set/annotations/10.json",
        "human_annotated/validation_set/images/10.jpg",
        "human_annotated/validation_set/annotations/10.json",
        "no_human_annotated/images/10.jpg",
        "no_human_annotated/annotations/10.json",
    }
    folder = find_splits(tmp_path / "tree")["train"]
    assert [read_face(folder, face)[0]["label"] for face in list_faces("train", folder)] == [1, None]


def test_a_written_annotation_has_the_keys_of_the_release_and_is_read_back():
    record = annotation(
        label=6,
        soft_label=[0.1, 0, 0, 0, 0, 0, 0.9, 1],
        subset=1,
        valence=-0.25,
        age=30,
        gender={"female": 0.25, "male": 0.75},
        race={"middle eastern": 1.0},
        pose={"yaw": 0.5, "pitch": 0, "roll": -0.5},
        landmarks_68=[(number, number + 0.6) for number in range(68)],
        landmarks_29=[(number, -1) for number in range(29)],
    )
    assert list(record) == ["human-label", "soft-label", "subset", "meta-data"]
    meta = record["meta-data"]
    assert sorted(meta) == [
        "age",
        "arousal",
        "gender",
        "landmark-29",
        "landmark-68",
        "pose",
        "race",
        "valence",
    ]
    assert (meta["valence"], meta["arousal"]) == (-0.25, -2)
    assert meta["landmark-68"][:4] == [0, 1, 1, 2] and len(meta["landmark-29"]) == 58
    row = read_annotation(json.dumps(record).encode())
    assert (row["label"], row["subset"], row["valence"], row["arousal"], row["age"]) == (6, 1, -0.25, None, 30)
    assert row["soft_label"] == [0.1, 0, 0, 0, 0, 0, 0.9, 1]
    assert row["gender"] == {"female": 0.25, "male": 0.75} and row["race"]["middle_eastern"] == 1
    assert row["race"]["asian"] is None and row["pose"] == {"yaw": 0.5, "pitch": 0, "roll": -0.5}
    assert row["landmarks_68"][67] == [67, 68] and row["landmarks_29"][28] == [28, -1]


def test_an_interrupted_tree_is_not_left_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with writing_tree(tmp_path / "tree") as tree:
            tree.add("train", 1, picture(), annotation(label=1))
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    (tmp_path / "tree").mkdir()
    with pytest.raises(FileExistsError, match="tree exists"):
        with writing_tree(tmp_path / "tree"):
            pytest.fail("the block ran")
