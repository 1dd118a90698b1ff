"""parity.json as types, for those too who have not installed the extra `onnx`."""

from typing import TypedDict


class Right(TypedDict):
    """How right answers are; None where nothing is known."""

    accuracy: float | None
    kl_to_soft_label: float | None  # mean, nats


class Distance(TypedDict):
    """How far answers are from those of PyTorch."""

    max_abs_delta_logit: float
    mean_abs_delta_logit: float
    max_abs_delta_valence_arousal: float
    kl_mean: float
    kl_max: float
    label_flips: int
    label_flip_share: float


class Variant(Right, Distance):
    """A file, and what it answers."""

    file: str
    bytes: int
    max_abs_delta_logit_alone: float


class Parity(TypedDict):
    """Answers of PyTorch and of each file on the same faces.

    `unaveraged` is of model.onnx, and of pictures that were shrunk without averaging, as transformers.js and most
    libraries of phones do it. `plain_max_abs_delta_logit` is of the ViTForImageClassification, None without one.
    """

    rows: int
    rows_with_label: int
    rows_with_soft_label: int
    pytorch: Right
    variants: dict[str, Variant]  # by the keys of onnx_files.FILES
    unaveraged: Distance
    plain_max_abs_delta_logit: float | None


class ExportReport(Parity):
    """What `export` returns and parity.json holds."""

    source_model: str
    version: str
    faces: str
