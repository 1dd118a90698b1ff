"""Predictions of another tool from a CSV or JSONL file, for the faces of a prepared split.

One line for each face. Its face: `image_id` as the prepared data has it, or else `file` or `image`, a path whose last
part is matched without its suffix (within a split these names are unique). Its probabilities, which sum to 1 as far as
the decimals that are written allow: a column for each emotion by name, 7 or 8 of them; or p0, p1, ... in an order that
has to be said; or, in JSONL, `soft_label`, an object by name, as `affectnet-plus predict` writes. `valence` and
`arousal`, in [-1, 1], are optional. Capitals, and what else others call these columns ("Image ID", happiness, angry),
are known, see `columns`. Other columns, spaces around names and empty lines are not looked at.

A face without a line, or with one that has no probability, is without a prediction: what becomes of it has to be said.
"""

import csv
import io
import json
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import datasets
import numpy as np

from affectnet_plus import EMOTIONS

from ..data.dataset import class_names, targets_of
from ..labels import ORDERS, remap
from ..metrics.soft_label.inputs import SUM_TOLERANCE
from .columns import AFFECT, class_columns, face_column, named_as_ours
from .predictions import Predictions

SUFFIXES = (".csv", ".jsonl")
EXAMPLES = 3  # faces that a message names
_DECIMALS = re.compile(r"[-+]?[0-9]*(?:\.([0-9]*))?(?:[eE]([-+]?[0-9]{1,3}))?")


class External(NamedTuple):
    """Predictions that were read.

    Attributes:
        predictions: for every face of the split, in its order.
        label_order: the order that was given, None where the columns are named.
        without: emotions that the tool does not know; their probability is 0.
        missing: the rows of the faces without a prediction, if any may be: all emotions that the tool knows are alike
            likely, and valence and arousal are 0.
        rounded_to: the decimals that are written, if sums differ from 1 by more than numbers of 32 bits do, but no
            more than these decimals allow; such rows are scaled to sum to 1.
    """

    predictions: Predictions
    label_order: str | None
    without: list[str]
    missing: list[int]
    rounded_to: int | None


def read_external(path, data: datasets.Dataset, label_order: str | None = None, may_miss: bool = False) -> External:
    """The predictions of a file for all faces of the split `data`, beside what is known of them.

    Args:
        may_miss: faces may be without a prediction, see `External.missing`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line cannot be read; the columns are named and an order is given, or neither; a face of the split
            is missing and none may, a line is of no face of it, or two lines are of the same face; no face has a
            prediction; the predictions are of 8 emotions and the view of 7; `Predictions` refuses a row.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a {' or '.join(SUFFIXES)} file of predictions")
    lines = _csv(path) if path.suffix == ".csv" else _jsonl(path)
    if not lines:
        raise ValueError(f"{path} holds no predictions, expected one line for each face")
    answers = [(number, line) for number, line in lines if _says(line)] or lines[:1]
    names = class_columns(path, answers[0][1], label_order)
    image_ids = data["image_id"][:]
    places, missing = _order(path, lines, image_ids, may_miss)
    affect = AFFECT if all(answers[0][1].get(name) is not None for name in AFFECT) else ()
    read = np.array([_numbers(path, number, line, (*names, *affect)) for number, line in answers])
    values, rounded_to = _summing_to_one(
        read[:, : len(names)], [[line[name] for name in names] for _, line in answers]
    )
    table = np.full((len(image_ids), len(names) + len(affect)), [1 / len(names)] * len(names) + [0.0] * len(affect))
    row_of = {number: row for row, (number, _) in enumerate(answers)}
    for face, place in places.items():
        row = row_of[lines[place][0]]
        table[face] = [*values[row], *read[row, len(names) :]]
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
    return External(predictions, label_order, without, missing, rounded_to)


# --- lines -----------------------------------------------------------------------------------------------------------


def _csv(path: Path) -> list[tuple[int, dict]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    rows = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}, expected comma-separated values") from error
    _, header = rows[0] if rows else (0, [])
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"{path} has several columns of the name {', '.join(twice[:EXAMPLES])}; expected one of each")
    for number, cells in rows:
        if len(cells) != len(header):
            raise ValueError(f"{path}, line {number}: has another number of values than the header")
    ours = named_as_ours(path, header)
    header = [ours.get(name, name) for name in header]
    return [(number, dict(zip(header, cells))) for number, cells in rows[1:]]


def _jsonl(path: Path) -> list[tuple[int, dict]]:
    lines = []
    for number, text in enumerate(_text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text, parse_float=str)  # as written: how many decimals there are says how exact it is
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: {error}, expected one JSON object") from error
        if not isinstance(line, dict):
            raise ValueError(f"{path}, line {number}: found {text[:40]}, expected one JSON object")
        soft_label = line.get("soft_label")
        line = {**line, **soft_label} if isinstance(soft_label, dict) else line
        line = {name.strip(): value for name, value in line.items()}
        ours = named_as_ours(path, line)
        lines.append((number, {ours.get(name, name): value for name, value in line.items()}))
    return lines


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start}); save it as such") from error


def _says(line: dict) -> bool:
    """Whether a line has any probability: one of a picture that could not be read has none."""
    return any(line.get(name) not in (None, "") for name in (*EMOTIONS, *(f"p{index}" for index in range(10))))


def _summing_to_one(values: np.ndarray, written: list[list]) -> tuple[np.ndarray, int | None]:
    """The rows scaled to sum to 1, as far as rounding to the decimals written explains that they do not.

    The decimals are those of the most exact number: most tools leave out a 0 at the end.
    """
    decimals = max(_decimals(value) for row in written for value in row)
    allowed = values.shape[1] * 0.5 * 10.0**-decimals if decimals else 0.0
    sums = values.sum(axis=1)
    rounded = (np.abs(sums - 1) > SUM_TOLERANCE) & (np.abs(sums - 1) <= allowed * (1 + 1e-9))
    values[rounded] /= sums[rounded, None]
    return values, decimals if rounded.any() else None


def _decimals(value) -> int:
    found = _DECIMALS.fullmatch(str(value).strip())
    return max(len(found[1] or "") - int(found[2] or 0), 0) if found else 0


def _numbers(path: Path, number: int, line: dict, names: tuple[str, ...]) -> list[float]:
    try:
        return [_number(line[name]) for name in names]
    except KeyError as error:
        raise ValueError(f"{path}, line {number}: has no {error}, which the first one has") from error
    except (TypeError, ValueError, OverflowError) as error:
        values = str({name: line.get(name) for name in names})
        raise ValueError(f"{path}, line {number}: found {values[:400]}, expected numbers") from error


def _number(value) -> float:
    if isinstance(value, bool):
        raise TypeError("a truth value is no number")
    return float(value)


# --- classes ---------------------------------------------------------------------------------------------------------


def _ordered(values: np.ndarray, names: tuple[str, ...], label_order: str | None) -> tuple[np.ndarray, list[str]]:
    """(n, 8) in AffectNet's order, and the emotions that get 0 for they are not there."""
    if label_order is not None:
        without = [name for name in EMOTIONS if name not in ORDERS[label_order]]
        return remap(values, label_order, "affectnet", fill=0), without
    without = [name for name in EMOTIONS if name not in names]
    return np.concatenate([values, np.zeros((len(values), len(without)))], axis=1), without


# --- faces -----------------------------------------------------------------------------------------------------------


def _order(
    path: Path, lines: list[tuple[int, dict]], image_ids: list[str], may_miss: bool
) -> tuple[dict[int, int], list[int]]:
    """Row of the split -> position of its line, for the faces with a prediction, and the rows of the others."""
    key = face_column(path, lines[0][1])
    stems = {PurePosixPath(image_id).name: image_id for image_id in image_ids}
    known = {image_id: image_id for image_id in image_ids} if key == "image_id" else stems
    places: dict[str, int] = {}
    strange, twice = [], []
    for place, (_, line) in enumerate(lines):
        said = str(line.get(key)).strip()
        image_id = known.get(said if key == "image_id" else PurePosixPath(said.replace("\\", "/")).stem)
        if image_id is None:
            strange.append(said)
        elif places.setdefault(image_id, place) != place:
            twice.append(said)
    rows = {row: places[image_id] for row, image_id in enumerate(image_ids) if image_id in places}
    rows = {row: place for row, place in rows.items() if _says(lines[place][1])}
    missing = [row for row in range(len(image_ids)) if row not in rows]
    names = [] if may_miss else [image_ids[row] for row in missing]
    for found, what in ((strange, "of no face of this split"), (twice, "twice"), (names, "missing")):
        if found:
            some = ", ".join(found[:EXAMPLES]) + ", ..." * (len(found) > EXAMPLES)
            number = f"{len(found)} are {what}: {some}"
            expected = f"expected one line for each of the split's {len(image_ids)} faces"
            hint = "; --missing skip leaves such faces out, --missing uniform judges them" * (found is names)
            raise ValueError(f"{path}: {number}; {expected}{hint}")
    if not rows:
        raise ValueError(f"{path} has a prediction of none of the split's {len(image_ids)} faces")
    return rows, missing
