"""Does a student learn better from soft labels? The same small ViT on hard labels, generated soft labels and votes.

    python benchmarks/students.py SOURCE WORK [--seeds 2] [--epochs 15]

WORK is that of benchmarks/soft_labels.py, which goes before: it holds the ensemble. The students differ in their
target alone; 5 % of the training faces choose the checkpoint, each by its own loss. All are measured on FER2013Valid
against people's votes; images of it that also occur in training were left out of training. What is there is not made
again, a killed training goes on, and several of this command share the work. Figures go to
benchmarks/results/students-<date>-<commit>.csv.
"""

import argparse
import datetime
import json
from pathlib import Path

import datasets
import numpy as np
from ferplus import prepare, run
from filelock import FileLock, Timeout
from measuring import RESULTS, TRAIN_ONLY_CARD, commit, hardware, write_csv
from soft_labels import judged

from affectnet_plus_modeling.data.dataset import FaceDataset
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.files import fresh_folder

RARE = ("fear", "disgust", "contempt")
MEASURES = ("accuracy", "balanced_accuracy", "macro_f1", "kl", "js", "ece")
COLUMNS = (
    "target",
    "seed",
    "rows",
    *MEASURES,
    *(f"recall_{name}" for name in RARE),
    "faces",
    "epochs",
    "parameters",
    "best_step",
    "seconds",
    "hardware",
    "commit",
    "command",
)
TARGETS = {  # name of the student -> what it is trained on, the data, --target
    "hard": ("majority label, cross-entropy", "prepared_A", "hard"),
    "ensemble": ("soft labels of the ensemble alone", "prepared_ensemble", "soft"),
    "fused": ("soft labels of ensemble and label, fusion fitted to votes", "prepared_fused", "soft"),
    "soft": ("votes", "prepared_A", "soft"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    data = prepare(options.source, options.work, "A")
    with FileLock(options.work / "labelling.lock"):
        relabel(options.work, data)
    jobs = [(name, seed) for name in TARGETS for seed in range(options.seeds)]
    for patience in (0, -1):  # first what nobody does, then wait for the others
        for name, seed in jobs:
            train(options, name, seed, patience)
    rows = [measure(options, name, seed, data) for name, seed in jobs]
    write_csv(RESULTS / f"students-{datetime.date.today()}-{commit()}.csv", COLUMNS, rows)
    for row in rows:
        figures = " ".join(f"{name} {row[name]:.3f}" for name in COLUMNS[3:12])
        print(f"{row['target']:<58} seed {row['seed']} {figures}")


def relabel(work: Path, data: Path) -> None:
    """The same faces with the ensemble's out-of-fold soft labels, and with those fused with the label."""
    made = {name: work / f"prepared_{name}" for name in ("ensemble", "fused")}
    if all(folder.exists() for folder in made.values()):
        return
    _, _, found = judged(data, work / "ensemble", None)
    for name, method in (("ensemble", "ensemble"), ("fused", "ensemble + label, stacking")):
        soft = found[method][2].astype(np.float32)
        with fresh_folder(made[name], overwrite=True) as folder:
            rows = datasets.load_dataset(str(data), "default", split="train")
            table = rows.remove_columns("soft_label_normalized").add_column("soft_label_normalized", list(soft))
            table.cast(rows.features).to_parquet(folder / "train.parquet")
            (folder / "README.md").write_text(TRAIN_ONLY_CARD)


def train(options, name: str, seed: int, patience: float) -> None:
    model = options.work / f"student_{name}_{seed}"
    _, data, target = TARGETS[name]
    try:
        with FileLock(options.work / f"{model.name}.lock", timeout=patience):
            if not model.exists():
                run("train", options.work / data, model, *arguments(options, target, seed))
    except Timeout:
        print(f"{model.name}: another process has it")


def arguments(options, target: str, seed: int) -> list:
    return [
        "--size",
        "mini",
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
        seed,
    ]


def measure(options, name: str, seed: int, data: Path) -> dict:
    folder = options.work / f"student_{name}_{seed}"
    training = json.loads((folder / "training.json").read_text())
    model = load_model(folder)
    faces = FaceDataset(datasets.load_dataset(str(data), "default", split="validation"), model.config.image_size)
    metrics = evaluate_predictions(predict_faces(model, faces, batch_size=256))
    target, source, kind = TARGETS[name]
    words = " ".join(map(str, arguments(options, kind, seed)))
    return {key: metrics[key] for key in ("rows", *MEASURES)} | {
        "target": target,
        "seed": seed,
        **{f"recall_{emotion}": metrics["per_class"][emotion]["recall"] for emotion in RARE},
        "faces": training["training_faces"],
        "epochs": options.epochs,
        "parameters": training["parameters"],
        "best_step": training["best_step"],
        "seconds": training["seconds"],
        "hardware": f"{training['hardware']} of {hardware()}",
        "commit": commit(),
        "command": f"affectnet-plus train {source} MODEL {words}",
    }


if __name__ == "__main__":
    main()
