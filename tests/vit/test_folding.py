"""A stem with batch norm: folded it answers the same, wherever a model of a folder is asked, and ONNX has no norm."""

import numpy as np
import pytest
import torch

from affectnet_plus_modeling.data.dataset import decode, normalise
from affectnet_plus_modeling.evaluation.predict import load_model, predict
from affectnet_plus_modeling.training.saving import save_model
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from affectnet_plus_modeling.vit.stems import folded
from support.models import TINY

SIZE = 48


def some_pixels(rows=3) -> torch.Tensor:
    return torch.rand(rows, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def model() -> AffectNetPlusForSoftLabels:
    """A residual stem that has seen batches, so that no statistic of a norm is at its initial value; read-only."""
    torch.manual_seed(0)
    options = TINY | {"stem_type": "residual", "image_size": SIZE, "patch_size": 8}
    network = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**options)).train()
    norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert len(norms) == 4, "premise: the first convolution, the one of stride 2, and two of its block"
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
        for _ in range(5):
            network(torch.randn(16, 3, SIZE, SIZE))
    return network.eval()


@torch.inference_mode()
def answers(network, pixels) -> torch.Tensor:
    output = network(pixels)
    return torch.cat([output.logits, output.valence_arousal], dim=1)


def test_a_folded_model_answers_the_same_and_leaves_its_own_as_it_was(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lighter = folded(model)
    assert not [part for part in lighter.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert folded(lighter) is lighter
    torch.testing.assert_close(answers(lighter, some_pixels()), answers(model, some_pixels()), atol=1e-5, rtol=0)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_norms_is_not_copied():
    plain = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**TINY, image_size=SIZE, patch_size=8)).eval()
    assert folded(plain) is plain


def test_the_model_of_a_folder_is_folded_and_predicts_the_same(model, drawn_tree, tmp_path):
    save_model(model, SIZE, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert not loaded.training and not [part for part in loaded.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    face = drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"
    (line,) = predict(tmp_path / "model", [face])
    expected = answers(model, normalise(decode(face, SIZE))[None])[0]
    named = zip(model.config.id2label.values(), expected[:-2].softmax(dim=0).tolist(), strict=True)
    assert line["soft_label"] == pytest.approx(dict(named), abs=1e-5)
    assert [line["valence"], line["arousal"]] == pytest.approx(expected[-2:].tolist(), abs=1e-5)


@pytest.mark.slow
def test_the_exported_graph_has_no_batch_norm_and_answers_the_same(model, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    from affectnet_plus_modeling.exporting import onnx_files

    graph = onnx_files.to_onnx(model)
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    asked = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = np.concatenate(asked.run(["logits", "valence_arousal"], {"pixel_values": some_pixels().numpy()}), axis=1)
    np.testing.assert_allclose(found, answers(model, some_pixels()).numpy(), atol=1e-5)
