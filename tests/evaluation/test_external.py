"""Predictions of another tool: that they are put to the right faces and emotions, and what is refused."""

import csv
import json
import re
from dataclasses import replace
from pathlib import PurePosixPath
from shutil import copytree

import numpy as np
import pytest

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared
from affectnet_plus_modeling.evaluation import evaluate as evaluate_module
from affectnet_plus_modeling.evaluation.evaluate import EvaluationOptions, measure
from affectnet_plus_modeling.evaluation.external import read_external
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces, predict_pictures
from affectnet_plus_modeling.evaluation.report_text import format_metrics
from affectnet_plus_modeling.labels import ORDERS
from affectnet_plus_modeling.shipped import pretrained

ROWS = 8  # of the validation split of `drawn`


@pytest.fixture(scope="module")
def faces(drawn):
    return load_prepared(drawn, "default", "validation")


@pytest.fixture(scope="module")
def said(trained, faces):
    """What the trained model says of the split."""
    return predict_faces(load_model(trained), FaceDataset(faces, 48), 8)


def lines_of(said, names=EMOTIONS, order=EMOTIONS, affect=True) -> list[dict]:
    """One line for each face: probabilities of the emotions in `order`, under `names`."""
    values = said.probabilities[:, [EMOTIONS.index(name) for name in order]]
    lines = [
        {"image_id": image_id} | dict(zip(names, row, strict=True))
        for image_id, row in zip(said.image_ids, values.tolist(), strict=True)
    ]
    for line, (valence, arousal) in zip(lines, said.valence_arousal.tolist(), strict=True):
        line.update({"valence": valence, "arousal": arousal} if affect else {})
    return lines


def write_csv(path, lines):
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, list(lines[0]))
        table.writeheader()
        table.writerows(lines)
    return path


def write_jsonl(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def numbered(order: str) -> list[str]:
    return [f"p{index}" for index in range(len(ORDERS[order]))]


# ---- what is read


@pytest.mark.parametrize("write, name", [(write_csv, "said.csv"), (write_jsonl, "said.jsonl")])
def test_named_columns_come_back_as_they_were_in_whatever_order_of_lines(said, faces, tmp_path, write, name):
    lines = lines_of(said)[::-1]
    found = read_external(write(tmp_path / name, lines), faces)
    assert found.predictions.image_ids == said.image_ids and found.without == [] and found.label_order is None
    for field in ("probabilities", "soft_labels", "labels", "valence_arousal", "true_valence_arousal"):
        np.testing.assert_allclose(getattr(found.predictions, field), getattr(said, field), atol=1e-12, err_msg=field)


@pytest.mark.parametrize("order", [name for name, emotions in ORDERS.items() if len(emotions) == 8])
def test_numbered_columns_are_put_to_the_emotions_of_their_order(said, faces, tmp_path, order):
    path = write_csv(tmp_path / "said.csv", lines_of(said, numbered(order), ORDERS[order]))
    found = read_external(path, faces, order)
    np.testing.assert_allclose(found.predictions.probabilities, said.probabilities, atol=1e-12)
    assert found.label_order == order and found.without == []


@pytest.mark.parametrize("order", [name for name, emotions in ORDERS.items() if len(emotions) == 7])
def test_of_seven_classes_contempt_gets_nothing_and_it_is_said(said, faces, tmp_path, order):
    seven = said.probabilities[:, :7] / said.probabilities[:, :7].sum(axis=1, keepdims=True)
    lines = [
        {"image_id": image_id, **dict(zip(numbered(order), [row[EMOTIONS.index(name)] for name in ORDERS[order]]))}
        for image_id, row in zip(said.image_ids, seven.tolist(), strict=True)
    ]
    found = read_external(write_csv(tmp_path / "said.csv", lines), faces, order)
    np.testing.assert_allclose(found.predictions.probabilities[:, :7], seven, atol=1e-12)
    assert (found.predictions.probabilities[:, 7] == 0).all() and found.without == ["contempt"]
    assert np.isnan(found.predictions.valence_arousal).all()
    named = [
        {"image_id": image_id, **dict(zip(EMOTIONS[:7], row, strict=True))}
        for image_id, row in zip(said.image_ids, seven.tolist(), strict=True)
    ]
    again = read_external(write_csv(tmp_path / "named.csv", named), faces)
    np.testing.assert_allclose(again.predictions.probabilities, found.predictions.probabilities, atol=1e-12)
    assert again.without == ["contempt"]


@pytest.mark.parametrize("key", ["file", "image"])
def test_a_face_may_be_named_by_its_file(said, faces, tmp_path, key):
    lines = lines_of(said)
    for line in lines:
        stem = PurePosixPath(line.pop("image_id")).name
        line[key] = f"C:\\faces\\{stem}.jpg" if key == "file" else f"/data/images/{stem}.png"
    found = read_external(write_csv(tmp_path / "said.csv", lines), faces)
    np.testing.assert_allclose(found.predictions.probabilities, said.probabilities, atol=1e-12)


def test_what_predict_writes_is_read(trained, said, faces, drawn_tree, tmp_path):
    pictures = drawn_tree / "human_annotated" / "validation_set" / "images"
    lines = list(predict_pictures(load_model(trained), [pictures]))
    found = read_external(write_jsonl(tmp_path / "said.jsonl", lines), faces)
    np.testing.assert_allclose(found.predictions.probabilities, said.probabilities, atol=1e-6)
    np.testing.assert_allclose(found.predictions.valence_arousal, said.valence_arousal, atol=1e-6)


# ---- what is refused


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda lines: lines[2:], r"2 are missing: \S+, \S+; expected one line for each of the split's 8 faces"),
        (lambda lines: lines + [lines[0] | {"image_id": "train/999"}], "1 are of no face of this split: train/999;"),
        (lambda lines: lines + lines[:1], "1 are twice"),
        (lambda lines: [line | {"fear": line["fear"] + 0.5} for line in lines], r"a sum of 1.*not 1.5"),
        (lambda lines: [line | {"fear": "much"} for line in lines], "line 2: .*'fear': 'much'.*expected numbers"),
        (lambda lines: [line | {"valence": 3} for line in lines], r"valence_arousal of validation/\d+.*\[-1, 1\]"),
        (lambda lines: [line | {"p0": 1} for line in lines], "names its columns by emotion; leave out"),
        (
            lambda lines: [without(line, "sad", "fear") for line in lines],
            "has no sad, fear, but .*; expected neutral",
        ),
        (lambda lines: [without(line, "image_id") for line in lines], "expected image_id or file or image"),
        (lambda lines: [without(line, *EMOTIONS) for line in lines], "expected probabilities as neutral"),
        (lambda lines: [without(line, *EMOTIONS) | {"p0": 1} for line in lines], "say whose order that is"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(said, faces, tmp_path, change, words):
    path = write_csv(tmp_path / "said.csv", change(lines_of(said)))
    with pytest.raises(ValueError, match=words):
        read_external(path, faces)


def without(line: dict, *names) -> dict:
    return {name: value for name, value in line.items() if name not in names}


@pytest.mark.parametrize(
    "text, words",
    [
        ("image_id,neutral\nvalidation/4\n", "line 2: has another number of values than the header"),
        ("image_id,neutral\nvalidation/4,1,2\n", "line 2: has another number of values than the header"),
        ('image_id,neutral\n"validation/4,1\n', "line 2: unexpected end of data, expected comma-separated"),
        ("image_id,neutral\n", "holds no predictions"),
    ],
)
def test_a_torn_csv_is_refused(faces, tmp_path, text, words):
    (tmp_path / "said.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_external(tmp_path / "said.csv", faces)


def test_a_torn_jsonl_is_refused_and_a_line_that_lacks_what_the_first_has(said, faces, tmp_path):
    path = write_jsonl(tmp_path / "said.jsonl", lines_of(said))
    path.write_text(path.read_text() + "{")
    with pytest.raises(ValueError, match="line 9: .*expected one JSON object"):
        read_external(path, faces)
    path.write_text("[1]\n")
    with pytest.raises(ValueError, match=r"line 1: found \[1\], expected one JSON object"):
        read_external(path, faces)
    lines = lines_of(said)
    write_jsonl(path, [*lines[:3], without(lines[3], "sad"), *lines[4:]])
    with pytest.raises(ValueError, match="line 4: has no 'sad', which the first one has"):
        read_external(path, faces)


def test_an_order_has_to_fit(said, faces, tmp_path):
    path = write_csv(tmp_path / "said.csv", lines_of(said, numbered("ferplus"), ORDERS["ferplus"]))
    with pytest.raises(ValueError, match="'emotic' is not known, expected one of affectnet, "):
        read_external(path, faces, "emotic")
    with pytest.raises(ValueError, match="the order fer2013 has 7 classes: anger, disgust"):
        read_external(path, faces, "fer2013")
    with pytest.raises(FileNotFoundError, match="nothing.csv does not exist; give a .csv or .jsonl file"):
        read_external(tmp_path / "nothing.csv", faces)


# ---- measured


def test_a_file_is_measured_as_the_model_that_wrote_it(trained, said, drawn, tmp_path):
    path = write_csv(tmp_path / "peer.csv", lines_of(said, numbered("ferplus"), ORDERS["ferplus"]))
    options = EvaluationOptions(resamples=50, label_order="ferplus", compare=str(trained))
    metrics, _ = measure(path, drawn, options=options)
    own = json.loads((trained / "metrics.json").read_text())
    for name in ("accuracy", "kl", "ece", "rows"):
        assert metrics[name] == pytest.approx(own[name]), name
    assert metrics["confusion"] == own["confusion"]
    assert metrics["model"] == "peer.csv" and metrics["baselines"]["mean_soft_label"]["prior_from"] == "evaluated rows"
    assert metrics["predictions"] == {
        "file": "peer.csv",
        "label_order": "ferplus",
        "without": [],
        "missing": 0,
        "missing_are": "refuse",
        "rounded_to": None,
    }
    assert metrics["command"].endswith("--split validation --resamples 50 --compare model --label-order ferplus")
    assert metrics["comparison"]["model"] == "model"
    assert metrics["comparison"]["differences"]["kl"]["difference"] == pytest.approx(0, abs=1e-9)
    turned, _ = measure(trained, drawn, options=replace(options, compare=str(path)))
    assert turned["comparison"]["model"] == "peer.csv" and turned["predictions"] is None


def test_seven_classes_without_valence_are_measured_and_the_table_says_so(said, drawn, tmp_path):
    lines = [
        {"image_id": image_id} | dict(zip(EMOTIONS[:7], (row[:7] / row[:7].sum()).tolist(), strict=True))
        for image_id, row in zip(said.image_ids, said.probabilities, strict=True)
    ]
    metrics, _ = measure(write_jsonl(tmp_path / "peer.jsonl", lines), drawn, options=EvaluationOptions(resamples=50))
    assert metrics["valence"]["ccc"] is None and metrics["predictions"]["without"] == ["contempt"]
    told = " ".join(format_metrics(metrics).split())
    assert "Predictions: peer.jsonl" in told and "does not know contempt; its probability was taken as 0" in told
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_an_order_without_a_file_is_refused(trained, drawn):
    with pytest.raises(ValueError, match="label order ferplus is given, and no .csv or .jsonl file to read"):
        measure(trained, drawn, options=EvaluationOptions(label_order="ferplus"))


def test_the_verb_wants_a_folder_to_write_where_the_model_is_a_file(said, drawn, tmp_path, capsys):
    path = write_csv(tmp_path / "peer.csv", lines_of(said))
    assert main(["evaluate", str(path), str(drawn)]) != 0
    assert "peer.csv is a file: say with --out in which folder to write" in capsys.readouterr().err


def test_the_verb_passes_every_option_on(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").touch()
    copytree(pretrained(), tmp_path / "other")
    (tmp_path / "peer.jsonl").touch()
    monkeypatch.setattr(evaluate_module, "evaluate", lambda *words: asked.append(words) or {})
    monkeypatch.setattr("affectnet_plus_modeling.evaluation.report_text.format_metrics", lambda metrics: "the table")
    words = "evaluate peer.jsonl data --out out --view easy --split train --batch-size 7 --compare other"
    words += " --label-order fer2013 --min-cell 9 --resamples 11 --level 0.5 --seed 13"
    assert main(words.split()) == 0
    [(model, data, out, view, split, batch_size, _, options)] = asked
    assert (model, data, str(out), view, split, batch_size) == ("peer.jsonl", "data", "out", "easy", "train", 7)
    assert options == EvaluationOptions(11, 0.5, 13, 9, "other", "fer2013")
    assert capsys.readouterr().out == "the table\nwritten: out/metrics.json, report.html and pictures\n"


def test_columns_are_known_by_what_others_call_them(said, faces, tmp_path, capsys, drawn):
    names = ("Neutral", "Happiness", "Sadness", "Surprised", "fearful", "Disgusted", "Angry", "CONTEMPT")
    theirs = [
        {"Image ID": line.pop("image_id"), "note": "x"} | {name.title(): value for name, value in line.items()}
        for line in lines_of(said, names)
    ]
    for write, name in ((write_csv, "theirs.csv"), (write_jsonl, "theirs.jsonl")):
        found = read_external(write(tmp_path / name, theirs), faces)
        np.testing.assert_allclose(found.predictions.probabilities, said.probabilities, atol=1e-9)
        np.testing.assert_allclose(found.predictions.valence_arousal, said.valence_arousal)
    for new, expected in (
        ({"Happy": 0, "Joy": 0, "Happiness": 0}, "Happy and Joy could both be happy; rename the one that is it to"),
        ({"Melancholy": 0, "happy": 0}, "has no neutral, sad, .*, but the columns .*Melancholy.* rename those"),
    ):
        path = write_csv(tmp_path / "odd.csv", [{"image_id": "validation/0"} | new])
        assert main(["evaluate", str(path), str(drawn), "--out", str(tmp_path / "out")]) == 1
        assert re.search(expected, capsys.readouterr().err)
