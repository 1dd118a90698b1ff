"""How rows are parted into files, so that every view is a list of files and never a copy."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectnet_plus import EMOTIONS, SPLITS, SUBSETS, VIEWS, in_view

GROUPS = {"emotion": 0, "contempt": len(EMOTIONS) - 1, "other": None}  # name -> a label that stands for all of it
EASES = (*SUBSETS, "unrated")


class Partition(NamedTuple):
    """What no view divides: one split, one group of labels (the 7 emotions, contempt, others) and one difficulty."""

    split: str
    code: int  # the place of the group in `GROUPS` times 4, and of the difficulty in `EASES`

    @property
    def name(self) -> str:
        group, ease = divmod(self.code, len(EASES))
        return f"{self.split}-{list(GROUPS)[group]}-{EASES[ease]}"

    def is_in(self, view: str) -> bool:
        group, ease = divmod(self.code, len(EASES))
        return in_view(view, self.split, list(GROUPS.values())[group], None if ease == len(SUBSETS) else ease)


def partition_codes(table: pa.Table) -> np.ndarray:
    """The code of each row's partition, (n,) integers, from `label` and `subset`."""
    label = pc.fill_null(table["label"], len(EMOTIONS)).to_numpy()
    ease = pc.fill_null(table["subset"], len(SUBSETS)).to_numpy()
    group = np.select([label < GROUPS["contempt"], label == GROUPS["contempt"]], [0, 1], 2)
    return group * len(EASES) + ease


def view_files(partitions: list[Partition]) -> dict[str, dict[str, list[str]]]:
    """view -> split -> patterns of the files of its partitions, easiest first, for views that have rows.

    The one split of `no_human` is called train.
    """
    views: dict[str, dict[str, list[str]]] = {view: {} for view in VIEWS}
    order = sorted(partitions, key=lambda part: (list(SPLITS).index(part.split), part.code % len(EASES), part.name))
    for part in order:
        for view in VIEWS:
            if part.is_in(view):
                split = "train" if part.split == "no_human" else part.split
                views[view].setdefault(split, []).append(f"data/{part.name}-*.parquet")
    return {view: files for view, files in views.items() if files}
