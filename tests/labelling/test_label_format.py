"""What fixed pictures become: when that changes, no labelling that was begun before may be gone on with."""

import hashlib
import json

import pyarrow.parquet as pq

from affectnet_plus import SPLITS
from affectnet_plus_modeling.labelling.label import LABEL_FORMAT, label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from support.ensembles import make_ensemble
from support.reference import write_small_tree

# Of the tree of LABEL_FORMAT 3, and of 2: since then the tree is an option, and work is kept in another form.
DIGEST = "0235de43b011038ff13cc96acfd8fc1d9e616f54489c89d2fcd362a3132d53de"


def test_the_same_pictures_become_the_same_soft_labels_or_the_format_has_another_number(tmp_path):
    tree = tmp_path / "AffectNet+"
    write_small_tree(tree)
    seen = [((tree / SPLITS["train"] / "images" / f"{stem}.jpg").read_bytes(), stem % 2) for stem in (7, 8, 9)]
    make_ensemble(tmp_path / "ebc", folds=(0, 1), constants=(1.0, -0.5), seen=seen)
    lines = [f"train,{stem},{stem % 5 / 4},{stem % 3 / 2},{stem % 7 / 6}" for stem in range(7, 30)]
    (tmp_path / "units.csv").write_text("\n".join(["split,stem,AU01_r,AU06_r,AU12_r", *lines]) + "\n")
    (tree / SPLITS["train"] / "images" / "10.jpg").write_bytes(b"\xff\xd8 damaged")
    options = LabelOptions(str(tmp_path / "ebc"), action_units=str(tmp_path / "units.csv"), tree=True)
    label(tree, tmp_path / "out", options, say=lambda text: None)
    found = digest_of(tmp_path / "out")
    assert (LABEL_FORMAT, found) == (3, DIGEST), (
        f"the same pictures become other soft labels or files than before ({found}). Is that meant? Then raise "
        "LABEL_FORMAT in labelling/label.py, so that nobody mixes the two, and pin number and digest here"
    )


def digest_of(out) -> str:
    """Of the names of the files, of the table and the annotations; numbers to four digits, and no reason's words."""
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))
    table = pq.read_table(out / "labels.parquet")
    kinds = [f"{field.name}: {field.type}" for field in table.schema]
    rows = [row | {"reason": row["reason"] is not None} for row in table.to_pylist()]
    annotations = [json.loads(path.read_text()) for path in sorted(out.rglob("annotations/*.json"))]
    return hashlib.sha256(json.dumps(rounded([names, kinds, rows, annotations])).encode()).hexdigest()


def rounded(value):
    if isinstance(value, float):
        return round(value, 4) + 0.0  # no -0
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value
