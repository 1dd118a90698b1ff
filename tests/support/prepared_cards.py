"""The card and the manifest of a prepared folder, from invented counts."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from affectnet_plus import features, read_annotation, to_table
from affectnet_plus_modeling.preparing.card import write_card
from affectnet_plus_modeling.preparing.manifest import write_manifest
from affectnet_plus_modeling.preparing.views import kinds_of, view_rows
from affectnet_plus_modeling.terms import SoftLabels
from support.trees import full_record


def head_of(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def report(**others) -> dict:
    """Of two splits, with 3 and 1 rows."""
    return {
        "splits": {
            "train": {
                "rows": 3,
                "quarantined": 2,
                "labels": {"neutral": 1, "happy": 1, "unknown": 1},
                "subsets": {"easy": 2, "unknown": 1},
            },
            "validation": {"rows": 1, "quarantined": 0, "labels": {"happy": 1}, "subsets": {"difficult": 1}},
        },
        "quarantined": 2,
        "quarantine_reasons": {"image has N bytes, expected N to N": 2},
    } | others


def small(folder: Path, origin: str, soft_labels: dict | None = None) -> dict:
    """Two files, with 2 rows and 1 row, and the manifest that gives them invented checksums."""
    (folder / "data").mkdir(parents=True)
    for name, rows in (("train-00000", 2), ("validation-00000", 1)):
        row = {"image": {"bytes": None, "path": "/x/1.jpg"}, "image_id": "train/1"}
        row |= read_annotation(json.dumps(full_record(1, 0)).encode())
        pq.write_table(to_table([row] * rows, features("all")), folder / "data" / f"{name}.parquet")
    return {
        "files": {
            "data/train-00000.parquet": {"rows": 2, "bytes": 2000, "sha256": "a" * 64},
            "data/validation-00000.parquet": {"rows": 1, "bytes": 1000, "sha256": "b" * 64},
        },
        "source": {"path": "/home/somebody/faces", "kind": "folder", "origin": origin, "fingerprint": "c" * 64}
        | ({} if soft_labels is None else {"soft_labels": soft_labels}),
        "embedded": False,
    }


VIEW = {"default": {"train": 1, "validation": 1}, "all": {"train": 2, "validation": 1}}


def written(folder: Path, origin="drawn", soft_labels=None, **others) -> str:
    manifest = small(folder, origin, soft_labels)
    write_card(folder, report(**others), VIEW, manifest)
    return (folder / "README.md").read_text()


GENERATED = SoftLabels("0123456789abcdef" * 4, "stacking", "a table of OpenFace 2", True, "9.8.7")


def rewrite(folder: Path, origin="drawn") -> dict:
    """Write card and manifest of a folder anew from what lies in it, as prepare does; returns the manifest."""
    files, kinds = {}, Counter()
    for path in sorted((folder / "data").iterdir()):
        kinds += kinds_of(path.name.split("-")[0], pq.read_table(path))
        size = {"rows": pq.read_metadata(path).num_rows, "bytes": path.stat().st_size}
        files[f"data/{path.name}"] = size | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"files": files, "source": manifest["source"] | {"path": None, "origin": origin}}
    write_card(folder, json.loads((folder / "report.json").read_text()), view_rows(kinds), manifest)
    write_manifest(folder, manifest)
    return json.loads((folder / "manifest.json").read_text())
