"""The columns of another tool's predictions: what they are called there, and what each is here.

Needs no torch: the command line looks at a header before anything heavy is loaded.
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from affectnet_plus import EMOTIONS

from ..labels import ORDERS

FACE = ("image_id", "file", "image")  # the columns that say whose line it is, the first that is there
AFFECT = ("valence", "arousal")
# What others call them, in small letters and without spaces, dashes and underscores.
_WORDS = {
    "image_id": "imageid",
    "file": "filename filepath path imagename imagefile imagepath",
    "image": "img input",
    "neutral": "neutrality",
    "happy": "happiness joy",
    "sad": "sadness",
    "surprise": "surprised",
    "fear": "fearful afraid",
    "disgust": "disgusted",
    "anger": "angry",
    "contempt": "contemptuous",
}
_OURS = {word: name for name, words in _WORDS.items() for word in (re.sub("_", "", name), *words.split())}
_OURS |= {name: name for name in AFFECT}


def named_as_ours(path: Path, columns: Iterable[str]) -> dict[str, str]:
    """The columns that we read under another name -> our name; a column that has our name goes before such ones.

    Raises:
        ValueError: two columns could be the same.
    """
    columns = list(columns)
    found: dict[str, str] = {}
    for column in columns:
        plain = re.sub(r"[\s_-]", "", column.lower())
        ours = _OURS.get(plain, plain if re.fullmatch("p[0-9]", plain) else column)
        if ours == column or ours in columns:
            continue
        if ours in found.values():
            twice = [other for other, name in found.items() if name == ours]
            raise ValueError(
                f"{path}: {' and '.join([*twice, column])} could both be {ours}; rename the one that is it to {ours}"
            )
        found[column] = ours
    return found


def class_columns(path: Path, columns: Iterable[str], label_order: str | None) -> tuple[str, ...]:
    """Names of the columns of probabilities, in AffectNet's order or in that of p0, p1, ...

    Raises:
        ValueError: they are named and an order is given, or neither; or some are lacking.
    """
    columns = list(columns)
    if label_order is not None and label_order not in ORDERS:
        raise ValueError(f"label order {label_order!r} is not known, expected one of {', '.join(ORDERS)}")
    named = tuple(name for name in EMOTIONS if name in columns)
    numbered = tuple(f"p{index}" for index in range(len(columns)) if f"p{index}" in columns)
    if named and (numbered or label_order is not None):
        raise ValueError(f"{path} names its columns by emotion; leave out --label-order and columns such as p0")
    if named:
        lacking = [name for name in EMOTIONS if name not in named]
        if lacking and lacking != ["contempt"]:
            raise ValueError(
                f"{path} has no {', '.join(lacking)}, but the columns {', '.join(columns)}; expected "
                f"{', '.join(EMOTIONS)}, all but contempt: rename those that are called otherwise"
            )
        return named
    if not numbered:
        raise ValueError(
            f"{path} has the columns {', '.join(columns)}; expected probabilities as {', '.join(EMOTIONS)}, or as p0, "
            "p1, ... with --label-order: rename them"
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


def face_column(path: Path, columns: Iterable[str]) -> str:
    """The column that says whose line it is.

    Raises:
        ValueError: there is none.
    """
    columns = list(columns)
    for name in FACE:
        if name in columns:
            return name
    raise ValueError(
        f"{path} has the columns {', '.join(columns)}; expected {' or '.join(FACE)}: rename what names the face"
    )


def check_header(path: Path, label_order: str | None) -> None:
    """Raise ValueError for the header of a CSV file that `external.read_external` would refuse.

    What cannot be read at all, and JSONL, is left to it.
    """
    if path.suffix != ".csv":
        return
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            cells = next((row for row in csv.reader(file) if any(cell.strip() for cell in row)), None)
    except (OSError, UnicodeDecodeError, csv.Error):
        return
    if cells is not None:
        columns = [cell.strip() for cell in cells]
        ours = named_as_ours(path, columns)
        columns = [ours.get(column, column) for column in columns]
        class_columns(path, columns, label_order)
        face_column(path, columns)
