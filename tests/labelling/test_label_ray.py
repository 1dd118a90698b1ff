"""`label` and `predict` on Ray: the rows of one process, and what becomes of them when parts of a cluster die."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data import parts
from affectnet_plus_modeling.evaluation.predict import predict
from affectnet_plus_modeling.labelling import label_shards
from affectnet_plus_modeling.labelling.label import label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from affectnet_plus_modeling.labelling.label_shards import NOTES
from affectnet_plus_modeling.labelling.poison import CRASHES
from support.archives import as_folder
from support.ensembles import make_ensemble
from support.labelled import POISONED, files_of, poison, rows_of

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")

pytest_plugins = ["support.object_store"]
pytestmark = pytest.mark.slow
SMALL = {
    "include_dashboard": False,
    "object_store_memory": 120_000_000,
    "logging_level": "ERROR",
    "log_to_driver": False,
}
# Of workers: no lower than the tests themselves, or a busy machine would starve them; and no report to anybody.
QUIET = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def environment():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (QUIET | {"PYTHONPATH": str(POISONED)}).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def session(environment, object_store):
    """One processor, each of whose halves is a worker's, as every worker takes seconds of it to start.

    All that the workers find in their environment is set before.
    """
    ray.init("local", num_cpus=1, **SMALL)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Path:
    return make_ensemble(tmp_path_factory.mktemp("ensemble") / "ebc", folds=(0, 1))


@pytest.fixture(scope="module")
def faces(drawn_tree, tmp_path_factory) -> Path:
    """40 drawn faces as plain pictures, and one that crashes the decoder of a worker."""
    return as_folder(tmp_path_factory.mktemp("faces") / "faces", files_of(drawn_tree) | {"a.png": poison()})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PICTURES_AT_A_TIME", 8)
    monkeypatch.setattr(label_shards, "SHARD_FACES", 8)


@pytest.fixture(scope="module")
def expected(faces, ensemble, tmp_path_factory) -> list[dict]:
    """The rows of the 40 faces in one process, where nothing crashes: the last picture is a row too."""
    with pytest.MonkeyPatch.context() as patch:
        small_parts.__wrapped__(patch)
        out = tmp_path_factory.mktemp("expected") / "out"
        labelled(faces, out, ensemble)
    return [row for row in rows_of(out) if row["name"] != "a.png"]


def labelled(images, out, ensemble, **others) -> dict:
    return label(images, out, LabelOptions(str(ensemble), batch_size=3), say=lambda text: None, **others)


def when(seen: Callable[[], object], act: Callable[[], object]) -> threading.Thread:
    """A thread that does something as soon as something is seen."""

    def watch():
        for _ in range(60_000):
            if seen():
                act()
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def workers(name: str) -> list[psutil.Process]:
    """The processes of this machine's Ray sessions of ours that are called so."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.send_signal(signal.SIGKILL)


def left_out(out: Path) -> list[tuple[str, str]]:
    lines = (out / "quarantine.jsonl").read_text().splitlines()
    return [(line["name"], line["reason"]) for line in map(json.loads, lines)]


def test_an_actor_is_killed_and_a_picture_crashes_others_and_the_rows_are_those_of_one_process(
    session, faces, ensemble, expected, tmp_path
):
    work = tmp_path / "out.labelling"
    killer = when(lambda: any((work / "tried").glob("*")), lambda: kill(workers("ray::MapWorker")))
    labelled(faces, tmp_path / "out", ensemble, ray="local")
    assert not killer.is_alive()
    assert rows_of(tmp_path / "out") == expected
    assert left_out(tmp_path / "out") == [("a.png", CRASHES.format(11))]
    assert not work.exists()


def test_what_one_process_began_ray_goes_on_with_and_the_other_way_round(
    session, faces, ensemble, expected, tmp_path, object_store
):
    def stop(stage, done, total):
        if (stage, done) == ("label", 30):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        labelled(faces, tmp_path / "out", ensemble, progress=stop)
    begun = len(list((tmp_path / "out.labelling" / NOTES).iterdir()))
    labelled(faces, tmp_path / "out", ensemble, ray="local")
    found = [row for row in rows_of(tmp_path / "out") if row["name"] != "a.png"]
    assert begun >= 2 and found == expected
    # An object store that refuses a shard ends it; one process writes what is left.
    out = object_store.address("out")
    object_store.busy = lambda method, path, count: "-0000004-" in path
    with pytest.raises(OSError, match=r"out\S* is not finished: .* The same command, given again, goes on from there"):
        labelled(faces, out, ensemble, ray="local")
    assert object_store.names("out/") == [] and object_store.names(f"out.labelling/{NOTES}")
    object_store.busy = lambda method, path, count: False
    labelled(faces, out, ensemble)
    assert [row for row in rows_of(out) if row["name"] != "a.png"] == expected


def test_predict_says_the_same_in_the_same_order(session, trained, drawn_tree, capsys, tmp_path):
    folder = as_folder(tmp_path / "faces", files_of(drawn_tree) | {"none.jpg": b"none"})
    here = list(predict(trained, str(folder)))
    assert main(["predict", str(trained), str(folder), "--ray"]) == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == json.loads(json.dumps(here))


DRIVER = """
import sys
from affectnet_plus_modeling.data import parts
from affectnet_plus_modeling.labelling import label_shards
from affectnet_plus_modeling.labelling.label import label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
parts.PICTURES_AT_A_TIME = label_shards.SHARD_FACES = 8
label(sys.argv[1], sys.argv[2], LabelOptions(sys.argv[3], batch_size=3), ray="local")
"""
ONE_PROCESSOR = f"""
import ray
ray.init("local", num_cpus=1, **{SMALL})
"""


def test_the_driver_is_killed_and_the_same_command_goes_on(environment, session, faces, ensemble, expected, tmp_path):
    words = [sys.executable, "-c", ONE_PROCESSOR + DRIVER, str(faces), str(tmp_path / "out"), str(ensemble)]
    notes = tmp_path / "out.labelling" / NOTES
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    killer = when(lambda: any(notes.glob("*.json")), driver.kill)
    assert driver.wait(timeout=600) == -signal.SIGKILL and not killer.is_alive()
    assert not (tmp_path / "out").exists()
    said: list[str] = []
    label(faces, tmp_path / "out", LabelOptions(str(ensemble), batch_size=3), say=said.append, ray="local")
    assert any(text.startswith("going on with an unfinished labelling: ") for text in said)
    assert rows_of(tmp_path / "out") == expected and left_out(tmp_path / "out") == [("a.png", CRASHES.format(11))]


NODE = """
import sys
import ray
from ray.cluster_utils import Cluster
from affectnet_plus_modeling.cli import main
small = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 120_000_000}
cluster = Cluster(initialize_head=True, head_node_args=small)
other = cluster.add_node(**{name: small[name] for name in ("num_cpus", "object_store_memory")})
ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
import threading, time
from pathlib import Path
work = Path(sys.argv[2] + ".labelling")
def watch():
    while not any((work / "notes").glob("*.json")):
        time.sleep(.005)
    cluster.remove_node(other, allow_graceful=False)
    print("killed", flush=True)
threading.Thread(target=watch, daemon=True).start()
"""
LABELLED = """
import os
print("labelled", flush=True)
ray.shutdown()
os._exit(0)  # a cluster of this process, of which a part was killed, would end it with 1
"""


def test_a_node_is_killed_and_the_rows_are_those_of_one_process(environment, faces, ensemble, expected, tmp_path):
    words = [sys.executable, "-c", NODE + DRIVER + LABELLED, str(faces), str(tmp_path / "out"), str(ensemble)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"killed", "labelled"} <= set(done.stdout.split()) and rows_of(tmp_path / "out") == expected


FULL = """
import os, subprocess, sys
from pathlib import Path
place = Path(sys.argv[2]).parent
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(place)], check=True)
exec(os.environ["ONE_PROCESSOR"])
try:
    exec(os.environ["DRIVER"])
except OSError as error:
    print("said", error)
print(sorted(path.name for path in place.iterdir()))
subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
exec(os.environ["DRIVER"])
print(subprocess.run(["cp", "-r", sys.argv[2], sys.argv[4]], check=True).returncode)
"""


def test_a_full_disk_is_said_and_with_more_room_it_goes_on(environment, faces, ensemble, expected, tmp_path):
    (tmp_path / "small").mkdir()
    words = [
        "unshare",
        "-rm",
        sys.executable,
        "-c",
        FULL,
        faces,
        tmp_path / "small" / "out",
        ensemble,
        tmp_path / "out",
    ]
    settings = os.environ | {"ONE_PROCESSOR": ONE_PROCESSOR, "DRIVER": DRIVER}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=600, env=settings)
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"this system lets nobody mount a small disk: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    [said] = [line for line in done.stdout.splitlines() if line.startswith("said ")]
    assert "No space left on device" in said and said.endswith("given again, goes on from there")
    assert "['.out.lock', 'out.labelling']" in done.stdout
    assert rows_of(tmp_path / "out") == expected
