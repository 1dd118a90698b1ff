"""metrics.json as types; what the numbers are is said by `evaluate`, what they are called by `words`."""

from typing import Any, Literal, TypedDict

from ..preparing.manifest import About
from ..words import AffectNumbers, CalibrationNumbers, EmotionNumbers, OverallNumbers

Interval = list[float] | None  # [low, high]


class EmotionFigures(EmotionNumbers):
    support: int
    intervals: dict[str, Interval]


class DimensionFigures(AffectNumbers):
    rows: int
    intervals: dict[str, Interval]


class Bins(TypedDict):
    edges: list[float]
    rows: list[int]
    confidence: list[float | None]
    accuracy: list[float | None]


class Difference(TypedDict):
    difference: float | None
    interval: Interval


class McNemar(TypedDict):
    rows: int
    only_this: int
    only_other: int
    p_exact: float
    p_mid: float


class Differences(TypedDict):
    rows: int
    differences: dict[str, Difference]
    mcnemar: McNemar


class Comparison(Differences):
    """What `compare` returns: the numbers of a model less those of the `model` that is named."""

    model: str


class FileOfPredictions(TypedDict):
    file: str
    label_order: str | None
    without: list[str]
    missing: int  # faces of the split without a prediction
    missing_are: str  # what became of them: refuse, skip or uniform
    rounded_to: int | None  # decimals, where rows were scaled as they sum to 1 only as far as these allow


class Metrics(OverallNumbers, CalibrationNumbers):
    """What `evaluate` returns and metrics.json holds."""

    model: str
    data: About
    view: str
    split: str
    command: str
    version: str
    crop: str
    predictions: FileOfPredictions | None
    calibrated_on_this_split: bool
    calibrated_share: float | None
    calibrated_rows: int
    calibrated_left_out: int
    rows: int
    rows_with_label: int
    rows_with_soft_label: int
    seed: int
    resamples: int
    level: float
    min_cell: int
    intervals: dict[str, Interval]
    per_class: dict[str, EmotionFigures]
    confusion: list[list[int]]
    reliability: Bins
    reliability_soft: Bins
    baselines: dict[Literal["mean_soft_label", "uniform"], dict[str, Any]]
    valence: DimensionFigures
    arousal: DimensionFigures
    subsets: dict[str, dict[str, Any]]  # cells, which have one shape where there are enough faces and another else
    groups: dict[str, dict[str, dict[str, Any]]]
    yaw_edges: list[float] | None
    groups_are: str
    gaps: dict[str, dict[str, Any]]
    fairness: dict[str, dict[str, Any] | None]
    comparison: Comparison | None
