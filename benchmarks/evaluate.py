"""How long the numbers of an evaluation take, with intervals, subsets, groups and gaps; no network runs.

    OMP_NUM_THREADS=1 python benchmarks/evaluate.py [--rows 4000] [--resamples 2000]

The predictions are drawn. `audit` is all of metrics.json with four attributes and their groups, `compare` the paired
differences, `loop` the overall numbers by scikit-learn and our formulas in a loop over a few resamples, scaled up to
all of them: what the sums save. Figures go to benchmarks/results/evaluate-<date>-<commit>.csv.
"""

import argparse
import datetime
import os
import resource
import time

import numpy as np
from measuring import RESULTS, commit, hardware, write_csv

from affectnet_plus import GENDERS, RACES, SUBSETS
from affectnet_plus_modeling.evaluation.audit import audit
from affectnet_plus_modeling.evaluation.compare import paired_differences
from affectnet_plus_modeling.evaluation.groups import AGES, UNKNOWN, YAWS, Grouping
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions

LOOPS = 10
COLUMNS = ("what", "rows", "resamples", "seconds", "peak_mb", "threads", "hardware", "commit", "command")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    this, other = drawn_predictions(options.rows, 0), drawn_predictions(options.rows, 0, noise=1)
    attributes = {
        name: drawn_grouping(names, options.rows, seed)
        for seed, (name, names) in enumerate(
            {"gender": GENDERS, "age": tuple(AGES), "ethnicity": RACES, "yaw": YAWS}.items()
        )
    }
    subsets = drawn_grouping(SUBSETS, options.rows, 9)
    jobs = {
        "audit": lambda: audit(this, None, subsets, attributes, options.resamples),
        "compare": lambda: paired_differences(this, other, options.resamples, 0, 0.95),
        "loop": lambda: [evaluate_predictions(this.take(draw)) for draw in draws(options.rows)],
    }
    rows = []
    for what, job in jobs.items():
        start = time.perf_counter()
        job()
        seconds = (time.perf_counter() - start) * (options.resamples / LOOPS if what == "loop" else 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        rows.append(
            {
                "what": what,
                "rows": options.rows,
                "resamples": options.resamples,
                "seconds": seconds,
                "peak_mb": peak,
                "threads": os.environ.get("OMP_NUM_THREADS", "all"),
                "hardware": hardware(),
                "commit": commit(),
                "command": f"benchmarks/evaluate.py --rows {options.rows} --resamples {options.resamples}",
            }
        )
        print(f"{what}: {seconds:.2f} s, {peak:.0f} MB at most so far")
    write_csv(RESULTS / f"evaluate-{datetime.date.today()}-{commit()}.csv", COLUMNS, rows)


def draws(rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(rows, size=(LOOPS, rows))


def drawn_predictions(rows: int, seed: int, noise: float = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    soft = generator.dirichlet(np.full(8, 0.5), rows)
    answer = soft + generator.dirichlet(np.full(8, 1.0), rows)
    answer += noise * np.random.default_rng(seed + 1).dirichlet(np.full(8, 1.0), rows)
    affect = generator.uniform(-1, 1, (rows, 2))
    return Predictions(
        image_ids=[str(row) for row in range(rows)],
        probabilities=answer / answer.sum(axis=1, keepdims=True),
        soft_labels=soft,
        labels=soft.argmax(axis=1),
        valence_arousal=np.clip(affect + generator.normal(0, 0.3, (rows, 2)), -1, 1),
        true_valence_arousal=affect,
    )


def drawn_grouping(names: tuple[str, ...], rows: int, seed: int) -> Grouping:
    return Grouping((*names, UNKNOWN), np.random.default_rng(seed).integers(0, len(names), rows))


if __name__ == "__main__":
    main()
