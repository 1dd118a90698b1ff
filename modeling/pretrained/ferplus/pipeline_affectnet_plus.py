"""The pipeline "facial-affect": pictures of faces in, soft labels out. Travels with every published model.

It reads pictures by the package's own rule: JPEG or PNG by their content, of at most `MAX_BYTES`, and `MAX_SIDE`
pixels a side, turned as EXIF says, RGB of 8 bits, transparency dropped, of 16 bits the upper 8.
"""

import http.client
import os
import urllib.request
from collections.abc import Iterable
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset
from transformers import AutoModelForImageClassification, Pipeline

from .answers import answers

MAX_BYTES = 20_000_000
MAX_SIDE = 4096
_ONE = (str, os.PathLike, Image.Image, np.ndarray, torch.Tensor, dict, bytes)  # the last three are refused by name
# What Pillow raises, and what an address that is none does.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, http.client.HTTPException)
_FORMS = "(height, width, 3) with channel_order='rgb' or 'bgr', or (height, width) grey, of uint8"


class FacialAffectPipeline(Pipeline):
    """`pipeline("facial-affect", model=..., trust_remote_code=True)`.

    Called with one picture it gives the dict of `answers.answers`, with all classes. With a list it gives a list; with
    anything else to go through (tuple, generator, a column of a `datasets` dataset, `KeyDataset`) an iterator that
    reads pictures as they are asked for, `batch_size=` of them at a time.

    A picture is a path, an http(s) address, a PIL image, or a NumPy array of uint8: (height, width) of grey values, or
    (height, width, 3). Nothing in such an array tells RGB from BGR, so `channel_order` must say which one it is:
    "rgb" (Pillow, imageio, matplotlib) or "bgr" (OpenCV).

    Args:
        channel_order: of all arrays of three channels.
        timeout: seconds to wait for an address, 30 unless given.

    Raises:
        OSError: a file or an address cannot be read as JPEG or PNG; the message names it.
        ValueError: an array's shape, type or channel order is ambiguous, or the input is no picture.
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False

    def _sanitize_parameters(self, channel_order=None, timeout=None):
        given = {"channel_order": channel_order, "timeout": timeout}
        return {name: value for name, value in given.items() if value is not None}, {}, {}

    def __call__(self, inputs, **options):
        if isinstance(inputs, list) and not inputs:
            return []  # the stock pipeline looks at the first one
        if isinstance(inputs, Iterable) and not isinstance(inputs, (*_ONE, list, Dataset)):
            # The stock pipeline goes through lists, generators and torch's data sets; the rest it takes for one input.
            inputs = (picture for picture in inputs)
        return super().__call__(inputs, **options)

    def preprocess(self, picture, channel_order=None, timeout=30):
        upright = _upright(picture, channel_order, timeout)
        size = self.image_processor.size
        # Pillow's resize, as in training: torchvision's, which the processor takes where installed, is another one.
        face = upright.resize((size["width"], size["height"]), Image.Resampling.BILINEAR)
        return self.image_processor(images=face, return_tensors="pt")

    def _forward(self, model_inputs):
        output = self.model(**model_inputs, return_dict=True)
        return {"logits": output.logits, "valence_arousal": output.valence_arousal}

    def postprocess(self, model_outputs):
        return answers(self.model.config, model_outputs["logits"], model_outputs["valence_arousal"])[0]


# The registry of transformers notes this for a class that is registered, and `save_pretrained` copies the code of
# such classes only. Noted here, a copy that came from a folder or the Hub saves its code too.
FacialAffectPipeline._registered_impl = {
    "facial-affect": {"impl": FacialAffectPipeline, "pt": (AutoModelForImageClassification,), "type": "image"}
}


def _upright(picture, channel_order: str | None, timeout: float) -> Image.Image:
    """Any picture that the pipeline takes as an upright RGB image of its own size."""
    if isinstance(picture, np.ndarray):
        return _from_array(picture, channel_order)
    if isinstance(picture, Image.Image):
        return _rgb(picture)
    if not isinstance(picture, (str, os.PathLike)):
        kind = type(picture).__name__
        raise ValueError(f"a picture is a {kind}; give a path, an http(s) address, a PIL image, or an array {_FORMS}")
    name = str(picture)
    try:
        return _decode(_download(name, timeout) if name.startswith(("http://", "https://")) else _read(name))
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise OSError(f"{name} cannot be read as JPEG or PNG: {error}") from error


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _download(address: str, timeout: float) -> bytes:
    with urllib.request.urlopen(address, timeout=timeout) as response:
        return response.read(MAX_BYTES + 1)


def _decode(data: bytes) -> Image.Image:
    if not 0 < len(data) <= MAX_BYTES:
        found = f"more than {MAX_BYTES}" if data else "no"
        raise ValueError(f"it has {found} bytes, expected 1 to {MAX_BYTES}")
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        if max(image.size) > MAX_SIDE:
            raise ValueError(f"it is {image.size[0]}x{image.size[1]}, expected at most {MAX_SIDE} a side")
        return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    """Upright RGB of 8 bits; the image itself stays as it is."""
    if image.mode in ("I", "F"):
        raise ValueError(f"a PIL image has the mode {image.mode!r}, whose range is not known; convert it to 'RGB'")
    image = ImageOps.exif_transpose(image)  # a copy, even of what needs no turning
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    image.info.pop("transparency", None)  # it is dropped on purpose, and Pillow would warn
    return image.convert("RGB")


def _from_array(array: np.ndarray, channel_order: str | None) -> Image.Image:
    found = f"an array has the shape {array.shape} and the type {array.dtype}"
    if array.dtype != np.uint8:
        raise ValueError(f"{found}, expected {_FORMS}; bring its values to 0..255 and convert it with astype('uint8')")
    if array.ndim == 2 and array.size:
        return Image.fromarray(array).convert("RGB")
    if array.ndim == 3 and 3 < len(array) and array.shape[1] and array.shape[2] == 3:
        if channel_order not in ("rgb", "bgr"):
            advice = "OpenCV gives 'bgr', Pillow and most others 'rgb'"
            raise ValueError(f"{found}, and channel_order is {channel_order!r}, expected 'rgb' or 'bgr': {advice}")
        return Image.fromarray(np.ascontiguousarray(array if channel_order == "rgb" else array[:, :, ::-1]))
    advice = "move channels that come first to the end (transpose(1, 2, 0)), and drop a channel of transparency"
    raise ValueError(f"{found}, expected {_FORMS}; {advice}")
