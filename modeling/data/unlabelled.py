"""Faces to look at without their labels: those of a prepared folder, or any pictures."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import pyarrow as pa

from affectnet_plus import BadRow, features

from ..files import MANIFEST, is_prepared
from ..hub_names import fetched
from .dataset import demand_some, load_prepared
from .pictures import Images, Picture, open_pictures
from .plain_pictures import FolderPictures

EVERY_FACE = ("all", "no_human")  # the views that have every face once between them


def unlabelled(
    pictures, views: Sequence[str] | None, follow_links: bool = False, left_out: list[tuple[str, str]] | None = None
) -> datasets.Dataset:
    """`image_id`, `image`, and as unknown what else `FaceDataset` asks for.

    Pictures that are no files of their own, as in archives, are copied into the cache of `datasets`.

    Args:
        pictures: what `open_pictures` takes; of what prepare wrote the validation split stays unseen.
        views: of a prepared folder; None takes every face.
        follow_links: as `open_pictures` takes it.
        left_out: plain pictures that cannot be read are no error: their names are added to it, each with why.

    Raises:
        FileNotFoundError: it does not exist, or holds no picture.
        OSError: a plain picture cannot be read; the message names it.
        ValueError: the views overlap, one of them does not exist, or has no train split; plain pictures are to have
            views; or all are left out.
    """
    if isinstance(pictures, (str, os.PathLike)):
        pictures = Path(os.path.abspath(fetched(pictures)))
        if is_prepared(pictures):
            return _without_labels(_prepared(pictures, views))
    if views is not None:
        raise ValueError(f"{pictures} holds no {MANIFEST}, so it was not prepared and has no view {', '.join(views)}")
    return _without_labels(_plain(open_pictures(pictures, follow_links=follow_links), left_out))


def _prepared(folder: Path, views: Sequence[str] | None) -> datasets.Dataset:
    if views is None:
        views = [view for view in datasets.get_dataset_config_names(str(folder)) if view in EVERY_FACE]
    splits = [load_prepared(folder, view, "train").select_columns(["image_id", "image"]) for view in views]
    faces = datasets.concatenate_datasets(splits)
    if len(set(faces["image_id"])) < len(faces):
        raise ValueError(f"the views {', '.join(views)} of {folder} overlap; name such as have no face in common")
    return faces


def _plain(opened: Images, left_out: list[tuple[str, str]] | None) -> datasets.Dataset:
    kinds = datasets.Features(
        {name: features()[name] for name in ("image_id", "image")} | {"problem": datasets.Value("string")}
    )
    if isinstance(opened, FolderPictures):
        faces = datasets.Dataset.from_list([_path(opened, picture) for picture in opened.pictures()], kinds)
    else:
        content = {"opened": opened, "fingerprint": opened.fingerprint()}  # what the cache is keyed by
        faces = datasets.Dataset.from_generator(_rows, features=kinds, gen_kwargs=content)
    problems = faces["problem"][:]
    bad = [(faces[row]["image_id"], why) for row, why in enumerate(problems) if why is not None]
    if bad:
        if left_out is None:
            raise OSError(f"{opened.root}/{bad[0][0]}: {bad[0][1]}")
        left_out += bad
        faces = faces.select(demand_some([row for row, why in enumerate(problems) if why is None], bad))
    return faces.remove_columns("problem")


def _path(opened: FolderPictures, picture: Picture) -> dict:
    try:
        return {"image_id": picture.name, "image": {"bytes": None, "path": opened.encoded(picture)}, "problem": None}
    except BadRow as reason:
        return _problem(picture, reason)


def _rows(opened: Images, fingerprint: str) -> Iterator[dict]:
    for picture in opened.pictures():
        try:
            content = opened.read(picture)[1]
        except BadRow as reason:
            yield _problem(picture, reason)
        else:
            yield {"image_id": picture.name, "image": {"bytes": content, "path": None}, "problem": None}


def _problem(picture: Picture, reason: BadRow) -> dict:
    return {"image_id": picture.name, "image": None, "problem": str(reason)}


def _without_labels(faces: datasets.Dataset) -> datasets.Dataset:
    kinds = datasets.Features({name: features()[name] for name in _LABELS})
    nothing = [pa.nulls(len(faces), field.type) for field in kinds.arrow_schema]
    unknown = datasets.Dataset(pa.table(nothing, kinds.arrow_schema))
    return datasets.concatenate_datasets([faces, unknown], axis=1)


_LABELS = ("label", "soft_label_normalized", "valence", "arousal")
