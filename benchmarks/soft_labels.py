"""Do generated soft labels say what people see? The ensemble's against the ten votes of FER+, and against baselines.

    python benchmarks/soft_labels.py SOURCE WORK [--action-units CSV] [--folds 3] [--trunk-epochs 12]

SOURCE holds FER2013Train and FER2013Valid (folders or tars) and fer2013new.csv. WORK keeps what is made: what is there
is not made again, and a killed training goes on, so the same command goes on; several of it share the training.

The ensemble is trained on the majority label alone and cross-fitted: a training face is judged by networks that never
saw it. Votes are used in two ways, and each method says in which: "none", or "a few numbers" (an epsilon, a
temperature, the coefficients of a fusion), which five-fold cross-fitting fits without the face that they are used for.
Methods that are given the majority label of the face that they judge are marked, because it is made of the very votes.
Figures, with 95 % bootstrap intervals over images, go to benchmarks/results/soft-labels-<date>-<commit>.csv.
"""

import argparse
import datetime
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
from ferplus import prepare
from measuring import RESULTS, commit, write_csv
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.model_selection import KFold

from affectnet_plus_modeling.cli import main as affectnet_plus
from affectnet_plus_modeling.evaluation.agreement import agreement
from affectnet_plus_modeling.evaluation.bootstrap import bootstrap_mean, paired_difference
from affectnet_plus_modeling.labelling.action_units.emotions import score_emotions
from affectnet_plus_modeling.labelling.action_units.tables import match_images, read_action_units
from affectnet_plus_modeling.labelling.ensemble.calibration import apply_calibration
from affectnet_plus_modeling.labelling.ensemble.model import load_ensemble
from affectnet_plus_modeling.labelling.fitting import cross_fitted
from affectnet_plus_modeling.labelling.fusion import DEFAULT, Sources, absent, normalised
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence, spearman

# Most votes of most faces are equal, at 0, and Spearman's correlation takes every difference between equals for an
# error. In tenths, which is as fine as ten people can answer, a soft label has equals too.
MEASURES = ("kl", "js", "cosine", "spearman", "spearman_in_tenths", "top_2", "subset", "subset_of_one_vote")
COLUMNS = (
    "method",
    "label_given",
    "votes_used",
    "rows",
    *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")),
    "faces",
    "seed",
    "commit",
    "command",
)
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--action-units", help="table of these faces, as blendshapes.py makes")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--trunk-epochs", type=float, default=12)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data, ensemble = prepare(options.source, options.work, "A"), options.work / "ensemble"
    command = ["train-ensemble", data, ensemble, "--folds", options.folds, "--trunk-epochs", options.trunk_epochs]
    if not ensemble.exists() and affectnet_plus([str(word) for word in command]):
        raise SystemExit(1)
    votes, labels, found = judged(data, ensemble, options.action_units)
    rows = [measure(name, given, used, votes, labels, soft) for name, (given, used, soft) in found.items()]
    train = (
        f"affectnet-plus train-ensemble prepared_A ensemble --folds {options.folds} --trunk-epochs "
        f"{options.trunk_epochs:g}"
    )
    about = {
        "faces": "FER2013Train, protocol A, without images of FER2013Valid",
        "seed": SEED,
        "commit": commit(),
        "command": f"{train}; python benchmarks/soft_labels.py FERPLUS WORK"
        + (" --action-units CSV" if options.action_units else ""),
    }
    write_csv(RESULTS / f"soft-labels-{datetime.date.today()}-{commit()}.csv", COLUMNS, [row | about for row in rows])
    for row in rows:
        print(
            f"{row['method']:<52} given {row['label_given']:<3} votes {row['votes_used']:<13} "
            + " ".join(f"{name} {row[name]:.3f}" for name in MEASURES),
            flush=True,
        )
    compare(votes, found)


def judged(data: Path, ensemble: Path, table: str | None) -> tuple[np.ndarray, np.ndarray, dict]:
    """Votes as distributions (n, 8), majority labels (n,), and each method: (label given, votes used, soft labels)."""
    rows = datasets.load_dataset(str(data), "default", split="train")
    votes = np.array(rows["soft_label"])
    labels = np.array(rows["label"])
    stored = pq.read_table(ensemble / "out_of_fold.parquet")
    assert stored["image_id"].to_pylist() == rows["image_id"]
    ebc = apply_calibration(np.array(stored["log_odds"].to_pylist()), load_ensemble(ensemble).config.calibration)
    one = np.array(stored["trunk"].to_pylist())
    units = absent(len(labels)) if table is None else scores(table, rows["image_id"])
    return (
        normalised(votes),
        labels,
        {
            "one-hot": ("yes", "none", np.eye(8)[labels]),
            "softmax of one classifier": ("no", "none", one),
            "softmax of one classifier, temperature by labels": ("no", "none", tempered(one, np.eye(8)[labels])),
            "ensemble": ("no", "none", normalised(ebc)),
            "label smoothing, best epsilon": ("yes", "a few numbers", smoothed(labels, votes)),
            "mean vote of the label's class": ("yes", "a few numbers", class_means(labels, votes)),
            "softmax of one classifier, temperature by votes": (
                "no",
                "a few numbers",
                tempered(one, normalised(votes)),
            ),
            **fused(ebc, one, units, labels, votes),
        },
    )


def fused(ebc: np.ndarray, one: np.ndarray, units: np.ndarray, labels: np.ndarray, votes: np.ndarray) -> dict:
    """Every fusion, cross-fitted to the votes."""
    none = absent(len(labels))
    choices = {
        "ensemble": (ebc, none, None),
        "ensemble + label": (ebc, none, labels),
        "one classifier + label": (one, none, labels),
    }
    if not np.isnan(units).all():
        choices |= {
            "action units": (none, units, None),
            "ensemble + action units": (ebc, units, None),
            "ensemble + action units + label": (ebc, units, labels),
        }
    found = {}
    for name, sources in choices.items():
        for method in ("stacking", "softmax") if sources[2] is not None else ("product", "stacking", "softmax"):
            soft, _ = cross_fitted(method, Sources(*sources), votes, seed=SEED)
            given = "no" if sources[2] is None else "yes"
            found[f"{name}, {method}"] = (given, "a few numbers", normalised(soft))
    if not np.isnan(units).all():
        soft, _ = DEFAULT.apply(Sources(ebc, units))
        found["ensemble + action units, default product"] = ("no", "none", normalised(soft))
    return found


def scores(table: str, names: list[str]) -> np.ndarray:
    read = read_action_units(table)
    rows = match_images(read.names, names).rows
    return score_emotions(np.where((rows >= 0)[:, None], read.values[rows], np.nan), read.units)


# --- baselines -------------------------------------------------------------------------------------------------------


def parts(rows: int):
    return KFold(5, shuffle=True, random_state=SEED).split(np.arange(rows))


def smoothed(labels: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """(1 - epsilon) one-hot + epsilon / 8, with the epsilon of least KL to the votes of the other faces."""
    one_hot, target, found = np.eye(8)[labels], normalised(votes), np.empty((len(labels), 8))

    def mixed(epsilon, rows):
        return (1 - epsilon) * one_hot[rows] + epsilon / 8

    for others, part in parts(len(labels)):
        best = minimize_scalar(lambda e, rows=others: kl_divergence(target[rows], mixed(e, rows)).mean(), (0.1, 0.3))
        found[part] = mixed(best.x, part)
    return found


def class_means(labels: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """The mean vote of the other faces with the same label."""
    target, found = normalised(votes), np.empty((len(labels), 8))
    for others, part in parts(len(labels)):
        means = np.stack([target[others][labels[others] == code].mean(axis=0) for code in range(8)])
        found[part] = means[labels[part]]
    return found


def tempered(probabilities: np.ndarray, target: np.ndarray) -> np.ndarray:
    """softmax(logits / T) with the T of least cross-entropy to the target of the other faces."""
    logits, found = np.log(probabilities.clip(1e-12)), np.empty_like(probabilities)
    for others, part in parts(len(logits)):

        def loss(log_t, rows=others):
            return -(target[rows] * log_softmax(logits[rows] / np.exp(log_t), axis=1)).sum(axis=1).mean()

        found[part] = softmax(logits[part] / np.exp(minimize_scalar(loss).x), axis=1)
    return found


# --- figures ---------------------------------------------------------------------------------------------------------


def one_vote(votes: np.ndarray) -> np.ndarray:
    """The label of one annotator: an emotion drawn from the votes of each face."""
    return (np.random.default_rng(SEED).random((len(votes), 1)) > votes.cumsum(axis=1)).sum(axis=1).clip(max=7)


def measure(name: str, given: str, used: str, votes: np.ndarray, labels: np.ndarray, soft: np.ndarray) -> dict:
    found = agreement(votes, soft, labels)
    found["spearman_in_tenths"] = spearman(votes, np.round(10 * soft) / 10)
    found["subset_of_one_vote"] = agreement(votes, soft, one_vote(votes))["subset"]
    mean, low, high = bootstrap_mean(np.stack([found[key] for key in MEASURES], axis=1), seed=SEED)
    row = {"method": name, "label_given": given, "votes_used": used, "rows": int((~np.isnan(found["js"])).sum())}
    for place, key in enumerate(MEASURES):
        row |= {key: float(mean[place]), f"{key}_low": float(low[place]), f"{key}_high": float(high[place])}
    return row


def compare(votes: np.ndarray, found: dict) -> None:
    """The paired difference of each method of ours from the best baseline, for KL and Spearman in tenths."""
    ours = [name for name in found if "ensemble" in name]
    baselines = [name for name in found if "ensemble" not in name and "action" not in name and "+" not in name]
    divergence = {name: kl_divergence(votes, soft) for name, (_, _, soft) in found.items()}
    ranking = {name: -spearman(votes, np.round(10 * soft) / 10) for name, (_, _, soft) in found.items()}
    for title, every in (("KL", divergence), ("minus Spearman in tenths", ranking)):
        best = min(baselines, key=lambda base: np.nanmean(every[base]))  # noqa: B023 (used at once)
        for name in ours:
            mean, low, high = paired_difference(every[name], every[best], seed=SEED)
            print(f"{title}: {name} less {best}: {mean:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
