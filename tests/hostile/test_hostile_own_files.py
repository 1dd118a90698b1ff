"""What we wrote ourselves, damaged: every reader of it does its work or refuses in one sentence."""

import json
import shutil

import datasets
import numpy as np
import pytest
import yaml

from affectnet_plus import EMOTIONS, BadRow, Face, LayoutError
from affectnet_plus_modeling.cli import in_one_line
from affectnet_plus_modeling.cli.arguments import leaves
from affectnet_plus_modeling.cli.options_file import read_options
from affectnet_plus_modeling.data.dataset import load_prepared
from affectnet_plus_modeling.data.pictures import open_pictures
from affectnet_plus_modeling.data.stores import Store
from affectnet_plus_modeling.evaluation.evaluate import _prior
from affectnet_plus_modeling.evaluation.external import read_external
from affectnet_plus_modeling.files import read_json
from affectnet_plus_modeling.labelling.branches import load_fusion
from affectnet_plus_modeling.labelling.fusion import DEFAULT
from affectnet_plus_modeling.labelling.label_work import Account, finished
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.manifest import about, differences, verify
from affectnet_plus_modeling.publishing import publish_model
from affectnet_plus_modeling.publishing.publish import kind_of, stage
from affectnet_plus_modeling.publishing.publish_model import Model
from affectnet_plus_modeling.sources.older_npy import NpySource
from affectnet_plus_modeling.sources.origin import parse_source
from affectnet_plus_modeling.training.options import TrainingOptions
from affectnet_plus_modeling.unfinished import begin
from hostile.damage import check_sentence, damaged_bytes, damaged_json, damaged_npy, many, refused_or_done, runs
from support.trees import picture


@pytest.fixture
def prepared_copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "prepared")


@runs(60, 1000)
def test_a_manifest(prepared_copy, count):
    path = prepared_copy / "manifest.json"
    good = json.loads(path.read_text())

    def check(content: bytes):
        path.write_bytes(content)
        for read in (about, open_pictures, lambda folder: differences(folder, good), verify):
            with refused_or_done():
                read(prepared_copy)
        with refused_or_done():
            kind_of(prepared_copy)(prepared_copy).contents("somebody/faces")

    many(count, damaged_json(good), check)


def test_a_manifest_names_nothing_outside_of_its_folder(prepared_copy):
    path = prepared_copy / "manifest.json"
    for name in ("../x.parquet", "/etc/x.parquet", "data/../../x.parquet", "data/x.parquet/../y.parquet"):
        manifest = json.loads(path.read_text())
        manifest["files"] = {name: next(iter(manifest["files"].values()))}
        path.write_text(json.dumps(manifest))
        with pytest.raises(LayoutError, match="manifest.json cannot be read"):
            open_pictures(prepared_copy)


@runs(30, 300)
def test_a_report(prepared_copy, raw_tree, count):
    path = prepared_copy / "report.json"
    good = path.read_bytes()

    def check(content: bytes):
        path.write_bytes(content[: len(good)].ljust(len(good)))  # its size is looked at, and then what it holds
        with refused_or_done():
            prepare(raw_tree, prepared_copy)

    many(count, damaged_json(json.loads(good)), check)


@runs(5, 40)
def test_the_head_of_a_card(prepared_copy, count):
    path = prepared_copy / "README.md"
    _, head, rest = path.read_text().split("---\n", 2)

    def check(content: bytes):
        path.write_bytes(b"---\n" + content + b"\n---\n" + rest.encode())
        with refused_or_done():
            load_prepared(prepared_copy, "easy", "validation")

    many(count, damaged_json(yaml.safe_load(head), ("configs", "dataset_info")), check)


@pytest.mark.parametrize("name", ["training.json", "metrics.json"])
@runs(20, 300)
def test_the_records_of_a_model(model_copy, name, count, monkeypatch):
    examples = publish_model.examples_of(model_copy)  # they depend on the weights alone, and take longest by far
    monkeypatch.setattr(publish_model, "examples_of", lambda folder: examples)
    monkeypatch.setattr(publish_model, "draw_sheet", lambda examples: b"")
    path = model_copy / name
    good = json.loads(path.read_text())

    def check(content: bytes):
        path.write_bytes(content)
        with refused_or_done():
            Model(model_copy).contents("somebody/model")
        with refused_or_done():
            Model(model_copy).repository("somebody/model", _options())
        with refused_or_done():
            _prior(model_copy)

    many(count, damaged_json(good), check)


def _options():
    from affectnet_plus_modeling.publishing.options import HubOptions

    return HubOptions()


@runs(100, 1500)
def test_what_a_run_was_begun_with(tmp_path, count):
    identity = {"options": {"epochs": 2, "bf16": None}, "data": {"fingerprint": "0" * 64}, "format": 1}
    work = tmp_path / "work"
    begin(work, identity)
    good = json.loads((work / "run.json").read_text())

    def check(content: bytes):
        (work / "run.json").write_bytes(content)
        with refused_or_done():
            begin(work, identity, overwrite=False)

    many(count, damaged_json(good), check)


@runs(100, 1500)
def test_a_fusion(tmp_path, count):
    path = tmp_path / "fusion.json"

    def check(content: bytes):
        path.write_bytes(content)
        with refused_or_done():
            load_fusion(path)

    many(count, damaged_json(DEFAULT.to_dict()), check)


@runs(60, 1000)
def test_a_labelling(tmp_path, count):
    good = {"options": {}, "plan": {"a": 1}, "pose_unit": "", "action_units": None, "demographics": None, "counts": {}}

    def check(content: bytes):
        (tmp_path / "labelling.json").write_bytes(content)
        with refused_or_done():
            read_json(tmp_path / "labelling.json", Account, "label again")
        with refused_or_done():
            finished(Store(tmp_path), {"a": 1}, lambda said: None)

    many(count, damaged_json(good), check)


@runs(150, 2500)
def test_an_origin(count):
    soft = {"ensemble": "0" * 64, "fusion": "mean", "action_units": None, "human_label": True, "version": "1"}

    def check(content: bytes):
        try:
            origin, _ = parse_source(content, "source.json")
            assert origin.isprintable() and len(origin) <= 200
        except LayoutError as error:
            check_sentence(in_one_line(error))

    many(count, damaged_json({"origin": "drawn", "soft_labels": soft}), check)


@runs(60, 600)
def test_predictions_of_another_tool(prepared, tmp_path, count):
    rows = load_prepared(prepared, "default", "validation")
    lines = [
        {"image_id": name, "soft_label": dict.fromkeys(EMOTIONS, 0.125), "valence": 0.5, "arousal": 0.0}
        for name in rows["image_id"]
    ]
    path = tmp_path / "theirs.jsonl"

    def check(content: bytes):
        path.write_bytes("\n".join(map(json.dumps, lines[1:])).encode() + b"\n" + content + b"\n")
        with refused_or_done():
            read_external(path, rows, None)

    many(count, damaged_json(lines[0]), check)


@runs(20, 600)
def test_a_file_of_options(tmp_path, count):
    known = leaves(TrainingOptions)
    good = {"epochs": 3, "size": "mini", "augmentation": {"flip": 0.5}, "class_weights": [1.0] * 8}

    def check(content: bytes):
        (tmp_path / "options.yaml").write_bytes(content)
        with refused_or_done():
            read_options(str(tmp_path / "options.yaml"), known)

    many(count, damaged_json(good), check)


# ---- older releases: a damaged face is quarantined, and the others are rows


@pytest.mark.parametrize("kind, size", [("exp", 1), ("lnd", 136)])
@runs(150, 2500)
def test_an_array(tmp_path, kind, size, count):
    folder = tmp_path / "AffectNet-8" / "val_set"
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True)
    (folder / "images" / "1.jpg").write_bytes(picture())
    for name, value in {"exp": "3", "val": "0.5", "aro": "0.5", "lnd": np.zeros(136)}.items():
        np.save(folder / "annotations" / f"1_{name}.npy", value)
    source = NpySource(tmp_path / "AffectNet-8", {"validation": folder})

    def check(content: bytes):
        (folder / "annotations" / f"1_{kind}.npy").write_bytes(content)
        try:
            source.read("validation", Face("validation/1", "1.jpg", "1"))
        except BadRow as reason:
            check_sentence(str(reason))

    many(count, damaged_npy(size), check)


# ---- names and keys that are far too long


def test_a_key_of_800_kilobytes_is_not_repeated(tree_copy, tmp_path):
    key = "k" * 400_000
    path = tree_copy / "human_annotated" / "train_set" / "annotations" / "1.json"
    for text in (f'{{"{key}": 1, "{key}": 2}}', f'{{"{key}": 1}}'):
        path.write_text(text)
        prepare(tree_copy, tmp_path / "out", overwrite=True)
        assert (tmp_path / "out" / "README.md").stat().st_size < 40_000
        assert (tmp_path / "out" / "quarantine.jsonl").stat().st_size < 2_000


def test_a_cache_that_cannot_be_written_is_named_with_its_variable(prepared, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "datasets")
    with pytest.raises(OSError, match="the cache .*file/datasets cannot be written .*Set HF_HOME"):
        load_prepared(prepared, "default")


@pytest.mark.parametrize("name", ["a::b", "$HOME", "a*", "\udcff", "a\nb"])
def test_a_name_that_other_tools_take_for_something_else_is_refused(raw_tree, tmp_path, name):
    with pytest.raises(ValueError, match="Name another|Rename the folder"):
        prepare(raw_tree, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_bytes_of_any_kind(prepared_copy):
    """A file that is something else altogether."""

    def check(content: bytes):
        (prepared_copy / "manifest.json").write_bytes(content)
        with refused_or_done():
            stage(prepared_copy, prepared_copy.with_name("out"), repo_id="somebody/faces")

    many(20, damaged_bytes((prepared_copy / "manifest.json").read_bytes()), check)
