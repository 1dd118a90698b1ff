"""Which stem suits the size `mini`: each is trained on FER+ for the same processor seconds, from the same seed.

    OMP_NUM_THREADS=1 python benchmarks/stems.py SOURCE WORK [--seconds 480] [--seed 0]

A short training tells the speed of each, and with it how many epochs the seconds are; `seconds` in the table are what
the training then took, with reading and changing the faces. All options that decide about it stand in `trained`; rates
fall over the epochs of each. Measured on FER2013Valid, protocol A, without its images in training; SOURCE and WORK are
those of ferplus.py. Figures go to benchmarks/results/stems-<date>-<commit>.csv.
"""

import argparse
import datetime
import shutil
import time
from pathlib import Path

import torch
from ferplus import figures, prepare, probabilities, validation
from measuring import RESULTS, commit, hardware, write_csv

from affectnet_plus_modeling.data.dataset import FaceDataset
from affectnet_plus_modeling.evaluation.predict import load_model
from affectnet_plus_modeling.training.options import SIZES, TrainingOptions
from affectnet_plus_modeling.training.train import train

STEMS: dict[str, dict] = {
    "plain, 32 to 128 channels, 4 layers": {"stem_channels": (32, 64, 96, 128), "num_hidden_layers": 4},
    "residual, 24 to 128 channels, 3 layers": {
        "stem_channels": (24, 48, 96, 128),
        "stem_type": "residual",
        "num_hidden_layers": 3,
    },
    "residual, 16 to 96 channels, 4 layers": {
        "stem_channels": (16, 32, 64, 96),
        "stem_type": "residual",
        "num_hidden_layers": 4,
    },
}
COLUMNS: tuple[str, ...] = ("stem", "epochs", "seconds", "parameters", "accuracy", "balanced_accuracy", "kl", "ece")
COLUMNS += ("recall_fear", "recall_disgust", "recall_contempt", "rows", "seed", "hardware", "commit", "command")
TRIAL = 0.1  # epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    prepared = prepare(options.source, options.work, "A")
    faces = validation(prepared, 48)
    common = {"seed": options.seed, "hardware": hardware(), "commit": commit()}
    common["command"] = f"python benchmarks/stems.py SOURCE WORK --seconds {options.seconds:g} --seed {options.seed}"
    rows = []
    for name, stem in STEMS.items():
        SIZES["mini"] = {key: value for key, value in SIZES["mini"].items() if key != "stem_type"} | stem
        # The first run compiles and reads what the others find ready.
        trials = [trained(prepared, options, epochs) for epochs in (TRIAL, TRIAL, 3 * TRIAL)]
        each = (trials[2] - trials[1]) / (2 * TRIAL)
        epochs = (options.seconds - trials[1]) / each + TRIAL
        rows.append({"stem": name, "epochs": epochs, "seconds": trained(prepared, options, epochs)})
        rows[-1] |= measured(options.work / "stem", faces) | common
        print({key: rows[-1][key] for key in COLUMNS[:8]}, flush=True)
    write_csv(RESULTS / f"stems-{datetime.date.today().isoformat()}-{common['commit']}.csv", COLUMNS, rows)


def trained(prepared: Path, options, epochs: float) -> float:
    """Processor seconds of a training."""
    out, began = options.work / "stem", time.process_time()
    shutil.rmtree(out, ignore_errors=True)
    how = TrainingOptions(
        size="mini",
        image_size=48,
        epochs=epochs,
        batch_size=128,
        learning_rate=3e-3,
        weight_decay=0.05,
        max_grad_norm=2.0,
        classifier_dropout=0.2,
        drop_path=0.1,
        average=0.99,
        holdout=0.05,
        seed=options.seed,
    )
    train(prepared, out, how)
    return time.process_time() - began


def measured(folder: Path, faces: FaceDataset) -> dict:
    model = load_model(folder)
    torch.set_num_threads(1)
    found = figures(probabilities(model, faces)[0], faces.soft_labels.numpy(), faces.labels.numpy())
    return found | {"parameters": sum(value.numel() for value in model.parameters())}


if __name__ == "__main__":
    main()
