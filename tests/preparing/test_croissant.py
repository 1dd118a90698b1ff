"""The Croissant metadata of a prepared folder, read by the reference implementation."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from affectnet_plus import features
from affectnet_plus_modeling.preparing.card import write_card
from affectnet_plus_modeling.preparing.croissant import CONTEXT
from affectnet_plus_modeling.terms import TERMS, terms_of
from support.prepared_cards import GENERATED, VIEW, head_of, report, rewrite, small, written
from support.trees import full_record, picture

mlcroissant = pytest.importorskip("mlcroissant")

# In a process of its own, because pandas cannot join the arrays of several files once `datasets` has given Arrow its
# own array types; whoever reads Croissant does so without `datasets`.
READ = """
import base64, io, json, sys
import mlcroissant

def plain(value):
    if isinstance(value, dict):
        return {key.rpartition("/")[2]: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "size") and hasattr(value, "mode"):
        return [value.format, *value.size]
    return value.item() if hasattr(value, "item") else value

assert "datasets" not in sys.modules
read = mlcroissant.Dataset(sys.argv[1])
issues = read.metadata.issues
records = {view: [plain(record) for record in read.records(view)] for view in sys.argv[2:]}
print(json.dumps({"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "records": records}))
"""


def read_with_mlcroissant(folder: Path, *views: str) -> dict:
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, str(folder / "croissant.json"), *views],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert "WARNING" not in child.stderr, child.stderr[-2000:]
    return json.loads(child.stdout)


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory) -> Path:
    """`prepared`, path-only, with its card; read-only."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("croissant") / "prepared"))
    rewrite(folder)
    return folder


@pytest.fixture(scope="module")
def said(finished) -> dict:
    return read_with_mlcroissant(finished, "all", "no_human", "splits")


def rows_of(folder: Path, *names: str) -> dict[str, dict]:
    """What the Parquet files hold, by image_id, with the pixels of landmarks as lists."""
    rows = [row for name in names for path in sorted(folder.glob(name)) for row in pq.read_table(path).to_pylist()]
    return {row["image_id"]: row for row in rows}


def assert_same(found, expected, where):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_same(found[key], value, (where, key))
    elif isinstance(expected, (list, float)):
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=str(where))
    else:
        assert found == expected, where


def test_there_are_neither_errors_nor_warnings(said):
    assert said["errors"] == said["warnings"] == []


def test_every_value_of_every_row_is_read(finished, said):
    rows = rows_of(finished, "data/train-*.parquet", "data/validation-*.parquet")
    records = {record["image_id"]: record for record in said["records"]["all"]}
    assert records.keys() == rows.keys() and len(rows) == 45
    for name, row in rows.items():
        record = dict(records[name])
        assert record.pop("split") == name.partition("/")[0]
        assert record.pop("image") == row.pop("image")["path"]
        for column in ("gender", "race", "pose"):  # a null struct comes as a struct of nulls
            row[column] = row[column] or dict.fromkeys(features()[column])
        assert_same(record, row, name)


@pytest.mark.parametrize("view, count", [("all", 45), ("no_human", 5)])
def test_each_view_with_all_rows_of_its_files_is_a_record_set(finished, said, view, count):
    records = said["records"][view]
    assert len(records) == count
    [promised] = [
        info["splits"]
        for info in head_of((finished / "README.md").read_text())["dataset_info"]
        if info["config_name"] == view
    ]
    found = Counter(record["split"] for record in records)
    assert found == {split["name"]: split["num_examples"] for split in promised}


def test_the_splits_are_listed(said):
    assert said["records"]["splits"] == [{"name": "train"}, {"name": "validation"}]


def test_every_column_has_a_field_of_its_type(finished):
    record_sets = {entry["@id"]: entry for entry in json.loads((finished / "croissant.json").read_text())["recordSet"]}
    assert list(record_sets) == ["splits", "all", "no_human"]
    for view in ("all", "no_human"):
        fields = {field["name"]: field for field in record_sets[view]["field"]}
        assert list(fields) == ["split", *features(view)]
        assert all(field["description"] for field in fields.values())
        assert fields["soft_label"]["arrayShape"] == "8" and fields["landmarks_68"]["arrayShape"] == "68,2"
        assert fields["label"]["dataType"] == "cr:Int64" and fields["age"]["dataType"] == "cr:Float32"
        assert [part["name"] for part in fields["gender"]["subField"]] == ["female", "male"]


def test_every_file_has_its_checksum(finished):
    data = json.loads((finished / "croissant.json").read_text())
    files = [entry for entry in data["distribution"] if entry["@type"] == "cr:FileObject"]
    assert {entry["contentUrl"] for entry in files} == {f"data/{path.name}" for path in (finished / "data").iterdir()}
    for entry in files:
        content = (finished / entry["contentUrl"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["contentSize"] == f"{len(content)} B"


def test_embedded_pictures_are_read_as_pictures(prepared_from):
    faces = [(picture((10 * label, 90, 40), size=(24, 20)), full_record(label, 0)) for label in range(8)]
    folder = prepared_from(faces, [(picture(kind="PNG"), full_record(1, 0))], embed=True)
    rewrite(folder)
    shutil.rmtree(folder.with_name("raw"))
    said = read_with_mlcroissant(folder, "all")
    assert said["errors"] == said["warnings"] == []
    kinds = {record["image_id"]: record["image"] for record in said["records"]["all"]}
    assert kinds == {f"train/{label}": ["JPEG", 24, 20] for label in range(8)} | {"validation/0": ["PNG", 24, 24]}


@pytest.mark.parametrize("soft_labels", [None, asdict(GENERATED)], ids=["its own", "generated"])
@pytest.mark.parametrize("origin", TERMS)
def test_the_metadata_of_every_origin_is_valid(tmp_path, origin, soft_labels):
    written(tmp_path, origin, soft_labels)
    data = json.loads((tmp_path / "croissant.json").read_text())
    issues = mlcroissant.Dataset(data).metadata.issues
    assert not issues.errors and not issues.warnings
    terms = terms_of(origin, soft_labels)
    assert data["name"] == terms.name and data["citeAs"] == (terms.citation or terms.name)
    assert data["rai:dataCollection"] == terms.collected and data["isLiveDataset"] is False
    assert terms.people in data["rai:personalSensitiveInformation"] and terms.biases in data["rai:dataBiases"]
    assert data["rai:dataAnnotationProtocol"] and data["rai:annotationsPerItem"] == terms.annotation.per_item
    assert data["rai:annotatorDemographics"] == terms.annotation.annotators and data["rai:dataSocialImpact"]
    made = any("affectnet-plus label" in tool for tool in data["rai:machineAnnotationTools"])
    assert made == (soft_labels is not None)
    assert any("not a felt emotion" in text for text in data["rai:dataLimitations"])
    assert any("Article 5(1)(f)" in text for text in data["rai:dataUseCases"])
    assert "/home/somebody" not in json.dumps(data)


def test_the_version_changes_with_the_content(tmp_path):
    versions = set()
    for folder, checksum in ((tmp_path / "one", "a" * 64), (tmp_path / "two", "e" * 64)):
        manifest = small(folder, "drawn")
        manifest["files"]["data/train-00000.parquet"]["sha256"] = checksum
        write_card(folder, report(), VIEW, manifest)
        versions.add(json.loads((folder / "croissant.json").read_text())["version"])
    assert len(versions) == 2 and all(version.startswith("1.0.0+") for version in versions)


def test_the_context_is_the_one_of_the_specification():
    from mlcroissant._src.core.context import Context, CroissantVersion
    from mlcroissant._src.core.rdf import make_context

    assert CONTEXT == make_context(Context(conforms_to=CroissantVersion.V_1_1))
