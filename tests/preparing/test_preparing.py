"""From a tree to a folder for the stock `load_dataset`: the rows of every view, the report and the card."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml

from affectnet_plus import VIEWS, AffectNetPlus, LayoutError, features
from affectnet_plus_modeling.preparing import format_report, prepare, reading, shards
from support.trees import known_points

FOLDERS = {
    "train": "human_annotated/train_set",
    "validation": "human_annotated/validation_set",
    "no_human": "no_human_annotated",
}


# --- a reference that reads the tree on its own ----------------------------------------------------------------------


def source_of(root: Path) -> dict[str, dict]:
    """image_id -> its annotation as the file has it."""
    return {
        f"{split}/{path.stem}": json.loads(path.read_text())
        for split, folder in FOLDERS.items()
        for path in (root / folder / "annotations").glob("*.json")
    }


EASE = {0: "easy", 1: "challenging", 2: "difficult"}
BELONGS = {
    "default": lambda record: record["human-label"] in range(8),
    "7-class": lambda record: record["human-label"] in range(7),
    "easy": lambda record: record["human-label"] in range(8) and record["subset"] == 0,
    "challenging": lambda record: record["human-label"] in range(8) and record["subset"] == 1,
    "difficult": lambda record: record["human-label"] in range(8) and record["subset"] == 2,
    "all": lambda record: True,
}


def expected_ids(source, view, split) -> set[str]:
    if view == "no_human":
        return {name for name in source if name.startswith("no_human/") and split == "train"}
    return {name for name, record in source.items() if name.startswith(f"{split}/") and BELONGS[view](record)}


def same(found, expected) -> bool:
    """Equal in float32, null where the source is null."""
    if found is None or expected is None:
        return found is None and expected is None
    return bool(np.array_equal(np.asarray(found, "float32"), np.asarray(expected, "float32")))


def check_row(row, record):
    meta = record["meta-data"]
    soft = record["soft-label"]
    assert (row["label"], row["subset"]) == (record["human-label"], record["subset"])
    assert same(row["soft_label"], soft)
    assert same(row["soft_label_normalized"], soft and [value / sum(soft) for value in soft])
    for name in ("valence", "arousal"):
        assert same(row[name], None if meta[name] == -2 else meta[name])
    assert same(row["age"], meta["age"])
    for name in ("gender", "race", "pose"):
        found = row[name] and {key.replace("_", " "): value for key, value in row[name].items()}
        assert found == (meta[name] and {key: float(np.float32(value)) for key, value in meta[name].items()})
    for count in (68, 29):
        points = meta[f"landmark-{count}"]
        assert same(known_points(row[f"landmarks_{count}"]), points and np.reshape(points, (count, 2)))


def load(folder, view, split, cache):
    return datasets.load_dataset(str(folder), view, split=split, cache_dir=str(cache))


# --- good rows -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def embedded(raw_tree, tmp_path_factory):
    """Prepared with the images inside, moved elsewhere, its source deleted."""
    place = tmp_path_factory.mktemp("embedded")
    source = shutil.copytree(raw_tree, place / "AffectNet+")
    prepare(source, place / "out", embed=True)
    shutil.rmtree(source)
    return Path(shutil.move(place / "out", place / "moved here"))


SPLITS_OF = {view: ("train",) if view == "no_human" else ("train", "validation") for view in VIEWS}


@pytest.mark.parametrize("kind", ["prepared", "embedded"])
@pytest.mark.parametrize("view", VIEWS)
def test_stock_load_dataset_gives_the_rows_of_every_view(request, raw_tree, cache, view, kind):
    source, folder = source_of(raw_tree), request.getfixturevalue(kind)
    loaded = datasets.load_dataset(str(folder), view, cache_dir=str(cache))
    assert tuple(loaded) == SPLITS_OF[view]
    for split, rows in loaded.items():
        assert rows.features == features(view)
        assert sorted(rows["image_id"]) == sorted(expected_ids(source, view, split)) != []
        for row in rows:
            check_row(row, source[row["image_id"]])
            name, _, stem = row["image_id"].partition("/")
            color = (int(stem) % 256, 90, 40 * len(name) % 256)
            assert row["image"].size == (24, 24) and np.allclose(row["image"].getpixel((5, 5)), color, atol=3)


def test_the_rows_hold_what_the_cases_need(raw_tree):
    """The fixture has nulls, every label with every subset, and overlapping stems: the tests above mean something."""
    source = source_of(raw_tree)
    train = [record for name, record in source.items() if name.startswith("train/")]
    assert {(r["human-label"], r["subset"]) for r in train} >= {(i, j) for i in range(8) for j in range(3)}
    assert {record["human-label"] for record in train} == {None, *range(11)}
    assert any(record["soft-label"] is None for record in train) and len(source) == 50


def test_the_views_add_up(prepared, cache):
    ids = {view: set(load(prepared, view, "train", cache)["image_id"]) for view in VIEWS}
    rated = [ids[view] for view in ("easy", "challenging", "difficult")]
    assert len(set.union(*rated)) == sum(map(len, rated)) == 24
    assert ids["default"] - set.union(*rated) == {"train/1000", "train/1002"}, "rows without a subset"
    contempt = {name for name in ids["default"] if name in ("train/22", "train/55", "train/88")}
    assert ids["7-class"] == ids["default"] - contempt and len(contempt) == 3
    assert ids["all"] > ids["default"] and len(ids["all"]) == 36
    assert not ids["no_human"] & ids["all"] and len(ids["no_human"]) == 5


def test_class_names_translate(prepared, cache):
    label = load(prepared, "default", "validation", cache).features["label"]
    assert [label.int2str(code) for code in (0, 3, 7)] == ["neutral", "surprise", "contempt"]
    assert load(prepared, "all", "train", cache).features["label"].str2int("non-face") == 10


def test_path_only_holds_paths_and_embedded_holds_bytes(raw_tree, prepared, embedded, cache):
    def images(folder):
        rows = load(folder, "all", "train", cache).cast_column("image", datasets.Image(decode=False))
        return dict(zip(rows["image_id"], rows["image"]))

    by_path, by_bytes = images(prepared), images(embedded)
    source = raw_tree / FOLDERS["train"] / "images"
    assert by_path["train/4"] == {"bytes": None, "path": str(source / "4.JPEG")}
    assert by_bytes["train/4"] == {"bytes": (source / "4.JPEG").read_bytes(), "path": "4.JPEG"}
    assert {entry["bytes"] for entry in by_path.values()} == {None}


def test_streaming_the_prepared_folder_gives_the_same_rows(prepared, cache):
    stream = datasets.load_dataset(str(prepared), "challenging", split="train", streaming=True)
    assert stream.features == features("challenging")
    assert [row["image_id"] for row in stream] == load(prepared, "challenging", "train", cache)["image_id"][:]


@pytest.mark.slow
def test_another_process_elsewhere_opens_it(raw_tree, tmp_path):
    work, other = tmp_path / "work", tmp_path / "other"
    work.mkdir()
    other.mkdir()
    os.symlink(raw_tree, work / "raw")
    program = (
        "import sys, datasets\n"
        "rows = datasets.load_dataset(sys.argv[1], 'easy', split='validation', cache_dir=sys.argv[2])\n"
        "print(rows['image_id'][:], rows[0]['image'].size, 'affectnet_plus' in sys.modules)\n"
    )
    here = os.getcwd()
    os.chdir(work)
    try:
        prepare("raw", "out")  # relative paths, and a link that is gone later
    finally:
        os.chdir(here)
    os.unlink(work / "raw")
    done = subprocess.run(
        [sys.executable, "-c", program, str(work / "out"), str(tmp_path / "cache")],
        cwd=other,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['validation/7', 'validation/1', 'validation/4'] (24, 24) False"


def test_prepare_works_after_a_builder_was_made(raw_tree, tmp_path):
    AffectNetPlus(data_dir=raw_tree, cache_dir=str(tmp_path / "cache"))  # it replaces open() in its own module
    assert prepare(raw_tree, tmp_path / "out")["splits"]["train"]["rows"] == 36


def test_large_splits_become_shards_in_one_order(raw_tree, prepared, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 1500)
    monkeypatch.setattr(shards, "GROUP_ROWS", 2)
    monkeypatch.setattr(shards, "OPEN_FILES", 3)
    monkeypatch.setattr(reading, "FACES_AT_A_TIME", 5)
    prepare(raw_tree, tmp_path / "out", embed=True)
    names = sorted(path.name for path in (tmp_path / "out" / "data").glob("train-*"))
    assert names == [f"train-{number:05d}.parquet" for number in range(len(names))] and len(names) > 10
    for view in ("all", "easy"):
        rows = load(tmp_path / "out", view, "train", cache)
        assert rows["image_id"][:] == load(prepared, view, "train", cache)["image_id"][:]


# --- the report and the card -----------------------------------------------------------------------------------------


def test_the_report_counts_what_is_there(raw_tree, prepared):
    report = json.loads((prepared / "report.json").read_text())
    source = source_of(raw_tree)
    names = "neutral happy sad surprise fear disgust anger contempt none uncertain non-face".split()
    for split, part in report["splits"].items():
        records = [record for name, record in source.items() if name.startswith(f"{split}/")]
        for kind, key, known in (("labels", "human-label", names), ("subsets", "subset", list(EASE.values()))):
            codes = [record[key] for record in records]
            assert part[kind] == Counter("unknown" if code is None else known[code] for code in codes)
        assert (part["rows"], part["quarantined"]) == (len(records), 0)
    assert list(report["splits"]) == ["train", "validation", "no_human"]
    assert (report["quarantined"], report["quarantine_reasons"]) == (0, {})
    assert (prepared / "quarantine.jsonl").read_text() == ""
    text = format_report(report)
    assert "train: 36 rows, 0 quarantined" in text and "unknown 1" in text


def test_the_card_parses_and_names_every_column(prepared):
    _, head, body = (prepared / "README.md").read_text().split("---\n", 2)
    data = yaml.safe_load(head)
    assert [config["config_name"] for config in data["configs"]] == list(VIEWS)
    assert {info["config_name"] for info in data["dataset_info"]} == set(VIEWS)
    listed = set()
    for config in data["configs"]:
        for files in config["data_files"]:
            found = set(prepared.glob(files["path"]))
            assert found, f"{files['path']} names no file"
            listed |= found
    assert listed == set((prepared / "data").iterdir()), "every file belongs to a view"
    for column in features():
        assert f"`{column}`" in body
    for row in ("| train | 36 | 0 |", "| validation | 9 | 0 |", "| no_human | 5 | 0 |"):
        assert row in body
    for view in VIEWS:
        assert f"| `{view}` |" in body
    assert "{{" not in body and "{%" not in body


def test_a_view_without_rows_is_not_promised(tree_copy, tmp_path, cache):
    shutil.rmtree(tree_copy / "human_annotated")
    prepare(tree_copy, tmp_path / "out")
    assert datasets.get_dataset_config_names(str(tmp_path / "out")) == ["no_human"]
    assert len(load(tmp_path / "out", "no_human", "train", cache)) == 5
    with pytest.raises(ValueError, match="easy"):
        load(tmp_path / "out", "easy", "train", cache)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["", "human_annotated", "human_annotated/train_set", ".."])
def test_the_source_is_never_overwritten(tree_copy, out):
    files = sorted(tree_copy.parent.rglob("*"))
    with pytest.raises(FileExistsError, match="holds faces of the source. Name another folder"):
        prepare(tree_copy, Path(os.path.normpath(tree_copy / out)), overwrite=True)
    assert sorted(tree_copy.parent.rglob("*")) == files


def test_the_output_may_lie_inside_the_source(tree_copy):
    for _ in range(2):
        report = prepare(tree_copy, tree_copy / "prepared", overwrite=True)
        assert report["splits"]["train"]["rows"] == 36 and report["quarantined"] == 0


@pytest.mark.parametrize("kind", ["folder", "embedded", "zip"])
def test_paths_may_have_spaces_and_letters_of_any_script(raw_tree, prepared, tmp_path, cache, kind):
    raw = tmp_path / "Gesichter Ä 顔 #1 [a]%20" / "AffectNet+"
    shutil.copytree(raw_tree, raw)
    if kind == "zip":
        raw = Path(shutil.make_archive(str(tmp_path / "Gesichter Ä 顔 #1"), "zip", raw.parent))
    out = tmp_path / "vorbereitet ü 準備"
    prepare(raw, out, embed=kind == "embedded")
    found = datasets.load_dataset(str(out), "all", split="train", cache_dir=cache)
    expected = datasets.load_dataset(str(prepared), "all", split="train", cache_dir=cache)
    assert list(found["image_id"]) == list(expected["image_id"]) and len(found) == 36
    assert all(np.array_equal(one, other) for one, other in zip(found["image"], expected["image"], strict=True))


@pytest.mark.parametrize("name", ["out [1]", "a*/out", "what?"])
def test_a_path_that_datasets_takes_for_a_pattern_is_refused(raw_tree, tmp_path, name):
    with pytest.raises(ValueError, match="which datasets takes for a pattern"):
        prepare(raw_tree, tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_a_folder_of_another_kind_is_refused_and_nothing_is_written(tmp_path):
    for number in range(8):
        (tmp_path / "raw" / str(number)).mkdir(parents=True)
    with pytest.raises(LayoutError, match="it holds a folder for each number, and numbers mean other emotions"):
        prepare(tmp_path / "raw", tmp_path / "out")
    assert os.listdir(tmp_path) == ["raw"]


def test_a_prepared_folder_is_not_prepared_again(prepared, tmp_path):
    with pytest.raises(LayoutError, match="it looks prepared already. Open it with datasets.load_dataset"):
        prepare(prepared, tmp_path / "out")
