"""Every view in every way in which it can be opened gives the rows of the tree; `reference` reads it on its own.

tests/script36 holds the same for datasets 3.6, where the loader is a script.
"""

import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from affectnet_plus import AffectNetPlus, features
from affectnet_plus_modeling.preparing import prepare
from support.reference import FOLDERS, SPLITS_OF, expected_rows, plain, write_small_tree

KINDS = ("path-only", "embedded")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw") / "AffectNet+"
    write_small_tree(root)
    return root


@pytest.fixture(scope="module")
def folders(tree, tmp_path_factory) -> dict[str, Path]:
    """The tree prepared in both ways."""
    place = tmp_path_factory.mktemp("ready")
    for kind in KINDS:
        prepare(tree, place / kind, embed=kind == "embedded")
    return {kind: place / kind for kind in KINDS}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


# --- the prepared folder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", SPLITS_OF)
def test_a_stream_gives_the_rows_of_the_tree(folders, tree, view, kind):
    streams = datasets.load_dataset(str(folders[kind]), view, streaming=True)
    assert tuple(streams) == SPLITS_OF[view]
    for split, rows in streams.items():
        assert rows.features == features(view)
        assert list(map(plain, rows)) == expected_rows(tree, view, split) != []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_give_the_rows_of_the_tree(folders, tree, tmp_path, kind):
    options = f"split='train', num_proc=2, cache_dir={str(tmp_path)!r}"
    load = f"datasets.load_dataset({str(folders[kind])!r}, 'all', {options})"
    apart(f"import datasets; {load}.save_to_disk({str(tmp_path / 'rows')!r})")
    assert list(map(plain, datasets.load_from_disk(str(tmp_path / "rows")))) == expected_rows(tree, "all", "train")


def apart(program: str) -> None:
    """Run it in a fresh interpreter. `datasets` forks, and a fork of this process, in which threads of torch and of
    the tests' Hub may hold a lock, can hang for ever."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "split, part",
    [
        ("train[:10%]", slice(0, 2)),
        ("train[10%:50%]", slice(2, 12)),
        ("train[-3:]", slice(21, 24)),
        ("train+validation", slice(None)),
    ],
)
def test_slices_are_slices_of_the_whole(folders, tree, cache, kind, split, part):
    whole = datasets.load_dataset(str(folders[kind]), cache_dir=cache)
    assert list(map(plain, whole["train"])) == expected_rows(tree, "default", "train") and len(whole["train"]) == 24
    rows = [*whole["train"], *whole["validation"]] if split == "train+validation" else list(whole["train"])
    sliced = datasets.load_dataset(str(folders[kind]), split=split, cache_dir=cache)
    assert sliced.features == features()
    assert list(map(plain, sliced)) == list(map(plain, rows[part]))


@pytest.mark.parametrize("kind", KINDS)
def test_torch_tensors_hold_the_same_values(folders, tree, cache, kind):
    rows = datasets.load_dataset(str(folders[kind]), "default", split="train", cache_dir=cache)
    tensors = rows.with_format("torch")
    pictures = {row["image_id"]: np.asarray(row["image"]) for row in rows}
    expected = {row["image_id"]: row for row in expected_rows(tree, "default", "train")}
    assert len(tensors) == len(expected) == 24
    complete = 0
    for row in tensors:
        name = row["image_id"]
        assert row["image"].dtype is torch.uint8
        assert np.array_equal(row["image"].permute(1, 2, 0).numpy(), pictures[name])
        assert row["label"].dtype is torch.int64 and row["label"].item() == expected[name]["label"]
        if any(value is None for value in expected[name].values()):
            continue  # a null has no tensor: what stands for it is the affair of `datasets`
        for column in ("soft_label", "soft_label_normalized", "landmarks_68", "landmarks_29", "valence", "age"):
            assert row[column].dtype is torch.float32 and row[column].tolist() == expected[name][column]
        assert {key: value.item() for key, value in row["race"].items()} == expected[name]["race"]
        complete += 1
    assert complete >= 8
    batch = tensors.select_columns(["image", "label"])[:4]
    assert batch["image"].shape == (4, 3, 30, 40) and batch["label"].shape == (4,)


# --- the builder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", SPLITS_OF)
def test_the_builder_streams_the_rows_of_the_tree(tree, tmp_path, view):
    builder = AffectNetPlus(config_name=view, data_dir=tree, cache_dir=str(tmp_path))
    for split in SPLITS_OF[view]:
        assert list(map(plain, builder.as_streaming_dataset(split))) == expected_rows(tree, view, split)


@pytest.mark.slow
def test_the_builder_with_two_processes_gives_slices_of_the_rows(tree, tmp_path):
    build = f"AffectNetPlus(config_name='easy', data_dir={str(tree)!r}, cache_dir={str(tmp_path)!r})"
    of_four = "AffectNetPlus.FACES_AT_A_TIME = 4"
    apart(f"from affectnet_plus import AffectNetPlus; {of_four}; {build}.download_and_prepare(num_proc=2)")
    builder = AffectNetPlus(config_name="easy", data_dir=tree, cache_dir=str(tmp_path))
    train, validation = (expected_rows(tree, "easy", split) for split in ("train", "validation"))
    assert list(map(plain, builder.as_dataset("train"))) == train and len(train) == 8
    assert list(map(plain, builder.as_dataset("train[:25%]+validation"))) == train[:2] + validation


# --- the builder's cache ---------------------------------------------------------------------------------------------


def rebuilt(root, cache, view="default") -> tuple[list[dict], str]:
    builder = AffectNetPlus(config_name=view, data_dir=root, cache_dir=str(cache))
    builder.download_and_prepare()
    return list(map(plain, builder.as_dataset("train"))), builder.cache_dir


def add_a_face(root):
    for kind, suffix in (("images", ".jpg"), ("annotations", ".json")):
        known = root / FOLDERS["train"] / kind / f"11{suffix}"
        known.with_name(f"1234{suffix}").write_bytes(known.read_bytes())


def remove_a_face(root):
    for kind, suffix in (("images", ".jpg"), ("annotations", ".json")):
        (root / FOLDERS["train"] / kind / f"11{suffix}").unlink()


def rewrite_an_annotation(root):
    path = root / FOLDERS["train"] / "annotations" / "11.json"
    path.write_bytes((root / FOLDERS["train"] / "annotations" / "12.json").read_bytes())


def rename_a_picture(root):
    path = root / FOLDERS["train"] / "images" / "11.jpg"
    path.rename(path.with_suffix(".jpeg"))


@pytest.mark.parametrize("change", [add_a_face, remove_a_face, rewrite_an_annotation])
def test_a_changed_tree_gives_its_new_rows(tmp_path, change):
    root = tmp_path / "tree"
    write_small_tree(root)
    before, _ = rebuilt(root, tmp_path / "cache")
    assert before == expected_rows(root, "default", "train")
    change(root)
    after, _ = rebuilt(root, tmp_path / "cache")
    assert after == expected_rows(root, "default", "train") != before


def test_the_builder_has_another_cache_when_a_file_has_another_name_or_time(tmp_path):
    write_small_tree(tmp_path / "tree")
    picture = tmp_path / "tree" / FOLDERS["train"] / "images" / "12.jpg"
    places = [AffectNetPlus(data_dir=tmp_path / "tree", cache_dir=str(tmp_path)).cache_dir]
    os.utime(picture, ns=(1, 1))
    places.append(AffectNetPlus(data_dir=tmp_path / "tree", cache_dir=str(tmp_path)).cache_dir)
    rename_a_picture(tmp_path / "tree")
    places.append(AffectNetPlus(data_dir=tmp_path / "tree", cache_dir=str(tmp_path)).cache_dir)
    assert len(set(places)) == 3


def test_an_unchanged_tree_is_not_read_again(tmp_path):
    root = tmp_path / "tree"
    write_small_tree(root)
    rows, place = rebuilt(root, tmp_path / "cache")
    written = {path: path.stat().st_mtime_ns for path in Path(place).rglob("*.arrow")}
    (root / FOLDERS["no_human"] / "images" / "5.jpg").unlink()  # no view but no_human reads it
    assert rebuilt(root, tmp_path / "cache") == (rows, place)
    assert written == {path: path.stat().st_mtime_ns for path in Path(place).rglob("*.arrow")} != {}
