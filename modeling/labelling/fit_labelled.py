"""A fusion fitted to faces that were labelled before and whose true soft labels are known, such as votes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from affectnet_plus import EMOTIONS

from ..data.dataset import load_prepared
from ..files import write_json
from ..sentences import lacks
from .fitting import BEST, choose_fusion, fit_fusion
from .fusion import Sources
from .label_output import TABLE
from .label_work import ACCOUNT


def fit_labelled(
    labelled,
    data,
    out,
    method: str = BEST,
    human_label: bool = False,
    view: str = "default",
    split: str = "train",
    folds: int = 5,
    seed: int = 0,
) -> dict:
    """Fit a fusion to what `label` kept of the branches, and write its JSON to `out`, for `label --fusion`.

    Args:
        labelled: folder that `label` wrote; the branches' confidences come from its rows, or from the labels.parquet
            beside a tree.
        data: prepared folder whose `soft_label` is the target; faces are matched by `image_id`.
        method: "best" takes what `fitting.choose_fusion` finds by cross-validation, else one of `fusion.METHODS`.
        human_label, folds, seed: see `fitting.fit_fusion`.

    Returns:
        The report of `choose_fusion` or of `fit_fusion`.

    Raises:
        FileNotFoundError: `label` did not write `labelled`, or `data` is no prepared folder.
        ValueError: no face is in both; and what `fit_fusion` raises.
    """
    files = [Path(labelled, TABLE)]
    if not files[0].is_file():
        files = sorted(Path(labelled, "data").glob("*.parquet")) if Path(labelled, ACCOUNT).is_file() else []
    if not files:
        raise FileNotFoundError(f"{lacks(labelled, [ACCOUNT])}; give the folder that label wrote")
    columns = ["image_id", "label", "ensemble", "action_units"]
    table = pa.concat_tables(pq.read_table(file, columns=columns) for file in files)
    rows = load_prepared(data, view, split).select_columns(["image_id", "soft_label"])
    targets = dict(zip(rows["image_id"], rows["soft_label"], strict=True))
    names = table["image_id"].to_pylist()
    places = [place for place, name in enumerate(names) if name in targets]
    if not places:
        raise ValueError(
            f"{labelled} has {names[:1]} and others, {data} has {list(targets)[:1]} and others: none in both"
        )
    table = table.take(places)
    sources = Sources(
        confidences(table["ensemble"]),
        confidences(table["action_units"]),
        table["label"].fill_null(-1).to_numpy().astype(int) if human_label else None,
    )
    unknown = [np.nan] * len(EMOTIONS)
    target = np.array([targets[names[place]] or unknown for place in places], dtype=float)
    if method == BEST:
        fusion, report = choose_fusion(sources, target, folds=folds, seed=seed)
    else:
        fusion, report = fit_fusion(method, sources, target, folds=folds, seed=seed)
    write_json(out, fusion.to_dict())
    return report


def confidences(column) -> np.ndarray:
    """(n, 8) float64 of a column; NaN where it is null, or a single emotion of it."""
    unknown = [None] * len(EMOTIONS)
    return np.array([row or unknown for row in column.to_pylist()], dtype=float).reshape(-1, len(EMOTIONS))
