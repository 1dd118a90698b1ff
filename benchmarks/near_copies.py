"""Does a model do better on faces that resemble training faces? Its figures with and without near copies.

    python benchmarks/near_copies.py SOURCE WORK ANSWERS.csv --model NAME [--above 0.99]

A face of FER2013Valid (protocol A) is a near copy where the pixels of some face of FER2013Train correlate with its own
by more than .99; pixels that are the same were left out of training before (`import-ferplus --drop-leaks`). ANSWERS is
the file of predictions that `evaluate` takes: image_id, p0 ... p7, as `peers.py` writes. Figures go to
benchmarks/results/near-copies-<date>-<commit>.csv.
"""

import argparse
import csv
import datetime
from pathlib import Path

import numpy as np
import torch
from learners import read_faces
from measuring import RESULTS, commit, hardware, write_csv

from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence

COLUMNS = ("model", "faces", "rows", "accuracy", "balanced_accuracy", "kl", "above", "hardware", "commit", "command")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--above", type=float, default=0.99)
    options = parser.parse_args()
    training, validation = (read_faces(options.source, options.work, split) for split in ("train", "validation"))
    copies = near_copies(training.pixels, validation.pixels, options.above)
    with open(options.answers, newline="") as file:
        rows = {row["image_id"]: [float(row[f"p{code}"]) for code in range(8)] for row in csv.DictReader(file)}
    said = np.array([rows[name] for name in validation.names])
    common = {"model": options.model, "above": options.above, "hardware": hardware(), "commit": commit()}
    common["command"] = f"python benchmarks/near_copies.py FERPLUS WORK ANSWERS.csv --model {options.model}"
    found = []
    for name, own in (("all", np.ones(len(said), bool)), ("without near copies", ~copies), ("near copies", copies)):
        right = said[own].argmax(axis=1) == validation.labels[own]
        recalls = [right[validation.labels[own] == code].mean() for code in np.unique(validation.labels[own])]
        kl = kl_divergence(validation.shares[own], said[own]).mean()
        row = {"faces": name, "rows": int(own.sum()), "accuracy": float(right.mean()), "kl": float(kl)}
        found.append(common | row | {"balanced_accuracy": float(np.mean(recalls))})
        print({key: found[-1][key] for key in COLUMNS[1:6]})
    write_csv(RESULTS / f"near-copies-{datetime.date.today()}-{common['commit']}.csv", COLUMNS, found)


def near_copies(training: np.ndarray, validation: np.ndarray, above: float) -> np.ndarray:
    """(n,) bool: which faces of validation have a training face that correlates with them by more than `above`.

    Pairs that correlate by .95 at 12 x 12 pixels are looked at in full, which is a sixteenth of the work.
    """
    found = np.zeros(len(validation), bool)
    small = standardised(training, 12)
    for start in range(0, len(validation), 256):
        likely = standardised(validation[start : start + 256], 12) @ small.T > 0.95
        for row in np.flatnonzero(likely.any(dim=1).numpy()):
            others = standardised(training[likely[row].numpy()], 48)
            face = standardised(validation[start + row : start + row + 1], 48)
            found[start + row] = float((others @ face.T).max()) > above
    return found


def standardised(pixels: np.ndarray, side: int) -> torch.Tensor:
    """(n, side * side) of mean 0 and length 1, so that products of two rows are correlations."""
    values = torch.from_numpy(pixels)[:, None].float()
    values = torch.nn.functional.avg_pool2d(values, 48 // side).flatten(1)
    values -= values.mean(dim=1, keepdim=True)
    return torch.nn.functional.normalize(values, dim=1)


if __name__ == "__main__":
    main()
