"""The resize within a graph is Pillow's, to the bit, whatever the size of the picture."""

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from onnx import TensorProto, helper  # noqa: E402

from affectnet_plus_modeling.data.dataset import normalise  # noqa: E402
from affectnet_plus_modeling.exporting.onnx_pixels import with_front  # noqa: E402
from affectnet_plus_modeling.images import resize  # noqa: E402

SIZES = [(224, 224), (48, 48), (100, 37), (300, 421), (30, 20), (49, 48), (48, 300), (1, 1), (2, 700), (47, 336)]


def front(size: int) -> onnxruntime.InferenceSession:
    """The graph before a model that gives its input back."""
    shape = ["batch", 3, size, size]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("pixel_values", "same")]
    nodes = [helper.make_node("Identity", ["pixel_values"], ["same"])]
    graph = helper.make_graph(nodes, "same", ends[:1], ends[1:])
    whole = with_front(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), size)
    onnx.checker.check_model(whole, full_check=True)
    return onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", [48, 32, 224])
def test_pixels_of_any_size_are_those_of_pillow(size):
    import torch

    session, rng = front(size), np.random.default_rng(0)
    assert [part.name for part in session.get_inputs()] == ["pixels"]
    for height, width in SIZES:
        pictures = rng.integers(0, 256, (2, height, width, 4), dtype=np.uint8)
        pictures[0] = np.where(pictures[0] > 127, 255, 0)  # sums at the ends of the range
        colours = [np.ascontiguousarray(picture[:, :, :3]) for picture in pictures]
        pillow = [np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in colours]
        expected = normalise(torch.from_numpy(np.stack(pillow)).permute(0, 3, 1, 2)).numpy()
        (found,) = session.run(None, {"pixels": pictures})
        assert np.array_equal(found, expected), (height, width)
        (found,) = session.run(None, {"pixels": np.stack(colours)})
        assert np.array_equal(found, expected), (height, width)
        assert np.array_equal(resize(colours[0], size, size), pillow[0])
