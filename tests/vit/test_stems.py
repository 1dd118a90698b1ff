"""The residual stem: shapes, its place in the model, and batch norm folded away for inference."""

import pytest
import torch
from torch import nn

from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from affectnet_plus_modeling.vit.stems import ConvolutionAndNorm, ResidualStem, folded
from support.models import TINY

RESIDUAL = TINY | {"stem_type": "residual", "stem_channels": (8, 16, 16)}


def model_of(**options) -> AffectNetPlusForSoftLabels:
    torch.manual_seed(0)
    return AffectNetPlusForSoftLabels(
        AffectNetPlusConfig(**(RESIDUAL | {"image_size": 16, "patch_size": 8} | options))
    )


def trained_for_a_while(model: nn.Module) -> nn.Module:
    """Its running statistics and norms are no longer those of the beginning."""
    model.train()
    for step in range(5):
        torch.manual_seed(step)
        model(3 * torch.randn(8, 3, 16, 16) + 1, labels=torch.arange(8)).loss.backward()
        with torch.no_grad():
            for value in model.parameters():
                if value.grad is not None:
                    value -= 0.1 * value.grad
    return model.eval()


def test_the_first_convolution_keeps_the_size_and_each_stage_halves_it():
    stem = ResidualStem((4, 8, 16, 24), 3)
    assert stem(torch.zeros(2, 3, 48, 48)).shape == (2, 24, 6, 6)


def test_a_block_is_relu_of_its_input_and_two_convolutions():
    stem = ResidualStem((4, 8), 3).eval()
    values = torch.randn(2, 8, 6, 6)
    block = stem[-1]
    first = nn.functional.conv2d(values, block.first.convolution.weight, padding=1)
    first = nn.functional.batch_norm(first, block.first.norm.running_mean, block.first.norm.running_var).relu()
    second = nn.functional.conv2d(first, block.second.convolution.weight, padding=1)
    second = nn.functional.batch_norm(second, block.second.norm.running_mean, block.second.norm.running_var)
    torch.testing.assert_close(block(values), (values + second).relu())


def test_without_channels_there_is_no_stem():
    assert len(model_of(stem_channels=(), image_size=16).stem) == 0


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="stem_type is 'dense'; it must be one of plain, residual"):
        AffectNetPlusConfig(stem_type="dense")


def test_the_folded_model_answers_the_same_without_batch_norm():
    model = trained_for_a_while(model_of())
    faces = torch.randn(4, 3, 16, 16)
    lean = folded(model)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in lean.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in model.modules()), "the model itself stays as it was"
    with torch.inference_mode():
        found, expected = lean(faces), model(faces)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.valence_arousal, expected.valence_arousal, atol=1e-5, rtol=1e-5)


def test_a_model_without_batch_norm_is_not_copied():
    model = model_of(stem_type="plain")
    assert folded(model) is model


def test_running_statistics_are_saved_and_come_back(tmp_path):
    model = trained_for_a_while(model_of())
    model.save_pretrained(tmp_path)
    again = AffectNetPlusForSoftLabels.from_pretrained(tmp_path)
    assert {name for name, _ in again.named_buffers()} == {name for name, _ in model.named_buffers()}
    for name, value in model.named_buffers():
        torch.testing.assert_close(again.get_buffer(name), value)
    faces = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(again(faces).logits, model(faces).logits)


def test_a_new_model_starts_with_the_statistics_of_batch_norm(tmp_path):
    """What is not in a checkpoint would be random memory in transformers 5."""
    plain = model_of(stem_type="plain")
    plain.save_pretrained(tmp_path)
    model = AffectNetPlusForSoftLabels.from_pretrained(tmp_path, config=model_of().config)
    for part in model.modules():
        if isinstance(part, ConvolutionAndNorm):
            torch.testing.assert_close(part.norm.running_mean, torch.zeros_like(part.norm.running_mean))
            torch.testing.assert_close(part.norm.running_var, torch.ones_like(part.norm.running_var))


def test_from_faces_takes_the_stem_with_its_statistics(tmp_path):
    model = trained_for_a_while(model_of())
    model.save_pretrained(tmp_path)
    started = AffectNetPlusForSoftLabels.from_faces(tmp_path)
    assert started.config.stem_type == "residual"
    for name, value in model.stem.state_dict().items():
        torch.testing.assert_close(started.stem.state_dict()[name], value)


def test_the_heads_see_less_in_training_and_all_of_it_in_inference():
    model = model_of(classifier_dropout=0.5)
    faces = torch.randn(4, 3, 16, 16)
    model.eval()
    torch.testing.assert_close(model(faces).logits, model(faces).logits)
    model.train()
    assert not torch.equal(model(faces).logits, model(faces).logits)
    with pytest.raises(ValueError, match="classifier_dropout is 1"):
        AffectNetPlusConfig(classifier_dropout=1)
