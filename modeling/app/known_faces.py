"""The faces of a prepared folder with what is known of each, read one at a time."""

from collections.abc import Sequence

import datasets
import numpy as np

from affectnet_plus import EMOTIONS

from ..data.dataset import load_prepared
from ..images import decode
from .draw import Truth


class KnownFaces(Sequence):
    """The faces of one split, each a (height, width, 3) uint8 RGB picture and its `Truth`.

    Raises:
        OSError: of an index: the picture cannot be read; the message names the face.
    """

    def __init__(self, data: datasets.Dataset):
        columns = ["image", "image_id", "label", "soft_label_normalized", "valence", "arousal"]
        self._data = data.select_columns(columns).cast_column("image", datasets.Image(decode=False))

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index) -> tuple[np.ndarray, Truth]:
        row = self._data[index]
        try:
            picture = decode(row["image"]["path"] if row["image"]["bytes"] is None else row["image"]["bytes"])
        except OSError as error:
            raise OSError(f"{row['image_id']}: {error}") from error
        soft = row["soft_label_normalized"]
        return picture, Truth(
            name=row["image_id"],
            label=None if row["label"] is None else EMOTIONS[row["label"]],
            soft_label=None if soft is None else dict(zip(EMOTIONS, soft, strict=True)),
            valence=row["valence"],
            arousal=row["arousal"],
        )


def known_faces(folder) -> dict[str, KnownFaces]:
    """Split -> its faces, of the default view of a prepared folder; the one that models are trained on last.

    Raises:
        FileNotFoundError, ValueError: as `load_prepared`; no split has a face.
    """
    splits = load_prepared(folder, "default")
    order = sorted((name for name in splits if len(splits[name])), key=lambda name: name == "train")
    if not order:
        raise ValueError(f"{folder} has no faces in its default view; prepare a tree that has some")
    return {name: KnownFaces(splits[name]) for name in order}
