"""A power cut in the middle of work: files that it left empty, cut or full of holes are made again, byte for byte."""

import os
import shutil

import pytest
from hypothesis import strategies as st

from affectnet_plus_modeling.files import FEW, put_on_disk, written_whole
from affectnet_plus_modeling.preparing import prepare, reading, shards
from hostile.damage import damaged_bytes, many, runs
from support.trees import contents


class Stop(Exception):
    pass


@pytest.fixture(scope="module", params=[False, True], ids=["path-only", "embedded"])
def interrupted(raw_tree, tmp_path_factory, request):
    """(place, what it becomes, an interrupted run with every chunk and all but the last shards)."""
    place = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "FACES_AT_A_TIME", 5)
        patch.setattr(shards, "SHARD_ROWS", 4)
        prepare(raw_tree, place / "out", request.param)
        whole = contents(place / "out")
        shutil.rmtree(place / "out")

        def stop(stage, done, total):
            if stage == "write" and done > total - 10:
                raise Stop

        with pytest.raises(Stop):
            prepare(raw_tree, place / "out", request.param, progress=stop)
    (place / ".out.unfinished").rename(place / "left")
    return place, request.param, whole


@runs(3, 300)
def test_what_a_power_cut_left_of_a_preparation_is_made_again(raw_tree, interrupted, monkeypatch, count):
    place, embed, whole = interrupted
    monkeypatch.setattr(reading, "FACES_AT_A_TIME", 5)
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    names = sorted(path.relative_to(place / "left") for path in (place / "left").glob("*/*/**/*") if path.is_file())
    assert {".arrow", ".parquet", ".json"} <= {name.suffix for name in names}

    def check(damage):
        shutil.rmtree(place / "out", ignore_errors=True)
        shutil.copytree(place / "left", place / ".out.unfinished")
        for name, content in damage:
            (place / ".out.unfinished" / name).write_bytes(content)
        prepare(raw_tree, place / "out", embed)
        assert contents(place / "out") == whole

    one = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), damaged_bytes((place / "left" / name).read_bytes()))
    )
    many(count, st.lists(one, min_size=1, max_size=3), check)


def test_shards_that_the_disk_lost_are_written_again(raw_tree, interrupted, monkeypatch):
    place, embed, whole = interrupted
    monkeypatch.setattr(reading, "FACES_AT_A_TIME", 5)
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    shutil.rmtree(place / "out", ignore_errors=True)
    shutil.copytree(place / "left", place / ".out.unfinished")
    for number, shard in enumerate(sorted((place / ".out.unfinished").glob("*/folder/data/*.parquet"))):
        content = shard.read_bytes()
        shard.write_bytes((b"", content[:-50], content[:600] + bytes(512) + content[1112:])[number % 3])
    prepare(raw_tree, place / "out", embed)
    assert contents(place / "out") == whole


@pytest.mark.parametrize("files", [1, FEW + 1])
def test_a_name_is_given_when_what_it_names_is_on_the_disk(tmp_path, monkeypatch, files):
    """Written out is the very file, or everything, before the rename."""
    events = []
    sync, fsync, replace = os.sync, os.fsync, os.replace
    monkeypatch.setattr(os, "sync", lambda: events.append("sync") or sync())
    monkeypatch.setattr(
        os, "fsync", lambda number: events.append(os.readlink(f"/proc/self/fd/{number}")) or fsync(number)
    )
    monkeypatch.setattr(os, "replace", lambda *names: events.append("named") or replace(*names))
    with written_whole(tmp_path / "one") as partial:
        partial.write_bytes(b"x")
    assert events == [str(partial), "named"]
    (tmp_path / "folder").mkdir()
    for number in range(files):
        (tmp_path / "folder" / str(number)).touch()
    events.clear()
    put_on_disk(tmp_path / "folder")
    wanted = [str(tmp_path / "folder"), *(str(tmp_path / "folder" / str(number)) for number in range(files))]
    assert events == (wanted if files < FEW else ["sync"])
