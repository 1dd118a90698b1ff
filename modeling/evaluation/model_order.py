"""Does a model put the emotions in the order that it says? Asked of labelled faces, by what the model answers.

A model of eight numbers does not say which emotion each is, and one that was trained or saved in another tool's order
is wrong about most faces while its confusion matrix is a clean permutation. Two things are looked at, and each can
be judged without the other: how often the class it names is the label of the face, in each known order, and where the
faces lie in valence and arousal that it puts into each class.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from transformers import AutoImageProcessor, AutoModelForImageClassification

from affectnet_plus import EMOTIONS

from ..checking.affect import AFFECT_PLACES, Moments, compare_orders, suspected
from ..checking.findings import Counts, Examination, Finding
from ..checkpoints import read_config
from ..data.dataset import FaceDataset, load_prepared
from ..labels import ORDERS
from ..loading import in_a_sentence, load_whole
from ..sentences import lacks
from ..shipped import model_folder
from ..stages import Progress, silent, told
from .predict import ask_about, load_model

MIN_FACES = 50  # with a label
MIN_GAIN = 0.05  # in the share of faces that are named as labelled
MIN_DEVIATIONS = 5.0  # of that gain, in standard errors: once in some million models by chance
BATCH = 64
# How other tools spell the emotions in `id2label`.
SPELLINGS = {
    "angry": "anger",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "fearful": "fear",
    "disgusted": "disgust",
    "contemptuous": "contempt",
}


def examine_model(
    model,
    data,
    view: str = "default",
    split: str = "validation",
    progress: Progress = silent,
) -> Examination:
    """Ask the model of a folder about the faces of a split, and find the order that its classes stand in.

    Args:
        model: a folder that `train` wrote, or any that transformers opens as an image classifier of 7 or 8 classes
            (without running code of the folder).
        data: prepared faces that have labels, as `load_prepared` takes them.

    Returns:
        A report as `doctor`'s, of the kind "model". An "error" where another order than the declared one fits clearly
        better; a "warning" where no known order does, but another permutation.

    Raises:
        FileNotFoundError: one of the two is no such folder.
        ValueError: fewer than 50 faces have a label, or the model has another number of classes.
    """
    rows = load_prepared(data, view, split)
    probabilities, names = _answers(Path(model_folder(model)), rows, progress)
    labels, affect = _known(rows)
    known = labels >= 0
    if known.sum() < MIN_FACES:
        raise ValueError(f"{known.sum()} faces of {data} have a label, expected at least {MIN_FACES}. Give more")
    if probabilities.shape[1] not in (7, 8):
        raise ValueError(f"{model} has {probabilities.shape[1]} classes, expected 7 or 8 emotions")
    declared = declared_order(names)
    classes = probabilities.argmax(axis=1)
    findings = [_by_labels(classes[known], labels[known], probabilities.shape[1], declared)]
    if probabilities.shape[1] == 8 and (declared or "affectnet") == "affectnet":
        findings += _by_affect(classes, affect)
    if declared is None:
        said = f"its classes are named {', '.join(names)}, which is no known order; judged as AffectNet's"
        findings.append(Finding("warning", "class names", said, len(names)))
    named = _named(np.bincount(labels[known], minlength=8))
    counts: dict[str, Counts] = {split: {"rows": len(labels), "labels": named, "subsets": {}}}
    return {
        "path": str(model),
        "kind": "model",
        "counts": counts,
        "left_out": {},
        "findings": [finding.record() for finding in findings],
    }


def declared_order(names: Iterable[str]) -> str | None:
    """The known order that class names spell out, in the words of this or of another tool; None for no such order."""
    words = tuple(name.lower() for name in names)
    emotions = tuple(SPELLINGS.get(word, word) for word in words)
    return next((order for order, known in ORDERS.items() if known == emotions), None)


def agreements(classes: np.ndarray, labels: np.ndarray, number: int) -> dict[str, np.ndarray]:
    """For each known order of `number` classes, whether each face (n,) is named as it is labelled."""
    return {
        order: np.array([EMOTIONS.index(name) for name in emotions])[classes] == labels
        for order, emotions in ORDERS.items()
        if len(emotions) == number
    }


def best_permutation(classes: np.ndarray, labels: np.ndarray, number: int) -> tuple[str, ...]:
    """The emotion of each class in the reading, of all there are, that names most faces as labelled (Kuhn 1955)."""
    confusion = np.zeros((number, len(EMOTIONS)))
    np.add.at(confusion, (classes, labels), 1)
    _, emotions = linear_sum_assignment(confusion, maximize=True)
    return tuple(EMOTIONS[emotion] for emotion in emotions)


def _by_labels(classes: np.ndarray, labels: np.ndarray, number: int, declared: str | None) -> Finding:
    agree = agreements(classes, labels, number)
    assumed = declared or next(iter(agree))
    best = max(agree, key=lambda order: agree[order].mean())
    share = f"{agree[assumed].mean():.1%} of {len(labels):,} faces are named as labelled in its order {assumed!r}"
    reading = best_permutation(classes, labels, number)
    permuted = np.array([EMOTIONS.index(name) for name in reading])[classes] == labels
    if _clearly_better(permuted, agree[best]):
        text = (
            f"{share}, {agree[best].mean():.1%} in the best of the known orders, but {permuted.mean():.1%} if its "
            f"classes are {', '.join(reading)}"
        )
        return Finding("warning", "label order", text, int((permuted != agree[assumed]).sum()))
    if _clearly_better(agree[best], agree[assumed]):
        text = f"{share}, {agree[best].mean():.1%} in the order {best!r}. Remap its answers from that to {assumed!r}"
        return Finding("error", "label order", text, int((agree[best] != agree[assumed]).sum()))
    return Finding("note", "label order", f"{share}; no other order is clearly better", len(labels))


def _clearly_better(one: np.ndarray, other: np.ndarray) -> bool:
    difference = one.astype(float) - other
    error = difference.std() / np.sqrt(len(difference))
    return bool(difference.mean() > MIN_GAIN and difference.mean() > MIN_DEVIATIONS * error)


def _by_affect(classes: np.ndarray, affect: np.ndarray) -> list[Finding]:
    """What the valence and arousal of the faces in each class say of its name; nothing where they are not known."""
    known = ~np.isnan(affect).any(axis=1)
    moments = Moments(2)
    moments.add(classes[known], affect[known])
    order = suspected(compare_orders(moments, AFFECT_PLACES))
    if order is None:
        return []
    text = (
        f"the faces of its classes lie in valence and arousal as those of the order {order.name!r} do, "
        f"{order.deviations:.0f} standard errors nearer than in AffectNet's"
    )
    return [Finding("error", "valence and arousal", text, int(known.sum()))]


# --- what the model says, and what is known --------------------------------------------------------------------------


def _answers(model: Path, rows, progress) -> tuple[np.ndarray, tuple[str, ...]]:
    """Scores (faces, classes) that sum to 1, and the names of the classes."""
    if not (model / "config.json").is_file():
        raise FileNotFoundError(f"{lacks(model, ['config.json'])}; give a folder that holds a model")
    if read_config(model)["model_type"] == "affectnet_plus":
        ours = load_model(model)
        said, _ = ask_about(ours, FaceDataset(rows, ours.config.image_size), BATCH, progress, "ask")
        return said, tuple(ours.config.id2label[index] for index in range(ours.config.num_labels))
    network = load_whole(AutoModelForImageClassification, model)
    with in_a_sentence(model):
        processor = AutoImageProcessor.from_pretrained(model)
    parts = []
    with torch.inference_mode():
        for start in told(range(0, len(rows), BATCH), "ask", progress):
            images = [image.convert("RGB") for image in rows[start : start + BATCH]["image"]]
            logits = network(**processor(images, return_tensors="pt")).logits
            parts.append(logits.double().softmax(dim=1).numpy())
    names = network.config.id2label
    return np.concatenate(parts), tuple(names[index] for index in range(len(names)))


def _known(rows) -> tuple[np.ndarray, np.ndarray]:
    """Labels (faces,), -1 where unknown, and valence and arousal (faces, 2), NaN where unknown."""
    columns = rows.select_columns(["label", "valence", "arousal"]).with_format("arrow")[:]
    affect = np.stack([columns[name].to_numpy() for name in ("valence", "arousal")], axis=1)
    return columns["label"].fill_null(-1).to_numpy(), affect.astype(float)


def _named(counts: np.ndarray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(EMOTIONS, counts, strict=True) if count}
