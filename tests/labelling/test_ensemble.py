"""The model of eight times so many binary classifiers: who answers for whom, and what a saved folder gives back."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, ConvNextConfig, EfficientNetConfig, ResNetConfig

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.labelling.ensemble.model import (
    ALL_FOLDS,
    BinaryEnsemble,
    BinaryEnsembleConfig,
    load_ensemble,
    log_odds,
    make_network,
)
from affectnet_plus_modeling.vit import AffectNetPlusConfig

NAMES = {"id2label": {0: "rest", 1: "emotion"}}
RESNET = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **NAMES).to_dict()
VIT = AffectNetPlusConfig(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=24,
    patch_size=8,
    stem_channels=(8, 8),
    pooling="mean",
    **NAMES,
).to_dict()


def made(*members, backbones=(RESNET, VIT)) -> BinaryEnsemble:
    """An ensemble of (backbone, fold) members whose weights, and running means, are drawn from one seed."""
    torch.manual_seed(0)
    members = [{"backbone": backbone, "seed": 0, "fold": fold} for backbone, fold in members]
    model = BinaryEnsemble(BinaryEnsembleConfig(image_size=24, backbones=list(backbones), members=members))
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.dtype.is_floating_point:
                value.add_(torch.rand_like(value) * 0.1)
    return model.eval()


@pytest.fixture
def pictures():
    return torch.randn(5, 3, 24, 24, generator=torch.Generator().manual_seed(1))


def test_the_logits_are_the_mean_of_the_networks_log_odds(pictures):
    model = made((0, ALL_FOLDS), (1, ALL_FOLDS))
    with torch.inference_mode():
        each = torch.stack(
            [
                torch.stack([net(pictures).logits.log_softmax(1).diff(dim=1)[:, 0] for net in member], dim=1)
                for member in model.members
            ]
        )
        found = model(pictures).logits
    assert found.shape == (5, len(EMOTIONS)) and found.dtype is torch.float32
    torch.testing.assert_close(found, each.mean(dim=0))
    assert found.std() > 0


def test_log_odds_are_the_logit_of_the_softmax():
    logits = torch.tensor([[1.0, 3.0], [0.0, 0.0], [50.0, -50.0]])
    expected = torch.logit(logits.double().softmax(1)[:, 1], eps=None)
    torch.testing.assert_close(log_odds(logits).double(), expected)
    assert log_odds(logits.bfloat16()).dtype is torch.float32


@pytest.mark.slow
def test_a_face_is_only_answered_by_members_that_did_not_see_its_fold(pictures):
    model = made((0, 0), (0, 1), (1, 0), (1, 1))
    folds = torch.tensor([0, 1, ALL_FOLDS, 1, 2])
    with torch.inference_mode():
        by_fold = {fold: made_of(model, fold)(pictures).logits for fold in (0, 1)}
        every, found = model(pictures).logits, model(pictures, folds=folds).logits
    torch.testing.assert_close(every, (by_fold[0] + by_fold[1]) / 2)
    torch.testing.assert_close(found[:4], torch.stack([by_fold[0][0], by_fold[1][1], every[2], by_fold[1][3]]))
    assert found[4].isnan().all()
    assert (by_fold[0] - by_fold[1]).abs().min() > 0


def made_of(model, fold) -> BinaryEnsemble:
    """The members of one fold as an ensemble of their own."""
    chosen = [index for index, member in enumerate(model.config.members) if member["fold"] == fold]
    config = BinaryEnsembleConfig(
        image_size=24, backbones=model.config.backbones, members=[model.config.members[index] for index in chosen]
    )
    own = BinaryEnsemble(config)
    for place, index in enumerate(chosen):
        own.members[place].load_state_dict(model.members[index].state_dict())
    return own.eval()


def test_faces_that_every_member_has_seen_have_no_answer(pictures):
    found = made((0, ALL_FOLDS))(pictures, folds=torch.tensor([0, ALL_FOLDS, 0, 0, ALL_FOLDS])).logits
    assert found.isnan().any(dim=1).tolist() == [True, False, True, True, False]


@pytest.mark.slow
def test_a_saved_ensemble_comes_back_bit_for_bit(pictures, tmp_path):
    model = made((0, 0), (1, 1))
    model.config.calibration = {"kind": "temperature", "emotions": {}}
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.*")].count("model.safetensors") == 1
    for again in (load_ensemble(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(again, BinaryEnsemble)
        own = model.state_dict()
        assert again.state_dict().keys() == own.keys()
        assert all(torch.equal(value, own[name]) for name, value in again.state_dict().items())
        assert again.config.members == model.config.members
        assert again.config.calibration == model.config.calibration
        with torch.inference_mode():
            assert torch.equal(again.eval()(pictures).logits, model(pictures).logits)
    assert load_file(tmp_path / "model.safetensors").keys() != {}


@pytest.mark.parametrize(
    "backbone",
    [
        ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], **NAMES),
        EfficientNetConfig(width_coefficient=0.2, depth_coefficient=0.2, hidden_dim=256, **NAMES),
    ],
    ids=["ConvNeXt", "EfficientNet"],
)
def test_other_convolutional_backbones_take_part(backbone):
    model = made((0, ALL_FOLDS), backbones=[backbone.to_dict()])
    assert model(torch.randn(2, 3, 96, 96)).logits.shape == (2, 8)
    assert make_network(backbone.to_dict()).config.model_type == backbone.model_type


def test_an_ensemble_in_another_order_is_refused_with_both_orders(tmp_path):
    made((0, ALL_FOLDS)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    names = list(EMOTIONS[:5]) + ["anger", "disgust", "contempt"]
    config["id2label"] = {str(index): name for index, name in enumerate(names)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError) as error:
        load_ensemble(tmp_path)
    assert ", ".join(names) in str(error.value) and ", ".join(EMOTIONS) in str(error.value)


def test_an_ensemble_of_seven_emotions_is_refused(tmp_path):
    made((0, ALL_FOLDS)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["id2label"]["7"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="neutral.*anger; expected neutral.*contempt"):
        load_ensemble(tmp_path)


def test_another_model_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config.json and no model.safetensors"):
        load_ensemble(tmp_path)
    make_network(RESNET).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'resnet' model, expected 'affectnet_plus_ensemble'"):
        load_ensemble(tmp_path)
