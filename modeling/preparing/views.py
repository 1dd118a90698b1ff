"""Which rows a view has: the files of its splits, and a filter on what the rows say, so that no row is there twice."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from affectnet_plus import SPLITS, VIEWS, in_view

Kind = tuple[str, int | None, int | None]  # split, label and subset: all that a view asks for


def kinds_of(split: str, table: pa.Table) -> Counter[Kind]:
    """How many of some rows of a split are of each kind."""
    found = table.select(["label", "subset"]).group_by(["label", "subset"]).aggregate([([], "count_all")])
    return Counter({(split, row["label"], row["subset"]): row["count_all"] for row in found.to_pylist()})


def view_rows(kinds: Counter[Kind]) -> dict[str, dict[str, int]]:
    """view -> split -> how many rows it has there, without those that have none.

    The one split of `no_human` is called train.
    """
    views: dict[str, dict[str, int]] = {}
    for view in VIEWS:
        for split in SPLITS:
            count = sum(count for kind, count in kinds.items() if kind[0] == split and in_view(view, *kind))
            if count:
                views.setdefault(view, {})["train" if view == "no_human" else split] = count
    return views


def pattern_of(view: str, split: str) -> str:
    """What the files of a split of a view are called."""
    return f"data/{_first_word(view, split)}-*.parquet"


def files_of(view: str, split: str, names: Iterable[str]) -> list[str]:
    """Of the files of a prepared folder those that hold a split of a view, in order."""
    return sorted(name for name in names if name.startswith(f"data/{_first_word(view, split)}-"))


def _first_word(view: str, split: str) -> str:
    return "no_human" if view == "no_human" else split
