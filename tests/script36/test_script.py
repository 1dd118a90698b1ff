"""The loader as a script of datasets 3.6, where our package is not installed: the rows are those of the tree."""

from pathlib import Path

import datasets
import pytest
from datasets.exceptions import ManualDownloadError

from support.reference import FOLDERS, SPLITS_OF, expected_rows, plain, write_small_tree

SCRIPT = Path(__file__).parents[2] / "affectnet_plus.py"


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw") / "AffectNet+"
    write_small_tree(root)
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def modules(tmp_path_factory, monkeypatch):
    """Copies of the script are put away from those of the user."""
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path_factory.getbasetemp() / "modules"))


def load(folder, cache, view="default", split=None, **options):
    return datasets.load_dataset(
        str(SCRIPT), view, data_dir=str(folder), split=split, cache_dir=cache, trust_remote_code=True, **options
    )


def test_this_is_the_last_version_with_scripts():
    assert datasets.__version__.startswith("3.")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("view", SPLITS_OF)
def test_every_view_gives_the_rows_of_the_tree(tree, cache, view, streaming):
    loaded = load(tree, cache, view, streaming=streaming)
    assert tuple(loaded) == SPLITS_OF[view]
    for split, rows in loaded.items():
        assert list(map(plain, rows)) == expected_rows(tree, view, split) != []


def test_two_processes_give_the_same_rows(tree, tmp_path):
    rows = load(tree, str(tmp_path), "all", "train", num_proc=2)
    assert list(map(plain, rows)) == expected_rows(tree, "all", "train")


@pytest.mark.parametrize(
    "split, part",
    [("train[:10%]", slice(0, 2)), ("train[-5:]", slice(-5, None)), ("train[25%:75%]", slice(6, 18))],
)
def test_slices_are_slices_of_the_rows(tree, cache, split, part):
    whole = expected_rows(tree, "default", "train")
    assert len(whole) == 24
    assert list(map(plain, load(tree, cache, split=split))) == whole[part]


def test_splits_can_be_joined(tree, cache):
    joined = expected_rows(tree, "default", "train") + expected_rows(tree, "default", "validation")
    assert list(map(plain, load(tree, cache, split="train+validation"))) == joined


def test_the_types_are_those_of_a_prepared_folder(tree, cache):
    found = load(tree, cache, "7-class", "train").features
    assert found["label"].names == ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"]
    assert found["subset"].names == ["easy", "challenging", "difficult"]
    assert isinstance(found["image"], datasets.Image)
    assert found["soft_label"] == datasets.Sequence(datasets.Value("float32"), length=8)
    assert found["landmarks_68"] == datasets.Array2D((68, 2), "float32")


def test_a_changed_tree_gives_its_new_rows(tmp_path):
    write_small_tree(tmp_path / "tree")
    cache = str(tmp_path / "cache")
    assert list(map(plain, load(tmp_path / "tree", cache, split="train"))) == expected_rows(
        tmp_path / "tree", "default", "train"
    )
    for kind in ("images", "annotations"):
        (next((tmp_path / "tree" / FOLDERS["train"] / kind).glob("11.*"))).unlink()
    rows = expected_rows(tmp_path / "tree", "default", "train")
    assert len(rows) == 23
    assert list(map(plain, load(tmp_path / "tree", cache, split="train"))) == rows


def test_without_a_folder_it_says_where_the_data_comes_from(cache):
    with pytest.raises(ManualDownloadError, match="licence-gated: pass data_dir="):
        datasets.load_dataset(str(SCRIPT), "easy", cache_dir=cache, trust_remote_code=True)
