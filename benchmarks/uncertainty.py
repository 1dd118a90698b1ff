"""Is the promised coverage kept on faces that were not calibrated on? Random halves of one split, many times.

    python benchmarks/uncertainty.py MODEL [MODEL ...] DATA [--split validation] [--coverage .9] [--repeats 200]

Each model predicts the split once. Then a random half calibrates (temperature, prediction set, abstaining; as
`affectnet-plus calibrate --share .5 --seed REPEAT` does) and the other half is measured. The split must not have been
trained on. Figures go to benchmarks/results/uncertainty-<date>-<commit>.csv: means over the repeats, and the interval
that holds the coverage of 95 % of them.
"""

import argparse
import datetime
from pathlib import Path

import numpy as np
from measuring import RESULTS, commit, write_csv

from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared
from affectnet_plus_modeling.evaluation.calibrate import (
    CalibrationOptions,
    apply_temperature,
    fit_uncertainty,
    known_rows,
    measure_uncertainty,
)
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.uncertainty import in_share

AFTER = ("kl", "ece", "ece_soft", "set_size", "answered", "answered_accuracy")
BEFORE = ("kl", "ece", "ece_soft")
COLUMNS = (
    "model",
    "data",
    "split",
    "against",
    "of",
    "method",
    "promised",
    "covered",
    "covered_low",
    "covered_high",
    "temperature",
    *(f"{name}_before" for name in BEFORE),
    *AFTER,
    "repeats",
    "rows",
    "commit",
    "command",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    rows = [row for folder in options.models for row in measure_model(options, folder)]
    write_csv(RESULTS / f"uncertainty-{datetime.date.today()}-{commit()}.csv", COLUMNS, rows)
    for row in rows:
        names = [name for name in COLUMNS[7:-4] if isinstance(row[name], float)]
        print(row["model"], row["against"], row["of"], row["method"], *(f"{name} {row[name]:.4f}" for name in names))


def measure_model(options, folder: Path) -> list[dict]:
    model = load_model(folder)
    faces = FaceDataset(load_prepared(options.data, "default", options.split), model.config.image_size)
    predictions = predict_faces(model, faces, batch_size=256)
    found = []
    for against in ("soft", "hard"):
        for of in ("label", "vote"):
            for method in ("threshold", "aps"):
                chosen = {"coverage": options.coverage, "method": method, "of": of, "against": against}
                found.append({"model": folder.name} | repeat(options, predictions, chosen))
    return found


def repeat(options, predictions: Predictions, chosen: dict) -> dict:
    known = known_rows(predictions, CalibrationOptions(**chosen), f"{options.data.name}, {options.split} split")
    repeats = [one_half(known, CalibrationOptions(share=0.5, seed=seed, **chosen)) for seed in range(options.repeats)]
    means = {name: float(np.nanmean([found[name] for found in repeats])) for name in repeats[0]}
    low, high = np.percentile([found["covered"] for found in repeats], [2.5, 97.5])
    return means | {
        "data": options.data.name,
        "split": options.split,
        "against": chosen["against"],
        "of": chosen["of"],
        "method": chosen["method"],
        "promised": chosen["coverage"],
        "covered_low": float(low),
        "covered_high": float(high),
        "repeats": options.repeats,
        "rows": len(known.image_ids),
        "commit": commit(),
        "command": f"uncertainty.py MODEL {options.data.name} --split {options.split} --coverage {options.coverage}"
        f" --repeats {options.repeats}",
    }


def one_half(predictions: Predictions, options: CalibrationOptions) -> dict:
    """The figures of `measure_uncertainty` on the faces that are not in the share that was calibrated on."""
    mine = in_share(predictions.image_ids, options.share, options.seed)
    found = fit_uncertainty(predictions.take(np.flatnonzero(mine)), options)
    others = predictions.take(np.flatnonzero(~mine))
    before, after = (
        measure_uncertainty(others, found),
        measure_uncertainty(apply_temperature(others, found["temperature"]), found),
    )
    return after | {"temperature": found["temperature"]} | {f"{name}_before": before[name] for name in BEFORE}


if __name__ == "__main__":
    main()
