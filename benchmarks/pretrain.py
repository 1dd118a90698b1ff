"""Does pre-training without labels help where few faces are labelled? Fine-tuning against training from scratch.

    python benchmarks/pretrain.py SOURCE WORK [--labelled 2000] [--seeds 2] [--pretraining-epochs 20] [--epochs 60]

SOURCE and WORK are those of benchmarks/ferplus.py. A mini ViT is pre-trained on the training faces of FER+, at 48
pixels, without their labels. Then it is trained on the votes of a random `--labelled` of them (the same for all runs),
from there and from scratch, all else equal; a tenth of these chooses the checkpoint. All are measured on FER2013Valid,
no image of which occurs in training. What is there is not made again, and a killed training goes on. Figures go to
benchmarks/results/pretrain-<date>-<commit>.csv.
"""

import argparse
import datetime
import json
from pathlib import Path

import datasets
import numpy as np
from ferplus import prepare, run
from measuring import RESULTS, TRAIN_ONLY_CARD, commit, hardware, write_csv

from affectnet_plus_modeling.data.dataset import FaceDataset
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.files import fresh_folder

MEASURES = ("accuracy", "balanced_accuracy", "macro_f1", "kl", "js", "ece")
COLUMNS = (
    "start",
    "seed",
    "rows",
    *MEASURES,
    "labelled_faces",
    "epochs",
    "best_step",
    "seconds",
    "unlabelled_faces",
    "pretraining_epochs",
    "pretraining_loss",
    "pretraining_seconds",
    "parameters",
    "hardware",
    "commit",
    "command",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--labelled", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--pretraining-epochs", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    data = prepare(options.source, options.work, "A")
    few = choose(options, data)
    encoder = options.work / f"pretrained_{options.pretraining_epochs}"
    make(
        encoder,
        "pretrain",
        data,
        encoder,
        "--size",
        "mini",
        "--epochs",
        options.pretraining_epochs,
        "--batch-size",
        64,
        "--learning-rate",
        "1e-3",
        "--seed",
        0,
    )
    rows = [
        measure(options, data, few, encoder, start, seed)
        for seed in range(options.seeds)
        for start in ("scratch", "pretrained")
    ]
    write_csv(RESULTS / f"pretrain-{datetime.date.today()}-{commit().rstrip('+')}.csv", COLUMNS, rows)
    for row in rows:
        print(f"{row['start']:<10} seed {row['seed']} {' '.join(f'{name} {row[name]:.3f}' for name in MEASURES)}")


def choose(options, data: Path) -> Path:
    """A folder like a prepared one that holds the labelled faces alone."""
    out = options.work / f"labelled_{options.labelled}"
    if not out.exists():
        every = datasets.load_dataset(str(data), "default", split="train")
        rows = np.sort(np.random.default_rng(0).permutation(len(every))[: options.labelled])
        with fresh_folder(out) as folder:
            every.select(rows).to_parquet(folder / "train.parquet")
            (folder / "README.md").write_text(TRAIN_ONLY_CARD)
    return out


def make(out: Path, *words) -> None:
    if not out.exists():
        run(*words)


def measure(options, data: Path, few: Path, encoder: Path, start: str, seed: int) -> dict:
    folder = options.work / f"few_{start}_{options.labelled}_{options.epochs}_{seed}"
    beginning: list = ["--size", "mini"] if start == "scratch" else ["--from-pretrained", encoder]
    chosen = [
        "--epochs",
        options.epochs,
        "--batch-size",
        64,
        "--learning-rate",
        "1e-3",
        "--holdout",
        "0.1",
        "--seed",
        seed,
    ]
    make(folder, "train", few, folder, *beginning, *chosen)
    training = json.loads((folder / "training.json").read_text())
    before = json.loads((encoder / "pretraining.json").read_text())
    model = load_model(folder)
    faces = FaceDataset(datasets.load_dataset(str(data), "default", split="validation"), model.config.image_size)
    metrics = evaluate_predictions(predict_faces(model, faces, batch_size=256))
    row = {key: metrics[key] for key in ("rows", *MEASURES)} | {
        "start": start,
        "seed": seed,
        "labelled_faces": options.labelled,
        "epochs": options.epochs,
        "best_step": training["best_step"],
        "seconds": training["seconds"],
        "parameters": training["parameters"],
        "hardware": f"{training['hardware']} of {hardware()}",
        "commit": commit(),
        "command": "affectnet-plus train LABELLED MODEL "
        + " ".join("PRETRAINED" if word == encoder else str(word) for word in beginning + chosen),
    }
    if start == "pretrained":
        row |= {
            "unlabelled_faces": before["images"]["faces"],
            "pretraining_epochs": options.pretraining_epochs,
            "pretraining_loss": before["losses"][-1],
            "pretraining_seconds": before["seconds"],
        }
    return row


if __name__ == "__main__":
    main()
