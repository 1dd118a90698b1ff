"""A model folder as ONNX files, with a measurement of how near they answer to PyTorch, an example and a page."""

import copy
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ..evaluation.predict import load_model, name_of
from ..files import fresh_folder, is_prepared, write_json
from ..hub_names import fetched, on_hub
from ..stages import Progress, silent
from .hub_layout import plain_model, write_layout
from .page import exported_page
from .records import ExportReport

TOLERANCE = 1e-4  # of a logit, and of valence and arousal, in float32
EXACT = ("fp32", "pixels_fp32")
TRAINING = "training.json"


def export(
    model,
    out,
    images: Sequence = (),
    fp16: bool = False,
    plain: bool = False,
    view: str = "default",
    split: str = "validation",
    overwrite: bool = False,
    progress: Progress = silent,
    follow_links: bool = False,
    most: int = 256,
) -> ExportReport:
    """Write `onnx_files.FILES`, where optimum and transformers.js look for them, and what belongs to them, to `out`.

    parity.json and parity.md say how near the answers are to PyTorch's on faces; example.py runs a file with
    onnxruntime, NumPy and Pillow alone; README.md names inputs, outputs and the preprocessing, to the pixel. All that
    the example needs to know stands in the metadata of each file. training.json of the model comes along, as it says
    whose faces the weights learnt from.

    Args:
        model: what `evaluation.predict.load_model` takes.
        images: a list of prepared folders, and of what else `open_pictures` takes, to compare the answers on; none:
            faces of our own drawing, which the report says.
        fp16: write float16 too.
        plain: write model.safetensors of a ViTForImageClassification too.
        view: of prepared folders.
        split: of prepared folders.
        progress: of the stage "compare", in batches of the faces of each source.
        follow_links: of `images`, as `open_pictures` takes it.
        most: faces of each of `images` that answers are compared on.

    Returns:
        What parity.json holds.

    Raises:
        ImportError: the extra `onnx` is not installed.
        FileExistsError: `out` exists and `overwrite` is false.
        FileNotFoundError: the model or a source of faces does not exist, or a folder holds no picture.
        OSError: a picture cannot be read.
        ValueError: what must be equal differs by more than `TOLERANCE`, there is no face, the weights do not fit one
            file, or `plain` of a model that cannot be one.
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
        stock = plain_model(network, name) if plain else None
        files = onnx_files.write(network, name, folder, fp16)
        write_layout(network, folder)
        if stock is not None:
            stock.save_pretrained(folder)
        faces = parity.face_batches(images, network.config.image_size, view, split, progress, follow_links, most)
        report: ExportReport = {
            "source_model": name,
            "version": version("affectnet-plus"),
            "faces": _name_faces(images, view, split, parity.DRAWN, most),
            **parity.measure_parity(network, files, faces, stock),
        }
        _check(report)
        write_json(folder / "parity.json", report)
        (folder / "parity.md").write_text(parity.format_parity(report), encoding="utf-8")
        shutil.copyfile(onnx_example.__file__, folder / "example.py")
        page = exported_page(onnx_files.describe_model(network, name), report, onnx_example.__doc__)
        (folder / "README.md").write_text(page, encoding="utf-8")
        training = Path(network.name_or_path, TRAINING)
        if network.name_or_path and training.is_file():
            shutil.copyfile(training, folder / TRAINING)
    return report


def _name_faces(images: Sequence, view: str, split: str, drawn: int, most: int) -> str:
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
    return f"{', '.join(names)}, at most {most:,} of each"


def _check(report: ExportReport) -> None:
    variants, keys = report["variants"], ("max_abs_delta_logit", "max_abs_delta_valence_arousal")
    far = {f"{variants[kind]['file']}: {key}": variants[kind][key] for kind in EXACT for key in keys}  # type: ignore
    if report["plain_max_abs_delta_logit"] is not None:
        far["model.safetensors: max_abs_delta_logit"] = report["plain_max_abs_delta_logit"]
    for what, found in far.items():
        if not found <= TOLERANCE:
            raise ValueError(
                f"{what} is {found:.2e}, expected at most {TOLERANCE:.0e} from PyTorch. "
                "Check that the weights are finite; else the exporter is at fault, and its versions matter"
            )
