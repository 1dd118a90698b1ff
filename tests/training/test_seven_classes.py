"""AffectNet-7 from the rows to the figures: the view `7-class` knows no contempt, in labels, targets and answers."""

import json

import numpy as np
import pytest
import torch

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared
from affectnet_plus_modeling.evaluation.calibrate import calibrate
from affectnet_plus_modeling.evaluation.evaluate import evaluate
from affectnet_plus_modeling.evaluation.predict import load_model, predict
from affectnet_plus_modeling.training.options import SIZES
from affectnet_plus_modeling.training.train import train
from support.models import TINY, quick

SEVEN = EMOTIONS[:7]


@pytest.fixture(scope="module")
def seven(drawn, tmp_path_factory):
    """A model that was trained in the view of 7, with every sampler's demands on its classes."""
    out = tmp_path_factory.mktemp("seven") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", TINY)
        options = {"view": "7-class", "sampler": "balanced", "mixup": 0.2, "allow_empty_classes": True}
        record = train(drawn, out, quick(**options))
    assert record["emotions"] == list(SEVEN) and len(record["train_mean_soft_label"]) == 7
    return out


def test_soft_labels_are_those_of_seven_scaled_to_sum_to_one(prepared):
    rows = load_prepared(prepared, "7-class", "validation")
    faces = FaceDataset(rows, 16)
    assert faces.names == SEVEN and faces.targets.shape == (len(rows), 7)
    eight = np.array(rows["soft_label_normalized"][:])
    assert eight.shape[1] == 8 and (eight[:, 7] > 0).any(), "premise"
    expected = eight[:, :7] / eight[:, :7].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(faces.soft_labels.numpy(), expected, rtol=1e-6)
    assert set(FaceDataset(rows, 16, "hard").targets.argmax(dim=1).tolist()) == set(range(7))


def test_a_soft_label_of_contempt_alone_is_unknown(prepared):
    rows = load_prepared(prepared, "7-class", "validation").map(
        lambda row, index: {"soft_label_normalized": [0.0] * 7 + [1.0]} if index == 0 else {}, with_indices=True
    )
    unknown = FaceDataset(rows, 16).soft_labels.isnan()
    assert unknown[0].all() and not unknown[1:].any()


@pytest.mark.slow
def test_the_head_and_the_figures_are_of_seven(seven, drawn, drawn_tree):
    model = load_model(seven)
    assert tuple(model.config.id2label.values()) == SEVEN
    metrics = evaluate(model, drawn, view="7-class")
    assert list(metrics["per_class"]) == list(SEVEN) and np.shape(metrics["confusion"]) == (7, 7)
    rows = load_prepared(drawn, "7-class", "validation")
    assert metrics["rows"] == len(rows) and metrics["view"] == "7-class"
    (answer,) = predict(model, [drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"])
    assert list(answer["soft_label"]) == list(SEVEN)


def test_a_model_and_faces_of_other_classes_are_refused(seven, drawn):
    message = "the model answers neutral, .*, and the faces are labelled neutral, "
    for model, view in ((seven, "default"), ("ferplus", "7-class")):
        for ask in (evaluate, calibrate):
            with pytest.raises(ValueError, match=message):
                ask(load_model(model), drawn, view=view)
    swapped = load_model("ferplus")
    swapped.config.id2label = dict(enumerate(("happy", "neutral", *EMOTIONS[2:])))
    with pytest.raises(ValueError, match="the model answers happy, neutral, "):
        evaluate(swapped, drawn)


def test_data_in_another_order_is_refused(drawn):
    rows = load_prepared(drawn, "default", "validation")
    features = rows.features.copy()
    features["label"] = type(features["label"])(names=sorted(EMOTIONS))
    with pytest.raises(ValueError, match="the labels of the data are anger, contempt, .* Put them in that order"):
        FaceDataset(rows.cast(features), 16)


@pytest.mark.parametrize("classes", [7, 8])
def test_predictions_of_others_are_of_seven_too(drawn, tmp_path, classes):
    rows = load_prepared(drawn, "7-class", "validation")
    file = tmp_path / "theirs.jsonl"
    answer = dict.fromkeys(EMOTIONS[:classes], 1 / classes)
    file.write_text("".join(json.dumps({"image_id": name, "soft_label": answer}) + "\n" for name in rows["image_id"]))
    if classes == 8:
        with pytest.raises(ValueError, match="has contempt, which this view has not; give the 7 others"):
            evaluate(file, drawn, view="7-class")
        return
    metrics = evaluate(file, drawn, view="7-class")
    assert list(metrics["per_class"]) == list(SEVEN) and metrics["predictions"]["without"] == []


def test_the_collator_makes_targets_of_seven_from_rows_of_eight(seven, drawn):
    model = load_model(seven)
    rows = load_prepared(drawn, "default", "validation").remove_columns("image")
    soft = torch.tensor(rows["soft_label_normalized"][:])
    collator = model.collator(None)
    found = torch.stack([collator._soft_label(row) for row in soft.tolist()])
    torch.testing.assert_close(found, soft[:, :7] / soft[:, :7].sum(dim=1, keepdim=True))
