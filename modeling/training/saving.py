"""How a trained model becomes a folder that the stock libraries open."""

from pathlib import Path

from PIL import Image
from transformers import ViTImageProcessorPil


def save_processor(size: int, folder: Path) -> None:
    """Write the stock processor that does what `faces.decode` and `faces.normalise` do."""
    processor = ViTImageProcessorPil(
        size={"height": size, "width": size},
        resample=Image.Resampling.BILINEAR,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_convert_rgb=True,
    )
    processor.save_pretrained(folder)
