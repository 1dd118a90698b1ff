"""A model on FER2013Valid, protocols A and B: the figures of its card, from the votes.

    python benchmarks/ferplus.py MODEL SOURCE WORK

MODEL is a model folder, such as modeling/pretrained/ferplus; SOURCE holds FER2013Train and FER2013Valid (folders or
tars) and fer2013new.csv; WORK keeps the prepared faces, and what is there already is not made again. Each protocol is
measured as the model answers, and as the mean of its answers to a face and to its mirror image. The figures go to
benchmarks/results/ferplus-<model>-<date>-<commit>.csv.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path

import datasets
import numpy as np
import torch
from measuring import RESULTS, commit, hardware, write_csv

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.cli import main as affectnet_plus
from affectnet_plus_modeling.data.dataset import FaceDataset, normalise
from affectnet_plus_modeling.evaluation.predict import load_model
from affectnet_plus_modeling.metrics.calibration.formulas import expected_calibration_error
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence
from affectnet_plus_modeling.vit.stems import folded

COLUMNS = (
    "model",
    "evaluated_on",
    "rows",
    "answers",
    "accuracy",
    "balanced_accuracy",
    "kl",
    "ece",
    "recall_fear",
    "recall_disgust",
    "recall_contempt",
    "parameters",
    "megabytes",
    "hardware",
    "commit",
    "command",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    model = load_model(options.model)
    common = {
        "model": options.model.name,
        "parameters": json.loads((options.model / "training.json").read_text())["parameters"],
        "megabytes": (options.model / "model.safetensors").stat().st_size / 1e6,
        "hardware": hardware(),
        "commit": commit(),
        "command": f"python benchmarks/ferplus.py {options.model.name} SOURCE WORK",
    }
    rows = []
    for protocol in "AB":
        faces = validation(prepare(options.source, options.work, protocol), model.config.image_size)
        once, twice = probabilities(model, faces)
        for name, found in (("of the face", once), ("of the face and its mirror image", twice)):
            found_figures = figures(found, faces.soft_labels.numpy(), faces.labels.numpy())
            rows.append(
                {"evaluated_on": f"FER2013Valid, protocol {protocol}", "answers": name} | found_figures | common
            )
            print(protocol, name, {key: round(value, 4) for key, value in found_figures.items()})
    name = f"ferplus-{options.model.name}-{datetime.date.today().isoformat()}-{common['commit']}"
    write_csv(RESULTS / f"{name}.csv", COLUMNS, rows)


def prepare(source: Path, work: Path, protocol: str) -> Path:
    """The prepared folder of a protocol, without the training images that validation repeats; made where it lacks."""
    raw, out = work / f"raw_{protocol}", work / f"prepared_{protocol}"
    if not raw.exists():
        run("import-ferplus", source, raw, "--protocol", protocol, "--drop-leaks")
    if not out.exists():
        run("prepare", raw, out, "--strict")
    return out


def validation(prepared: Path, size: int) -> FaceDataset:
    return FaceDataset(datasets.load_dataset(str(prepared), split="validation"), size)


@torch.inference_mode()
def probabilities(model, faces: FaceDataset) -> tuple[np.ndarray, np.ndarray]:
    """(faces, classes): of each face, and the mean of those of the face and of its mirror image."""
    model, once, twice = folded(model), [], []
    for rows in np.array_split(np.arange(len(faces)), max(len(faces) // 64, 1)):
        values = normalise(faces.batch(rows.tolist())["pixels"])
        plain, mirrored = (model(view).logits.double().softmax(-1) for view in (values, values.flip(-1)))
        once.append(plain)
        twice.append((plain + mirrored) / 2)
    return torch.cat(once).numpy(), torch.cat(twice).numpy()


def figures(found: np.ndarray, votes: np.ndarray, labels: np.ndarray) -> dict:
    """KL is that of the votes from .999 p + .001/8, the form in which figures of other models are known."""
    right = found.argmax(1) == labels
    recalls = {EMOTIONS[k]: float(right[labels == k].mean()) for k in np.unique(labels)}
    return {
        "rows": len(labels),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(list(recalls.values()))),
        "kl": float(kl_divergence(votes, found).mean()),
        "ece": float(expected_calibration_error(found.max(1), right)),
    } | {f"recall_{name}": recalls[name] for name in ("fear", "disgust", "contempt")}


def run(*words) -> None:
    arguments = [str(word) for word in words]
    print("affectnet-plus", *arguments, flush=True)
    if code := affectnet_plus(arguments):
        sys.exit(code)


if __name__ == "__main__":
    main()
