"""A model as an ONNX file, in float32, with weights of 8 bits, and in float16. Needs the extra `onnx`."""

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import onnx
import onnxscript  # noqa: F401  torch.onnx.export needs it
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.onnx_model import OnnxModel
from torch import Tensor, nn

from ..vit import AffectNetPlusForSoftLabels
from ..vit.stems import folded
from .onnx_pixels import with_front

OPSET = 20  # the first one with Gelu; onnxruntime 1.17 reads it
MAX_BYTES = 2_000_000_000  # a file of more has its weights beside it, and is useless when moved alone
PACKAGES = ("affectnet-plus", "torch", "transformers", "onnx", "onnxscript", "onnxruntime")
# Named as optimum and transformers.js look for them: the second adds "_quantized" and "_fp16" to a name by its dtype.
FILES = {
    "fp32": "onnx/model.onnx",
    "int8": "onnx/model_quantized.onnx",
    "fp16": "onnx/model_fp16.onnx",
    "pixels_fp32": "onnx/pixels.onnx",
    "pixels_int8": "onnx/pixels_quantized.onnx",
}
INPUT, OUTPUTS = "pixel_values", ("logits", "soft_label", "valence_arousal")


class _Answers(nn.Module):
    """The model with plain tensors as its output, the soft label among them."""

    def __init__(self, model: AffectNetPlusForSoftLabels):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.model(pixel_values)
        return output.logits, output.logits.softmax(dim=1), output.valence_arousal


def write(model: AffectNetPlusForSoftLabels, name: str, folder: Path, fp16: bool) -> dict[str, Path]:
    """Write `FILES`, of which float16 where asked for, into `folder`; the paths by what they are.

    Args:
        name: what the metadata call the model.

    Raises:
        ValueError: the weights take more than `MAX_BYTES`.
        onnx.checker.ValidationError: a file is not valid ONNX.
    """
    files = {kind: folder / file for kind, file in FILES.items() if fp16 or kind != "fp16"}
    files["fp32"].parent.mkdir(exist_ok=True)
    onnx.save(to_onnx(model), files["fp32"])
    to_int8(files["fp32"], files["int8"])
    if fp16:
        to_fp16(files["fp32"], files["fp16"])
    for kind in ("fp32", "int8"):
        onnx.save(with_front(onnx.load(files[kind]), model.config.image_size), files[f"pixels_{kind}"])
    for kind, path in files.items():
        _finish(path, describe_model(model, name) | {"precision": json.dumps(kind.removeprefix("pixels_"))})
    return files


def to_onnx(model: AffectNetPlusForSoftLabels) -> onnx.ModelProto:
    """The model in float32: `pixel_values` (batch, 3, size, size), any batch, to the three `OUTPUTS`.

    `logits` and `soft_label` are (batch, classes), `valence_arousal` is (batch, 2). Of two computations of the
    attention that give the same answers, the one of plain products is exported: sdpa becomes more nodes. Batch norm
    is folded into the convolutions before it.

    Raises:
        ValueError: the weights take more than `MAX_BYTES`.
    """
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    if weights > MAX_BYTES:
        raise ValueError(f"the weights take {weights:,} bytes; one ONNX file holds at most {MAX_BYTES:,}")
    model = folded(copy.deepcopy(model).cpu().eval())
    model.set_attn_implementation("eager")
    size = model.config.image_size
    with _quiet():
        program = torch.onnx.export(
            _Answers(model).eval(),
            (torch.zeros(2, 3, size, size),),  # a batch of 1 would be taken as always 1
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    assert program is not None, "only the old exporter, dynamo=False, gives None"
    return _without_traces(program.model_proto)


def to_int8(source: Path, out: Path) -> None:
    """Write the file `source` with the weights of its matrix products in 8 bits, a scale for each output channel.

    The activations are quantised as they come, so no faces are needed for calibration. Their scale is one for the
    whole batch: the answer for a face depends a little on the faces beside it. Convolutions, the products of attention
    and the two heads stay in float32. On a mini ViT quantised convolutions made KL 8 times as large, and quantised
    heads, which are a few kB, made it twice as large.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        heads = [node.name + "_MatMul" for node in nodes if node.op_type == "Gemm"]  # what quantising splits them into
        kind = QuantType.QInt8
        quantize_dynamic(prepared, out, ["MatMul"], per_channel=True, weight_type=kind, nodes_to_exclude=heads)


def to_fp16(source: Path, out: Path) -> None:
    """Write the file `source` in float16; its input and outputs, and the softmax that gives the last, stay float32."""
    model = OnnxModel(onnx.load(source))
    last = [node.name for node in model.graph().node if "soft_label" in node.output]
    model.convert_float_to_float16(use_symbolic_shape_infer=False, keep_io_types=True, node_block_list=last)
    model.topological_sort()  # the conversion appends its casts, and the standard wants them in order
    model.save_model_to_file(str(out))


def describe_model(model: AffectNetPlusForSoftLabels, name: str) -> dict[str, str]:
    """What a file says of itself: name -> JSON, by which `onnx_example` reads pictures and names the classes.

    Args:
        name: of the model folder.
    """
    config = model.config
    trained = bool(config.valence_arousal_weight)
    about = {
        "labels": [config.id2label[index] for index in range(config.num_labels)],
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "rescale_factor": 1 / 255,
        "resample": "Pillow's bilinear filter, to a square, without keeping the proportions",
        "channel_order": "RGB",
        "layout": "NCHW",
        "exif": "turned upright as the EXIF orientation says, before anything else",
        "logit_temperature": config.logit_temperature,
        "logit_temperature_is_applied": True,
        "valence_arousal_trained": trained,
        "valence_arousal": "valence and arousal, each in [-1, 1]" if trained else "untrained: the two mean nothing",
        "uncertainty": config.uncertainty,
        "source_model": name,
        "opset": OPSET,
        "versions": {package: version(package) for package in PACKAGES},
    }
    return {key: json.dumps(value) for key, value in about.items()}


def _finish(path: Path, about: dict[str, str]) -> None:
    model = onnx.load(path)
    onnx.helper.set_model_props(model, about)
    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what the exporter notes for its developers: a tenth of a small file, and paths of this machine."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output, graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about torchvision, and the deprecations within torch."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
