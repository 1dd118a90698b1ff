"""Soft labels for faces that one person labelled: which method comes nearest to what the others say?

    python benchmarks/one_annotator.py SOURCE WORK [--kind hog|small] [--folds 2] [--judged 2] [--epochs 25] [--seed 0]
    python benchmarks/one_annotator.py SOURCE WORK --answers one=A.csv other=B.csv votes=C.csv [--seed 0]

The label of a face of FER+ is one random vote of its ten, as AffectNet's is one annotator's; the target is the
distribution of its other votes. That is the protocol for AffectNet+; with the majority of ten votes as the label
(soft_labels.py) the label is made of the target. Networks learn the single votes of the other folds (the ceiling: the
other votes too) and judge the faces of theirs; `--judged 1` trains for one fold and judges that one alone. What is
fitted to votes (an epsilon, class means, a fusion) is fitted by five folds, without the faces that it is used for.

With --answers nothing is trained: files of predictions of FER2013Valid (image_id, and p0 ... p7 in AffectNet's order,
0 for an emotion that a tool does not know), such as those of the tools of `peers.py`, stand for the networks, of which
`one` and `other` learnt single labels, and `votes` votes; FER2013Valid is judged, and no binary ensemble.

WORK keeps what the networks said. Figures, with 95 % intervals of each method and of its paired difference from the
class mean, by subset, go to benchmarks/results/one-annotator-KIND-<date>-<commit>.csv; KL against the number of faces
with votes to vote-budget-KIND-<date>-<commit>.csv: each size is drawn ten times, the test faces are always the same.
"""

import argparse
import csv
import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from learners import KINDS, Faces, inputs, kept, logits, read_faces, trained
from measuring import RESULTS, commit, hardware, write_csv
from scipy.optimize import minimize_scalar
from scipy.special import logit, softmax
from sklearn.model_selection import KFold
from torch import nn

from affectnet_plus_modeling.evaluation.bootstrap import bootstrap_mean
from affectnet_plus_modeling.labelling.ensemble.calibration import apply_calibration, fit_calibration
from affectnet_plus_modeling.labelling.ensemble.sampling import balanced_draws
from affectnet_plus_modeling.labelling.fitting import fitted
from affectnet_plus_modeling.labelling.fusion import Sources, absent, normalised
from affectnet_plus_modeling.labels import subsets
from affectnet_plus_modeling.metrics.soft_label.formulas import jensen_shannon, kl_divergence

SUBSETS = ("all", "easy", "challenging", "difficult")
BUDGETS = (30, 100, 300, 1000, 3000, 10**9)
DRAWS = 10
STEPS = 1000
FLOOR = 1e-4  # of a probability of a tool: some give contempt none
TOLD = ("folds", "judged", "epochs", "seed", "hardware", "commit", "command")
COLUMNS: tuple[str, ...] = ("method", "label_given", "votes_used", "subset", "faces", "kl", "kl_low", "kl_high")
COLUMNS += ("difference", "difference_low", "difference_high", "js", "top_1", *TOLD)
BUDGET_COLUMNS = ("method", "voted_faces", "faces", "draws", "kl", "kl_least", "kl_most", *TOLD)
Fit = Callable[["Judged"], Callable[["Judged"], np.ndarray]]


class Judged:
    """Faces with their one label, the distribution of the other votes, and what the networks say of them."""

    def __init__(self, labels: np.ndarray, others: np.ndarray, said: dict[str, np.ndarray]):
        self.labels, self.others, self.said = labels, others, said

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Judged":
        return Judged(self.labels[rows], self.others[rows], {name: v[rows] for name, v in self.said.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="small")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--judged", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=25)
    parser.add_argument("--answers", nargs="+", help="NAME=FILE of predictions, instead of networks that are trained")
    parser.add_argument("--faces", type=int, help="as many, instead of all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    told = {name: getattr(options, name) for name in ("folds", "judged", "epochs", "seed")}
    told |= {"hardware": hardware(), "commit": commit()}
    words = f"--kind {options.kind} --folds {options.folds} --judged {options.judged} --epochs {options.epochs:g}"
    words += f" --faces {options.faces}" if options.faces else ""
    told["command"] = f"python benchmarks/one_annotator.py FERPLUS WORK {words} --seed {options.seed}"
    if options.answers:
        options.kind = "answers"
        told["command"] = "python benchmarks/one_annotator.py FERPLUS WORK --answers " + " ".join(
            f"{name}={Path(file).name}" for name, file in (text.split("=", 1) for text in options.answers)
        )
        told |= {"folds": None, "judged": None, "epochs": None}
    judged = judge_answers(options) if options.answers else judge(options)[0]
    print({name: int(n) for name, n in zip(SUBSETS[1:], np.bincount(subsets(judged.labels, judged.others)))})
    end = f"{options.kind}-{datetime.date.today()}-{told['commit']}.csv"
    write_csv(RESULTS / f"one-annotator-{end}", COLUMNS, [row | told for row in table(judged, options.seed)])
    rows = [row | told for row in budget(judged, options.seed)]
    write_csv(RESULTS / f"vote-budget-{end}", BUDGET_COLUMNS, rows)


# --- the faces and the networks --------------------------------------------------------------------------------------


def one_vote(faces: Faces, seed: int) -> np.ndarray:
    """A random vote of each face."""
    places = np.random.default_rng([seed, 1]).random((len(faces.labels), 1))
    return (places > faces.shares.cumsum(axis=1)).sum(axis=1).clip(max=7)


def split_votes(faces: Faces, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The label of each face, and the distribution of its other votes."""
    labels = one_vote(faces, seed)
    others = faces.votes - np.eye(8, dtype=int)[labels]
    return labels, others / others.sum(axis=1, keepdims=True)


def judge_answers(options) -> Judged:
    faces, said = read_faces(options.source, options.work, "validation", 2), {}
    for text in options.answers:
        name, file = text.split("=", 1)
        with open(file, newline="") as stream:
            rows = {
                row["image_id"]: [float(row.get(f"p{code}", 0)) for code in range(8)] for row in csv.DictReader(stream)
            }
        said[name] = np.log(np.array([rows[name] for name in faces.names]).clip(FLOOR))
    return Judged(*split_votes(faces, options.seed), said)


def judge(options) -> tuple[Judged, np.ndarray]:
    """The faces fold by fold, and the place of each among those of training."""
    faces = read_faces(options.source, options.work, "train", 2, options.faces)
    labels, others = split_votes(faces, options.seed)
    given = inputs(options.kind, faces.pixels)
    splits = KFold(options.folds, shuffle=True, random_state=options.seed).split(labels)
    places, said = [], []
    for fold, (known, held) in list(enumerate(splits))[: options.judged]:
        name = f"{options.kind}-{len(labels)}-folds{options.folds}-epochs{options.epochs:g}-seed{options.seed}"
        file = options.work / "one_annotator" / name / f"{fold}.npz"
        say = Networks(options, given, labels, faces.shares, known, held, options.seed * 100 + 10 * fold)
        said.append(kept(file, say.answers))
        places.append(held)
    rows = np.concatenate(places)
    answers = {name: np.concatenate([one[name] for one in said]) for name in said[0]}
    return Judged(labels[rows], others[rows], answers), rows


class Networks:
    """What the networks of one fold say of the faces that none of them saw: logits by name."""

    def __init__(self, options, given, labels, shares, known, held, seed: int):
        self.kind, self.epochs, self.seed = options.kind, options.epochs, seed
        self.given, self.labels, self.shares, self.known, self.held = given, labels, shares, known, held

    def answers(self) -> dict[str, np.ndarray]:
        hard = np.eye(8)[self.labels[self.known]]
        trunk = self.learn(hard, 0)
        found = {"one": self.ask(trunk), "other": self.ask(self.learn(hard, 1, other=True))}
        found["votes"] = self.ask(self.learn(self.shares[self.known], 2))
        found["binary"] = self.binary(trunk)
        return found

    def learn(self, targets: np.ndarray, seed: int, other: bool = False):
        given = self.given[self.known]
        return trained(self.kind, given, targets, self.epochs, self.seed + seed, other=other)

    def ask(self, network, rows: np.ndarray | None = None) -> np.ndarray:
        return logits(self.kind, network, self.given[self.held if rows is None else rows])

    def binary(self, trunk) -> np.ndarray:
        """Log-odds of eight networks "this emotion, or any other?", which start from the trunk, as `train-ensemble`'s
        do, with its draws: half of the negatives by the trunk's probability, and smoothed targets."""
        confusion, columns = softmax(self.ask(trunk, self.known), axis=1), []
        smoothed = np.array([[0.95, 0.05], [0.05, 0.95]])
        for code in range(8):
            rng = np.random.default_rng([self.seed, code])
            own = self.labels[self.known]
            places, classes = balanced_draws(own, code, confusion[:, code], 2, 750, 0.5, rng)
            given = self.given[self.known[places]]
            made = trained(self.kind, given, smoothed[classes], 1, self.seed + code, start=trunk)
            scores = self.ask(made)
            columns.append(scores[:, 1] - scores[:, 0])
        return np.stack(columns, axis=1)


# --- the methods -----------------------------------------------------------------------------------------------------


def smoothing(fit: Judged):
    def mixed(epsilon: float, faces: Judged) -> np.ndarray:
        return (1 - epsilon) * np.eye(8)[faces.labels] + epsilon / 8

    best = minimize_scalar(lambda e: kl_divergence(fit.others, mixed(e, fit)).mean(), bounds=(0, 1), method="bounded")
    return lambda faces: mixed(best.x, faces)


def class_mean(fit: Judged):
    """A class without a voted face has the mean of all, with the weight of one face in every class."""
    every = fit.others.mean(axis=0)
    sums = np.stack([fit.others[fit.labels == code].sum(axis=0) + every for code in range(8)])
    means = sums / sums.sum(axis=1, keepdims=True)
    return lambda faces: means[faces.labels]


def plain(name: str) -> Fit:
    return lambda fit: lambda faces: answer(faces, name)


def answer(faces: Judged, name: str) -> np.ndarray:
    """The distribution that a network gives, or two of them in the mean of their probabilities."""
    if name == "two":
        return (softmax(faces.said["one"], axis=1) + softmax(faces.said["other"], axis=1)) / 2
    return normalised(faces.said["ebc"]) if name == "binary" else softmax(faces.said[name], axis=1)


def tempered(name: str) -> Fit:
    def made(fit: Judged):
        scores = np.log(answer(fit, name))
        loss = lambda log_t: kl_divergence(fit.others, softmax(scores / np.exp(log_t), axis=1)).mean()  # noqa: E731
        best = minimize_scalar(loss, bounds=(-2, 2), method="bounded").x
        return lambda faces: softmax(np.log(answer(faces, name)) / np.exp(best), axis=1)

    return made


def dirichlet(name: str) -> Fit:
    """(a f + e_y) / (a + 1): the label is one vote, the network's answer a votes."""

    def made(fit: Judged):
        def posterior(log_a: float, faces: Judged) -> np.ndarray:
            a = np.exp(log_a)
            return (a * answer(faces, name) + np.eye(8)[faces.labels]) / (a + 1)

        loss = lambda log_a: kl_divergence(fit.others, posterior(log_a, fit)).mean()  # noqa: E731
        best = minimize_scalar(loss, bounds=(-4, 6), method="bounded").x
        return lambda faces: posterior(best, faces)

    return made


def fusion(name: str, method: str = "softmax") -> Fit:
    def made(fit: Judged):
        found, _ = fitted(method, sources(fit, name), fit.others)
        return lambda faces: normalised(found.apply(sources(faces, name))[0])

    return made


def sources(faces: Judged, name: str) -> Sources:
    own = faces.said["ebc"] if name == "binary" else answer(faces, name)
    return Sources(own.clip(0, 1), absent(len(faces)), faces.labels)


def small_network(name: str) -> Fit:
    """A layer of 32 units over eight log-odds and the label, 1,000 steps of 128 faces, with a decay of .01."""

    def seen(faces: Judged) -> torch.Tensor:
        confidences = faces.said["ebc"] if name == "binary" else answer(faces, name)
        log_odds = logit(confidences.clip(1e-3, 1 - 1e-3)) / 3
        return torch.from_numpy(np.concatenate([log_odds, np.eye(8)[faces.labels]], axis=1)).float()

    def made(fit: Judged):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 8))
        optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=0.01)
        given, goal = seen(fit), torch.from_numpy(fit.others).float()
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(given), (min(128, len(given)),))
            loss = -(goal[rows] * network(given[rows]).log_softmax(-1)).sum(-1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

        def said(faces: Judged) -> np.ndarray:
            with torch.no_grad():
                return network(seen(faces)).double().softmax(-1).numpy()

        return said

    return made


METHODS: dict[str, tuple[str, str, Fit]] = {  # name -> (label given, votes used, how it is fitted)
    "one-hot": ("yes", "none", lambda fit: lambda faces: np.eye(8)[faces.labels]),
    "label smoothing, best epsilon": ("yes", "a few numbers", smoothing),
    "mean vote of the label's class": ("yes", "a few numbers", class_mean),
    "one classifier": ("no", "none", plain("one")),
    "one classifier, temperature": ("no", "a few numbers", tempered("one")),
    "two classifiers": ("no", "none", plain("two")),
    "binary ensemble": ("no", "none", plain("binary")),
    "binary ensemble, temperature": ("no", "a few numbers", tempered("binary")),
    "classifier of all votes": ("no", "in training", plain("votes")),
    "Dirichlet of one classifier and label": ("yes", "a few numbers", dirichlet("one")),
    "Dirichlet of two classifiers and label": ("yes", "a few numbers", dirichlet("two")),
    "Dirichlet of binary ensemble and label": ("yes", "a few numbers", dirichlet("binary")),
    "stacking of one classifier and label": ("yes", "a few numbers", fusion("one")),
    "stacking of two classifiers and label": ("yes", "a few numbers", fusion("two")),
    "stacking of binary ensemble and label": ("yes", "a few numbers", fusion("binary")),
    "small network over one classifier and label": ("yes", "a few numbers", small_network("one")),
    "small network over two classifiers and label": ("yes", "a few numbers", small_network("two")),
    "small network over binary ensemble and label": ("yes", "a few numbers", small_network("binary")),
    "Dirichlet of classifier of all votes and label": ("yes", "in training", dirichlet("votes")),
    "stacking of classifier of all votes and label": ("yes", "in training", fusion("votes")),
}
BUDGETED = (
    "label smoothing, best epsilon",
    "mean vote of the label's class",
    "Dirichlet of two classifiers and label",
    "stacking of two classifiers and label",
    "small network over two classifiers and label",
)
BASELINE = "mean vote of the label's class"


# --- figures ---------------------------------------------------------------------------------------------------------


def possible(judged: Judged) -> dict[str, tuple[str, str, Fit]]:
    """The methods for which there are answers."""
    lacking = [word for name, word in (("binary", "binary"), ("other", "two classifiers")) if name not in judged.said]
    return {name: method for name, method in METHODS.items() if not any(word in name for word in lacking)}


def table(judged: Judged, seed: int) -> list[dict]:
    methods = possible(judged)
    said = cross_fitted({name: fit for name, (_, _, fit) in methods.items()}, judged, seed)
    parts = np.array(SUBSETS[1:])[subsets(judged.labels, judged.others)]
    found = {name: kl_divergence(judged.others, soft) for name, soft in said.items()}
    rows = []
    for subset in SUBSETS:
        own = np.ones(len(judged), bool) if subset == "all" else parts == subset
        kl = np.stack([found[name][own] for name in methods], axis=1)
        both = np.concatenate([kl, kl - found[BASELINE][own][:, None]], axis=1)
        ends = np.stack(bootstrap_mean(both, resamples=1000, seed=seed)).reshape(3, 2, len(methods))
        for place, (name, (given, used, _)) in enumerate(methods.items()):
            top = judged.others[np.arange(len(judged)), said[name].argmax(axis=1)] == judged.others.max(axis=1)
            row = {"method": name, "label_given": given, "votes_used": used, "subset": subset, "faces": int(own.sum())}
            row |= dict(zip(COLUMNS[5:11], ends[:, :, place].T.ravel().tolist(), strict=True))
            js = jensen_shannon(judged.others, said[name])
            rows.append(row | {"js": float(js[own].mean()), "top_1": float(top[own].mean())})
    for row in rows[: len(methods)]:
        print(f"{row['method']:48} {row['kl']:.4f} ({row['kl_low']:.4f} - {row['kl_high']:.4f})", flush=True)
    return rows


def cross_fitted(fits: dict[str, Fit], judged: Judged, seed: int) -> dict[str, np.ndarray]:
    found = {name: np.empty((len(judged), 8)) for name in fits}
    for others, part in KFold(5, shuffle=True, random_state=seed).split(judged.labels):
        faces = calibrated(judged, others)
        for name, fit in fits.items():
            found[name][part] = fit(faces.take(others))(faces.take(part))
    return found


def calibrated(judged: Judged, rows: np.ndarray) -> Judged:
    """With `ebc`: the ensemble's confidences, its temperatures fitted to the single votes of those rows."""
    if "binary" not in judged.said:
        return judged
    fitted = fit_calibration("temperature", judged.said["binary"][rows], judged.labels[rows], "one vote")
    ebc = apply_calibration(judged.said["binary"], fitted)
    return Judged(judged.labels, judged.others, judged.said | {"ebc": ebc})


def budget(judged: Judged, seed: int) -> list[dict]:
    """KL of 30 % of the faces against the number of others whose votes are there to fit."""
    order = np.random.default_rng([seed, 2]).permutation(len(judged))
    test, pool = np.split(order, [round(0.3 * len(order))])
    judged, rows = calibrated(judged, pool), []
    for count in BUDGETS:
        repeats = DRAWS if count < len(pool) else 1
        drawn = [np.random.default_rng([seed, 3, d]).permutation(pool)[:count] for d in range(repeats)]
        for name in BUDGETED:
            fits = [METHODS[name][2](judged.take(some)) for some in drawn]
            kl = [float(kl_divergence(judged.others[test], fit(judged.take(test))).mean()) for fit in fits]
            row = {"method": name, "voted_faces": len(drawn[0]), "faces": len(test), "draws": repeats}
            rows.append(row | {"kl": float(np.mean(kl)), "kl_least": min(kl), "kl_most": max(kl)})
            print(f"{len(drawn[0]):6} {name:48} {rows[-1]['kl']:.4f}", flush=True)
    return rows


if __name__ == "__main__":
    main()
