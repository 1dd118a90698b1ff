"""Targets in every form that they come in, and batches of a data set's rows. Travels with every published model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from .photos import as_rgb

UNKNOWN = -100  # the class number of a face whose class is not known, as stock losses have it
# The columns of AffectNet+ that are targets. `soft_label` is there to be refused where it would be taken for one.
COLUMNS = ("soft_label_normalized", "label", "valence", "arousal", "soft_label")
SEVEN = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")  # AffectNet-7 knows no contempt


def soft_targets(labels: Tensor | None, columns: Mapping[str, Tensor], classes: int) -> Tensor | None:
    """What the soft label is to be, (batch, classes), a row of NaN where unknown; None if nothing is given.

    Distributions go before class numbers, and `labels` before columns.

    Args:
        labels: (batch,) class numbers, `UNKNOWN` where unknown, or (batch, classes) that sum to 1, rows of NaN where
            unknown.
        columns: of `COLUMNS`, those that are given.

    Raises:
        ValueError: another shape or type, or a column that is no target.
    """
    soft, numbers = columns.get("soft_label_normalized"), columns.get("label")
    if labels is not None and labels.ndim == 2:
        soft = labels
    elif labels is not None:
        numbers = labels
    if soft is not None:
        if soft.ndim != 2 or soft.shape[1] != classes:
            raise ValueError(f"the soft labels have the shape {tuple(soft.shape)}, expected (batch, {classes})")
        return soft
    if numbers is not None:
        return _one_hot(numbers, classes)
    if "soft_label" in columns:
        raise ValueError("soft_label holds raw confidences, which sum to no 1: give soft_label_normalized")
    return None


def _one_hot(numbers: Tensor, classes: int) -> Tensor:
    if numbers.ndim != 1 or numbers.is_floating_point():
        raise ValueError(
            f"labels has the shape {tuple(numbers.shape)} and the type {numbers.dtype}, expected (batch,) class "
            f"numbers, {UNKNOWN} where unknown, or (batch, {classes}) soft labels, rows of NaN where unknown"
        )
    unknown = numbers == UNKNOWN
    known = nn.functional.one_hot(numbers.long().masked_fill(unknown, 0), classes).float()
    return known.masked_fill(unknown[:, None], float("nan"))


def affect_targets(valence_arousal: Tensor | None, columns: Mapping[str, Tensor]) -> Tensor | None:
    """Valence and arousal, (batch, 2) in [-1, 1], NaN where unknown; None if neither is given.

    Args:
        valence_arousal: the same, which goes before columns.
        columns: of `COLUMNS`, those that are given; `valence` and `arousal` are (batch,).

    Raises:
        ValueError: another shape.
    """
    given = [columns[name] for name in ("valence", "arousal") if name in columns]
    if valence_arousal is None and given:
        unknown = torch.full_like(given[0], float("nan"), dtype=torch.float32)
        valence_arousal = torch.stack([columns.get(name, unknown).float() for name in ("valence", "arousal")], dim=-1)
    if valence_arousal is not None and (valence_arousal.ndim != 2 or valence_arousal.shape[1] != 2):
        raise ValueError(f"valence and arousal have the shape {tuple(valence_arousal.shape)}, expected (batch, 2)")
    return valence_arousal


class FaceCollator:
    """Rows of a data set in, a batch for the model out: the `data_collator` of a stock `Trainer`.

    The Trainer must leave the columns alone (`remove_unused_columns=False`). Of a row are read: `image`, a PIL image;
    `soft_label_normalized` if there is such a column, else `label`; `valence` and `arousal` if the model learns them.
    What is None in a row is unknown. A model of AffectNet-7 takes soft labels of 8 without contempt, scaled to sum
    to 1.

    Args:
        config: of the model.
        image_processor: of the model, as `AutoImageProcessor` gives it.

    Raises:
        ValueError: from the call, a row lacks something, or its soft label has other classes.
    """

    def __init__(self, config, image_processor):
        self._config, self._processor = config, image_processor

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        first = rows[0]
        lacking = "an image" if "image" not in first else None
        if "soft_label_normalized" not in first and "label" not in first:
            lacking = "a soft_label_normalized and a label"
        if lacking:
            raise ValueError(
                f"a row has {', '.join(first) or 'no columns'}, and lacks {lacking}; a stock Trainer keeps the "
                "columns with remove_unused_columns=False"
            )
        batch = {"pixel_values": self._pixels([row["image"] for row in rows])}
        if "soft_label_normalized" in first:
            batch["labels"] = torch.stack([self._soft_label(row["soft_label_normalized"]) for row in rows])
        else:
            batch["labels"] = torch.tensor([UNKNOWN if row["label"] is None else row["label"] for row in rows])
        if self._config.valence_arousal_weight and "valence" in first and "arousal" in first:
            affect = [[row["valence"], row["arousal"]] for row in rows]
            values = [[float("nan") if value is None else value for value in pair] for pair in affect]
            batch["valence_arousal"] = torch.tensor(values, dtype=torch.float32)
        return batch

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        for image in images:
            if not isinstance(image, Image.Image):
                kind = type(image).__name__
                raise ValueError(f"an image is a {kind}, expected a PIL image: leave the data set's format as it is")
        size = self._processor.size["width"], self._processor.size["height"]
        # Pillow's resize, as in the pipeline: torchvision's, which the processor takes where installed, is another.
        faces = [as_rgb(image).resize(size, Image.Resampling.BILINEAR) for image in images]
        return self._processor(images=faces, return_tensors="pt")["pixel_values"]

    def _soft_label(self, soft_label: Sequence[float] | None) -> Tensor:
        names = [self._config.id2label[index] for index in range(self._config.num_labels)]
        if soft_label is None:
            return torch.full((len(names),), float("nan"))
        values = torch.tensor(soft_label, dtype=torch.float32)
        if tuple(names) == SEVEN and len(values) == len(SEVEN) + 1:
            values = values[:-1] / values[:-1].sum()  # NaN, which is unknown, where it was contempt alone
        if len(values) != len(names):
            raise ValueError(
                f"a soft label has {len(values)} classes, and the model {len(names)} ({', '.join(names)}): make soft "
                "labels of these classes, or leave soft_label_normalized out of the rows to learn from label"
            )
        return values
