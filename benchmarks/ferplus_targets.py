"""FER+ from the votes to the figures: soft labels with KL against hard labels with cross-entropy, all else equal.

    python benchmarks/ferplus.py SOURCE WORK [--epochs 25] [--seed 0]

SOURCE holds FER2013Train and FER2013Valid (folders or tars) and fer2013new.csv. WORK keeps the trees and the models;
what is there already is not made again, and a training that was cut off is resumed, so the same command goes on.
The figures go to benchmarks/results/ferplus-<date>-<commit>.csv, the metrics with confusions beside them as JSON.

Training images that are pixel-identical to a validation image are left out of training, and the checkpoint is chosen
on 5 % of the training faces: the validation split is seen by nothing but the measurement.
"""

import argparse
import csv
import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np

from affectnet_plus_modeling.cli import main as affectnet_plus
from affectnet_plus_modeling.data.dataset import FaceDataset
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.files import write_json
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence

RESULTS = Path(__file__).with_name("results")
COLUMNS = (
    "trained_on",
    "loss",
    "evaluated_on",
    "rows",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "kl",
    "kl_mixed",
    "js",
    "ece",
    "prior_accuracy",
    "prior_kl",
    "parameters",
    "faces",
    "epochs",
    "seed",
    "best_step",
    "seconds",
    "hardware",
    "commit",
    "command",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("work", type=Path)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    prepared = {protocol: prepare(options, protocol) for protocol in "AB"}
    rows, details = [], {}
    for target in ("soft", "hard"):
        model, command = train(options, prepared["A"], target)
        for protocol, data in prepared.items():
            metrics, row = measure(model, data, protocol)
            rows.append(row | {"epochs": options.epochs, "seed": options.seed, "commit": commit(), "command": command})
            details[f"{target} labels, evaluated on {protocol}"] = metrics
    name = f"ferplus-{datetime.date.today().isoformat()}-{commit()}"
    write_csv(RESULTS / f"{name}.csv", rows)
    write_json(RESULTS / f"{name}.json", details)


def prepare(options, protocol: str) -> Path:
    raw, out = options.work / f"raw_{protocol}", options.work / f"prepared_{protocol}"
    if not raw.exists():
        run("import-ferplus", options.source, raw, "--protocol", protocol, "--drop-leaks")
    if not out.exists():
        run("prepare", raw, out, "--strict")
    return out


def train(options, data: Path, target: str) -> tuple[Path, str]:
    model = options.work / f"{target}_{options.epochs}_{options.seed}"
    chosen = [
        "--size",
        "tiny",
        "--target",
        target,
        "--epochs",
        options.epochs,
        "--batch-size",
        128,
        "--learning-rate",
        "1e-3",
        "--holdout",
        "0.05",
        "--seed",
        options.seed,
    ]
    if not model.exists():
        run("train", data, model, *chosen)
    return model, "affectnet-plus train prepared_A MODEL " + " ".join(map(str, chosen))


def measure(model_folder: Path, data: Path, protocol: str) -> tuple[dict, dict]:
    training = json.loads((model_folder / "training.json").read_text())
    model = load_model(model_folder)
    faces = FaceDataset(datasets.load_dataset(str(data), "default", split="validation"), model.config.image_size)
    predictions = predict_faces(model, faces, batch_size=256)
    votes = datasets.load_dataset(str(data), "default", split="train")["soft_label_normalized"]
    metrics = evaluate_predictions(predictions, np.mean(votes, axis=0))
    # The form in which figures of other models are known: a constant is mixed in, so that a 0 is not infinite.
    mixed = 0.999 * predictions.probabilities + 0.001 / 8
    prior = metrics["baselines"]["mean_soft_label"]
    target = training["options"]["target"]
    row = {name: metrics[name] for name in COLUMNS if name in metrics} | {
        "trained_on": "FER2013Train, protocol A, without images of FER2013Valid",
        "loss": "KL to the votes" if target == "soft" else "cross-entropy to the majority label",
        "evaluated_on": f"FER2013Valid, protocol {protocol}",
        "kl_mixed": float(kl_divergence(predictions.soft_labels, mixed).mean()),
        "prior_accuracy": prior["accuracy"],
        "prior_kl": prior["kl"],
        "parameters": training["parameters"],
        "faces": training["training_faces"],
        "best_step": training["best_step"],
        "seconds": training["seconds"],
        "hardware": f"{training['hardware']}, {cpu()}",
    }
    return metrics, row


def run(*words) -> None:
    arguments = [str(word) for word in words]
    print("affectnet-plus", *arguments, flush=True)
    if code := affectnet_plus(arguments):
        sys.exit(code)


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS, capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def write_csv(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows([{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows])
    print(f"written: {path}")


if __name__ == "__main__":
    main()
