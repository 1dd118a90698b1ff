"""Distillation: the target is a mixture of votes and teachers, who see the student's own picture."""

import pytest
import torch

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.training.teachers import Teachers
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from support.models import TINY

SIDE = 16
STUDENT = AffectNetPlusConfig(**(TINY | {"image_size": SIDE, "patch_size": 8}))


def saved(folder, seed: int, **options) -> AffectNetPlusForSoftLabels:
    torch.manual_seed(seed)
    config = AffectNetPlusConfig(**(TINY | {"image_size": SIDE, "patch_size": 8} | options))
    model = AffectNetPlusForSoftLabels(config).eval()
    model.save_pretrained(folder)
    return model


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return {"pixel_values": torch.randn(3, 3, SIDE, SIDE), "soft_labels": torch.rand(3, 8).softmax(dim=1)}


def test_the_target_is_the_mixture_of_votes_and_the_mean_answer(tmp_path):
    models = [saved(tmp_path / str(seed), seed) for seed in range(2)]
    teachers = Teachers([str(tmp_path / "0"), str(tmp_path / "1")], 0.7, STUDENT, torch.device("cpu"), bf16=False)
    given = batch()
    with torch.no_grad():
        answers = [model(given["pixel_values"]).logits.softmax(dim=1) for model in models]
    expected = 0.3 * given["soft_labels"] + 0.7 * (answers[0] + answers[1]) / 2
    taught = teachers.taught(given)
    torch.testing.assert_close(taught["soft_labels"], expected)
    torch.testing.assert_close(taught["soft_labels"].sum(dim=1), torch.ones(3))
    assert taught["pixel_values"] is given["pixel_values"]


def test_an_unknown_soft_label_is_the_teachers_answer(tmp_path):
    model = saved(tmp_path / "0", 0)
    given = batch()
    given["soft_labels"][1] = float("nan")
    taught = Teachers([str(tmp_path / "0")], 0.5, STUDENT, torch.device("cpu"), bf16=False).taught(given)
    with torch.no_grad():
        answer = model(given["pixel_values"]).logits.softmax(dim=1)
    torch.testing.assert_close(taught["soft_labels"][1], answer[1])
    assert taught["soft_labels"].isfinite().all()


def test_a_teacher_of_other_classes_or_pictures_is_refused(tmp_path):
    saved(tmp_path / "small", 0, image_size=8)
    with pytest.raises(ValueError, match="takes 8 pixels, and the student 16"):
        Teachers([str(tmp_path / "small")], 0.5, STUDENT, torch.device("cpu"), bf16=False)
    swapped = ("happy", "neutral", *EMOTIONS[2:])
    saved(tmp_path / "order", 0, id2label=dict(enumerate(swapped)))
    with pytest.raises(ValueError, match="answers happy, neutral"):
        Teachers([str(tmp_path / "order")], 0.5, STUDENT, torch.device("cpu"), bf16=False)
