"""Ask an exported model about pictures of one face each, in the folder that holds this file:

    python example.py onnx/pixels.onnx face.jpg [more.png ...]

Any other file of onnx/ is named the same way. It needs onnxruntime, NumPy and Pillow. pixels.onnx and
pixels_quantized.onnx take the picture of step 3, in its own size, and do the rest themselves. What the others take, to
the pixel:

1. A JPEG or PNG picture of one face. The face is neither searched nor aligned: crop it as the faces were cropped that
   the model learnt from.
2. Turned upright as its EXIF orientation says.
3. RGB of 8 bits. Grey becomes three equal channels; of 16 bits the upper 8 count. CMYK becomes RGB by Pillow's
   convert. Transparency is dropped, and the colour that the file has beneath it counts.
4. Resized to image_size x image_size by Pillow's bilinear filter, which averages on shrinking. The proportions are not
   kept, and nothing is cropped. A picture of that very size stays as it is.
5. (value / 255 - image_mean) / image_std, float32: from -1 for black to 1 for white.
6. Channels first: (batch, 3, image_size, image_size), in the order red, green, blue.

image_size, image_mean, image_std and the order of the labels stand in the metadata of the file.
"""

import json
import os
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def read_picture(path: str) -> Image.Image:
    """Upright, RGB of 8 bits: steps 1 to 3."""
    with Image.open(path, formats=("JPEG", "PNG")) as image:
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode == "I;16":
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        image.info.pop("transparency", None)  # it is dropped on purpose, and Pillow would warn
        return image.convert("RGB")


def as_input(picture: Image.Image, size: int, mean: list[float], std: list[float]) -> np.ndarray:
    """The picture as model.onnx takes it, (1, 3, size, size) float32: steps 4 to 6."""
    values = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)) / 255
    return ((values - mean) / std).astype(np.float32).transpose(2, 0, 1)[None]


def main(model: str, *pictures: str) -> None:
    if not os.path.isfile(model):
        sys.exit(f"{model} does not exist; give a file that export wrote, such as onnx/pixels.onnx")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    size, mean, std, names = (json.loads(about[key]) for key in ("image_size", "image_mean", "image_std", "labels"))
    takes = session.get_inputs()[0].name
    for path in pictures:
        try:
            picture = read_picture(path)
        except OSError as error:
            sys.exit(f"{path} cannot be read as JPEG or PNG: {error}")
        face = np.asarray(picture)[None] if takes == "pixels" else as_input(picture, size, mean, std)
        soft_label, affect = session.run(["soft_label", "valence_arousal"], {takes: face})
        print(path)
        for name, score in zip(names, soft_label[0], strict=True):
            print(f"  {name:<10}{score:9.6f}")
        known = json.loads(about["valence_arousal_trained"])
        for name, value in zip(("valence", "arousal"), affect[0], strict=True):
            print(f"  {name:<10}{value:9.6f}" if known else f"  {name:<10} untrained")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python example.py onnx/pixels.onnx face.jpg [more.png ...]")
    main(*sys.argv[1:])
