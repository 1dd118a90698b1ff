"""How a trained model becomes a folder that the stock libraries open."""

from pathlib import Path

from PIL import Image
from transformers import ViTImageProcessorPil

from ..vit import AffectNetPlusForSoftLabels


def save_model(model: AffectNetPlusForSoftLabels, size: int, folder: Path) -> None:
    """Write weights, configuration, processor and code, so that `pipeline("facial-affect", model=folder)` works too.

    Args:
        size: side of the square that the processor resizes a picture to, in pixels.
    """
    save_processor(size, folder)
    model.save_pretrained(folder)


def save_processor(size: int, folder: Path) -> None:
    """Write the stock processor that does what `dataset.decode` and `dataset.normalise` do."""
    _processor(size).save_pretrained(folder)


def _processor(size: int) -> ViTImageProcessorPil:
    return ViTImageProcessorPil(
        size={"height": size, "width": size},
        resample=Image.Resampling.BILINEAR,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_convert_rgb=True,
    )
