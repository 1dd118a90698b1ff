"""Learning rates that fall from the heads down to the picture."""

import pytest

from affectnet_plus_modeling.training.layer_decay import parameter_groups
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from support.models import TINY


@pytest.fixture
def model():
    return AffectNetPlusForSoftLabels(AffectNetPlusConfig(**TINY, image_size=16, patch_size=8))


def rates(model, layer_decay: float) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter by its name."""
    decays = {name for name, value in model.named_parameters() if value.ndim > 1}
    names = {id(value): name for name, value in model.named_parameters()}
    groups = parameter_groups(model, decays, 1.0, 0.1, layer_decay)
    return {names[id(value)]: (group["lr"], group["weight_decay"]) for group in groups for value in group["params"]}


def test_every_parameter_is_in_one_group(model):
    for decay in (1.0, 0.5):
        groups = parameter_groups(model, set(), 1.0, 0.1, decay)
        numbers = [id(value) for group in groups for value in group["params"]]
        assert sorted(numbers) == sorted(id(value) for value in model.parameters())


def test_each_layer_learns_at_a_share_of_the_rate_above_it(model):
    found = rates(model, 0.5)
    for name, expected in (
        ("stem.0.weight", 0.125),
        ("vit.embeddings.cls_token", 0.125),
        ("vit.embeddings.position_embeddings", 0.125),
        ("vit.layers.0.mlp.fc1.weight", 0.25),
        ("vit.layers.1.mlp.fc1.weight", 0.5),
        ("vit.layernorm.weight", 1.0),
        ("classifier.weight", 1.0),
        ("valence_arousal.bias", 1.0),
    ):
        assert found[name][0] == expected, name


def test_weight_decay_holds_for_the_named_ones_only(model):
    for decay in (1.0, 0.5):
        found = rates(model, decay)
        assert found["classifier.weight"][1] == 0.1
        assert found["classifier.bias"][1] == 0.0


def test_without_decay_there_are_two_groups_of_one_rate(model):
    groups = parameter_groups(model, {"classifier.weight"}, 1e-3, 0.1, 1.0)
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(1e-3, 0.1), (1e-3, 0.0)}
