"""From a prepared dataset to tensors: faces as uint8 pictures with their targets."""

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from affectnet_plus import EMOTIONS

MEMORY_BYTES = 1_000_000_000  # a set that is smaller than this once decoded is decoded once, not every epoch


class Faces(torch.utils.data.Dataset):
    """The faces of one split, each a dict of tensors.

    `pixels` (3, size, size) uint8 RGB; `soft_labels` (8,) that sum to 1, NaN where unknown; `valence_arousal` (2,),
    NaN where unknown. Grey pictures become RGB with three equal channels, as the stock pipelines make them too.

    Args:
        data: a split of a prepared folder in a view of the 8 emotions.
        image_size: side of the square that every picture is resized to (bilinear, as the saved processor does).
        target: what `soft_labels` of a face is: "soft" the `soft_label_normalized`, "hard" the one-hot `label`.
        progress: wraps the list of rows while they are decoded, as tqdm does.

    Raises:
        ValueError: a label is beyond the 8 emotions.
        OSError: a picture cannot be read; the message names it.
    """

    def __init__(
        self,
        data: datasets.Dataset,
        image_size: int,
        target: str = "soft",
        progress: Callable[[Iterable], Iterable] = iter,
    ):
        self.image_size = image_size
        self.image_ids: list[str] = list(data["image_id"])
        self.labels = torch.tensor([-1 if label is None else label for label in data["label"]])
        if len(self.labels) and self.labels.max() >= len(EMOTIONS):
            worst = int(self.labels.argmax())
            label = int(self.labels[worst])
            raise ValueError(f"{self.image_ids[worst]} has label {label}; choose a view of the 8 emotions")
        self.soft_labels = _rows(data["soft_label_normalized"], len(EMOTIONS))
        self.targets = self.soft_labels if target == "soft" else _one_hot(self.labels)
        self.valence_arousal = torch.stack([_rows(data[name]) for name in ("valence", "arousal")], dim=1)
        self._images = data.select_columns("image").cast_column("image", datasets.Image(decode=False))
        self._pixels: Tensor | None = None
        if 3 * image_size**2 * len(data) <= MEMORY_BYTES:
            pixels = torch.empty(len(data), 3, image_size, image_size, dtype=torch.uint8)
            for index in progress(range(len(data))):
                pixels[index] = self._decode(index)
            self._pixels = pixels

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {
            "pixels": self._decode(index) if self._pixels is None else self._pixels[index],
            "soft_labels": self.targets[index],
            "valence_arousal": self.valence_arousal[index],
        }

    def _decode(self, index: int) -> Tensor:
        image = self._images[index]["image"]
        return decode(image["path"] if image["bytes"] is None else image["bytes"], self.image_size)

    def mean_soft_label(self) -> list[float] | None:
        """Mean over the faces whose soft label is known, if any: the best guess of one who does not look."""
        known = self.soft_labels[~self.soft_labels.isnan().any(dim=1)]
        return known.double().mean(dim=0).tolist() if len(known) else None


def load_prepared(folder: str | Path, view: str, split: str | None = None):
    """One split of a prepared folder, or all of them by name.

    Raises:
        FileNotFoundError: it is no such folder. `load_dataset` alone would ask the Hub for a data set of that name.
        ValueError: it has no such view or split.
    """
    if not Path(folder, "README.md").is_file():
        raise FileNotFoundError(f"{folder} holds no README.md; give the folder that prepare wrote")
    return datasets.load_dataset(str(folder), view, split=split)


def _rows(values, width: int = 0) -> Tensor:
    missing = [float("nan")] * width if width else float("nan")
    return torch.tensor([missing if value is None else value for value in values], dtype=torch.float32)


def _one_hot(labels: Tensor) -> Tensor:
    known = torch.nn.functional.one_hot(labels.clamp(min=0), len(EMOTIONS)).float()
    return known.masked_fill((labels < 0)[:, None], float("nan"))


def decode(source: str | Path | bytes, image_size: int) -> Tensor:
    """One picture, a path or its bytes, as (3, image_size, image_size) uint8 RGB. JPEG and PNG only.

    It is turned upright as its EXIF orientation says, which `datasets` and the stock pipelines do too.

    Raises:
        OSError: it cannot be read as either; the message names the path.
    """
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=("JPEG", "PNG")) as image:
            ImageOps.exif_transpose(image, in_place=True)
            picture = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # the kinds that Pillow raises
        name = "embedded image" if isinstance(source, bytes) else str(source)
        raise OSError(f"{name} cannot be read as JPEG or PNG: {error}") from error
    if picture.size != (image_size, image_size):
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 pixels as the model takes them: [-1, 1], which is mean and deviation .5 in the saved processor."""
    return pixels.float().div_(127.5).sub_(1)


def collate(faces: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One batch for the model: `pixel_values` (batch, 3, size, size) float32 in [-1, 1], and the targets."""
    batch = {name: torch.stack([face[name] for face in faces]) for name in faces[0]}
    return {"pixel_values": normalise(batch.pop("pixels")), **batch}
