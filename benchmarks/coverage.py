"""How often do the intervals of an evaluation hold the number of all faces, and how often is a gap called real?

    python benchmarks/coverage.py PREPARED [--repeats 400] [--sizes 50 200 1000 3553] [--seed 0]
                                  [--divergences | --resampled]

The population are the soft labels of all faces of PREPARED (FER+ has 31,603) and a model that is simulated: the log of
the soft label, a little mixed with the mean one, with noise of .9 and divided by a temperature. Samples of each size
are drawn with replacement and evaluated as `affectnet-plus evaluate` does; an interval covers where it holds the
number of the whole population. Four models: as good as ours and nearly calibrated, one that is not sure enough, one
that is too sure, and one whose labels and votes are drawn from what it says, so that it is calibrated exactly. For
gaps, groups of the sample are drawn by lot, so that no difference is real. Figures go to
benchmarks/results/coverage-<date>-<commit>.csv (coverage-of-divergences-... with --divergences, which asks for KL and
JS alone and takes seconds; coverage-of-resampled-... with --resampled, of the numbers whose intervals are percentiles:
the other distances, and valence and arousal, which here are means over the soft label with noise, and answers shrunk
towards 0 with more of it): the share of samples whose interval covers, how many had one, and its
mean width; `size under the null` is the share of samples with any gap called more than chance.
"""

import argparse
import datetime
from collections import defaultdict
from pathlib import Path

import datasets
import numpy as np
from measuring import RESULTS, commit, hardware, write_csv
from tqdm import tqdm

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data.dataset import load_prepared
from affectnet_plus_modeling.evaluation.audit import audit
from affectnet_plus_modeling.evaluation.covering import DIVERGENCES, UNKNOWN, divergence_interval
from affectnet_plus_modeling.evaluation.fairness import every_gap
from affectnet_plus_modeling.evaluation.groups import Grouping
from affectnet_plus_modeling.evaluation.intervals import AFFECT, estimate, every_number
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions, soft_label_rows
from affectnet_plus_modeling.labels import CIRCUMPLEX
from affectnet_plus_modeling.words import BEYOND_CHANCE

COLUMNS: tuple[str, ...] = (
    "model",
    "number",
    "truth",
    "faces",
    "covered",
    "with_interval",
    "width",
    "repeats",
    "hardware",
    "commit",
)
COLUMNS += ("command",)
RESAMPLES = 400
POWERS = {"nearly calibrated": 1.25, "not sure enough": 0.6, "too sure": 2.5, "calibrated": 1.25}
NOISE, MIXED = 0.9, 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 1000, 3553])
    parser.add_argument("--seed", type=int, default=0)
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--divergences", action="store_true")
    alone.add_argument("--resampled", action="store_true")
    options = parser.parse_args()
    common = {
        "repeats": options.repeats,
        "hardware": hardware(),
        "commit": commit(),
        "command": f"python benchmarks/coverage.py PREPARED --repeats {options.repeats} --seed {options.seed}"
        + (" --divergences" if options.divergences else " --resampled" if options.resampled else ""),
    }
    cover, name = covered, "coverage"
    if options.divergences:
        cover, name = covered_divergences, "coverage-of-divergences"
    elif options.resampled:
        cover, name = covered_resampled, "coverage-of-resampled"
    soft, rows = soft_labels(options.prepared), []
    for model in POWERS:
        population = simulated(model, soft, np.random.default_rng(options.seed))
        for size in options.sizes:
            found = cover(population, size, options.repeats, options.seed + 1)
            rows += [{"model": model, "faces": size, **row, **common} for row in found]
            print(model, size, {row["number"]: round(row["covered"], 3) for row in found}, flush=True)
    write_csv(RESULTS / f"{name}-{datetime.date.today().isoformat()}-{common['commit']}.csv", COLUMNS, rows)


def soft_labels(prepared: Path) -> np.ndarray:
    """(faces, 8) soft labels of all splits, but for faces without one."""
    data = load_prepared(prepared, "default")
    every = datasets.concatenate_datasets([data[split].select_columns("soft_label_normalized") for split in data])
    values = np.array(every["soft_label_normalized"][:], dtype=np.float64)
    values = values[~np.isnan(values).any(axis=1)]
    return values / values.sum(axis=1, keepdims=True)


def simulated(model: str, soft: np.ndarray, generator: np.random.Generator) -> Predictions:
    logits = np.log((1 - MIXED) * soft + MIXED * soft.mean(axis=0)) + generator.normal(0, NOISE, soft.shape)
    said = np.exp(POWERS[model] * logits)
    said /= said.sum(axis=1, keepdims=True)
    if model == "calibrated":
        soft = np.stack([generator.multinomial(10, row) for row in said]) / 10
        labels = np.minimum((said.cumsum(axis=1) < generator.uniform(size=(len(said), 1))).sum(axis=1), 7)
    else:
        labels = (soft + generator.uniform(0, 1e-6, soft.shape)).argmax(axis=1)  # ties by lot
    true = soft @ np.array([CIRCUMPLEX[name] for name in EMOTIONS]) + generator.normal(0, 0.12, (len(soft), 2))
    guess = 0.75 * true + generator.normal(0.05, 0.22, true.shape)
    names = [str(row) for row in range(len(soft))]
    return Predictions(names, said, soft, labels, guess.clip(-1, 1), true.clip(-1, 1))


def flat(metrics: dict, key: str | None = None) -> dict:
    """The numbers, or with "intervals" their intervals, by name."""
    part = metrics if key is None else metrics[key]
    names: tuple[str, ...] = ("kl", "js", "accuracy", "balanced_accuracy", "macro_f1", "ece", "ece_soft")
    names += ("classwise_ece", "classwise_ece_soft")
    found = {name: part[name] for name in names}
    for emotion, row in metrics["per_class"].items():
        cell = row if key is None else row[key]
        found |= {f"{number} of {emotion}": cell[number] for number in ("recall", "precision", "f1")}
    return found


def covered_divergences(population: Predictions, size: int, repeats: int, seed: int) -> list[dict]:
    generator, found = np.random.default_rng(seed), []
    every = soft_label_rows(population)
    for name in ("kl", "js"):
        samples = generator.integers(len(every[name]), size=(repeats, size))
        low, high = np.array([divergence_interval(every[name][rows], 0.95) for rows in samples]).T
        truth = every[name].mean()
        inside = (low <= truth) & (truth <= high)
        row = {"number": name, "truth": float(truth), "covered": float(inside.mean())}
        found.append(row | {"with_interval": float(np.mean(~np.isnan(low))), "width": float(np.mean(high - low))})
    return found


def covered_resampled(population: Predictions, size: int, repeats: int, seed: int) -> list[dict]:
    numbers = every_number(population)
    affect = [f"{dimension}_{name}" for dimension in ("valence", "arousal") for name in AFFECT]
    names = [name for name in soft_label_rows(population) if name not in (*DIVERGENCES, "top_label_agreement")]
    names += affect
    truth = numbers.of(np.arange(len(population.image_ids)))
    generator, found = np.random.default_rng(seed), []
    for _ in tqdm(range(repeats), desc=f"{size} faces"):
        sample = population.take(generator.integers(len(population.image_ids), size=size))
        [drawn] = estimate([(every_number(sample), np.arange(size))], size, RESAMPLES, seed)
        found.append([drawn.intervals(names, 0.95)[name] or UNKNOWN for name in names])
    low, high = np.moveaxis(np.array(found), 2, 0)
    values = np.array([truth[name] for name in names])
    rows = zip(names, values, ((low <= values) & (values <= high)).mean(axis=0), (~np.isnan(low)).mean(axis=0))
    return [
        {"number": name, "truth": value, "covered": covers, "with_interval": known, "width": np.nanmean(high - low)}
        for name, value, covers, known in rows
    ]


def covered(population: Predictions, size: int, repeats: int, seed: int) -> list[dict]:
    truth = flat(evaluate_predictions(population))
    generator = np.random.default_rng(seed)
    inside: dict[str, list[bool]] = defaultdict(list)
    width: dict[str, list[float]] = defaultdict(list)
    called = []
    for _ in tqdm(range(repeats), desc=f"{size} faces"):
        sample = population.take(generator.integers(len(population.image_ids), size=size))
        groups = Grouping(tuple("abcdef") + ("unknown",), generator.integers(6, size=size))
        metrics = audit(sample, None, Grouping(("easy", "unknown"), np.zeros(size, int)), {"g": groups}, RESAMPLES)
        for name, ends in flat(metrics, "intervals").items():
            if ends is not None:
                inside[name].append(ends[0] <= truth[name] <= ends[1])
                width[name].append(ends[1] - ends[0])
        gaps = every_gap(metrics["gaps"])
        if gaps:
            called.append(min(gap["p"] for gap in gaps) < BEYOND_CHANCE)
    rows = [
        {
            "number": name,
            "truth": truth[name],
            "covered": float(np.mean(found)),
            "with_interval": len(found) / repeats,
            "width": float(np.mean(width[name])),
        }
        for name, found in inside.items()
    ]
    if called:
        size_of_test = {"number": "size under the null", "covered": float(np.mean(called))}
        rows.append(size_of_test | {"with_interval": len(called) / repeats})
    return rows


if __name__ == "__main__":
    main()
