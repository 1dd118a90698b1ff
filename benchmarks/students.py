"""Does a student learn better from soft labels, and is it less biased? One network on hard labels, votes and between.

    python benchmarks/students.py SOURCE WORK [--kind hog|small] [--seeds 5] [--epochs 25] [--fairface FAIRFACE]

Students of FER2013Train (protocol A, images of FER2013Valid left out) differ in their target, or in how often each
emotion is drawn, alone: majority label, the same smoothed by .1, votes; natural, square-root and balanced sampling;
and, as AffectNet's labels are, one random vote. `one annotator` is a vote that is the same for all seeds, and `fused`
what `label` makes of that vote: stacked with two classifiers of such votes that did not see the face (those of
one_annotator.py, --kind hog), the fusion fitted to the other votes of VOTED faces. A temperature, fitted to the votes
of the 5 % of the training faces that were held back, is tried on each. All are measured on FER2013Valid. A difference
is from the student of the majority label with the same sampling, that of `fused` from `one annotator` too; its
interval draws seeds and faces again. McNemar's mid-p is of each seed, and the median is given. Subsets are those of
one random vote of a face against its other votes.

FAIRFACE is a folder of faces.tar and labels.csv: with it, the gap between groups in the confidence that is given to
the same expression, for which the label of the model that the package ships is taken: largest less smallest group
mean of the share given to it, in the mean over the expressions of 50 faces a group, and beside it the gap of groups
drawn by lot.

WORK keeps what the students said. Figures go to benchmarks/results/students-KIND-<date>-<commit>.csv, differences to
student-differences-KIND-<date>-<commit>.csv.
"""

import argparse
import csv
import datetime
import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from learners import KINDS, Faces, inputs, kept, logits, read_faces, trained
from measuring import RESULTS, commit, hardware, write_csv
from one_annotator import METHODS, SUBSETS, judge, one_vote
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import f1_score

import affectnet_plus_modeling as ap
from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.compare import mcnemar
from affectnet_plus_modeling.evaluation.uncertainty import fit_temperature, soften
from affectnet_plus_modeling.labels import subsets
from affectnet_plus_modeling.metrics.calibration.formulas import expected_calibration_error
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence

RARE = ("fear", "disgust", "contempt")
SMOOTHING = 0.1
HELD = 0.05
VOTED = 1000
FUSION = "stacking of two classifiers and label"
MEASURES = ("accuracy", "macro_f1", "kl", "ece", "ece_soft", *(f"recall_{name}" for name in RARE))
TOLD = ("seeds", "epochs", "training_faces", "hardware", "commit", "command")
COLUMNS: tuple[str, ...] = ("student", "sampling", "temperature", "subset", "faces", *MEASURES)
COLUMNS += ("least_accuracy", "most_accuracy", "race_gap", "race_gap_by_chance", "gender_gap", "gender_gap_by_chance")
COLUMNS += ("group_faces", *TOLD)
DIFFERENCE_COLUMNS: tuple[str, ...] = (
    "student",
    "less",
    "sampling",
    "subset",
    "measure",
    "difference",
    "low",
    "high",
    "mcnemar_p",
)
DIFFERENCE_COLUMNS += TOLD
SAMPLINGS = ("natural", "square-root", "balanced")
STUDENTS = [("hard", "natural"), ("smoothed", "natural"), ("votes", "natural"), ("one vote", "natural")]
STUDENTS += [("one annotator", "natural"), ("fused", "natural")]
STUDENTS += [(target, sampling) for sampling in SAMPLINGS[1:] for target in ("hard", "votes")]
Said = dict[tuple[str, str], np.ndarray]  # (seeds, faces, 8) logits of each student


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="small")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=25)
    parser.add_argument("--fairface", type=Path)
    parser.add_argument("--faces", type=int, help="as many training faces, instead of all")
    options = parser.parse_args()
    training = read_faces(options.source, options.work, "train", count=options.faces)
    validation = read_faces(options.source, options.work, "validation")
    groups = read_fairface(options) if options.fairface else None
    pixels = [training.pixels, validation.pixels, *([groups["pixels"]] if groups else [])]
    given = inputs(options.kind, np.concatenate(pixels)).split([len(part) for part in pixels])
    held = np.random.default_rng(0).random(len(training.labels)) < HELD
    told = {"seeds": options.seeds, "epochs": options.epochs, "training_faces": int((~held).sum())}
    words = f"--kind {options.kind} --seeds {options.seeds} --epochs {options.epochs:g}"
    words += f" --faces {options.faces}" if options.faces else ""
    words += " --fairface FAIRFACE" if options.fairface else ""
    told |= {
        "hardware": hardware(),
        "commit": commit(),
        "command": f"python benchmarks/students.py FERPLUS WORK {words}",
    }
    said = {student: ask(options, student, training, held, given) for student in STUDENTS}
    rows, differences = figures(said, training.shares[held], validation, groups)
    end = f"{options.kind}-{datetime.date.today()}-{told['commit']}.csv"
    write_csv(RESULTS / f"students-{end}", COLUMNS, [row | told for row in rows])
    write_csv(RESULTS / f"student-differences-{end}", DIFFERENCE_COLUMNS, [row | told for row in differences])


# --- the students ----------------------------------------------------------------------------------------------------


def ask(options, student: tuple[str, str], training: Faces, held: np.ndarray, given) -> list[np.ndarray]:
    """Logits (seeds, faces, 8) of each set of faces: those held back, FER2013Valid, FairFace where it is there."""
    target, sampling = student
    own = torch.from_numpy(np.flatnonzero(~held))
    sets = (given[0][torch.from_numpy(held)], *given[1:])
    from_one = fused(options, training) if target == "fused" else None
    found = []
    for seed in range(options.seeds):
        name = f"{options.kind}-{len(training.labels)}-epochs{options.epochs:g}-{target}-{sampling}-{seed}".replace(
            " ", "-"
        )
        weights = None if sampling == "natural" else odds(training.labels[~held], sampling)
        taught = (targets(target, training, seed) if from_one is None else from_one)[~held]

        def learn(weights=weights, taught=taught, seed=seed) -> dict[str, np.ndarray]:
            made = trained(options.kind, given[0][own], taught, options.epochs, seed, weights)
            return {f"set{place}": logits(options.kind, made, one) for place, one in enumerate(sets)}

        found.append(kept(options.work / "students" / f"{name}.npz", learn))
        print(name, flush=True)
    return [np.stack([one[f"set{place}"] for one in found]) for place in range(len(sets))]


def targets(kind: str, faces: Faces, seed: int) -> np.ndarray:
    if kind == "votes":
        return faces.shares
    if kind == "one vote":  # another draw for each seed
        return np.eye(8)[one_vote(faces, seed)]
    if kind == "one annotator":
        return np.eye(8)[one_vote(faces, 0)]
    epsilon = SMOOTHING if kind == "smoothed" else 0
    return (1 - epsilon) * np.eye(8)[faces.labels] + epsilon / 8


def fused(options, faces: Faces) -> np.ndarray:
    how = argparse.Namespace(source=options.source, work=options.work, faces=options.faces, kind="hog")
    how.folds, how.judged, how.epochs, how.seed = 2, 2, 25, 0
    judged, rows = judge(how)
    if (judged.labels != one_vote(faces, 0)[rows]).any():
        raise ValueError("one_annotator.py judged other faces than students are trained on")
    voted = np.random.default_rng(0).permutation(len(rows))[:VOTED]
    found = np.empty((len(rows), 8))
    found[rows] = METHODS[FUSION][2](judged.take(voted))(judged)
    return found


def odds(labels: np.ndarray, sampling: str) -> np.ndarray:
    """How often each face is drawn, as the samplers of `train` draw hard labels."""
    counts = np.bincount(labels, minlength=8)[labels]
    return 1 / (counts if sampling == "balanced" else np.sqrt(counts))


# --- figures ---------------------------------------------------------------------------------------------------------


def figures(said, held_shares: np.ndarray, validation: Faces, groups) -> tuple[list[dict], list[dict]]:
    votes = one_vote(validation, 0)
    others = validation.votes - np.eye(8, dtype=int)[votes]
    parts = np.array([*SUBSETS[1:], "none"])[subsets(votes, others / others.sum(axis=1, keepdims=True).clip(1))]
    rows, differences, plain = [], [], {}
    for (target, sampling), (held, seen, *fairface) in said.items():
        temperatures = [fit_temperature(softmax(one, axis=1), held_shares) for one in held]
        for tempered in (False, True):
            answers = [softmax(one, axis=1) for one in seen]
            if tempered:
                answers = [soften(one, t) for one, t in zip(answers, temperatures, strict=True)]
            name = target + (", temperature" if tempered else "")
            plain[name, sampling] = np.stack(answers)
            told: dict = {"student": name, "sampling": sampling}
            told["temperature"] = float(np.mean(temperatures)) if tempered else 1.0
            for subset in SUBSETS:
                own = np.ones(len(parts), bool) if subset == "all" else parts == subset
                each = [measured(one[own], validation.take(own)) for one in answers]
                row: dict = {key: float(np.mean([one[key] for one in each])) for key in MEASURES}
                row |= {"least_accuracy": min(e["accuracy"] for e in each), "faces": int(own.sum())}
                row |= {"most_accuracy": max(e["accuracy"] for e in each), "subset": subset}
                if fairface and subset == "all":
                    row |= group_gaps([softmax(one, axis=1) for one in fairface[0]], temperatures, tempered, groups)
                rows.append(told | row)
            print({key: round(value, 4) if isinstance(value, float) else value for key, value in rows[-4].items()})
    for (name, sampling), said in plain.items():
        if name == "hard":
            continue
        for subset in SUBSETS:
            own = np.ones(len(parts), bool) if subset == "all" else parts == subset
            known = validation.take(own)
            for less in ("hard", "one annotator") if name.startswith("fused") else ("hard",):
                differences += compared(
                    name, less, sampling, subset, said[:, own], plain[less, sampling][:, own], known
                )
    return rows, differences


def measured(said: np.ndarray, faces: Faces) -> dict[str, float]:
    right = said.argmax(axis=1) == faces.labels
    mass = faces.shares[np.arange(len(said)), said.argmax(axis=1)]
    found = {
        "accuracy": float(right.mean()),
        "macro_f1": float(
            f1_score(faces.labels, said.argmax(axis=1), labels=range(8), average="macro", zero_division=0)
        ),
        "kl": float(kl_divergence(faces.shares, said).mean()),
        "ece": float(expected_calibration_error(said.max(axis=1), right)),
        "ece_soft": float(expected_calibration_error(said.max(axis=1), mass)),
    }
    for name in RARE:
        own = faces.labels == EMOTIONS.index(name)
        found[f"recall_{name}"] = float(right[own].mean()) if own.any() else float("nan")
    return found


def compared(name, less, sampling, subset, said: np.ndarray, other: np.ndarray, faces: Faces) -> list[dict]:
    """Differences with intervals that draw seeds and faces again, each of both students together."""
    right = [(one.argmax(axis=2) == faces.labels).astype(float) for one in (said, other)]
    kl = [np.stack([kl_divergence(faces.shares, one) for one in students]) for students in (said, other)]
    rare = {key: faces.labels == EMOTIONS.index(key) for key in RARE} if subset == "all" else {}
    every = {"accuracy": right[0] - right[1], "kl": kl[0] - kl[1]}
    every |= {f"recall_{key}": (right[0] - right[1])[:, own] for key, own in rare.items() if own.any()}
    tests = [mcnemar(one > 0, two > 0)["p_mid"] for one, two in zip(*right, strict=True)]
    rows = []
    for measure, values in every.items():
        low, high = drawn_interval(values)
        row = {"student": name, "less": less, "sampling": sampling, "subset": subset, "measure": measure}
        row |= {"difference": float(values.mean()), "low": low, "high": high}
        rows.append(row | ({"mcnemar_p": float(np.median(tests))} if measure == "accuracy" else {}))
    return rows


def drawn_interval(values: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """Of the mean over (seeds, faces), each drawn again."""
    generator, (seeds, faces) = np.random.default_rng(0), values.shape
    by_seed = np.stack([np.bincount(generator.integers(seeds, size=seeds), minlength=seeds) for _ in range(draws)])
    by_face = np.stack([np.bincount(generator.integers(faces, size=faces), minlength=faces) for _ in range(draws)])
    means = ((by_seed @ values) * by_face).sum(axis=1) / (seeds * faces)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


# --- groups of FairFace ----------------------------------------------------------------------------------------------


def read_fairface(options) -> dict[str, np.ndarray]:
    """Grey faces of 48 pixels, race and gender by FairFace's own labels, and the expression by the shipped model."""

    def made() -> dict[str, np.ndarray]:
        with open(options.fairface / "labels.csv", newline="") as file:
            rows = {row["file"]: row for row in csv.DictReader(file)}
        pixels, names, coloured = [], [], []
        with tarfile.open(options.fairface / "faces.tar") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name not in rows:
                    continue
                picture = Image.open(io.BytesIO(archive.extractfile(member).read()))  # type: ignore[union-attr]
                side = picture.size[0]
                inner = picture.convert("L").crop((side // 6, side // 6, side - side // 6, side - side // 6))
                pixels.append(np.asarray(inner.resize((48, 48), Image.Resampling.BILINEAR)))
                names.append(name)
                coloured.append(inner)
        answers = ap.predict(ap.pretrained(), coloured)
        return {
            "pixels": np.stack(pixels),
            "race": np.array([rows[name]["race"] for name in names]),
            "gender": np.array([rows[name]["gender"] for name in names]),
            "expression": np.array([EMOTIONS.index(one["label"]) for one in answers]),
        }

    return kept(options.work / "fairface.npz", made)


def group_gaps(answers: list[np.ndarray], temperatures: list[float], tempered: bool, groups) -> dict[str, float]:
    """The mean gap over the seeds, and that of groups by lot: 200 permutations of the groups of an expression."""
    found: dict[str, float] = {"group_faces": len(groups["expression"])}
    given = np.arange(len(groups["expression"])), groups["expression"]
    scores = [soften(one, t)[given] if tempered else one[given] for one, t in zip(answers, temperatures, strict=True)]
    confidence = np.mean(scores, axis=0)
    generator = np.random.default_rng(0)
    for attribute in ("race", "gender"):
        gaps, chance = [], []
        for code in range(8):
            own = groups["expression"] == code
            names, counts = np.unique(groups[attribute][own], return_counts=True)
            if len(names) < 2 or counts.min() < 50:
                continue
            member = groups[attribute][own]
            gaps.append(gap(confidence[own], member, names))
            lots = [gap(confidence[own], generator.permutation(member), names) for _ in range(200)]
            chance.append(np.mean(lots))
        if gaps:
            found[f"{attribute}_gap"] = float(np.mean(gaps))
            found[f"{attribute}_gap_by_chance"] = float(np.mean(chance))
    return found


def gap(confidence: np.ndarray, member: np.ndarray, names: np.ndarray) -> float:
    means = [confidence[member == name].mean() for name in names]
    return max(means) - min(means)


if __name__ == "__main__":
    main()
