"""A run that goes on: the same command, no other one, and nobody else's folder."""

import os

import pytest

from affectnet_plus_modeling.unfinished import (
    RUN as RUN_FILE,
)
from affectnet_plus_modeling.unfinished import (
    begin,
    begun_with,
    differing,
    held,
    is_kept,
    keep,
    kept,
    leftovers,
    remove,
)

RUN = {"options": {"epochs": 3, "sizes": (1, 2)}, "data": "a" * 64, "format": 1}


@pytest.fixture
def work(tmp_path):
    return tmp_path / "out.training"


def test_the_same_command_goes_on(work):
    assert not begin(work, RUN)
    (work / "kept").touch()
    assert begin(work, RUN) and begin(work, RUN, resume=True)
    assert (work / "kept").exists() and begun_with(work)["options"]["epochs"] == 3


def test_names_that_stand_twice_are_kept_apart():
    before = {"model": {"kind": "a"}, "data": {"kind": "c", "digest": "0123456789abcdef"}}
    now = {"model": {"kind": "b"}, "data": {"kind": "c", "digest": "0123456789abcdee"}}
    assert differing(before, now) == ["kind was a and is b", "digest is another"]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "change, said",
    [
        ({"options": {"epochs": 4, "sizes": (1, 2)}}, "epochs was 3 and is 4"),
        ({"data": "b" * 64}, "data is another"),
        ({"format": 2, "data": "b" * 64}, "data is another; format was 1 and is 2"),
    ],
)
def test_another_one_is_refused_and_what_differs_is_named(work, change, said, resume):
    begin(work, RUN)
    with pytest.raises(ValueError, match=f"holds an unfinished run of another command: {said}. Give the command"):
        begin(work, RUN | change, resume, overwrite=resume)
    assert begin(work, RUN)


def test_overwrite_begins_anew_but_given_again_it_is_the_same_command(work):
    begin(work, RUN)
    (work / "kept").touch()
    assert not begin(work, RUN, overwrite=True) and not (work / "kept").exists()
    (work / "kept").touch()
    assert begin(work, RUN, overwrite=True) and (work / "kept").exists()
    assert not begin(work, RUN | {"format": 2}, overwrite=True) and not (work / "kept").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"identity": 1}', b"\0" * 512])
def test_a_note_of_the_run_that_a_power_cut_took_is_begun_anew_only_when_asked(work, content):
    begin(work, RUN)
    (work / RUN_FILE).write_bytes(content)
    with pytest.raises(ValueError, match="out.training holds an unfinished run .*: its run.json is damaged. Give"):
        begin(work, RUN)
    with pytest.raises(ValueError, match="run.json cannot be read"):
        begun_with(work)
    assert not begin(work, RUN, overwrite=True) and begin(work, RUN)


def test_a_work_file_is_there_whole_or_is_removed_to_be_made_again(tmp_path):
    path = tmp_path / "chunk"
    assert not is_kept(path)
    for damage in (lambda c: b"", lambda c: c[:-1], lambda c: c[:80] + bytes(512) + c[592:], lambda c: c + b"x"):
        keep(path, bytes(range(256)) * 4)
        assert is_kept(path) and kept(path) == bytes(range(256)) * 4
        path.write_bytes(damage(path.read_bytes()))
        assert not is_kept(path) and not path.exists()
    keep(path, b"")
    assert is_kept(path) and kept(path) == b""


def test_resume_demands_something_to_resume(work):
    with pytest.raises(FileNotFoundError, match="out.training holds no unfinished run, so there is no run to resume"):
        begin(work, RUN, resume=True)
    assert not work.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_else_is_left_alone(work, overwrite):
    work.mkdir()
    (work / "mine.jpg").touch()
    with pytest.raises(FileExistsError, match="out.training is needed for unfinished work, and holds something else"):
        begin(work, RUN, overwrite=overwrite)
    assert os.listdir(work) == ["mine.jpg"]


def test_a_killed_removal_is_finished(work, tmp_path):
    begin(work, RUN)
    (tmp_path / ".out.training.old-1").mkdir()
    assert len(leftovers(work)) == 2
    remove(work)
    assert leftovers(work) == [] and os.listdir(tmp_path) == []


def test_one_process_works_in_a_folder_that_cannot_be_shared(work):
    with held(work):
        with pytest.raises(FileExistsError, match="another process is at work in .*out.training"), held(work):
            pytest.fail("two are in")
    with held(work):
        begin(work, RUN)
