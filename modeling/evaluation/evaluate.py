"""One evaluation: a model folder and a split in, metrics.json and pictures out."""

import json
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..files import write_json
from ..training.faces import Faces, load_prepared
from .metrics import Predictions, evaluate_predictions
from .pictures import confusion_matrix_picture, prediction_sheet, reliability_diagram_picture
from .predict import load_model, predict_faces

SHEET_FACES = 12


def evaluate(
    model_folder,
    data,
    out,
    view: str = "default",
    split: str = "validation",
    batch_size: int = 64,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict:
    """Measure the model of a folder on one split of the prepared folder `data`.

    Writes metrics.json, confusion.png, reliability.png and faces.png into `out`. The baseline is the mean soft label
    of the faces that the model was trained on, from its training.json; where that is not known, of the evaluated
    faces.
    """
    out = Path(out)
    rows = load_prepared(data, view, split)
    model = load_model(model_folder)
    faces = Faces(rows, model.config.image_size)
    predictions = predict_faces(model, faces, batch_size, progress)
    metrics = _about(model_folder, data, view, split) | evaluate_predictions(predictions, _prior(model_folder))
    chosen = _chosen(predictions)
    images = [rows[row]["image"].convert("RGB") for row in chosen]
    title = f"{Path(model_folder).name} on {Path(data).name}, {split} split, {view} view"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".evaluate-", dir=out) as folder:
        partial = Path(folder)
        confusion_matrix_picture(metrics, partial / "confusion.png")
        reliability_diagram_picture(predictions, partial / "reliability.png")
        prediction_sheet(images, predictions.take(chosen), metrics, partial / "faces.png", title)
        write_json(partial / "metrics.json", metrics)
        for file in partial.iterdir():
            file.replace(out / file.name)
    return metrics


def _about(model_folder, data, view: str, split: str) -> dict:
    """What the numbers are of; names only, since a path would tell of the machine."""
    model, folder = Path(model_folder).name, Path(data).name
    return {
        "model": model,
        "data": folder,
        "view": view,
        "split": split,
        "command": f"affectnet-plus evaluate {model} {folder} --view {view} --split {split}",
        "version": version("affectnet-plus"),
    }


def _prior(model_folder) -> np.ndarray | None:
    record = Path(model_folder) / "training.json"
    mean = json.loads(record.read_text())["train_mean_soft_label"] if record.is_file() else None
    return None if mean is None else np.array(mean)


def _chosen(predictions: Predictions) -> list[int]:
    """Rows for the sheet, drawn by a fixed seed and not by how well they went: one per label, then any."""
    order = np.random.default_rng(0).permutation(len(predictions.image_ids))
    first = {int(predictions.labels[row]): int(row) for row in order[::-1]}
    chosen = [first[label] for label in sorted(first)]
    return (chosen + [int(row) for row in order if row not in chosen])[:SHEET_FACES]
