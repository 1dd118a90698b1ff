"""Predictions of another tool from a CSV or JSONL file, for the faces of a prepared split.

One line for each face. Its face: `image_id` as the prepared data has it, or else `file` or `image`, a path whose last
part is matched without its suffix (within a split these names are unique). Its probabilities, which sum to 1: a column
for each emotion by name, 7 or 8 of them; or p0, p1, ... in an order that has to be said; or, in JSONL, `soft_label`,
an object by name, as `affectnet-plus predict` writes. `valence` and `arousal`, in [-1, 1], are optional. Other columns
are not looked at.
"""

import csv
import json
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import datasets
import numpy as np

from affectnet_plus import EMOTIONS

from ..data.dataset import class_names, targets_of
from ..labels import ORDERS, remap
from .predictions import Predictions

SUFFIXES = (".csv", ".jsonl")
EXAMPLES = 3  # faces that a message names
_KEYS = ("image_id", "file", "image")
_AFFECT = ("valence", "arousal")


class External(NamedTuple):
    """Predictions that were read.

    Attributes:
        predictions: for every face of the split, in its order.
        label_order: the order that was given, None where the columns are named.
        without: emotions that the tool does not know; their probability is 0.
    """

    predictions: Predictions
    label_order: str | None
    without: list[str]


def read_external(path, data: datasets.Dataset, label_order: str | None = None) -> External:
    """The predictions of a file for all faces of the split `data`, beside what is known of them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line cannot be read; the columns are named and an order is given, or neither; a face of the split
            is missing, a line is of no face of it, or two lines are of the same face; the predictions are of 8
            emotions and the view of 7; `Predictions` refuses a row.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a {' or '.join(SUFFIXES)} file of predictions")
    lines = _csv(path) if path.suffix == ".csv" else _jsonl(path)
    if not lines:
        raise ValueError(f"{path} holds no predictions, expected one line for each face")
    names = _class_columns(path, lines[0][1], label_order)
    image_ids = data["image_id"][:]
    order = _order(path, lines, image_ids)
    affect = _AFFECT if all(lines[0][1].get(name) is not None for name in _AFFECT) else ()
    table = np.array([_numbers(path, number, line, (*names, *affect)) for number, line in lines])[order]
    probabilities, without = _ordered(table[:, : len(names)], names, label_order)
    classes = class_names(data)
    if len(classes) < len(EMOTIONS):
        if "contempt" not in without:
            raise ValueError(f"{path} has contempt, which this view has not; give the 7 others, scaled to sum to 1")
        probabilities, without = probabilities[:, : len(classes)], []
    hard = targets_of(data, "hard").numpy()
    unknown = np.isnan(hard).any(axis=1)
    predictions = Predictions(
        image_ids=list(image_ids),
        probabilities=probabilities,
        soft_labels=targets_of(data, "soft").double().numpy(),
        labels=np.where(unknown, -1, np.nan_to_num(hard).argmax(axis=1)),
        valence_arousal=table[:, len(names) :] if affect else np.full((len(table), 2), np.nan),
        true_valence_arousal=np.array([data["valence"][:], data["arousal"][:]], dtype=np.float64).T,
        names=classes,
    )
    return External(predictions, label_order, without)


# --- lines -----------------------------------------------------------------------------------------------------------


def _csv(path: Path) -> list[tuple[int, dict]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            lines = [(reader.line_num, line) for line in reader]
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}, expected comma-separated values") from error
    for number, line in lines:
        if None in line or None in line.values():
            raise ValueError(f"{path}, line {number}: has another number of values than the header")
    return lines


def _jsonl(path: Path) -> list[tuple[int, dict]]:
    lines = []
    for number, text in enumerate(path.read_text(errors="backslashreplace").splitlines(), 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: {error}, expected one JSON object") from error
        if not isinstance(line, dict):
            raise ValueError(f"{path}, line {number}: found {text[:40]}, expected one JSON object")
        soft_label = line.get("soft_label")
        lines.append((number, {**line, **soft_label} if isinstance(soft_label, dict) else line))
    return lines


def _numbers(path: Path, number: int, line: dict, names: tuple[str, ...]) -> list[float]:
    try:
        return [float(line[name]) for name in names]
    except KeyError as error:
        raise ValueError(f"{path}, line {number}: has no {error}, which the first one has") from error
    except (TypeError, ValueError, OverflowError) as error:
        values = {name: line.get(name) for name in names}
        raise ValueError(f"{path}, line {number}: found {values}, expected numbers") from error


# --- classes ---------------------------------------------------------------------------------------------------------


def _class_columns(path: Path, line: dict, label_order: str | None) -> tuple[str, ...]:
    """Names of the columns of probabilities, in AffectNet's order or in that of p0, p1, ..."""
    if label_order is not None and label_order not in ORDERS:
        raise ValueError(f"label order {label_order!r} is not known, expected one of {', '.join(ORDERS)}")
    named = tuple(name for name in EMOTIONS if name in line)
    numbered = tuple(f"p{index}" for index in range(len(line)) if f"p{index}" in line)
    if named and (numbered or label_order is not None):
        raise ValueError(f"{path} names its columns by emotion; leave out --label-order and columns such as p0")
    if named:
        lacking = [name for name in EMOTIONS if name not in named]
        if lacking and lacking != ["contempt"]:
            raise ValueError(f"{path} has no {', '.join(lacking)}; expected {', '.join(EMOTIONS)}, all but contempt")
        return named
    if not numbered:
        raise ValueError(
            f"{path} has the columns {', '.join(line)}; expected probabilities as {', '.join(EMOTIONS)}, or as p0, p1,"
            " ... with --label-order"
        )
    if label_order is None:
        orders = ", ".join(ORDERS)
        raise ValueError(f"{path} has {', '.join(numbered)}; say whose order that is: --label-order, one of {orders}")
    expected = tuple(f"p{index}" for index in range(len(ORDERS[label_order])))
    if numbered != expected:
        raise ValueError(
            f"{path} has {', '.join(numbered)}; the order {label_order} has {len(expected)} classes:"
            f" {', '.join(ORDERS[label_order])}"
        )
    return numbered


def _ordered(values: np.ndarray, names: tuple[str, ...], label_order: str | None) -> tuple[np.ndarray, list[str]]:
    """(n, 8) in AffectNet's order, and the emotions that get 0 for they are not there."""
    if label_order is not None:
        without = [name for name in EMOTIONS if name not in ORDERS[label_order]]
        return remap(values, label_order, "affectnet", fill=0), without
    without = [name for name in EMOTIONS if name not in names]
    return np.concatenate([values, np.zeros((len(values), len(without)))], axis=1), without


# --- faces -----------------------------------------------------------------------------------------------------------


def _order(path: Path, lines: list[tuple[int, dict]], image_ids: list[str]) -> list[int]:
    """The position among the lines of each face of the split."""
    key = next((name for name in _KEYS if name in lines[0][1]), None)
    if key is None:
        raise ValueError(f"{path} has the columns {', '.join(lines[0][1])}; expected {' or '.join(_KEYS)}")
    stems = {PurePosixPath(image_id).name: image_id for image_id in image_ids}
    known = {image_id: image_id for image_id in image_ids} if key == "image_id" else stems
    places: dict[str, int] = {}
    strange, twice = [], []
    for place, (_, line) in enumerate(lines):
        said = str(line.get(key))
        image_id = known.get(said if key == "image_id" else PurePosixPath(said.replace("\\", "/")).stem)
        if image_id is None:
            strange.append(said)
        elif places.setdefault(image_id, place) != place:
            twice.append(said)
    missing = [image_id for image_id in image_ids if image_id not in places]
    for found, what in ((strange, "of no face of this split"), (twice, "twice"), (missing, "missing")):
        if found:
            some = ", ".join(found[:EXAMPLES]) + ", ..." * (len(found) > EXAMPLES)
            number = f"{len(found)} are {what}: {some}"
            raise ValueError(f"{path}: {number}; expected one line for each of the split's {len(image_ids)} faces")
    return [places[image_id] for image_id in image_ids]
