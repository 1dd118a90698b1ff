"""Tables of action units as OpenFace 2 and 3, py-feat, LibreFace and the drawn faces write them.

| tool | action units | scale | name of the image |
| --- | --- | --- | --- |
| drawn faces | AU01_r | 0 to 5 | split/stem |
| OpenFace 2 | AU01_r, else AU01_c | 0 to 5, 0 or 1 | frame; FaceLandmarkImg: the csv's own name |
| OpenFace 3 | action_units, a list of 8 | 0 to 1 | image_path |
| LibreFace | au_1_intensity, else au_1 | 0 to 5, 0 or 1 | input_image_path |
| py-feat | AU01 | 0 to 1 | input |

A table with a column `filename`, `file`, `image` or `name` in place of the tool's own is read too. One that has frame
numbers and no names is of a video, and is read only where somebody says that frame n is the picture n. Where a unit
has an intensity and a presence, the intensity counts; where it has a presence alone, that: 1 is then the strongest
there is.

OpenFace 3 does not say which units its 8 numbers are. Its training code takes numbers 0, 4, 8, 10, 11, 1, 6, 7 of
DISFA's 12 units; in the order in which DISFA's folders sort (AU1, AU12, AU15, ...) these are 1, 2, 4, 6, 9, 12, 25 and
26, the usual eight of DISFA in ascending order. That is our reading, not the authors' word.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from affectnet_plus import is_system_file

OPENFACE_3 = ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26")
FRAMES = ("frame", "frame_idx", "frame_index")
NAMES = (
    "input_image_path",
    "image_path",
    "input",
    "filename",
    "file",
    "image",
    "name",
    *FRAMES,
)
INTENSITY = 5.0  # FACS's A to E as the tools write them
KNOWN = (
    "OpenFace 2 (AU01_r or AU01_c), OpenFace 3 (action_units), LibreFace (au_1_intensity or au_1),"
    " py-feat (AU01) and the drawn faces (split, stem, AU01_r)"
)

FAILED = "the tool reports that it failed (success is 0)"
EMPTY = "no action unit has a number"
PARTLY = "some action units have no number"
OUTSIDE = "an action unit is outside its scale"
AMBIGUOUS = "several rows with different numbers"
REPEATED = "several rows with the same numbers, read as one"

_LOOKED_AT = re.compile(rf"AU\d\d(_[rc])?|au_\d+(_intensity)?|action_units|success|split|stem|{'|'.join(NAMES)}")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_ENOUGH_ROWS, _ENOUGH_NUMBERS = 20, 100  # of a table before its largest number says anything about its scale
_WRONG_SCALE = 0.1  # share of rows outside the scale from which it is not the rows that are wrong


@dataclass(frozen=True)
class ActionUnitTable:
    """One row for each image.

    Attributes:
        source: the tool whose format it is.
        names: the images as the table names them, each once, in the order of the table.
        units: "AU01" and so on, ascending.
        values: (names, units) float64 in [0, 1]: an intensity over its scale, or a presence or probability as it is.
            NaN where it is not known; a row that is refused is NaN throughout.
        presence: those of `units` that are no intensities.
        problems: what was found wrong -> the images concerned. `PARTLY` and `REPEATED` leave the row as it is.
    """

    source: str
    names: list[str]
    units: tuple[str, ...]
    values: np.ndarray
    presence: tuple[str, ...]
    problems: dict[str, tuple[str, ...]]

    def reasons(self) -> dict[str, str]:
        """The refused images, each with the reason why its row is NaN."""
        refused = (reason for reason in self.problems if reason not in (PARTLY, REPEATED))
        return {name: reason for reason in refused for name in self.problems[reason]}


@dataclass(frozen=True)
class Match:
    """Which row of a table belongs to which wanted image.

    Attributes:
        rows: (wanted,) int64, the row of each image; -1 where there is none.
        missing: the wanted images without a row.
        ambiguous: the wanted images for which several rows would do, or whose row would do for several images.
        unused: the names of the rows that no image wants.
    """

    rows: np.ndarray
    missing: tuple[str, ...]
    ambiguous: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True)
class _Format:
    source: str
    names: tuple[str, ...]  # columns; joined by "/"; none: the csv's own name
    columns: dict[str, str]  # unit -> column; for OpenFace 3 all to the same
    presence: tuple[str, ...]  # the units that are no intensities


# ---- reading


def read_action_units(path: str | Path, scale: float | None = None, frames: bool = False) -> ActionUnitTable:
    """Read a csv, or a folder of csv files of one tool, such as OpenFace 2 writes with one file for each image.

    Args:
        scale: what the largest possible intensity (or, in a table without intensities, probability) is in this table,
            where that differs from the tool's own; it also vouches for a table of which it is doubted.
        frames: a table without names of pictures is of the pictures whose names are its frame numbers.

    Raises:
        FileNotFoundError: there is no such file, or no csv in the folder.
        ValueError: a file is no csv, has none of the known sets of columns, or another than the file before it; its
            numbers have another scale than its tool's; or it has frame numbers and no names, and `frames` is false.
    """
    if scale is not None and not scale > 0:
        raise ValueError(f"scale is {scale}, expected the largest possible number, such as 1 or 5")
    path = Path(path)
    files = [file for file in sorted(path.glob("*.csv")) if not is_system_file(file.name)] if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path} holds no .csv. Name a table, or a folder of tables of one tool")
    form = _recognise(files[0])
    if set(form.names) & set(FRAMES) and not frames:
        raise ValueError(
            f"{files[0]} has frame numbers ({form.names[0]}) and no names of pictures. Add a column file with them; "
            "or say with --action-unit-frames that frame n is the picture n"
        )
    parts = [_read(file, form) for file in files]
    names = pa.concat_arrays([names for names, _, _ in parts])
    values, failed = (np.concatenate([part[index] for part in parts]) for index in (1, 2))
    units = tuple(sorted(form.columns))
    graded = np.array([unit not in form.presence or len(form.presence) == len(units) for unit in units])
    largest = np.where(graded, scale or (INTENSITY if len(form.presence) < len(units) else 1.0), 1.0)
    _check_scale(path, form.source, values[:, graded], largest[graded][0], vouched=scale is not None)
    outside = ((values < 0) | (values > largest)).any(axis=1)
    reasons = {FAILED: failed, EMPTY: np.isnan(values).all(axis=1) & ~failed, OUTSIDE: outside & ~failed}
    problems = {reason: rows for reason, rows in reasons.items() if rows.any()}
    values = np.where((failed | outside)[:, None], np.nan, values / largest)
    return _one_row_each(form, names, units, values, problems)


def _header(file: Path) -> list[str]:
    """The names of the columns, with the spaces that OpenFace puts before them."""
    with open(file, newline="", encoding="utf-8-sig", errors="replace") as opened:
        return next(csv.reader(opened), [])


def _recognise(file: Path) -> _Format:
    columns = [column.strip() for column in _header(file)]
    twice = sorted({column for column in columns if columns.count(column) > 1 and _LOOKED_AT.fullmatch(column)})
    if twice:
        raise ValueError(f"{file} has several columns of the name {', '.join(twice[:5])}; expected one of each")
    drawn = {"split", "stem"} <= set(columns)
    names = ("split", "stem") if drawn else tuple(name for name in NAMES if name in columns)[:1]
    if "action_units" in columns:
        return _Format("OpenFace 3", names, dict.fromkeys(OPENFACE_3, "action_units"), OPENFACE_3)
    for source, intensity, presence in (
        ("drawn faces" if drawn else "OpenFace 2", r"AU(\d\d)_r", r"AU(\d\d)_c"),
        ("LibreFace", r"au_(\d+)_intensity", r"au_(\d+)"),
        ("py-feat", None, r"AU(\d\d)"),
    ):
        graded, present = _units(columns, intensity), _units(columns, presence)
        if graded or present:
            return _Format(source, names, present | graded, tuple(sorted(set(present) - set(graded))))
    raise ValueError(f"{file} has the columns {_some(columns)}; none of them are action units as in {KNOWN}")


def _units(columns: Sequence[str], pattern: str | None) -> dict[str, str]:
    found = ((re.fullmatch(pattern, column), column) for column in columns) if pattern else ()
    return {f"AU{int(match[1]):02d}": column for match, column in found if match}


def _some(columns: Sequence[str]) -> str:
    return ", ".join(columns[:12]) + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")


def _read(file: Path, form: _Format) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Names, (rows, units) numbers as they are written and NaN for what is none, and whether the tool failed."""
    found = _recognise(file)
    if found != form:
        raise ValueError(
            f"{file} has {found.source}'s {len(found.columns)} action units, the file before it {form.source}'s"
            f" {len(form.columns)}, or their names are in other columns; expected one kind. Read them one by one"
        )
    try:
        table = arrow_csv.read_csv(file, convert_options=_as_text(file))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file} is not csv ({error}). Have the tool write it again") from error
    table = table.rename_columns([column.strip() for column in table.column_names])
    units = sorted(form.columns)
    if form.source == "OpenFace 3":
        values = _lists(table["action_units"])
    else:
        values = np.stack([_numbers(table[form.columns[unit]]) for unit in units], axis=1)
    failed = np.zeros(len(table), bool)
    if "success" in table.column_names:
        failed = _numbers(table["success"]) == 0
    return _names(table, form, file), values, failed


def _as_text(file: Path) -> arrow_csv.ConvertOptions:
    """Only the columns that are looked at, and as text: a cell that is no number is to be counted, not to end it."""
    columns = [column for column in _header(file) if _LOOKED_AT.fullmatch(column.strip())]
    return arrow_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), include_columns=columns)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None).cast(pa.float64()).to_numpy()


def _lists(column: pa.ChunkedArray) -> np.ndarray:
    """(rows, 8) of cells such as "[[0.1, 0.0, ...]]"; NaN where a cell is no list of 8."""
    items = pc.split_pattern(pc.utf8_trim(column, "[] "), ",")
    whole = pc.equal(pc.list_value_length(items), len(OPENFACE_3))
    values = np.full((len(column), len(OPENFACE_3)), np.nan)
    values[whole.to_numpy()] = _numbers(pc.list_flatten(items.filter(whole))).reshape(-1, len(OPENFACE_3))
    return values


def _names(table: pa.Table, form: _Format, file: Path) -> pa.Array:
    if not form.names:
        return pa.array([file.stem] * len(table), pa.string())
    columns = [pc.utf8_trim_whitespace(table[name]) for name in form.names]
    joined = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, "/")
    empty = pc.equal(joined, "").to_numpy()
    if empty.any():
        row = int(np.flatnonzero(empty)[0]) + 1
        raise ValueError(f"{file}: {'/'.join(form.names)} is empty in {empty.sum()} rows, the first is row {row}")
    return joined.combine_chunks()


def _check_scale(path: Path, source: str, values: np.ndarray, largest: float, vouched: bool) -> None:
    known = values[~np.isnan(values)]
    if not len(known):
        return
    expected = f"the numbers of {source} are expected from 0 to {largest:g}"
    outside = ((values < 0) | (values > largest)).any(axis=1)
    if outside.mean() > _WRONG_SCALE:
        raise ValueError(
            f"{path}: {expected}, and {outside.sum()} of {len(values)} rows have others, from {known.min():g} to"
            f" {known.max():g}. Say with scale= what the largest possible number is"
        )
    enough = len(values) >= _ENOUGH_ROWS and (known > 0).sum() >= _ENOUGH_NUMBERS
    if not vouched and largest > 1 and enough and known.max() <= 1:
        raise ValueError(
            f"{path}: {expected}, and in {len(values)} rows none is above {known.max():g}, as if they were from 0 to"
            f" 1. Say with scale=1 that they are, or with scale={largest:g} that they are not"
        )


def _one_row_each(form: _Format, names: pa.Array, units, values: np.ndarray, problems: dict) -> ActionUnitTable:
    encoded = names.dictionary_encode()
    codes = encoded.indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    same = ((values == values[first[codes]]) | np.isnan(values) & np.isnan(values[first[codes]])).all(axis=1)
    again = np.zeros(len(first), bool)
    again[codes[np.bincount(codes, minlength=len(first))[codes] > 1]] = True
    ambiguous = np.zeros(len(first), bool)
    ambiguous[codes[~same]] = True
    found = {reason: np.isin(np.arange(len(first)), codes[rows]) & ~ambiguous for reason, rows in problems.items()}
    values = values[first]
    values[ambiguous] = np.nan
    partly = np.isnan(values).any(axis=1) & ~np.isnan(values).all(axis=1)
    found |= {PARTLY: partly, AMBIGUOUS: ambiguous, REPEATED: again & ~ambiguous}
    once = encoded.dictionary.to_pylist()
    named = {reason: tuple(once[row] for row in np.flatnonzero(rows)) for reason, rows in found.items() if rows.any()}
    return ActionUnitTable(form.source, once, tuple(units), values, form.presence, named)


# ---- matching and reporting


def match_images(names: Sequence[str], wanted: Sequence[str]) -> Match:
    """Find the row of each wanted image.

    Suffixes .jpg, .jpeg and .png are not looked at, and \\ is /. A row is that of an image if the names are the same;
    or else if one is the end of the other at a /, so that "/data/train/12.jpg" and "12" are both the image "train/12"
    unless another row or image fits as well.
    """
    keys, ids = [_key(name) for name in names], [_key(name) for name in wanted]
    exact = _rows_by([[key] for key in keys])
    fitting = [exact.get(key, []) for key in ids]
    taken = {row for found in fitting for row in found}
    if len(taken) < len(keys) and not all(fitting):
        left = [[] if row in taken else _ends(key) for row, key in enumerate(keys)]
        by_end, whole = _rows_by(left), _rows_by([ends[:1] for ends in left])
        for index, key in enumerate(ids):
            shorter = (whole.get(end, []) for end in _ends(key)[1:])
            fitting[index] = fitting[index] or sum(shorter, by_end.get(key, []))
    claims = np.bincount([row for found in fitting for row in found], minlength=len(keys))
    alone = [len(found) == 1 and claims[found[0]] == 1 for found in fitting]
    rows = np.array([found[0] if one else -1 for found, one in zip(fitting, alone, strict=True)], dtype=np.int64)
    unused = np.setdiff1d(np.arange(len(keys)), rows)
    return Match(
        rows,
        missing=tuple(name for name, found in zip(wanted, fitting, strict=True) if not found),
        ambiguous=tuple(name for name, found, one in zip(wanted, fitting, alone, strict=True) if found and not one),
        unused=tuple(names[row] for row in unused),
    )


def _key(name: str) -> str:
    return re.sub(r"\.(jpe?g|png)$", "", name.replace("\\", "/"), flags=re.IGNORECASE)


def _ends(key: str) -> list[str]:
    """The key itself, then what is left of it after each /."""
    parts = key.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _rows_by(keys: Iterable[Sequence[str]]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, several in enumerate(keys):
        for key in several:
            rows.setdefault(key, []).append(row)
    return rows


def describe_problems(problems: dict[str, tuple[str, ...]], shown: int = 3) -> list[str]:
    """A line for each kind of problem: how many images, what it is, and the first few names."""
    return [
        f"{len(names)} image{'s' * (len(names) != 1)}: {reason} ({', '.join(names[:shown])}"
        + (", ...)" if len(names) > shown else ")")
        for reason, names in problems.items()
    ]
