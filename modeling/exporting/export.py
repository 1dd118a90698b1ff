"""A model folder as ONNX files, with a measurement of how near they answer to PyTorch, an example and a page."""

import copy
import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ..evaluation.predict import load_model, name_of
from ..files import fresh_folder, write_json
from ..hub_names import fetched, on_hub
from ..preparing.manifest import is_prepared
from ..stages import Progress, silent
from .records import ExportReport, Variant

TOLERANCE = 1e-4  # of a logit, and of valence and arousal, in float32


def export(
    model,
    out,
    images: Sequence = (),
    int8: bool = False,
    fp16: bool = False,
    view: str = "default",
    split: str = "validation",
    overwrite: bool = False,
    progress: Progress = silent,
    follow_links: bool = False,
) -> ExportReport:
    """Write model.onnx, model-int8.onnx and model-fp16.onnx where asked for, and what belongs to them, to `out`.

    parity.json and parity.md say how near the answers are to PyTorch's on faces; example.py runs a file with
    onnxruntime, NumPy and Pillow alone; README.md names inputs, outputs and the preprocessing, to the pixel. All that
    the example needs to know stands in the metadata of each file.

    Args:
        model: what `evaluation.predict.load_model` takes.
        images: a list of prepared folders, and of what else `open_pictures` takes, to compare the answers on; none:
            faces of our own drawing, which the report says.
        view: of prepared folders.
        split: of prepared folders.
        progress: of the stage "compare", in batches of the faces of each source.
        follow_links: of `images`, as `open_pictures` takes it.

    Returns:
        What parity.json holds.

    Raises:
        ImportError: the extra `onnx` is not installed.
        FileExistsError: `out` exists and `overwrite` is false.
        FileNotFoundError: the model or a source of faces does not exist, or a folder holds no picture.
        OSError: a picture cannot be read.
        ValueError: model.onnx differs by more than `TOLERANCE`, there is no face, or the weights do not fit one file.
    """
    try:
        from . import onnx_example, onnx_files, parity
    except ImportError as error:
        how = 'install them with: pip install "affectnet-plus[onnx]"'
        raise ImportError(f"export needs onnx, onnxscript and onnxruntime ({error}); {how}") from error

    with fresh_folder(out, overwrite) as folder:
        name = name_of(model)
        # On a GPU convolutions may round to 10 bits (TF32). What is in the caller's hand stays where it is.
        network = copy.deepcopy(load_model(model)).cpu()
        files = onnx_files.write(network, name, folder, int8, fp16)
        faces = parity.face_batches(images, network.config.image_size, view, split, progress, follow_links)
        report: ExportReport = {
            "source_model": name,
            "version": version("affectnet-plus"),
            "faces": _name_faces(images, view, split, parity.DRAWN),
            **parity.measure_parity(network, files, faces),
        }
        _check(report["variants"]["fp32"])
        write_json(folder / "parity.json", report)
        (folder / "parity.md").write_text(parity.format_parity(report), encoding="utf-8")
        shutil.copyfile(onnx_example.__file__, folder / "example.py")
        page = _page(onnx_files.describe_model(network, report["source_model"]), report, onnx_example.__doc__)
        (folder / "README.md").write_text(page, encoding="utf-8")
    return report


def _name_faces(images: Sequence, view: str, split: str, drawn: int) -> str:
    """What the faces are; names only, since a path would tell of the machine."""
    if not images:
        return f"{drawn} faces drawn by affectnet-plus, no photographs: name some with --images"
    named = [image for image in images if isinstance(image, (str, os.PathLike))]
    names = [
        (str(image) if on_hub(image, "dataset") else Path(image).name)
        + (f" ({split} split, {view} view)" if is_prepared(fetched(image)) else "")
        for image in named
    ]
    if held := len(images) - len(named):
        names.append(f"{held} from memory")
    return ", ".join(names)


def _check(found: Variant) -> None:
    for key in ("max_abs_delta_logit", "max_abs_delta_valence_arousal"):
        if not found[key] <= TOLERANCE:
            raise ValueError(
                f"model.onnx and PyTorch differ: {key} is {found[key]:.2e}, expected at most {TOLERANCE:.0e}. "
                "Check that the weights are finite; else the exporter is at fault, and its versions matter"
            )


def _page(about: dict[str, str], report: ExportReport, preprocessing: str) -> str:
    known = {key: json.loads(value) for key, value in about.items()}
    size, names = known["image_size"], known["labels"]
    files = [
        f"| {found['file']} | {found['bytes']:,} | {found['kl_mean']:.1e} | {found['label_flips']} of "
        f"{report['rows']} |"
        for found in report["variants"].values()
    ]
    return "\n".join(
        [
            f"# {known['source_model']} as ONNX",
            "",
            "| file | bytes | mean KL from PyTorch, nats | faces with another label |",
            "|---|---|---|---|",
            *files,
            "",
            f"Measured on {report['faces']}; parity.md has the whole table.",
            "",
            f"Input `pixel_values`, float32 (batch, 3, {size}, {size}), any batch. Outputs, float32:",
            "",
            f"- `logits` (batch, {len(names)}): already divided by the temperature, {known['logit_temperature']:g}.",
            f"- `soft_label` (batch, {len(names)}): their softmax. The order: {', '.join(names)}.",
            f"- `valence_arousal` (batch, 2): {known['valence_arousal']}.",
            "",
            f"ONNX opset {known['opset']}. Each file is whole, and says all this in its metadata, as JSON.",
            *(_CALIBRATED if known["uncertainty"] is not None else ()),
            "",
            *_PRECISIONS,
            "",
            "## The example, and the preprocessing",
            "",
            preprocessing.strip(),
            "",
        ]
    )


_CALIBRATED = (
    "`uncertainty` there is the rule of the prediction set and of abstaining, as in config.json of the model, whose",
    "answers.py has the formulas.",
)
_PRECISIONS = (
    "model-int8.onnx quantises what goes through its matrix products by one scale for the whole batch: the answer for",
    "a face depends a little on the faces beside it. On a processor without VNNI its sums may saturate, so measure",
    "there. model-fp16.onnx has half the size; it is made for GPUs, and a CPU gains little from it.",
)
