"""From a prepared dataset to tensors: faces as uint8 pictures with their targets."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from errno import EACCES, EEXIST, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from affectnet_plus import EMOTIONS

from .. import images
from ..files import MANIFEST, is_prepared
from ..hub_names import fetched, on_hub
from ..preparing.manifest import About, about
from ..sentences import first_line, lacks
from ..stages import Progress, silent, told
from .readers import Encoded

MEMORY_BYTES = 1_000_000_000  # a set that is smaller than this once decoded is decoded once, not every epoch
AT_A_TIME = 64  # faces whose files are held in memory together
MOST_NAMED = 20  # of the faces that are left out
LABEL_COLUMNS = ["image_id", "label", "soft_label_normalized", "valence", "arousal"]


class FaceDataset(torch.utils.data.Dataset):
    """The faces of one split, each a dict of tensors.

    `pixels` (3, size, size) uint8 RGB by the rule of `images`; `soft_labels` (classes,) that sum to 1, NaN where
    unknown; `valence_arousal` (2,), NaN where unknown. The classes are the 8 emotions, or in the view `7-class` those
    of AffectNet-7: soft labels are then without contempt, scaled to sum to 1, and unknown where there was only that.

    Decoding takes as many threads as torch may use (torch.set_num_threads), which is one in a worker of a DataLoader.
    A `DataLoader` takes whole batches (`batch`), so its `collate_fn` gets a dict of tensors and not a list: `collate`
    is one.

    Args:
        data: a split of a prepared folder in a view of the 8 or 7 emotions.
        image_size: side of the square that every picture is resized to (bilinear, as the saved processor does).
        target: what `soft_labels` of a face is: "soft" the `soft_label_normalized`, "hard" the one-hot `label`.
        progress: of the stage "read", in blocks of rows, while they are decoded in advance.
        lenient: a picture that cannot be read is no error: `unreadable` has its row, and why. Every picture is looked
            at in advance then, also where they are too many to be held.

    Raises:
        ValueError: a label is beyond the emotions, or the classes are others or in another order.
        OSError: a picture cannot be read; the message names it.
    """

    def __init__(
        self,
        data: datasets.Dataset,
        image_size: int,
        target: str = "soft",
        progress: Progress = silent,
        lenient: bool = False,
    ):
        self.image_size = image_size
        self.unreadable: dict[int, str] = {}
        self._lenient = lenient
        columns = data.select_columns(LABEL_COLUMNS).with_format("arrow")[:]
        self.image_ids: list[str] = columns["image_id"].to_pylist()
        self.names = class_names(data)
        self.labels, self.soft_labels, self.targets, self.valence_arousal = known_of(columns, self.names, target)
        self._images = data.select_columns("image").with_format("arrow")
        self._pixels: Tensor | None = None
        if 3 * image_size**2 * len(data) <= MEMORY_BYTES:
            self._pixels = self._decode(range(len(data)), progress)
        elif lenient:
            for start in told(range(0, len(data), AT_A_TIME), "read", progress):
                self._decode(range(start, min(start + AT_A_TIME, len(data))))
        self._lenient = False  # what cannot be read later has changed since

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.batch([index]).items()}

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """The faces of those rows, each tensor with one more dimension in front.

        In memory the channels of a pixel lie side by side, as they are decoded (torch.channels_last).

        Raises:
            OSError: a picture cannot be read; the message names it.
        """
        pixels = self._decode(rows) if self._pixels is None else self._pixels[rows]
        return {
            "pixels": pixels.permute(0, 3, 1, 2),
            "soft_labels": self.targets[rows],
            "valence_arousal": self.valence_arousal[rows],
        }

    __getitems__ = batch  # the name that DataLoader and Subset look for

    def _decode(self, rows: Sequence[int], progress: Progress = silent) -> Tensor:
        # Not torch.empty: NumPy asks for huge pages, without which the first touch takes as long as the decoding.
        pixels = np.empty((len(rows), self.image_size, self.image_size, 3), dtype=np.uint8)
        threads = torch.get_num_threads()  # 1 in a worker of a DataLoader
        with ThreadPoolExecutor(threads) as pool:
            for start in told(range(0, len(rows), AT_A_TIME), "read", progress):
                some = slice(start, start + AT_A_TIME)
                block = pixels[some], rows[some], self._sources(rows[some])
                shares = [[values[first::threads] for first in range(threads)] for values in block]
                list(pool.map(self._fill, *shares))
        return torch.from_numpy(pixels)

    def _fill(self, pixels: np.ndarray, rows: Sequence[int], sources: list[str | bytes]) -> None:
        for out, row, source in zip(pixels, rows, sources, strict=True):
            try:
                images.decode(source, out)
            except OSError as error:
                if not self._lenient:
                    raise OSError(f"{self.image_ids[row]}: {error}") from error
                self.unreadable[row], out[...] = str(error).removeprefix("embedded image "), 0

    def _sources(self, rows: Sequence[int]) -> list[str | bytes]:
        return [
            path if content is None else content
            for chunk in self._images[rows]["image"].chunks
            for content, path in zip(chunk.field("bytes").to_pylist(), chunk.field("path").to_pylist(), strict=True)
        ]

    def left_out(self) -> list[tuple[str, str]]:
        """Each picture that cannot be read, as (image_id, why)."""
        return [(self.image_ids[row], why) for row, why in sorted(self.unreadable.items())]

    def readable(self) -> "FaceDataset":
        """The faces whose picture can be read, in their order.

        Raises:
            ValueError: there is none.
        """
        if not self.unreadable:
            return self
        rows = demand_some([row for row in range(len(self)) if row not in self.unreadable], self.left_out())
        found = copy.copy(self)
        found.unreadable = {}
        found.image_ids = [self.image_ids[row] for row in rows]
        for name in ("labels", "soft_labels", "targets", "valence_arousal"):
            setattr(found, name, getattr(self, name)[rows])
        found._images = self._images.select(rows)
        found._pixels = None if self._pixels is None else self._pixels[rows]
        return found

    def mean_soft_label(self) -> list[float] | None:
        """Mean over the faces whose soft label is known, if any: the best guess of one who does not look."""
        known = self.soft_labels[~self.soft_labels.isnan().any(dim=1)]
        return known.double().mean(dim=0).tolist() if len(known) else None


def demand_some(rows: list[int], left_out: Sequence[tuple[str, str]]) -> list[int]:
    """The same rows of faces; ValueError where all are left out."""
    if not rows:
        raise ValueError(f"of the pictures of {len(left_out)} faces not one can be decoded: {left_out[0][1]}")
    return rows


def tell_left_out(left_out: Iterable[tuple[str, str]], say: Callable[[str], None]) -> int:
    """Say in one line which faces are left out and why, if any; returns how many."""
    found = [f"{name} ({why})" for name, why in left_out]
    if found:
        some = "; ".join(found[:MOST_NAMED]) + "; ..." * (len(found) > MOST_NAMED)
        say(f"{len(found)} faces cannot be decoded and are left out: {some}")
    return len(found)


def targets_of(data: datasets.Dataset, target: str) -> Tensor:
    """The `FaceDataset.targets` of a split, (rows, classes), for those who need no picture.

    Raises:
        ValueError: as `FaceDataset`.
    """
    names = class_names(data)
    columns = data.select_columns(["image_id", "label", "soft_label_normalized"]).with_format("arrow")[:]
    if target == "soft":
        return _distributions(columns["soft_label_normalized"], names)
    return _one_hot(_labels(columns, names), names)


class Known(NamedTuple):
    """What is known of some faces: `labels` (n,), -1 where unknown; the others NaN there: `soft_labels` and `targets`
    (n, classes), `valence_arousal` (n, 2)."""

    labels: Tensor
    soft_labels: Tensor
    targets: Tensor
    valence_arousal: Tensor


def known_of(columns: pa.Table, names: tuple[str, ...], target: str) -> Known:
    """What the LABEL_COLUMNS of some rows say; `names` are their `class_names`, `target` as for `FaceDataset`.

    Raises:
        ValueError: as `FaceDataset`.
    """
    labels = _labels(columns, names)
    soft_labels = _distributions(columns["soft_label_normalized"], names)
    affect = [columns[name].to_numpy() for name in ("valence", "arousal")]
    targets = soft_labels if target == "soft" else _one_hot(labels, names)
    return Known(labels, soft_labels, targets, torch.from_numpy(np.stack(affect, axis=1)))


def class_names(data: datasets.Dataset | datasets.IterableDataset) -> tuple[str, ...]:
    """The emotions that the labels of a split count: the first 7 in the view `7-class`, else all 8.

    Raises:
        ValueError: its labels are others, or in another order.
    """
    label = data.features["label"]
    names = tuple(label.names) if isinstance(label, datasets.ClassLabel) else EMOTIONS
    if names == EMOTIONS[:-1]:
        return names
    if names[: len(EMOTIONS)] != EMOTIONS:  # the view `all` has further ones
        expected = f"{', '.join(EMOTIONS)}, or these without the last"
        raise ValueError(f"the labels of the data are {', '.join(names)}; expected {expected}. Put them in that order")
    return EMOTIONS


def demand_classes(model: tuple[str, ...], data: tuple[str, ...]) -> None:
    """Raise ValueError unless a model and the faces count the same emotions in the same order."""
    if model != data:
        raise ValueError(
            f"the model answers {', '.join(model)}, and the faces are labelled {', '.join(data)}. Choose the view of "
            "its classes (7-class for 7, default for 8), or a model that was trained in this view"
        )


def first_side(pictures: datasets.Dataset | datasets.IterableDataset) -> int:
    """The longer side of the first picture that can be read, in pixels: what the faces of one source have in common.

    Raises:
        OSError: none can be read; the message names the first.
    """
    unread = None
    for row in pictures.cast_column("image", datasets.Image(decode=False)):
        first = row["image"]
        try:
            return max(images.decode(first["path"] if first["bytes"] is None else first["bytes"]).shape)
        except OSError as error:
            unread = unread or error
    raise unread or OSError("there is no picture")


def load_prepared(data, view: str, split: str | None = None):
    """One split of prepared faces, or all of them by name.

    Args:
        data: the folder that prepare wrote; "you/name" of the Hub, see `hub_names`; or what `load_dataset` made of
            one, a Dataset or DatasetDict. Its rows are taken as they are: its view was chosen with it.

    Raises:
        OSError: it is no such folder, or as `hub_names.fetched`.
        ValueError: it has no such view or split.
    """
    if isinstance(data, datasets.Dataset):
        return datasets.DatasetDict({str(data.split or "train"): data}) if split is None else data
    if isinstance(data, datasets.DatasetDict):
        if split is not None and split not in data:
            raise ValueError(f"the data has no split {split!r}, but {', '.join(data)}")
        return data if split is None else data[split]
    folder = prepared_folder(data)
    with opening(folder):
        return datasets.load_dataset(str(folder), view, split=split)


def prepared_folder(data, only: Sequence[str] | None = None) -> Path:
    """The folder that prepare wrote, with what of it is `only` wanted where it has to be fetched.

    Raises:
        OSError: it is no such folder, or as `hub_names.fetched`.
    """
    folder = fetched(data, only=only)
    if not is_prepared(folder):
        raise FileNotFoundError(f"{lacks(folder, [MANIFEST])}; give the folder that prepare wrote")
    return folder


@contextmanager
def opening(folder) -> Iterator[None]:
    """What datasets, yaml and Arrow raise of a damaged README.md or Parquet file becomes a sentence.

    Raises:
        OSError, ValueError: see `load_prepared`.
    """
    try:
        yield
    except OSError as error:
        raise _of_the_cache(error) from error
    except Exception as error:
        if type(error) is ValueError:  # no such view or split, in words of datasets
            raise
        raise ValueError(f"{folder} cannot be opened: {first_line(error)}. Prepare again") from error


def _of_the_cache(error: OSError) -> OSError:
    """The same, or where it is of the cache of datasets, which folder that is and which variable chooses another."""
    cache = Path(os.path.realpath(datasets.config.HF_DATASETS_CACHE))
    place = Path(os.path.realpath(error.filename or ""))
    if error.errno in (EACCES, EROFS, EPERM, ENOTDIR, ENOSPC, EEXIST) and cache.parent in (place, *place.parents):
        return OSError(f"the cache {cache} cannot be written ({error.strerror}). Set HF_HOME to a folder that can")
    return error


class Chosen(NamedTuple):
    """The rows of one split, and what a record says of them: `about` as `about_faces`, view and split."""

    rows: datasets.Dataset
    about: About
    view: str
    split: str


def choose(data, view: str, split: str) -> Chosen:
    """One split of what `load_prepared` takes. A data set in memory knows itself which view and split it is.

    Raises:
        FileNotFoundError, ValueError: as `load_prepared`.
    """
    rows = load_prepared(data, view, split)
    if isinstance(data, (datasets.Dataset, datasets.DatasetDict)):
        view, split = rows.info.config_name or view, str(rows.split or split)
    return Chosen(rows, about_faces(data), view, split)


def about_faces(data) -> About:
    """`preparing.manifest.about` of what `load_prepared` takes. A data set in memory does not say whose faces it has.

    What is trained on one may therefore not be published openly: give the folder for that.
    """
    if isinstance(data, datasets.DatasetDict):
        data = next(iter(data.values()))
    if isinstance(data, datasets.Dataset):
        return {"name": data.info.dataset_name or "dataset", "origin": None, "fingerprint": None}
    found = about(fetched(data, only=(MANIFEST,)))
    return {**found, "name": data} if on_hub(data, "dataset") else found


def _labels(columns: pa.Table, names: tuple[str, ...]) -> Tensor:
    """(rows,) class numbers, -1 where there is none."""
    labels = torch.tensor(columns["label"].fill_null(-1).to_numpy())
    if len(labels) and labels.max() >= len(names):
        worst = int(labels.argmax())
        face, label = columns["image_id"][worst], labels[worst]
        raise ValueError(f"{face} has label {label}; choose a view of the {len(names)} emotions")
    return labels


def _distributions(column: pa.ChunkedArray, names: tuple[str, ...]) -> Tensor:
    """(rows, classes) float32 of a column of lists of the 8 emotions; NaN where there is none."""
    rows = np.full((len(column), len(EMOTIONS)), np.nan, dtype=np.float32)
    rows[column.is_valid().to_numpy()] = pc.list_flatten(column).to_numpy().reshape(-1, len(EMOTIONS))
    if names == EMOTIONS:
        return torch.from_numpy(rows)
    kept = torch.from_numpy(rows)[:, : len(names)]
    return kept / kept.sum(dim=1, keepdim=True)  # 0 / 0, unknown, where nothing is left


def _one_hot(labels: Tensor, names: tuple[str, ...]) -> Tensor:
    known = torch.nn.functional.one_hot(labels.clamp(min=0), len(names)).float()
    return known.masked_fill((labels < 0)[:, None], float("nan"))


def decode(source: Encoded, image_size: int) -> Tensor:
    """One picture, as `images.decode` takes it, as (3, image_size, image_size) uint8 RGB, by the rule of `images`.

    Raises:
        OSError: it cannot be read; the message names the path.
    """
    pixels = np.empty((image_size, image_size, 3), dtype=np.uint8)
    return torch.from_numpy(images.decode(source, pixels)).permute(2, 0, 1)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 pixels as the model takes them: [-1, 1], which is mean and deviation .5 in the saved processor."""
    return pixels.contiguous().float().div_(127.5).sub_(1)


def collate(faces: dict[str, Tensor]) -> dict[str, Tensor]:
    """A `FaceDataset.batch` as it is: its tensors are stacked; the pixels travel as bytes and become floats later."""
    return faces
