"""Faces to look at without their labels: those of a prepared folder, or of any folder of pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

import datasets
import pyarrow as pa

from affectnet_plus import IMAGE_SUFFIXES, features

from ..preparing.manifest import MANIFEST
from .dataset import load_prepared

EVERY_FACE = ("all", "no_human")  # the views that have every face once between them


def unlabelled(folder, views: Sequence[str] | None) -> datasets.Dataset:
    """`image_id`, `image`, and as unknown what else `FaceDataset` asks for.

    Args:
        folder: one that prepare wrote, whose validation split stays unseen, or one of pictures, searched in depth.
        views: of a prepared folder; None takes every face.

    Raises:
        FileNotFoundError: it does not exist, or holds no picture.
        NotADirectoryError: it is a file.
        ValueError: the views overlap, one of them does not exist, or has no train split; or plain pictures are to
            have views.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; {_WANTED}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; {_WANTED}")
    if (folder / MANIFEST).is_file():
        return _without_labels(_prepared(folder, views))
    if views is not None:
        raise ValueError(f"{folder} holds no {MANIFEST}, so it was not prepared and has no view {', '.join(views)}")
    return _without_labels(_pictures(folder))


_WANTED = "give a folder of pictures, or one that prepare wrote"


def _prepared(folder: Path, views: Sequence[str] | None) -> datasets.Dataset:
    if views is None:
        views = [view for view in datasets.get_dataset_config_names(str(folder)) if view in EVERY_FACE]
    splits = [load_prepared(folder, view, "train").select_columns(["image_id", "image"]) for view in views]
    faces = datasets.concatenate_datasets(splits)
    if len(set(faces["image_id"])) < len(faces):
        raise ValueError(f"the views {', '.join(views)} of {folder} overlap; name such as have no face in common")
    return faces


def _pictures(folder: Path) -> datasets.Dataset:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise FileNotFoundError(f"{folder} holds no {', '.join(IMAGE_SUFFIXES)}; {_WANTED}")
    columns = {
        "image_id": [str(path.relative_to(folder)) for path in found],
        "image": [{"bytes": None, "path": str(path)} for path in found],
    }
    return datasets.Dataset.from_dict(columns, datasets.Features({name: features()[name] for name in columns}))


def _without_labels(faces: datasets.Dataset) -> datasets.Dataset:
    kinds = datasets.Features({name: features()[name] for name in _LABELS})
    nothing = [pa.nulls(len(faces), field.type) for field in kinds.arrow_schema]
    unknown = datasets.Dataset(pa.table(nothing, kinds.arrow_schema))
    return datasets.concatenate_datasets([faces, unknown], axis=1)


_LABELS = ("label", "soft_label_normalized", "valence", "arousal")
