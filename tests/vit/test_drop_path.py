"""Stochastic depth: which layers are skipped, for whom, and that nothing else about the model changes."""

import pytest
import torch
from accelerate import infer_auto_device_map
from safetensors.torch import load_file
from transformers import AutoModel, ViTConfig, ViTModel

from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from affectnet_plus_modeling.vit.modeling_affectnet_plus import DropPathLayer

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 4,
}
STEM = {"stem_channels": [8, 16], "pooling": "mean"}


def some_pixels(rows=3) -> torch.Tensor:
    return torch.randn(rows, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def targets(rows=3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    soft = torch.rand(rows, 8, generator=generator).softmax(dim=1)
    return {"labels": soft, "valence_arousal": torch.rand(rows, 2, generator=generator) * 2 - 1}


def model(rate: float, **options) -> AffectNetPlusForSoftLabels:
    """A model whose weights do not depend on the rate."""
    network = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**(SHAPE | options), drop_path_rate=rate))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def test_without_a_rate_every_layer_is_the_stock_one_and_nothing_is_drawn():
    network = model(0.0).train()
    stock = ViTModel(network.vit.config, add_pooling_layer=False)
    assert [type(layer) for layer in network.vit.layers] == [type(layer) for layer in stock.layers]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    network(some_pixels(), **targets()).loss.backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_rate_rises_linearly_to_the_last_layer():
    assert [layer.rate for layer in model(0.3).vit.layers] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [layer.rate for layer in model(0.3, num_hidden_layers=1).vit.layers] == [0]


def layer(rate: float) -> DropPathLayer:
    torch.manual_seed(0)
    return DropPathLayer(model(0.5).vit.config, rate).train()


def test_a_face_has_a_layer_whole_or_not_at_all():
    hidden, some = torch.randn(400, 5, 32), layer(0.25)
    after = some(hidden)
    full = some.eval()(hidden)
    skipped = (after == hidden).all(dim=(1, 2))
    torch.testing.assert_close(after[~skipped], (hidden + (full - hidden) / 0.75)[~skipped])
    assert 60 < skipped.sum() < 140  # 100 are expected, with a deviation of 8.7


def test_its_mean_over_draws_is_what_it_does_in_inference():
    hidden, some = torch.randn(1, 5, 32), layer(0.25)
    mean = some(hidden.expand(20_000, 5, 32)).mean(dim=0)
    full = some.eval()(hidden)[0]
    torch.testing.assert_close(mean - hidden[0], full - hidden[0], rtol=0.02, atol=1e-6)


def test_a_skipped_layer_gets_no_gradient_and_passes_it_on():
    hidden, some = torch.randn(4, 5, 32, requires_grad=True), layer(1 - 1e-9)
    some(hidden).sum().backward()
    assert torch.equal(hidden.grad, torch.ones_like(hidden))
    assert all((parameter.grad == 0).all() for parameter in some.parameters())


@pytest.mark.parametrize("options", [{}, STEM], ids=["plain", "stem"])
def test_inference_is_that_of_the_model_without_it(options):
    assert torch.equal(model(0.5, **options)(some_pixels()).logits, model(0.0, **options)(some_pixels()).logits)


def test_training_draws_from_the_seed():
    network, losses = model(0.5).train(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(network(some_pixels(32), **targets(32)).loss)
    assert losses[0] == losses[1] != losses[2]


def test_a_new_model_begins_as_one_without_it_does():
    """Layers that replace those of the transformer could be left at torch's initial values."""
    begun = []
    for rate in (0.0, 0.5):
        torch.manual_seed(0)
        network = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SHAPE, drop_path_rate=rate))
        begun.append({name: (value.std(), value.mean()) for name, value in network.named_parameters()})
    assert begun[0].keys() == begun[1].keys()
    for name, moments in begun[0].items():
        torch.testing.assert_close(begun[1][name], moments, rtol=0.1, atol=3e-3, msg=name)


def test_checkpoints_go_from_with_it_to_without_it_and_back(tmp_path):
    network = model(0.5, **STEM)
    network.save_pretrained(tmp_path / "with")
    model(0.0, **STEM).save_pretrained(tmp_path / "without")
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("with", "without")]
    assert weights[0].keys() == weights[1].keys()
    assert "vit.encoder.layer.3.attention.attention.query.weight" in weights[0], "premise: names of transformers 4"
    for name in ("with", "without"):
        for rate in (0.0, 0.5):
            loaded = AutoModel.from_pretrained(tmp_path / name, drop_path_rate=rate)
            assert isinstance(loaded.vit.layers[0], DropPathLayer) == bool(rate)
            assert torch.equal(loaded(some_pixels()).logits, network(some_pixels()).logits)


def test_a_stock_checkpoint_starts_it(tmp_path):
    stock = ViTModel(ViTConfig(**SHAPE), add_pooling_layer=False)
    stock.save_pretrained(tmp_path)
    network = AffectNetPlusForSoftLabels.from_vit(tmp_path, drop_path_rate=0.5)
    ours, theirs = network.vit.state_dict(), stock.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert isinstance(network.vit.layers[3], DropPathLayer)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_implementation_of_attention_is_the_one_asked_for(attention):
    network = model(0.5, attn_implementation=attention)
    assert network.vit.layers[1].attention.config._attn_implementation == attention
    network.set_attn_implementation("eager")
    assert network.vit.layers[1].attention.config._attn_implementation == "eager"


def test_hidden_states_and_attentions_are_those_of_every_layer():
    output = model(0.5, attn_implementation="eager")(some_pixels(), output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 5 and len(output.attentions) == 4


def test_gradient_checkpointing_repeats_the_same_draws():
    grads = []
    for checkpointing in (False, True):
        network = model(0.5).train()
        if checkpointing:
            network.gradient_checkpointing_enable()
            assert network.vit.layers[0].gradient_checkpointing
        torch.manual_seed(5)
        loss = network(some_pixels(16), **targets(16)).loss
        loss.backward()
        grads.append([loss, *(parameter.grad for parameter in network.parameters())])
    torch.testing.assert_close(*grads)


def test_a_device_map_cuts_no_layer_in_two():
    network = model(0.5)
    size = sum(4 * parameter.numel() for parameter in network.parameters())
    places = infer_auto_device_map(
        network, {"cpu": int(0.7 * size), "disk": size}, no_split_module_classes=network._no_split_modules
    )
    layers = {name: place for name, place in places.items() if name.startswith("vit.layers.")}
    assert sorted(layers) == [f"vit.layers.{number}" for number in range(4)]
    assert set(layers.values()) == {"cpu", "disk"}, "premise: there was something to cut"


def test_it_trains_in_bfloat16_autocast():
    network = model(0.5).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(some_pixels(16), **targets(16)).loss
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_a_training_step_compiles_without_a_graph_break_and_draws_the_same():
    network = model(0.5, class_weights=[1.0, 2, 3, 4, 5, 6, 7, 8], num_hidden_layers=2).train()
    steps = []
    for step in (network, torch.compile(network, fullgraph=True, backend="eager")):
        torch.manual_seed(5)
        network.zero_grad()
        loss = step(some_pixels(16), **targets(16)).loss
        loss.backward()
        steps.append([loss.detach(), *(parameter.grad.clone() for parameter in network.parameters())])
    torch.testing.assert_close(*steps, atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()
