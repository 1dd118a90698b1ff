"""The order of the rows: what is read first of a view is a fair sample of it, in a slice and in a stream."""

import json
from collections import Counter
from functools import cache

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import chisquare, kstest

from affectnet_plus import CITATION, DESCRIPTION, LABELS, LICENCE, SPLITS, VIEWS, AffectNetPlus
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.terms import TERMS
from support.trees import full_record, picture

FACES = {"train": 6000, "no_human": 1500}
SHARES = np.arange(len(LABELS), 0, -1) / np.arange(len(LABELS) + 1).sum()  # far from equal, as in the release


@pytest.fixture(scope="module")
def sorted_tree(tmp_path_factory):
    """Faces that lie class by class, as the rows of a prepared folder once did."""
    root = tmp_path_factory.mktemp("order") / "AffectNet+"
    content = picture((9, 90, 40))
    for split, count in FACES.items():
        folder = root / SPLITS[split]
        (folder / "images").mkdir(parents=True)
        (folder / "annotations").mkdir()
        labels = np.sort(np.random.default_rng(0).choice(len(LABELS), count, p=SHARES))
        for stem, label in enumerate(labels.tolist()):
            kind = (None, None) if split == "no_human" else (label, stem % 3)
            (folder / "images" / f"{stem}.jpg").write_bytes(content)
            (folder / "annotations" / f"{stem}.json").write_text(annotation(*kind))
    return root


@cache
def annotation(label, subset) -> str:
    return json.dumps(full_record(label, subset))


@pytest.fixture(scope="module")
def folder(sorted_tree):
    prepare(sorted_tree, sorted_tree.with_name("out"))
    return str(sorted_tree.with_name("out"))


def unfair(rows, whole) -> float:
    """How improbable it is that a random sample of the whole is as far from it as these rows are."""
    if set(whole["label"]) == {None}:
        return kstest([stem_of(name) / FACES["no_human"] for name in rows["image_id"]], "uniform").pvalue
    expected = Counter(whole["label"])
    found, size = Counter(rows["label"]), len(rows["label"])
    return chisquare([found[k] for k in expected], [size * n / len(whole) for n in expected.values()]).pvalue


def stem_of(image_id: str) -> int:
    return int(image_id.partition("/")[2])


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_slices_and_streams_of_each_view_are_fair_samples(folder, tmp_path, view):
    asked = ["image_id", "label"]
    whole = datasets.load_dataset(folder, view, split="train", cache_dir=str(tmp_path)).select_columns(asked)
    assert len(whole) >= 1300
    few = datasets.load_dataset(folder, view, split="train[:1%]", cache_dir=str(tmp_path)).select_columns(asked)
    stream = datasets.load_dataset(folder, view, split="train", streaming=True).select_columns(asked)
    buffered = list(stream.shuffle(seed=0, buffer_size=500).take(500))
    buffered = {name: [row[name] for row in buffered] for name in asked}
    for rows in (few[:], whole[:500], whole[-500:], buffered):
        assert unfair(rows, whole) > 0.001
    names = whole["image_id"][:]
    assert sorted(names) == sorted(set(names)) and list(few["image_id"]) == names[: round(len(names) / 100)]
    assert unfair(whole.select(np.argsort(list(map(stem_of, names)))[:500]), whole) < 1e-6, "by name they are unfair"


@pytest.mark.slow
def test_the_order_is_one_in_all_views_and_with_other_faces(folder, sorted_tree, tmp_path):
    rows = {view: datasets.load_dataset(folder, view, split="train", cache_dir=str(tmp_path)) for view in VIEWS}
    names = rows["all"]["image_id"][:]
    for view in ("default", "7-class", "easy", "difficult"):
        chosen = set(rows[view]["image_id"])
        assert rows[view]["image_id"][:] == [name for name in names if name in chosen]
    builder = AffectNetPlus(config_name="all", data_dir=sorted_tree, cache_dir=str(tmp_path))
    assert [row["image_id"] for row in builder.as_streaming_dataset("train").take(600)] == names[:600]
    for kind, suffix in (("images", ".jpg"), ("annotations", ".json")):
        path = sorted_tree / SPLITS["train"] / kind / f"17{suffix}"
        path.rename(path.with_stem("170000"))
    prepare(sorted_tree, tmp_path / "other")
    other = pq.read_table(tmp_path / "other" / "data" / "train-00000.parquet")["image_id"].to_pylist()
    assert [name for name in other if name != "train/170000"] == [name for name in names if name != "train/17"]


def test_embedded_files_are_written_as_datasets_writes_them(raw_tree, tmp_path):
    prepare(raw_tree, tmp_path / "out", embed=True)
    datasets.Dataset.from_dict({"a": [1]}).to_parquet(tmp_path / "theirs.parquet")
    for path in [*(tmp_path / "out" / "data").iterdir(), tmp_path / "theirs.parquet"]:
        found = pq.read_metadata(path)
        columns = [found.row_group(0).column(number) for number in range(found.num_columns)]
        assert all(column.has_offset_index for column in columns) and any(c.has_column_index for c in columns)
        chunking = json.loads(found.metadata[b"content_defined_chunking"])
        assert chunking == {"min_chunk_size": 2**18, "max_chunk_size": 2**20, "norm_level": 0}


def test_the_info_has_description_licence_and_citation(raw_tree, prepared, drawn, tmp_path):
    terms = TERMS["AffectNet+"]
    for view in ("default", "no_human"):
        opened = datasets.load_dataset(str(prepared), view, split="train", cache_dir=str(tmp_path)).info
        again = datasets.load_dataset(str(prepared), view, split="train", cache_dir=str(tmp_path)).info
        stream = datasets.load_dataset(str(prepared), view, split="train", streaming=True).info
        for info in (opened, again, stream):
            assert (info.license, info.citation, info.homepage) == (terms.conditions, CITATION, terms.link)
            assert info.description == terms.description and terms.collected in info.description
    info = AffectNetPlus(data_dir=raw_tree, cache_dir=str(tmp_path)).info
    assert (info.description, info.license, info.citation) == (DESCRIPTION, LICENCE, CITATION)
    info = datasets.load_dataset(str(drawn), split="train", streaming=True).info
    assert "Apache License 2.0" in info.license and "drawn by a program" in info.description and not info.citation
