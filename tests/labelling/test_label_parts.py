"""What `label` writes is a prepared folder, wherever pictures and rows lie, and whatever goes wrong on the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from affectnet_plus import SPLITS, LayoutError, features
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data import parts
from affectnet_plus_modeling.data.parts import StoredParts, in_files
from affectnet_plus_modeling.examination import doctor
from affectnet_plus_modeling.labelling import label_shards
from affectnet_plus_modeling.labelling.label import label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from affectnet_plus_modeling.labelling.label_shards import DATA, NOTES
from affectnet_plus_modeling.labelling.poison import CRASHES
from affectnet_plus_modeling.preparing import prepare
from support.archives import as_folder, as_tar
from support.ensembles import make_ensemble
from support.labelled import POISONED, files_of, poison, rows_of
from support.trees import picture

pytest_plugins = ["support.object_store"]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Path:
    return make_ensemble(tmp_path_factory.mktemp("ensemble") / "ebc", folds=(0, 1))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PICTURES_AT_A_TIME", 8)
    monkeypatch.setattr(label_shards, "SHARD_FACES", 8)


@pytest.fixture(scope="module")
def files(drawn_tree) -> dict[str, bytes]:
    return files_of(drawn_tree)


@pytest.fixture(scope="module")
def tars(files, tmp_path_factory) -> Path:
    """Three tars as WebDataset has them, a text beside each picture; the last has no picture."""
    folder, names = tmp_path_factory.mktemp("tars"), list(files)
    for number, some in enumerate((names[:25], names[25:], [])):
        content = {name: files[name] for name in some} | {f"{name}.cls": b"0" for name in some or ["none"]}
        as_tar(folder / f"{number:06d}.tar", content)
    return folder


def labelled(images, out, ensemble, **others) -> dict:
    return label(images, out, LabelOptions(str(ensemble), batch_size=3), say=lambda text: None, **others)


@pytest.mark.slow
def test_the_folder_has_the_rows_that_prepare_makes_of_the_tree(tree_copy, ensemble, tmp_path):
    (tree_copy / SPLITS["train"] / "images" / "7.jpg").write_bytes(picture()[:300])
    record = labelled(tree_copy, tmp_path / "out", ensemble)
    label(tree_copy, tmp_path / "tree", LabelOptions(str(ensemble), batch_size=3, tree=True), say=lambda text: None)
    prepare(tmp_path / "tree", tmp_path / "prepared", embed=True)
    columns = list(features())
    rows = [{name: row[name] for name in columns} for row in rows_of(tmp_path / "out")]
    assert rows == [{name: row[name] for name in columns} for row in rows_of(tmp_path / "prepared")]
    said = {row["image_id"]: row for row in pq.read_table(tmp_path / "tree" / "labels.parquet").to_pylist()}
    for row in rows_of(tmp_path / "out"):
        branches = ("name", "label", "fold", "ensemble", "action_units", "soft_label", "reason", "metadata_reason")
        assert {name: row[name] for name in branches} == {name: said[row["image_id"]][name] for name in branches}
    for view, split in (("default", "train"), ("all", "validation"), ("no_human", "train")):
        data = datasets.load_dataset(str(tmp_path / "out"), view, split=split)
        assert data[0]["image"].size and list(data.features)[: len(columns)] == columns
    [left_out] = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert left_out["image_id"] == "train/7" and record["counts"]["unreadable"] == {left_out["reason"]: 1}
    report = doctor(tmp_path / "out")
    assert [found for found in report["findings"] if found["level"] == "error"] == []
    assert {split: counts["rows"] for split, counts in report["counts"].items()} == record["counts"]["faces"]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "`ensemble`" in page and "affectnet-plus label" in page
    assert main(["fit-fusion", *map(str, (tmp_path / "out", tmp_path / "prepared", tmp_path / "fusion.json"))]) == 0


@pytest.mark.slow
def test_tars_parquet_files_and_pictures_are_labelled_here_and_in_an_object_store(
    files, tars, ensemble, tmp_path, object_store
):
    plain = as_folder(tmp_path / "plain", files)
    table = pa.table({"image": [{"bytes": content, "path": name} for name, content in files.items()]})
    (tmp_path / "rows").mkdir()
    for number in range(2):
        pq.write_table(table.slice(20 * number, 20), tmp_path / "rows" / f"{number}.parquet")
    for folder in (plain, tars, tmp_path / "rows"):
        for path in folder.iterdir():
            object_store.client.upload_file(str(path), "faces", f"in/{folder.name}/{path.name}")
    found = {"here": labelled(plain, tmp_path / "here", ensemble), "tars": labelled(tars, tmp_path / "tars", ensemble)}
    for kind, folder in (("plain", plain), ("far tars", tars), ("rows", tmp_path / "rows")):
        out = object_store.address(f"out/{folder.name}")
        found[kind] = labelled(object_store.address(f"in/{folder.name}"), out, ensemble)
        assert f"out/{folder.name}/manifest.json" in object_store.names(f"out/{folder.name}/")
        assert object_store.names(f"out/{folder.name}.labelling") == []
    assert {record["counts"]["pictures"] for record in found.values()} == {40}
    here, far = rows_of(tmp_path / "here"), rows_of(object_store.address("out/plain"))
    assert far == here
    assert rows_of(object_store.address(f"out/{tars.name}")) == rows_of(tmp_path / "tars")
    by_content = {row["image"]["bytes"]: row["soft_label"] for row in here}
    for out in (tmp_path / "tars", object_store.address("out/rows")):
        rows = rows_of(out)
        assert len({row["image_id"] for row in rows}) == 40
        for row in rows:
            assert row["soft_label"] == pytest.approx(by_content[row["image"]["bytes"]], abs=1e-5)
    names = {row["image_id"]: row["name"] for row in rows_of(tmp_path / "tars")}
    assert names["no_human/1"] == "000000.tar/train-0.jpg" and "no_human/1000000001" in names
    with pytest.raises(FileExistsError, match="out/plain exists"):
        label(plain, object_store.address("out/plain"), LabelOptions(str(ensemble), batch_size=2))
    with pytest.raises(LayoutError, match=r"holds \.tar and \.parquet and pictures, expected one of them"):
        labelled(object_store.address("in"), tmp_path / "out", ensemble)


def test_the_ending_of_a_tar_may_have_capitals(files, tmp_path):
    as_tar(tmp_path / "A.TAR", dict(list(files.items())[:3]))
    assert in_files(tmp_path)
    for where in (tmp_path, tmp_path / "A.TAR"):
        stored = StoredParts(where)
        [part] = stored.parts()
        with stored.opened(part) as (reader, pictures):
            assert [reader.read(picture)[1] for picture in pictures] == list(files.values())[:3]


@pytest.mark.slow
def test_an_object_store_that_is_busy_is_asked_again_and_one_that_stays_so_is_said(
    files, tars, ensemble, tmp_path, object_store
):
    for path in tars.iterdir():
        object_store.client.upload_file(str(path), "faces", f"busy/{path.name}")
    labelled(tars, tmp_path / "here", ensemble)
    object_store.refused = 0
    object_store.busy = lambda method, path, count: method in ("GET", "PUT", "POST") and count % 4 == 0
    labelled(object_store.address("busy"), object_store.address("some"), ensemble)
    assert object_store.refused > 5 and rows_of(object_store.address("some")) == rows_of(tmp_path / "here")

    object_store.busy = lambda method, path, count: "-0000009-" in path  # of the shard that begins there
    with pytest.raises(OSError, match="all is not finished: .* The same command, given again, goes on from there"):
        labelled(object_store.address("busy"), object_store.address("all"), ensemble)
    assert object_store.names("all/") == [] and object_store.names(f"all.labelling/{NOTES}")
    object_store.busy = lambda method, path, count: False
    said: list[str] = []
    options = LabelOptions(str(ensemble), batch_size=3)
    label(object_store.address("busy"), object_store.address("all"), options, say=said.append, resume=True)
    assert any(text.startswith("going on with an unfinished labelling: ") for text in said)
    assert rows_of(object_store.address("all")) == rows_of(tmp_path / "here")


def test_a_folder_of_the_hub_is_labelled_without_a_copy_of_it(ensemble, files, tmp_path, monkeypatch):
    """As fsspec reads it, whatever speaks its protocol: here a folder in memory stands for it."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/hub/{name}": content for name, content in files.items()})
    assert not in_files("hf://datasets/you/faces"), (
        "a whole data set is fetched, as something may be known of its faces"
    )
    handler = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(memory))
    real = pa.fs.FileSystem.from_uri
    named = staticmethod(lambda uri: (handler, "/hub") if uri.startswith("hf://") else real(uri))
    monkeypatch.setattr("affectnet_plus_modeling.data.stores.from_uri", named)
    labelled("hf://datasets/you/faces/pictures", tmp_path / "out", ensemble)
    labelled(as_folder(tmp_path / "plain", files), tmp_path / "here", ensemble)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "here")


def run(words: list, environment: dict) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "affectnet_plus_modeling.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | environment)


@pytest.mark.slow
def test_a_picture_that_crashes_the_decoder_is_left_out_when_the_command_is_given_again(files, ensemble, tmp_path):
    faces = as_folder(tmp_path / "faces", files | {"a.png": poison(), "zz.png": poison()})
    words = ["label", faces, tmp_path / "out", "--ensemble", ensemble, "--batch-size", 3]
    crashed = run(words, {"PYTHONPATH": str(POISONED), "OMP_NUM_THREADS": "1"})
    assert crashed.returncode == -11 and not (tmp_path / "out").exists()
    for returncode in (-11, 0):  # each picture once
        again = run(words, {"PYTHONPATH": str(POISONED), "OMP_NUM_THREADS": "1"})
        assert again.returncode == returncode, again.stderr
    left_out = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["name"], line["reason"]) for line in left_out] == [
        ("a.png", CRASHES.format(11)),
        ("zz.png", CRASHES.format(11)),
    ]
    assert len(rows_of(tmp_path / "out")) == 40


FULL = """
set -e
mount -t tmpfs -o size={size}k tmpfs "$1"
shift
"$@" 2>&1 || true
ls -A "$(dirname "$OUT")"
mount -o remount,size=100m "$(dirname "$OUT")"
exec "$@" 2>&1
"""


def on_a_small_disk(place: Path, size: int, words: list, environment: dict) -> list[str]:
    """The lines of a command that runs twice: on a disk of `size` kB, and when it has become larger."""
    place.mkdir()
    script = ["unshare", "-rm", "sh", "-c", FULL.format(size=size) + "\nexit $?", "sh", place, sys.executable]
    command = [*script, "-m", "affectnet_plus_modeling.cli", *words]
    environment = os.environ | environment | {"OUT": str(place / "out")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, env=environment)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this system lets nobody mount a small disk: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_full_disk_is_said_and_with_more_room_the_command_goes_on(files, ensemble, tmp_path):
    faces = as_folder(tmp_path / "faces", files)
    words = ["label", faces, tmp_path / "small" / "out", "--ensemble", ensemble, "--batch-size", 3]
    lines = on_a_small_disk(tmp_path / "small", 60, words, {"OMP_NUM_THREADS": "1"})
    [said] = [line for line in lines if "No space left on device" in line]
    assert said.startswith("affectnet-plus label: ") and said.endswith("given again, goes on from there")
    assert ".out.lock" in lines and "out.labelling" in lines and "out" not in lines
    assert any("40 pictures; faces: no_human 40" in line for line in lines)


@pytest.mark.slow
def test_what_another_writer_left_does_not_count(files, ensemble, tmp_path):
    """Files without a note, and a note of batches that another one has already, as of a driver taken for dead."""
    faces = as_folder(tmp_path / "faces", files)

    def stop(stage, done, total):
        if (stage, done) == ("label", 30):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        labelled(faces, tmp_path / "out", ensemble, progress=stop)
    work = tmp_path / "out.labelling"
    first = min((work / NOTES).iterdir())
    (work / DATA / "no_human-0000000-0000000-0000000000000000.parquet").write_bytes(b"half a file")
    first.with_name("0000000-0000000-ffffffffffffffff.json").write_bytes(first.read_bytes())
    (work / NOTES / "0000009-0000000-ffffffffffffffff.json").write_bytes(first.read_bytes()[:40])
    labelled(faces, tmp_path / "out", ensemble)
    labelled(faces, tmp_path / "undisturbed", ensemble)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "undisturbed") and len(rows_of(tmp_path / "out")) == 40
