"""What the page draws of a face, the faces it knows, and what it says where it cannot."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling import cli
from affectnet_plus_modeling.app.draw import NOTICE, Truth, draw_face, draw_faces, draw_message
from affectnet_plus_modeling.app.known_faces import known_faces
from affectnet_plus_modeling.app.serve import answer, serve
from affectnet_plus_modeling.data.dataset import load_prepared
from affectnet_plus_modeling.evaluation.predict import load_model, predict_pictures
from affectnet_plus_modeling.labels import CIRCUMPLEX
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.vit import AffectNetPlusConfig
from affectnet_plus_modeling.vit.answers import answers
from support.trees import picture

UNCERTAINTY = {"method": "threshold", "quantile": 0.8, "coverage": 0.9, "of": "label", "abstain_entropy": 1.0}
SHARES = (0.4, 0.25, 0.15, 0.1, 0.04, 0.03, 0.02, 0.01)
PICTURE = np.full((30, 20, 3), 90, np.uint8)


def said(uncertainty=UNCERTAINTY, affect=(0.5, -0.25), **options) -> dict:
    """The answer of a model that says `SHARES`."""
    config = AffectNetPlusConfig(uncertainty=uncertainty, **options)
    return answers(config, torch.tensor([SHARES]).log(), torch.tensor([affect]))[0]


def rows_of(html: str) -> list[str]:
    return re.findall("<tr .*?</tr>", html)


# ---- what is drawn


def test_every_emotion_has_a_bar_as_long_as_its_probability_in_the_models_order():
    rows = rows_of(draw_face(PICTURE, said(), "Face", UNCERTAINTY))
    assert [re.search('<th scope="row">(.*?)</th>', row)[1] for row in rows] == list(EMOTIONS)
    widths = [float(re.search('class="said" style="width:(.*?)%"', row)[1]) for row in rows]
    np.testing.assert_allclose(widths, 100 * np.array(SHARES), atol=0.005)
    assert [re.search('class="number">(.*?)%', row)[1] for row in rows] == [f"{100 * share:.1f}" for share in SHARES]


def test_the_prediction_set_is_marked_and_named_and_no_other_class_is():
    html = draw_face(PICTURE, said(), "Face", UNCERTAINTY)
    marked = ["in the prediction set" in row for row in rows_of(html)]
    assert marked == [True, True] + [False] * 6
    assert "Prediction set: <b>neutral, happy</b>" in html
    assert "For 90% of faces" in html and "the label is in it" in html


def test_a_set_for_votes_says_so():
    uncertainty = UNCERTAINTY | {"of": "vote"}
    assert "one random annotator's vote is in it" in draw_face(PICTURE, said(uncertainty), "Face", uncertainty)


@pytest.mark.parametrize("threshold, abstains", [(1.0, True), (2.0, False), (None, False)])
def test_abstaining_is_said_where_the_entropy_is_above_the_threshold(threshold, abstains):
    uncertainty = UNCERTAINTY | {"abstain_entropy": threshold}
    html = draw_face(PICTURE, said(uncertainty), "Face", uncertainty)
    assert ("The model abstains" in html) == abstains
    entropy = -sum(share * np.log(share) for share in SHARES)
    assert (f"Entropy {entropy:.2f} nats, above its threshold of 1.00" in html) == abstains


def test_a_model_that_was_not_calibrated_has_no_set_and_says_so():
    html = draw_face(PICTURE, said(None), "Face", None)
    assert "not calibrated" in html and "✓" not in html and "abstains" not in html


def test_the_point_lies_at_valence_and_arousal_on_the_scale_of_the_emotions_names():
    html = draw_face(PICTURE, said(), "Face", None)
    x, y = (float(number) for number in re.search('class="point" cx="(.*?)" cy="(.*?)"', html).groups())
    places = re.findall('<text class="place" x="(.*?)" y="(.*?)">(.*?)</text>', html)
    unit = float(next(x for x, _, name in places if name == "happy")) / CIRCUMPLEX["happy"][0]
    assert (x / unit, -y / unit) == pytest.approx((0.5, -0.25), abs=0.001)
    for across, down, name in places:
        assert (float(across) / unit, -float(down) / unit) == pytest.approx(CIRCUMPLEX[name], abs=0.001)
    assert 'aria-label="Circumplex: predicted valence +0.50, arousal −0.25"' in html


def test_a_model_without_valence_and_arousal_has_no_circumplex():
    html = draw_face(PICTURE, said(valence_arousal_weight=0.0), "Face", UNCERTAINTY)
    assert "<svg" not in html and "trained without them" in html


def test_the_truth_stands_beside_the_answer():
    soft = dict(zip(EMOTIONS, (0.1, 0.9, 0, 0, 0, 0, 0, 0), strict=True))
    html = draw_face(PICTURE, said(), "Face", UNCERTAINTY, Truth("train/7", "happy", soft, -0.5, 0.75))
    assert re.findall('class="true" style="width:(.*?)"', html) == ["10.00%", "90.00%"] + ["0.00%"] * 6
    assert "Label of the data set: <b>happy</b>" in html
    assert "true valence −0.50, arousal +0.75" in html and 'class="true-point"' in html


def test_what_is_not_known_of_a_face_is_not_drawn():
    html = draw_face(PICTURE, said(), "Face", UNCERTAINTY, Truth("no_human/3"))
    assert 'class="true"' not in html and 'class="true-point"' not in html
    assert "the true one is not known" in html and "Label of the data set: <b>none</b>" in html


def test_names_and_messages_are_text_and_never_markup():
    bad = "<script>alert(1)</script>"
    html = draw_face(PICTURE, said(), bad, UNCERTAINTY, Truth(bad, bad)) + draw_message(bad) + draw_faces(bad, [])
    assert "<script" not in html and html.count("&lt;script&gt;") == 5  # the title is the picture's alternative too


def test_the_face_is_shown_small_and_in_the_page_itself():
    html = draw_face(np.zeros((1000, 500, 3), np.uint8), said(), "Face", None)
    assert re.findall("(?:src|href)=.{10}", html) == ['src="data:imag'] and len(html) < 12_000


def test_the_notice_names_what_is_prohibited():
    for words in ("not a felt emotion", "workplace", "education", "lie detection", "policing", "any decision about"):
        assert words in " ".join(NOTICE.split())


# ---- known faces


def test_known_faces_are_those_of_the_prepared_folder(drawn):
    found = known_faces(drawn)
    assert list(found) == ["validation", "train"]
    for split, faces in found.items():
        rows = load_prepared(drawn, "default", split)
        assert len(faces) == len(rows)
        picture, truth = faces[len(faces) - 1]
        row = rows[len(rows) - 1]
        assert np.array_equal(picture, np.asarray(row["image"]))
        assert truth == (
            row["image_id"],
            EMOTIONS[row["label"]],
            dict(zip(EMOTIONS, row["soft_label_normalized"], strict=True)),
            row["valence"],
            row["arousal"],
        )


def test_a_known_face_whose_picture_is_gone_is_named(prepared_from):
    folder = prepared_from([(picture(), annotation(label=3, soft_label=[0.125] * 8))])
    faces = known_faces(folder)["train"]
    assert faces[0][1].label == "surprise" and faces[0][1].valence is None
    Path(faces._data[0]["image"]["path"]).write_text("notes")
    with pytest.raises(OSError, match="train/0.*cannot be read as JPEG or PNG"):
        faces[0]


# ---- answers, and what goes wrong before the page is there


def test_an_answer_is_what_predict_says_of_the_file(trained, drawn):
    model = load_model(trained)
    faces = known_faces(drawn)["validation"]
    paths = [face["image"]["path"] for face in faces._data]
    lines = list(predict_pictures(model, paths))
    for found, line in zip(answer(model, [shown for shown, _ in faces]), lines, strict=True):
        assert found["label"] == line["label"]
        assert list(found["soft_label"].values()) == pytest.approx(list(line["soft_label"].values()), abs=1e-6)
        assert found["valence"] == pytest.approx(line["valence"], abs=1e-6)


def test_crops_of_all_sizes_are_answered_together(trained):
    model = load_model(trained)
    assert len(answer(model, [np.zeros((9, 400, 3), np.uint8), np.zeros((48, 48, 3), np.uint8)])) == 2


def test_a_folder_without_a_model_is_refused(tmp_path, capsys):
    assert cli.main(["app", str(tmp_path)]) == 1
    assert "holds no config.json" in capsys.readouterr().err


def test_a_folder_without_data_is_refused(trained, tmp_path, capsys):
    assert cli.main(["app", str(trained), "--data", str(tmp_path)]) == 1
    assert "holds no manifest.json" in capsys.readouterr().err


def test_a_model_of_other_classes_is_not_shown_beside_the_data(model_copy, drawn):
    path = model_copy / "config.json"
    path.write_text(path.read_text().replace('"contempt"', '"scorn"'))
    with pytest.raises(ValueError, match="anger, scorn, expected those of .*anger, contempt"):
        serve(model_copy, drawn)


def test_without_gradio_the_extra_is_named(trained, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is put back
    monkeypatch.setitem(sys.modules, "affectnet_plus_modeling.app.page", None)
    with pytest.raises(ImportError, match=r"pip install 'affectnet-plus\[app\]'"):
        serve(trained)
