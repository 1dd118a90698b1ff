"""Interrupted at any moment: nothing half-written is seen, nothing is read twice, and the bytes are the same."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from inspect import getsource
from pathlib import Path

import pytest

from affectnet_plus import SPLITS, lot_of
from affectnet_plus_modeling.preparing import prepare, reading, shards
from affectnet_plus_modeling.preparing.chunks import read_chunk
from affectnet_plus_modeling.preparing.manifest import verify
from affectnet_plus_modeling.preparing.stored import StoredChunk, store_chunk
from affectnet_plus_modeling.sources.delivered import open_source
from support.trees import contents, picture


@pytest.fixture(autouse=True, scope="module")
def small_files():
    """Many chunks, shards and row groups of few faces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "FACES_AT_A_TIME", 5)
        patch.setattr(shards, "SHARD_ROWS", 4)
        yield


def left_beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path.name.startswith("."))


@pytest.fixture(scope="module", params=[False, True], ids=["path-only", "embedded"])
def embed(request):
    return request.param


@pytest.fixture(scope="module")
def undisturbed(raw_tree, tmp_path_factory, embed, small_files) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    prepare(raw_tree, out, embed)
    return contents(out)


class Stop:
    """A progress that raises `error` at one moment, and remembers what it was told."""

    def __init__(self, stage=None, done=0, error=KeyboardInterrupt):
        self.at, self.error = (stage, done), error
        self.told: list[tuple[str, int, int]] = []

    def __call__(self, stage, done, total):
        self.told.append((stage, done, total))
        if stage == self.at[0] and done >= self.at[1]:
            raise self.error


# --- within one process ----------------------------------------------------------------------------------------------


def test_progress_sees_every_face_and_what_an_interrupted_run_had_done(raw_tree, tmp_path):
    interrupted, resumed = Stop("read", 20), Stop()
    with pytest.raises(KeyboardInterrupt):
        prepare(raw_tree, tmp_path / "out", progress=interrupted)
    # 36 of train, 9 of validation, 5 of no_human, 5 at a time
    assert interrupted.told == [("read", done, 50) for done in (0, 5, 10, 15, 20)]
    said: list[str] = []
    prepare(raw_tree, tmp_path / "out", progress=resumed, say=said.append)
    assert resumed.told[: resumed.told.index(("read", 50, 50)) + 1] == [
        ("read", done, 50) for done in (20, 25, 30, 35, 36, 41, 45, 50)
    ]
    written = [done for stage, done, total in resumed.told if stage == "write" and total == 50]
    assert written[0] == 0 and written[-1] == 50 and written == sorted(written)
    assert said == ["going on with an interrupted run: 20 of 50 faces are read already"]


@pytest.mark.parametrize(
    "stage, done, error",
    [
        ("read", 0, KeyboardInterrupt),
        ("read", 30, KeyboardInterrupt),
        ("read", 50, MemoryError),
        ("write", 0, OSError),
        ("write", 9, KeyboardInterrupt),
    ],
)
def test_an_interrupted_run_leaves_no_folder_and_is_gone_on_with(
    raw_tree, tmp_path, embed, undisturbed, stage, done, error
):
    with pytest.raises(error):
        prepare(raw_tree, tmp_path / "out", embed, progress=Stop(stage, done, error))
    assert not (tmp_path / "out").exists() and ".out.unfinished" in left_beside(tmp_path / "out")
    prepare(raw_tree, tmp_path / "out", embed)
    assert contents(tmp_path / "out") == undisturbed
    assert left_beside(tmp_path / "out") == [".out.lock"]


@pytest.mark.parametrize("stage, done", [("read", 30), ("write", 9)])
def test_an_interrupted_overwriting_leaves_the_old_folder(
    raw_tree, tree_copy, tmp_path, embed, undisturbed, stage, done
):
    (tree_copy / SPLITS["train"] / "annotations" / "1.json").unlink()
    prepare(tree_copy, tmp_path / "out", embed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.raises(KeyboardInterrupt):
        prepare(raw_tree, tmp_path / "out", embed, overwrite=True, progress=Stop(stage, done))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    prepare(raw_tree, tmp_path / "out", embed, overwrite=True)
    assert contents(tmp_path / "out") == undisturbed


def test_killed_between_the_two_renames_the_old_folder_comes_back(raw_tree, tmp_path):
    prepare(raw_tree, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.old")
    said: list[str] = []
    prepare(raw_tree, tmp_path / "out", say=said.append)
    assert said == [f"nothing has changed since {tmp_path / 'out'} was written"]
    assert left_beside(tmp_path / "out") == [".out.lock"]


@pytest.mark.parametrize(
    "change, named", [("source", "fingerprint is another"), ("options", "embedded was False and is True")]
)
def test_another_run_is_refused_and_begun_anew_only_when_asked(tree_copy, tmp_path, change, named):
    with pytest.raises(KeyboardInterrupt):
        prepare(tree_copy, tmp_path / "out", progress=Stop("write", 9))
    if change == "source":
        (tree_copy / SPLITS["train"] / "images" / "1.jpg").write_bytes(picture((1, 2, 3)))
    for resume in (False, True):
        with pytest.raises(
            ValueError, match=f"out.unfinished holds an unfinished run of another command: {named}. Give"
        ):
            prepare(tree_copy, tmp_path / "out", embed=change == "options", resume=resume)
    told = Stop()
    prepare(tree_copy, tmp_path / "out", embed=change == "options", overwrite=True, progress=told)
    assert told.told[0] == ("read", 0, 50)
    prepare(tree_copy, tmp_path / "fresh", embed=change == "options")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_resume_demands_something_to_resume(raw_tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="so there is no run to resume"):
        prepare(raw_tree, tmp_path / "out", resume=True)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw_tree, tmp_path / "out", progress=Stop("write", 9))
    told = Stop()
    prepare(raw_tree, tmp_path / "out", resume=True, progress=told)
    assert told.told[0] == ("read", 50, 50)


def test_a_chunk_that_the_disk_lost_is_read_again(raw_tree, tmp_path, embed, undisturbed):
    with pytest.raises(KeyboardInterrupt):
        prepare(raw_tree, tmp_path / "out", embed, progress=Stop("read", 20))
    first, second, third, _ = sorted((tmp_path / ".out.unfinished").glob("*/chunks/*.arrow"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-300])
    third.with_name(f".{third.name}.partial-1").write_bytes(b"half")
    told = Stop()
    prepare(raw_tree, tmp_path / "out", embed, progress=told)
    assert told.told[0] == ("read", 10, 50) and contents(tmp_path / "out") == undisturbed


def test_a_picture_that_changes_before_it_is_put_in_is_noticed(tree_copy, tmp_path):
    path = tree_copy / SPLITS["validation"] / "images" / "3.jpg"

    def change(stage, done, total):
        if (stage, done) == ("write", 0):
            path.write_bytes(picture((1, 2, 3)))

    with pytest.raises(ValueError, match="images/3.jpg has changed since it was read at first. Give the command"):
        prepare(tree_copy, tmp_path / "out", embed=True, progress=change)
    assert not (tmp_path / "out").exists()
    prepare(tree_copy, tmp_path / "out", embed=True)
    prepare(tree_copy, tmp_path / "fresh", embed=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_stored_chunk_gives_back_its_rows_in_their_order(raw_tree, tmp_path):
    source = open_source(raw_tree)
    chunk = read_chunk(source, "train", source.faces("train"))
    chunk.quarantined.append({"image_id": "train/0", "reason": "an \u00fc"})
    store_chunk(tmp_path / "chunk", chunk)
    stored = StoredChunk(tmp_path / "chunk")
    assert stored.table().select(chunk.table.column_names).equals(chunk.table)
    assert stored.quarantined == chunk.quarantined
    names, lots = (stored.rows()[name].to_pylist() for name in ("image_id", "lot"))
    assert lots == sorted(map(lot_of, names)) and len(lots) == 36


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_that_are_no_files_are_always_put_in(raw_tree, tmp_path, workers):
    prepare(raw_tree, tmp_path / "plain", embed=True)
    shutil.make_archive(str(tmp_path / "faces"), "zip", raw_tree.parent, raw_tree.name)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "faces.zip", tmp_path / "out", progress=Stop("write", 9))
    report = prepare(tmp_path / "faces.zip", tmp_path / "out", workers=workers)
    assert report["embedded"]
    plain, archived = contents(tmp_path / "plain"), contents(tmp_path / "out")
    assert {name: plain[name] for name in plain if name.startswith("data/")} == {
        name: archived[name] for name in archived if name.startswith("data/")
    }
    assert [finding.level for finding in verify(tmp_path / "out")] == ["note"]


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(raw_tree, tmp_path, embed, undisturbed):
    told = Stop()
    prepare(raw_tree, tmp_path / "out", embed, workers=3 if embed else 2, progress=told)
    assert contents(tmp_path / "out") == undisturbed and ("write", 50, 50) in told.told


PRELUDE = """
import hashlib, json, os, random, resource, shutil, signal, sys, time, traceback
from pathlib import Path
from affectnet_plus_modeling.preparing import prepare, reading, shards
reading.FACES_AT_A_TIME, shards.SHARD_ROWS = 5, 4
raw, out, options, expected = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4])

def say(text):
    os.write(1, (text + "\\n").encode())  # in one piece: several processes write

def child(**others):
    number = os.fork()
    if number == 0:
        try:
            prepare(raw, out, say=say, **(options | others))
        except BaseException as error:
            say(f"{type(error).__name__} {error}")
            os._exit(1)
        os._exit(0)
    return number

def status(number):
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
"""


def forking(body: str, raw, out, options=None, expected=None) -> list[str]:
    """The lines that a program prints, which forks children that prepare: they need no time to start."""
    arguments = [str(raw), str(out), json.dumps(options or {}), json.dumps(expected or {})]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([PRELUDE, getsource(contents), getsource(left_beside), body]), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.splitlines()


KILLS = """
began = time.monotonic()
assert status(child()) == 0 and contents(out) == expected
whole = time.monotonic() - began
random.seed(0)
killed = finished = 0
stages = set()
while killed < 12:
    if not options["overwrite"]:
        shutil.rmtree(out, ignore_errors=True)
    while True:
        number = child()
        time.sleep(random.uniform(0, whole))
        os.kill(number, signal.SIGKILL)
        ended = status(number)
        killed += ended == -signal.SIGKILL
        stages |= {path.parent.name for path in (out.parent / ".out.unfinished").rglob("*.*")}
        if out.exists():
            assert contents(out) == expected
        else:
            assert not options["overwrite"] or (out.parent / ".out.old").exists()
        if ended == 0:
            break
        assert ended == -signal.SIGKILL, ended
    finished += 1
    assert contents(out) == expected
    assert left_beside(out) == [".out.lock"], left_beside(out)
print("kills", killed, finished, *sorted(stages))
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(raw_tree, tmp_path, embed, undisturbed):
    """12 kills while a folder of paths is made, and 12 while one with pictures is replaced."""
    options = {"embed": embed, "overwrite": embed}
    *said, last = forking(KILLS, raw_tree, tmp_path / "out", options, undisturbed)
    word, killed, finished, *stages = last.split()
    assert word == "kills" and int(killed) >= 12 and int(finished) >= 1
    assert {"chunks", "data"} <= set(stages), "the kills came before, while and after the chunks were written"
    assert any(line.startswith("going on with an interrupted run") for line in said)


SEVERAL = """
numbers = [child() for _ in range(4)]
assert [status(number) for number in numbers] == [0, 0, 0, 0]
assert contents(out) == expected
assert left_beside(out) == [".out.lock"]
"""


@pytest.mark.slow
def test_of_several_processes_one_writes_and_the_others_wait(raw_tree, tmp_path, embed, undisturbed):
    said = forking(SEVERAL, raw_tree, tmp_path / "out", {"embed": embed}, undisturbed)
    waited = said.count(f"another process is writing {tmp_path}/out; waiting until it has finished")
    found = said.count(f"nothing has changed since {tmp_path}/out was written")
    assert found == 3 and 1 <= waited <= 3 and len(said) == found + waited


FULL = """
def limited(**others):
    number = os.fork()
    if number == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (others["limit"], resource.RLIM_INFINITY))
        number = child()
        os._exit(status(number))
    return number

for limit in (4_000, 12_000, 16_000):  # too little for a chunk, for a Parquet file, for the metadata
    assert status(limited(limit=limit)) == 1
    assert not out.exists()
assert status(child()) == 0 and contents(out) == expected
"""


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_later_it_goes_on(raw_tree, tmp_path, embed, undisturbed):
    said = forking(FULL, raw_tree, tmp_path / "out", {"embed": embed}, undisturbed)
    errors = [line for line in said if line.startswith("OSError")]
    assert len(errors) == 3
    for line in errors:
        assert line.startswith(f"OSError {tmp_path}/out is not finished: [Errno 27]")
        assert line.endswith("The same command, given again, goes on from there")


def test_a_full_file_system_is_one_clear_line_and_later_it_goes_on(raw_tree, tmp_path, embed, undisturbed):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted")
    try:
        with pytest.raises(OSError, match=f"{place}/out is not finished: .*No space left on device") as refused:
            prepare(raw_tree, place / "out", embed)
        assert "\n" not in str(refused.value) and not (place / "out").exists()
        subprocess.run(["mount", "-o", "remount,size=50m", str(place)], check=True)
        prepare(raw_tree, place / "out", embed)
        assert contents(place / "out") == undisturbed
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_where_nothing_can_be_written_the_folder_is_named(raw_tree, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file/out is not finished: .*(File exists|Not a directory)"):
        prepare(raw_tree, tmp_path / "file" / "out")
    if os.geteuid() == 0:
        return  # root may write anywhere
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(OSError, match="locked/out is not finished: .*Permission denied"):
        prepare(raw_tree, tmp_path / "locked" / "out")


@pytest.mark.slow
def test_workers_do_not_outlive_a_parent_that_is_killed(raw_tree, tmp_path):
    program = (
        "import sys\n"
        "from affectnet_plus_modeling.preparing import prepare, reading\n"
        "reading.FACES_AT_A_TIME = 5\n"
        "def progress(stage, done, total):\n"
        "    if done:\n"
        "        print('ready', flush=True)\n"
        "        sys.stdin.read()\n"
        "if __name__ == '__main__':\n"
        "    prepare(sys.argv[1], sys.argv[2], workers=2, progress=progress)\n"
    )
    (tmp_path / "program.py").write_text(program)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(raw_tree), str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout.readline() == b"ready\n"
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # The pipe ends when the last process that holds it is gone.
    ended, _, _ = select.select([parent.stdout], [], [], 30)
    for number in () if ended else children:
        os.kill(int(number), signal.SIGKILL)
    assert ended and parent.stdout.read() == b""
