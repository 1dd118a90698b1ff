"""Which subset and which groups each face of a split belongs to, by the columns of the prepared data.

Gender and ethnicity are the most probable class of the column (the first of equals), age is in bands.

`yaw` has three bands of |yaw|, each of a third of the faces whose yaw is known: AffectNet+ documents neither the unit
nor the signs of its pose, so that no band in degrees can be named, and a third needs neither. That |yaw| grows as the
head turns, and that 0 is the face seen from the front, is taken for granted. Where the band ends, in the data's own
unit, is part of the metrics; another split has other ends.
"""

from typing import NamedTuple

import datasets
import numpy as np
import pyarrow as pa

from affectnet_plus import GENDERS, RACES, SUBSETS

GROUPS_ARE = (
    "Gender, age, ethnicity and head pose were predicted by machines, not said by the people themselves; the groups "
    "serve to audit a model and nothing else."
)
UNKNOWN = "unknown"
AGES = {"0-17": 18, "18-29": 30, "30-44": 45, "45-59": 60, "60+": np.inf}  # band -> the age in years where it ends
YAWS = ("smallest third", "middle third", "largest third")


class Grouping(NamedTuple):
    """A partition of the faces.

    Attributes:
        names: of the groups, in the order to show them; the last one is UNKNOWN.
        of_rows: (n,) the position in `names` of each face's group.
    """

    names: tuple[str, ...]
    of_rows: np.ndarray

    def rows_of(self) -> dict[str, np.ndarray]:
        """Positions of the faces of each group that has any."""
        found = {name: np.flatnonzero(self.of_rows == index) for index, name in enumerate(self.names)}
        return {name: rows for name, rows in found.items() if len(rows)}


def subset_grouping(data: datasets.Dataset) -> Grouping:
    """The difficulty subset of each face of a prepared split."""
    subsets = _numbers(_table(data, "subset")["subset"])
    return _grouping(SUBSETS, np.where(np.isnan(subsets), -1, subsets).astype(int))


def attribute_groupings(data: datasets.Dataset) -> tuple[dict[str, Grouping], list[float] | None]:
    """The groups of each face of a prepared split, by attribute: gender, age, ethnicity, yaw.

    Also the two values of |yaw| up to which the first and the second band reach, None where no yaw is known.
    """
    table = _table(data, "age", "gender", "race", "pose")
    age, yaw = _numbers(table["age"]), np.abs(_children(table["pose"])["yaw"])
    edges = yaw_edges(yaw)
    groupings = {
        "gender": _grouping(GENDERS, _most_probable(_children(table["gender"]))),
        "age": _grouping(tuple(AGES), _bands(age, list(AGES.values())[:-1], "right")),
        "ethnicity": _grouping(RACES, _most_probable(_children(table["race"]))),
        "yaw": _grouping(YAWS, _bands(yaw, edges or [], "left")),
    }
    return groupings, edges


def yaw_edges(absolute_yaw: np.ndarray) -> list[float] | None:
    """The thirds of the numbers that are no NaN: two numbers, themselves of the band below; None for no numbers."""
    known = absolute_yaw[~np.isnan(absolute_yaw)]
    return np.quantile(known, [1 / 3, 2 / 3]).tolist() if len(known) else None


def _grouping(names: tuple[str, ...], of_rows: np.ndarray) -> Grouping:
    return Grouping((*names, UNKNOWN), np.where(of_rows < 0, len(names), of_rows))


def _bands(values: np.ndarray, edges: list[float], side) -> np.ndarray:
    """(n,) band of each number, -1 for NaN. A number that is an edge is in the band above it for the side "right"."""
    return np.where(np.isnan(values), -1, np.searchsorted(edges, values, side=side))


def _most_probable(probabilities: dict[str, np.ndarray]) -> np.ndarray:
    """(n,) position of the largest number, the first of equals; -1 where one is NaN."""
    values = np.stack(list(probabilities.values()), axis=1)
    return np.where(np.isnan(values).any(axis=1), -1, np.nan_to_num(values).argmax(axis=1))


def _table(data: datasets.Dataset, *names: str) -> pa.Table:
    return data.select_columns(list(names)).with_format("arrow")[:].combine_chunks()


def _numbers(column) -> np.ndarray:
    """(n,) float64, NaN for null."""
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _children(column: pa.ChunkedArray) -> dict[str, np.ndarray]:
    """The numbers of each field of a column of structs; NaN where the field or the whole struct is null."""
    flat = pa.table({"column": column}).flatten()
    return {name.partition(".")[2]: _numbers(flat[name]) for name in flat.column_names}
