"""What the tests share: caches of their own, and small AffectNet+ trees with real JPEGs."""

import os
import tempfile

# The libraries read these once, when they are imported: nothing of the user's own caches is read or written.
_CACHES = tempfile.TemporaryDirectory(prefix="affectnet-plus-tests-", ignore_cleanup_errors=True)
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_"))]:
    if _name.endswith(("_CACHE", "_HOME", "_TOKEN", "_TOKEN_PATH", "_OFFLINE")):
        del os.environ[_name]
os.environ["HF_HOME"] = _CACHES.name

import gc  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# Its verbs are imported where they are first used: the process that hands the tests out to others uses none.
import affectnet_plus_modeling as ap  # noqa: E402
from affectnet_plus_modeling.sources.synthetic import draw_tree  # noqa: E402
from affectnet_plus_modeling.sources.tree import annotation, writing_tree  # noqa: E402
from affectnet_plus_modeling.training.options import SIZES  # noqa: E402
from support.models import TINY, quick  # noqa: E402
from support.trees import full_record, picture  # noqa: E402

pytest_plugins = ["support.skipped"]

# Where a shell starts tests in the background it has Ctrl-C ignored, and programs that they start would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same inputs every time, so that a change is judged by what it changed; --hypothesis-profile=default tries others.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


def pytest_collection_finish():
    """The Trainer collects garbage after every run, among all that was imported: half a second for nothing."""
    gc.collect()
    gc.freeze()


# --- trees and prepared folders --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def raw_tree(tmp_path_factory) -> Path:
    """A tree of 50 good faces; treat it as read-only, `tree_copy` is for damage.

    train: stems 1, 4, 7, ... 97: labels 0..10 with each subset (stem = 33 * subset + 3 * label + 1), 8 without one;
    then 1000 without a subset, 1001 without a human label, 1002 with nothing but a label.
    validation: stems 1..9, labels 0..8. no_human: stems 8..12. Stems overlap between splits, as in the release.
    """
    root = tmp_path_factory.mktemp("raw") / "AffectNet+"
    with writing_tree(root) as tree:

        def add(split, stem, record, **options):
            tree.add(split, stem, picture((stem % 256, 90, 40 * len(split) % 256)), record, **options)

        for subset in range(3):
            for label in range(11):
                stem = 33 * subset + 3 * label + 1
                record = full_record(label, None if label == 8 else subset, seed=stem)
                add("train", stem, record, suffix=".JPEG" if stem == 4 else ".jpg")
        add("train", 1000, full_record(2, None, seed=1000))
        add("train", 1001, full_record(None, None, seed=1001))
        add("train", 1002, annotation(label=3))
        for label in range(9):
            add("validation", label + 1, full_record(label, label % 3, seed=label))
        for stem in range(8, 13):
            add("no_human", stem, full_record(None, None, seed=stem))
    return root


@pytest.fixture
def tree_copy(raw_tree, tmp_path) -> Path:
    """A copy of `raw_tree` that a test may damage."""
    return Path(shutil.copytree(raw_tree, tmp_path / "AffectNet+"))


@pytest.fixture(scope="session")
def prepared(raw_tree, tmp_path_factory) -> Path:
    """`raw_tree` as the folder that `datasets.load_dataset` opens, images by path."""
    out = tmp_path_factory.mktemp("prepared") / "affectnet-plus"
    ap.prepare(raw_tree, out)
    return out


# --- drawn faces, and a model trained on them ------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    """The size "tiny" is far smaller than the real one."""
    monkeypatch.setitem(SIZES, "tiny", TINY)


@pytest.fixture(scope="session")
def drawn_tree(tmp_path_factory) -> Path:
    """The tree of 40 drawn faces, 32 of them for training; read-only."""
    root = tmp_path_factory.mktemp("drawn") / "raw"
    draw_tree(root, 40)
    return root


@pytest.fixture(scope="session")
def drawn(drawn_tree) -> Path:
    """`drawn_tree` as a prepared folder; read-only."""
    out = drawn_tree.with_name("drawn")
    ap.prepare(drawn_tree, out)
    return out


@pytest.fixture(scope="session")
def trained(drawn, tmp_path_factory) -> Path:
    """A model folder that was trained on `drawn` for 2 epochs and evaluated; read-only."""
    out = tmp_path_factory.mktemp("trained") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", TINY)
        ap.train(drawn, out, quick())
    ap.evaluate(out, drawn, out)
    return out


@pytest.fixture
def model_copy(trained, tmp_path) -> Path:
    """A copy of `trained` that a test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "model"))


@pytest.fixture
def prepared_from(tmp_path):
    """Call with (image bytes, annotation) pairs for train, and for validation if any, to have them prepared."""

    def build(training, validation=(), **options) -> Path:
        with writing_tree(tmp_path / "raw") as tree:
            for split, pairs in (("train", training), ("validation", validation)):
                for stem, (image, record) in enumerate(pairs):
                    suffix = ".png" if image.startswith(b"\x89PNG") else ".jpg"
                    tree.add(split, stem, image, record, suffix=suffix)
        ap.prepare(tmp_path / "raw", tmp_path / "ready", **options)
        return tmp_path / "ready"

    return build
