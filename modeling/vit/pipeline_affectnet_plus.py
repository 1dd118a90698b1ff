"""The pipeline "facial-affect": pictures of faces in, soft labels out. Travels with every published model.

Files and addresses are read by the rule of `photos`, addresses within the bounds of `fetching`.
"""

import http.client
import os
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers import AutoModelForImageClassification, Pipeline
from transformers.image_processing_utils import BatchFeature

from .answers import answers
from .faces import cut_out, find_faces, remark
from .fetching import fetch
from .photos import MAX_BYTES, UNREADABLE, Photo, as_rgb, decode_photo, read_photo

_ONE = (str, os.PathLike, Image.Image, np.ndarray, torch.Tensor, dict, bytes)  # the last three are refused by name
_FORMS = "(height, width, 3) with channel_order='rgb' or 'bgr', or (height, width) grey, of uint8"


class FacialAffectPipeline(Pipeline):
    """`pipeline("facial-affect", model=..., trust_remote_code=True)`.

    Called with one picture it gives the dict of `answers.answers`, with all classes. With a list it gives a list; with
    anything else to go through (tuple, generator, a column of a `datasets` dataset, `KeyDataset`) an iterator that
    reads pictures as they are asked for, `batch_size=` of them at a time.

    A picture is a path, an http(s) address, a PIL image, or a NumPy array of uint8: (height, width) of grey values, or
    (height, width, 3). Nothing in such an array tells RGB from BGR, so `channel_order` must say which one it is:
    "rgb" (Pillow, imageio, matplotlib) or "bgr" (OpenCV).

    With `faces=True` it looks for faces (`faces.find_faces`) and gives for each picture a list, empty where there is
    no face: of each face from the left to the right the dict, and its `box` (left, top, right, bottom of its crop, in
    pixels of the upright picture) and `score` (the detector's own). Else a picture is one face; where a detector is
    installed and sees something else in it, the dict has a `note` that says so. `faces=False` does not look.

    Args:
        channel_order: of all arrays of three channels.
        timeout: seconds that an address may take in all, 30 unless given.
        faces: True, False, or None: see above.

    Raises:
        OSError: a file or an address cannot be read; the message names it.
        ImportError: `faces=True`, and no detector is installed; the message says what to install.
        TypeError: another parameter, such as top_k of the stock pipeline, since an answer has every class.
        ValueError: an array's shape, type or channel order is ambiguous, or the input is no picture.
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False

    def _sanitize_parameters(self, channel_order=None, timeout=None, faces=None, **others):
        if others:
            raise TypeError(
                f"this pipeline has no parameter {', '.join(others)}, but channel_order, timeout and faces; its "
                "answer has every class"
            )
        given = {"channel_order": channel_order, "timeout": timeout, "faces": faces}
        return {name: value for name, value in given.items() if value is not None}, {}, {}

    def __call__(self, inputs, **options):
        if isinstance(inputs, list) and not inputs:
            return []  # the stock pipeline looks at the first one
        if options.get("faces", self._preprocess_params.get("faces")):
            options["batch_size"] = 1  # the faces of one picture are a batch
        if isinstance(inputs, Iterable) and not isinstance(inputs, (*_ONE, list, Dataset)):
            # The stock pipeline goes through lists, generators and torch's data sets; the rest it takes for one input.
            inputs = (picture for picture in inputs)
        return super().__call__(inputs, **options)

    def preprocess(self, picture, channel_order=None, timeout=30, faces=None):
        photo = _open(picture, channel_order, timeout)
        if not faces:
            said = remark(np.asarray(photo.image)) if faces is None else None
            return self._ready([photo.image], [{} if said is None else {"note": said}])
        pixels = np.asarray(photo.image)
        scale = photo.size[0] / pixels.shape[1]
        found = find_faces(pixels)
        about = [{"box": [round(edge * scale) for edge in face.box], "score": face.score} for face in found]
        return self._ready([Image.fromarray(cut_out(pixels, face)) for face in found], about)

    def _ready(self, crops: list[Image.Image], about: list[dict]) -> BatchFeature:
        size = self.image_processor.size
        if not crops:
            return BatchFeature({"pixel_values": torch.empty(0, 3, size["height"], size["width"]), "about": about})
        # Pillow's resize, as in training: torchvision's, which the processor takes where installed, is another one.
        resized = [crop.resize((size["width"], size["height"]), Image.Resampling.BILINEAR) for crop in crops]
        return BatchFeature({**self.image_processor(images=resized, return_tensors="pt"), "about": about})

    def _forward(self, model_inputs):
        about = model_inputs.pop("about")
        if not len(model_inputs["pixel_values"]):
            return {"logits": None, "valence_arousal": None, "about": about}
        output = self.model(**model_inputs, return_dict=True)
        return {"logits": output.logits, "valence_arousal": output.valence_arousal, "about": about}

    def postprocess(self, model_outputs):
        about = model_outputs["about"]
        if model_outputs["logits"] is None:
            return []
        said = answers(self.model.config, model_outputs["logits"], model_outputs["valence_arousal"])
        found = [answer | known for answer, known in zip(said, about, strict=True)]
        return found if "box" in about[0] else found[0]


# The registry of transformers notes this for a class that is registered, and `save_pretrained` copies the code of
# such classes only. Noted here, a copy that came from a folder or the Hub saves its code too.
FacialAffectPipeline._registered_impl = {
    "facial-affect": {"impl": FacialAffectPipeline, "pt": (AutoModelForImageClassification,), "type": "image"}
}


def _open(picture, channel_order: str | None, timeout: float) -> Photo:
    """Any picture that the pipeline takes."""
    if isinstance(picture, np.ndarray):
        image = _from_array(picture, channel_order)
        return Photo(image, image.size)
    if isinstance(picture, Image.Image):
        image = as_rgb(picture)
        return Photo(image, image.size)
    if not isinstance(picture, (str, os.PathLike)):
        kind = type(picture).__name__
        raise ValueError(f"a picture is a {kind}; give a path, an http(s) address, a PIL image, or an array {_FORMS}")
    name = str(picture)
    if "://" not in name:
        return read_photo(name)
    try:
        return decode_photo(fetch(name, timeout, MAX_BYTES))
    except (*UNREADABLE, http.client.HTTPException) as error:
        raise OSError(f"{name} cannot be read as a photo: {error}") from error


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
