"""`label`: the same soft labels from every input, never by a member that saw the face, however often interrupted."""

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from inspect import getsource
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import expit, logit
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

from affectnet_plus import EMOTIONS, SPLITS, LayoutError
from affectnet_plus_modeling import images
from affectnet_plus_modeling.data import parts
from affectnet_plus_modeling.data.dataset import load_prepared, normalise
from affectnet_plus_modeling.faces.landmarker import FoundFace
from affectnet_plus_modeling.files import write_json
from affectnet_plus_modeling.labelling import label as label_module
from affectnet_plus_modeling.labelling import label_shards
from affectnet_plus_modeling.labelling.action_units.emotions import score_emotions
from affectnet_plus_modeling.labelling.action_units.tables import read_action_units
from affectnet_plus_modeling.labelling.ensemble.model import (
    ALL_FOLDS,
    load_ensemble,
)
from affectnet_plus_modeling.labelling.fusion import Fusion, pool
from affectnet_plus_modeling.labelling.label import format_account, label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from affectnet_plus_modeling.labels import subset_of
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.terms import UNKNOWN
from support.archives import as_folder, as_tar, as_zip
from support.ensembles import RESNET, SIZE, make_ensemble
from support.older import POINTS, row_of, write_list, write_pictures
from support.trees import contents, picture


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Path:
    return make_ensemble(tmp_path_factory.mktemp("ensemble") / "ebc", folds=(0, 1))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(parts, "PICTURES_AT_A_TIME", 8)
    monkeypatch.setattr(label_shards, "SHARD_FACES", 8)


def faces_of(tree: Path) -> dict[str, bytes]:
    """name.jpg -> content of every picture of a tree."""
    return {
        f"{split}-{path.name}": path.read_bytes()
        for split, folder in SPLITS.items()
        for path in sorted((tree / folder / "images").glob("*"))
    }


def labelled(images, out, ensemble, **options) -> tuple[dict, dict[str, dict]]:
    """The account of a labelling, and the rows of labels.parquet by name."""
    record = label(
        images, out, LabelOptions(str(ensemble), **({"batch_size": 3, "tree": True} | options)), say=lambda text: None
    )
    return record, rows_of(out)


def rows_of(out: Path) -> dict[str, dict]:
    return {row["name"]: row for row in pq.read_table(out / "labels.parquet").to_pylist()}


def annotations_of(tree: Path) -> dict[str, dict]:
    return {
        f"{split}/{path.stem}": json.loads(path.read_text())
        for split, folder in SPLITS.items()
        for path in sorted((tree / folder / "annotations").glob("*"))
    }


# ---- inputs


@pytest.mark.slow
def test_every_kind_of_input_gives_the_same_labels(drawn_tree, drawn, ensemble, tmp_path):
    files = faces_of(drawn_tree)
    plain = {
        "folder": as_folder(tmp_path / "faces", files),
        "tar": as_tar(tmp_path / "faces.tar", files),
        "zip": as_zip(tmp_path / "faces.zip", files),
    }
    shutil.make_archive(str(tmp_path / "tree"), "zip", drawn_tree.parent, drawn_tree.name)
    known = {"tree": drawn_tree, "zips": tmp_path / "tree.zip", "prepared": drawn}
    found = {kind: labelled(path, tmp_path / "out" / kind, ensemble)[1] for kind, path in (plain | known).items()}
    assert found["tar"] == found["folder"] == found["zip"] and len(found["folder"]) == 40
    spread = np.ptp([row["soft_label"] for row in found["folder"].values()], axis=0)
    assert spread.min() > 0.01, "the faces are not told apart, so nothing is tested"
    for kind in known:
        assert len(found[kind]) == 40
        for name, row in found[kind].items():
            split, stem = name.split("/")
            # The batches are others, so the last digits are.
            assert row["soft_label"] == pytest.approx(found["folder"][f"{split}-{stem}.jpg"]["soft_label"], abs=1e-5)


def test_the_confidences_are_those_of_the_ensemble_one_picture_at_a_time(drawn_tree, ensemble, tmp_path):
    files = faces_of(drawn_tree)
    _, rows = labelled(as_folder(tmp_path / "faces", files), tmp_path / "out", ensemble)
    model = load_ensemble(ensemble)
    for name, content in list(files.items())[:5]:
        pixels = torch.from_numpy(images.decode(content, np.empty((SIZE, SIZE, 3), np.uint8))).permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = model(normalise(pixels)).logits.sigmoid()[0].tolist()
        assert rows[name]["ensemble"] == pytest.approx(expected, abs=1e-5)
        assert rows[name]["soft_label"] == pytest.approx(np.clip(expected, 0.001, 0.999), abs=1e-5)
        assert sum(rows[name]["soft_label_normalized"]) == pytest.approx(1, abs=1e-6)


def test_plain_pictures_get_numbers_with_their_names_beside_and_are_not_free(ensemble, tmp_path):
    files = {"b/x.png": picture((1, 2, 3), "PNG"), "a, b.jpg": picture((200, 2, 3))}
    record, rows = labelled(as_folder(tmp_path / "faces", files), tmp_path / "out", ensemble)
    assert {name: row["image_id"] for name, row in rows.items()} == {"a, b.jpg": "no_human/1", "b/x.png": "no_human/2"}
    with open(tmp_path / "out" / "names.csv", newline="") as file:
        names = list(csv.reader(file))
    assert names == [["split", "stem", "name"], ["no_human", "1", "a, b.jpg"], ["no_human", "2", "b/x.png"]]
    folder = tmp_path / "out" / "no_human_annotated" / "images"
    assert (folder / "1.jpg").read_bytes() == files["a, b.jpg"] and (folder / "2.png").read_bytes() == files["b/x.png"]
    for record in annotations_of(tmp_path / "out").values():
        assert record["human-label"] is None and record["subset"] is None and len(record["soft-label"]) == 8
    prepare(tmp_path / "out", tmp_path / "ready")
    origin = json.loads((tmp_path / "ready" / "manifest.json").read_text())["source"]["origin"]
    assert origin == UNKNOWN and "do not pass them on" in (tmp_path / "ready" / "README.md").read_text()


def test_annotations_keep_all_that_was_known_and_get_soft_label_and_subset(raw_tree, ensemble, tmp_path):
    record, _ = labelled(raw_tree, tmp_path / "out", ensemble)
    before, after = annotations_of(raw_tree), annotations_of(tmp_path / "out")
    assert before.keys() == after.keys() and len(after) == 50
    for image_id, found in after.items():
        assert found["meta-data"] == before[image_id]["meta-data"]
        human = before[image_id]["human-label"]
        assert found["human-label"] == human
        expected = subset_of(human, found["soft-label"]) if human is not None and human < 8 else None
        assert found["subset"] == expected
        assert found["soft-label"] != before[image_id]["soft-label"]
    assert record["counts"]["subsets"].keys() <= {"easy", "challenging", "difficult"}
    assert not (tmp_path / "out" / "names.csv").exists()
    assert json.loads((tmp_path / "out" / "source.json").read_text())["origin"] == "AffectNet+"


def test_points_between_pixels_stay_where_they_are(ensemble, tmp_path):
    write_pictures(tmp_path / "raw" / "Manually_Annotated_Images", "1/a.jpg")
    write_list(tmp_path / "raw" / "training.csv", [row_of("1/a.jpg")])
    labelled(tmp_path / "raw", tmp_path / "out", ensemble)
    (record,) = annotations_of(tmp_path / "out").values()
    assert record["meta-data"]["landmark-68"] == [value for point in POINTS for value in point]
    assert (tmp_path / "out" / "names.csv").read_text() == "split,stem,name\ntrain,1,train/1/a\n"


def test_stems_stay_as_they_are_spelled(raw_tree, ensemble, tmp_path):
    tree = Path(shutil.copytree(raw_tree, tmp_path / "raw"))
    for part, suffix in (("images", ".jpg"), ("annotations", ".json")):
        folder = tree / SPLITS["train"] / part
        shutil.copy(folder / f"7{suffix}", folder / f"007{suffix}")
    _, rows = labelled(tree, tmp_path / "out", ensemble)
    assert rows["train/007"]["image_id"] == "train/007"
    assert {"train/7", "train/007"} <= annotations_of(tmp_path / "out").keys()


def test_prepare_takes_the_tree_unchanged_and_joins_the_table_by_image_id(raw_tree, ensemble, tmp_path):
    record, rows = labelled(raw_tree, tmp_path / "out", ensemble)
    report = prepare(tmp_path / "out", tmp_path / "ready")
    assert report["quarantined"] == 0
    assert {split: part["rows"] for split, part in report["splits"].items()} == record["counts"]["faces"]
    assert not [finding for finding in report["findings"] if "rank of the label" in finding["message"]]
    data = load_prepared(tmp_path / "ready", "all", "train").remove_columns("image")
    by_id = {row["image_id"]: row for row in rows.values()}
    for row in data:
        other = by_id[row["image_id"]]
        assert row["soft_label"] == other["soft_label"], "not to the last bit"
        assert row["soft_label_normalized"] == pytest.approx(other["soft_label_normalized"], abs=1e-7)
        assert (row["label"], row["subset"]) == (other["label"], other["subset"])


# ---- cross-fitting


def test_a_face_that_was_trained_on_is_labelled_by_members_that_did_not_see_it(drawn_tree, tmp_path):
    files = faces_of(drawn_tree)
    names = list(files)
    seen = [(files[names[number]], number % 2) for number in range(10)]
    ensemble = make_ensemble(tmp_path / "ebc", folds=(0, 1), constants=(-1, 2), seen=seen)
    record, rows = labelled(as_folder(tmp_path / "faces", files), tmp_path / "out", ensemble)
    for number, name in enumerate(names):
        expected = expit([-1, 2][number % 2]) if number < 10 else expit(0.5)  # unseen: the mean of both members
        assert rows[name]["soft_label"] == pytest.approx([expected] * 8, abs=1e-6)
        assert rows[name]["fold"] == (number % 2 if number < 10 else None)
    assert record["counts"]["labelled by members that did not see them, though others did"] == 10


def test_a_face_that_every_member_saw_is_null_with_the_reason(drawn_tree, tmp_path):
    files = faces_of(drawn_tree)
    first = next(iter(files))
    ensemble = make_ensemble(tmp_path / "ebc", folds=(ALL_FOLDS,), seen=[(files[first], 0)])
    record, rows = labelled(as_folder(tmp_path / "faces", files), tmp_path / "out", ensemble)
    assert rows[first]["soft_label"] is None and rows[first]["soft_label_normalized"] is None
    reason = "neither the ensemble nor the action units say anything; every member of the ensemble was trained on this"
    assert rows[first]["reason"].startswith(reason)
    assert record["counts"]["without a soft label"] == {rows[first]["reason"]: 1}
    assert annotations_of(tmp_path / "out")["no_human/1"]["soft-label"] is None
    assert prepare(tmp_path / "out", tmp_path / "ready")["quarantined"] == 0


# ---- pictures that cannot be read


def test_what_cannot_be_read_is_in_the_table_alone_and_counted(ensemble, tmp_path):
    whole = picture((9, 9, 9))
    files = {"a.jpg": whole, "b.jpg": whole[:300], "c.jpg": b"text", "d.png": picture((1, 2, 3), "PNG")}
    record, rows = labelled(as_folder(tmp_path / "faces", files), tmp_path / "out", ensemble)
    assert rows["b.jpg"]["reason"].startswith("image cannot be read: ")
    assert rows["c.jpg"]["reason"] == "image is not a JPEG or PNG"
    assert rows["b.jpg"]["soft_label"] is rows["b.jpg"]["ensemble"] is None
    assert sum(record["counts"]["unreadable"].values()) == 2 and record["counts"]["faces"] == {"no_human": 2}
    assert sorted(annotations_of(tmp_path / "out")) == ["no_human/1", "no_human/4"]
    assert "unreadable: 1 x image is not a JPEG or PNG" in format_account(record)
    assert prepare(tmp_path / "out", tmp_path / "ready")["quarantined"] == 0


def test_where_nothing_can_be_read_there_is_no_tree(ensemble, tmp_path):
    folder = as_folder(tmp_path / "faces", {"a.jpg": b"x", "b.jpg": b"y"})
    with pytest.raises(LayoutError, match="none of the 2 pictures can be read: 2 x image is not a JPEG or PNG"):
        labelled(folder, tmp_path / "out", ensemble)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "faces"]


# ---- action units and fusion


def scores_of(tree: Path) -> dict[str, np.ndarray]:
    table = read_action_units(tree / "action_units.csv")
    return dict(zip(table.names, score_emotions(table.values, table.units), strict=True))


def test_both_branches_give_their_product(drawn_tree, ensemble, tmp_path):
    _, rows = labelled(drawn_tree, tmp_path / "out", ensemble, action_units=str(drawn_tree / "action_units.csv"))
    for name, expected in scores_of(drawn_tree).items():
        assert rows[name]["action_units"] == pytest.approx(expected, abs=1e-5)
        e, a = (logit(np.clip(values, 0.001, 0.999)) for values in (rows[name]["ensemble"], expected))
        assert rows[name]["soft_label"] == pytest.approx(expit(0.8 * e + 0.2 * a), abs=1e-4)


def test_each_branch_counts_alone_where_the_other_says_nothing(drawn_tree, tmp_path):
    """train/0 has no action units, train/1 was seen by all, train/2 has neither."""
    lines = (drawn_tree / "action_units.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("train,0,", "train,2,"))]
    (tmp_path / "units.csv").write_text("\n".join(kept) + "\n")
    folder = drawn_tree / SPLITS["train"] / "images"
    ensemble = make_ensemble(tmp_path / "ebc", seen=[((folder / f"{stem}.jpg").read_bytes(), 0) for stem in (1, 2)])
    record, rows = labelled(drawn_tree, tmp_path / "out", ensemble, action_units=str(tmp_path / "units.csv"))
    assert rows["train/0"]["action_units"] is None
    assert rows["train/0"]["soft_label"] == pytest.approx(np.clip(rows["train/0"]["ensemble"], 0.001, 0.999), abs=1e-5)
    assert rows["train/1"]["ensemble"] is None
    expected = np.clip(scores_of(drawn_tree)["train/1"], 0.001, 0.999)
    assert rows["train/1"]["soft_label"] == pytest.approx(expected, abs=1e-5)
    assert rows["train/2"]["soft_label"] is rows["train/2"]["subset"] is None
    assert rows["train/2"]["reason"].endswith("trained on this picture; the table of action units has no row for it")
    sources = record["counts"]["with a soft label, by its sources"]
    assert sources == {"ensemble": 1, "action_units": 1, "ensemble + action_units": 37}


def test_a_table_of_other_pictures_is_refused_with_names_of_both(drawn_tree, ensemble, tmp_path):
    folder = as_folder(tmp_path / "faces", {"x.jpg": picture()})
    with pytest.raises(ValueError, match="names none of the 1 pictures: it has .*/.*, the pictures are x.jpg"):
        labelled(folder, tmp_path / "out", ensemble, action_units=str(drawn_tree / "action_units.csv"))


def test_a_model_takes_the_place_of_a_table_at_its_own_size(drawn_tree, ensemble, tmp_path):
    units = (
        "AU01",
        "AU02",
        "AU04",
        "AU05",
        "AU06",
        "AU07",
        "AU09",
        "AU10",
        "AU12",
        "AU14",
        "AU15",
        "AU17",
        "AU20",
        "AU23",
        "AU24",
        "AU25",
        "AU26",
    )
    torch.manual_seed(1)
    options = {name: value for name, value in RESNET.items() if name != "model_type"}
    config = ResNetConfig(**options, id2label=dict(enumerate(units)), problem_type="multi_label_classification")
    network = ResNetForImageClassification(config).eval()
    network.classifier[1].weight.data.mul_(20)
    network.save_pretrained(tmp_path / "units")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "units")
    _, rows = labelled(drawn_tree, tmp_path / "out", ensemble, action_unit_model=str(tmp_path / "units"))
    content = (drawn_tree / SPLITS["train"] / "images" / "3.jpg").read_bytes()
    pixels = torch.from_numpy(images.decode(content, np.empty((32, 32, 3), np.uint8))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        values = network(normalise(pixels)).logits.sigmoid().double().numpy()
    assert rows["train/3"]["action_units"] == pytest.approx(score_emotions(values, units)[0], abs=1e-4)


def test_a_fusion_is_read_from_its_file(drawn_tree, ensemble, tmp_path):
    write_json(tmp_path / "fusion.json", pool("mean", 0.25).to_dict())
    options = {"action_units": str(drawn_tree / "action_units.csv"), "fusion": str(tmp_path / "fusion.json")}
    _, rows = labelled(drawn_tree, tmp_path / "out", ensemble, **options)
    row = rows["train/4"]
    expected = 0.25 * np.array(row["ensemble"]) + 0.75 * np.array(row["action_units"])
    assert row["soft_label"] == pytest.approx(expected, abs=1e-6)
    (tmp_path / "fusion.json").write_text("{}")
    with pytest.raises(ValueError, match="fusion.json is no fusion: a fusion has the keys"):
        labelled(drawn_tree, tmp_path / "other", ensemble, fusion=str(tmp_path / "fusion.json"))


@pytest.mark.slow
def test_the_human_label_is_a_source_only_where_the_fusion_was_fitted_with_it(drawn_tree, ensemble, tmp_path):
    with pytest.raises(ValueError, match="labels are given to a product that was made without"):
        labelled(drawn_tree, tmp_path / "out", ensemble, human_label=True)
    zeros, ones = [0.0] * 8, [1.0] * 8
    pattern = {"constant": zeros, "ensemble": ones}
    coefficients = {"ensemble": pattern, "ensemble+label": pattern | {"label": (3 * np.eye(8)).tolist()}}
    write_json(tmp_path / "fusion.json", Fusion("stacking", coefficients).to_dict())
    options = {"fusion": str(tmp_path / "fusion.json")}
    _, without = labelled(drawn_tree, tmp_path / "without", ensemble, **options)
    _, using = labelled(drawn_tree, tmp_path / "with", ensemble, human_label=True, **options)
    for name, row in using.items():
        clipped = np.clip(without[name]["soft_label"], 0.001, 0.999)
        expected = expit(logit(clipped) + 3 * (np.arange(8) == row["label"]))
        assert row["soft_label"] == pytest.approx(expected, abs=1e-4)


# ---- metadata


class OnePoint:
    """A landmarker that finds 68 times the same point where the picture is bright, and nothing in dark ones."""

    name = "one point"

    def find(self, picture):
        return FoundFace(np.full((68, 2), 3.25)) if picture.mean() > 60 else None


def test_metadata_replaces_what_was_there_and_is_null_with_the_reason(raw_tree, ensemble, tmp_path, monkeypatch):
    monkeypatch.setattr(label_module, "open_landmarker", lambda *paths: nullcontext(OnePoint()))
    (tmp_path / "model.dat").write_bytes(b"x")
    options = {"metadata": ("landmarks",), "landmark_model": str(tmp_path / "model.dat")}
    record, rows = labelled(raw_tree, tmp_path / "out", ensemble, **options)
    before, after = annotations_of(raw_tree), annotations_of(tmp_path / "out")
    found = {name: note["meta-data"]["landmark-68"] for name, note in after.items()}
    assert {bool(points) for points in found.values()} == {True, False}
    for name, points in found.items():
        assert points in (None, [3.25] * 136)
        assert rows[name]["metadata_reason"] == (None if points else "no face found by one point")
        assert after[name]["meta-data"]["landmark-29"] == before[name]["meta-data"]["landmark-29"]
        assert after[name]["meta-data"]["pose"] == before[name]["meta-data"]["pose"]
    missing = sum(points is None for points in found.values())
    assert record["counts"]["without metadata"] == {"no face found by one point": missing}
    assert record["pose_unit"] == "as the source has it"
    assert prepare(tmp_path / "out", tmp_path / "ready")["quarantined"] == 0


def test_age_gender_and_race_come_from_a_table_and_stay_where_it_says_nothing(raw_tree, ensemble, tmp_path):
    races = {"asian": 100.0} | dict.fromkeys(("indian", "black", "white", "middle eastern", "latino hispanic"), 0.0)
    face = {"age": 33, "gender": {"Woman": 25.0, "Man": 75.0}, "race": races}
    (tmp_path / "faces.json").write_text(json.dumps({"train/7.jpg": [face], "train/10.jpg": [], "nobody.jpg": face}))
    record, _ = labelled(raw_tree, tmp_path / "out", ensemble, deepface=str(tmp_path / "faces.json"))
    before, after = annotations_of(raw_tree), annotations_of(tmp_path / "out")
    assert after["train/7"]["meta-data"]["age"] == 33 and after["train/7"]["meta-data"]["gender"]["male"] == 0.75
    assert after["train/7"]["meta-data"]["race"]["asian"] == 1
    assert after["train/10"]["meta-data"] == before["train/10"]["meta-data"]
    assert record["demographics"] == {
        "table": "DeepFace",
        "faces": 1,
        "not in the table": 48,
        "ambiguous": 0,
        "unused rows": 1,
        "the table has no face of it": 1,
    }
    assert prepare(tmp_path / "out", tmp_path / "ready")["quarantined"] == 0


# ---- refusals


def test_an_existing_folder_is_refused_or_replaced(ensemble, tmp_path):
    faces = as_folder(tmp_path / "faces", {"a.jpg": picture()})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(FileExistsError, match="out exists. Name another folder, or pass --overwrite"):
        labelled(faces, tmp_path / "out", ensemble)
    label(faces, tmp_path / "out", LabelOptions(str(ensemble), tree=True), overwrite=True)
    assert not (tmp_path / "out" / "mine").exists() and (tmp_path / "out" / "labels.parquet").exists()


def test_the_same_labelling_again_does_nothing(ensemble, tmp_path):
    faces = as_folder(tmp_path / "faces", {"a.jpg": picture()})
    record, _ = labelled(faces, tmp_path / "out", ensemble)
    before, said = contents(tmp_path / "out"), []
    again = label(
        faces, tmp_path / "out", LabelOptions(str(ensemble), batch_size=3, tree=True), overwrite=True, say=said.append
    )
    assert again == json.loads(json.dumps(record)) and contents(tmp_path / "out") == before
    assert said == [f"{tmp_path}/out is there: the same pictures, models and options have been labelled"]
    with pytest.raises(FileExistsError, match="out exists"):
        labelled(faces, tmp_path / "out", ensemble, batch_size=2)


def test_pictures_are_never_written_over(raw_tree, prepared, ensemble, tmp_path):
    for source, out in ((raw_tree, raw_tree), (raw_tree, raw_tree.parent), (prepared, raw_tree), (prepared, prepared)):
        with pytest.raises(FileExistsError, match="holds pictures that are to be labelled"):
            label(source, out, LabelOptions(str(ensemble)), overwrite=True)
    with pytest.raises(FileExistsError, match="lies among the pictures that are to be labelled"):
        label(raw_tree, raw_tree / SPLITS["train"] / "out", LabelOptions(str(ensemble)))


def test_an_ensemble_of_another_order_or_without_what_it_saw_is_refused(drawn_tree, tmp_path):
    other = dict(enumerate(EMOTIONS[::-1]))
    make_ensemble(tmp_path / "turned", id2label=other)
    with pytest.raises(ValueError, match="turned has the emotions contempt, anger, .*; expected neutral, happy, "):
        labelled(drawn_tree, tmp_path / "out", tmp_path / "turned")
    (make_ensemble(tmp_path / "blind") / "seen.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="seen.parquet is missing: .* which faces the members must not label"):
        labelled(drawn_tree, tmp_path / "out", tmp_path / "blind")
    with pytest.raises(FileNotFoundError, match="nothing does not exist; give"):
        labelled(drawn_tree, tmp_path / "out", tmp_path / "nothing")


def test_an_ensemble_that_gives_no_numbers_is_refused(drawn_tree, tmp_path):
    make_ensemble(tmp_path / "ebc", constants=[float("nan")])
    with pytest.raises(ValueError, match="the ensemble gives NaN for faces that it did not see"):
        labelled(drawn_tree, tmp_path / "out", tmp_path / "ebc")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"action_units": "a", "action_unit_model": "b"}, "action_units and action_unit_model are given"),
        ({"deepface": "a", "fairface": "b"}, "deepface and fairface are given"),
        ({"action_unit_scale": 5.0}, "and no table of them"),
        ({"metadata": ("age",), "landmark_model": "m"}, "metadata age is not known, expected some of landmarks, pose"),
        ({"metadata": ("pose",)}, "metadata is pose and the model that finds it None: give both, or none"),
        ({"landmark_model": "m"}, "metadata is none and the model that finds it m: give both, or none"),
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LabelOptions("ebc", **options)


# ---- interrupted


class Stop:
    """A progress that raises at one moment, and remembers what it was told."""

    def __init__(self, stage=None, done=0, error=KeyboardInterrupt):
        self.at, self.error, self.told = (stage, done), error, []

    def __call__(self, stage, done, total):
        self.told.append((stage, done, total))
        if self.error and stage == self.at[0] and done >= self.at[1]:
            raise self.error


@pytest.mark.slow
@pytest.mark.parametrize("stage, done", [("label", 0), ("label", 20), ("label", 40), ("write", 0), ("write", 40)])
def test_an_interrupted_labelling_leaves_no_folder_and_is_gone_on_with(drawn_tree, ensemble, tmp_path, stage, done):
    options = LabelOptions(str(ensemble), batch_size=3, tree=True)
    with pytest.raises(KeyboardInterrupt):
        label(drawn_tree, tmp_path / "out", options, progress=Stop(stage, done))
    assert not (tmp_path / "out").exists() and (tmp_path / "out.labelling").is_dir()
    told, said = Stop(error=None), []
    label(drawn_tree, tmp_path / "out", options, progress=told, say=said.append)
    kept = max(done - 1, 0) // 8 * 8 if stage == "label" else 40  # a chunk is stored once its last batch is told of
    assert told.told[0] == ("label", kept, 40) and told.told[-1] == ("write", 40, 40)
    going_on = f"going on with an unfinished labelling: {kept} of 40 pictures are labelled already"
    assert said == ([going_on] if kept else [])
    labelled(drawn_tree, tmp_path / "undisturbed", ensemble)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert not (tmp_path / "out.labelling").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, named",
    [
        ("options", "batch size was 3 and is 4"),
        ("ensemble", "ensemble is another"),
        ("pictures", "fingerprint is another"),
        ("fusion", "method was product and is mean"),
    ],
)
def test_an_unfinished_labelling_of_something_else_is_not_gone_on_with(tree_copy, ensemble, tmp_path, change, named):
    options = {"ensemble": str(shutil.copytree(ensemble, tmp_path / "ebc")), "batch_size": 3}
    with pytest.raises(KeyboardInterrupt):
        label(tree_copy, tmp_path / "out", LabelOptions(**options), progress=Stop("label", 20))
    if change == "options":
        options["batch_size"] = 4
    elif change == "ensemble":
        make_ensemble(tmp_path / "ebc", folds=(0, 1), seen=[(picture(), 0)])
    elif change == "pictures":
        (tree_copy / SPLITS["train"] / "images" / "1.jpg").write_bytes(picture((1, 2, 3)))
    else:
        write_json(tmp_path / "fusion.json", pool("mean").to_dict())
        options["fusion"] = str(tmp_path / "fusion.json")
    with pytest.raises(ValueError, match=f"labelling holds an unfinished run of another command: {named}[.;]"):
        label(tree_copy, tmp_path / "out", LabelOptions(**options))
    label(tree_copy, tmp_path / "out", LabelOptions(**options), overwrite=True)
    label(tree_copy, tmp_path / "fresh", LabelOptions(**options))
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_resume_demands_an_unfinished_labelling(drawn_tree, ensemble, tmp_path):
    with pytest.raises(FileNotFoundError, match="out.labelling holds no unfinished run, so there is no run to resume"):
        label(drawn_tree, tmp_path / "out", LabelOptions(str(ensemble)), resume=True)


def test_another_folder_of_the_name_for_unfinished_work_is_left_alone(drawn_tree, ensemble, tmp_path):
    as_folder(tmp_path / "out.labelling", {"mine.jpg": picture()})
    with pytest.raises(FileExistsError, match="out.labelling is needed for unfinished work, and holds something else"):
        labelled(drawn_tree, tmp_path / "out", ensemble)
    assert (tmp_path / "out.labelling" / "mine.jpg").exists()


@pytest.mark.slow
def test_a_chunk_that_the_disk_lost_is_labelled_again(drawn_tree, ensemble, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        label(
            drawn_tree,
            tmp_path / "out",
            LabelOptions(str(ensemble), batch_size=3, tree=True),
            progress=Stop("write", 0),
        )
    first, second, third, *_ = sorted((tmp_path / "out.labelling" / "folder" / "data").glob("*.parquet"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-200])
    content = third.read_bytes()
    third.write_bytes(content[:200] + bytes(512) + content[712:])
    told = Stop(error=None)
    label(drawn_tree, tmp_path / "out", LabelOptions(str(ensemble), batch_size=3, tree=True), progress=told)
    assert told.told[0] == ("label", 16, 40)
    labelled(drawn_tree, tmp_path / "undisturbed", ensemble)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


PRELUDE = """
import hashlib, json, os, random, shutil, signal, sys, time
from pathlib import Path
import torch
from affectnet_plus_modeling.data import parts
from affectnet_plus_modeling.labelling import label_shards
from affectnet_plus_modeling.labelling.label import label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
torch.set_num_threads(1)
parts.PICTURES_AT_A_TIME = label_shards.SHARD_FACES = 8
images, out, ensemble, expected = sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])

def say(text):
    os.write(1, (text + "\\n").encode())  # in one piece: several processes write

def child(**others):
    number = os.fork()
    if number == 0:
        try:
            label(images, out, LabelOptions(ensemble, batch_size=3, tree=True), say=say, **others)
        except BaseException as error:
            say(f"{type(error).__name__} {error}")
            os._exit(1)
        os._exit(0)
    return number

def status(number):
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
"""


def forking(body: str, images, out: Path, ensemble: Path, undisturbed: dict) -> list[str]:
    """The lines that a program prints, which forks children that label: they need no time to start."""
    program = "\n".join([PRELUDE, getsource(contents), body])
    done = subprocess.run(
        [sys.executable, "-c", program, str(images), str(out), str(ensemble), json.dumps(undisturbed)],
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.splitlines()


KILLS = """
began = time.monotonic()
assert status(child()) == 0 and contents(out) == expected, "not what another process gives"
whole = time.monotonic() - began
random.seed(0)
killed = finished = 0
stages = set()
while killed < 4:
    shutil.rmtree(out, ignore_errors=True)
    while True:
        number = child()
        time.sleep(random.uniform(0.3 * whole, whole))
        whole *= 1.1  # on a machine that became busier than it was, one comes to its end too
        os.kill(number, signal.SIGKILL)
        ended = status(number)
        killed += ended == -signal.SIGKILL
        stages |= {path.name[:5] for path in (out.parent / "out.labelling" / "notes").glob("*.json")}
        if out.exists():
            assert contents(out) == expected
        if ended == 0:
            break
        assert ended == -signal.SIGKILL, ended
    finished += 1
    assert contents(out) == expected
    left = sorted(path.name for path in out.parent.iterdir() if "out" in path.name)
    assert left == [".out.lock", "out"], left
print("kills", killed, finished, len(stages))
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(drawn_tree, ensemble, tmp_path):
    labelled(drawn_tree, tmp_path / "undisturbed", ensemble)
    place = tmp_path / "place"
    *said, last = forking(KILLS, drawn_tree, place / "out", ensemble, contents(tmp_path / "undisturbed"))
    word, killed, finished, stages = last.split()
    assert word == "kills" and int(killed) >= 4 and int(finished) >= 1 and int(stages) >= 1
    assert any(line.startswith("going on with an unfinished labelling") for line in said)


def test_what_a_process_left_that_was_killed_at_the_very_end_goes(drawn_tree, ensemble, tmp_path):
    labelled(drawn_tree, tmp_path / "out", ensemble)
    for name in (".out.labelling.old-1", "out.labelling"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "left").touch()
    labelled(drawn_tree, tmp_path / "out", ensemble)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "out"]
