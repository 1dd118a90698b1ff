"""How a trained model becomes a folder that the stock libraries open."""

from pathlib import Path

from PIL import Image
from transformers import ViTImageProcessorPil

from ..vit import AffectNetPlusForSoftLabels, FacialAffectPipeline


def save_model(model: AffectNetPlusForSoftLabels, size: int, folder: Path) -> None:
    """Write weights, configuration, processor and code, so that `pipeline("facial-affect", model=folder)` works too.

    The configuration, that of `model` included, names the pipeline; a bare `model.save_pretrained` would keep that
    name, but not write the code it points to.

    Args:
        size: side of the square that the processor resizes a picture to, in pixels.
    """
    # On the model's own device: a pipeline moves its model to the first GPU otherwise.
    pipeline = FacialAffectPipeline(model=model, image_processor=_processor(size), device=model.device)
    pipeline.save_pretrained(folder)


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
