"""Landmarks and head pose of a picture for an annotation; null with the reason where there is no face."""

import importlib
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from affectnet_plus import ANGLES

from .landmarker import Landmarker
from .pose import head_pose

WANTED = ("landmarks", "pose")
POSE_UNIT = (
    "radians, by PnP from 68 landmarks: a positive yaw turns the face to the image's right, a positive pitch lifts"
    " it, a positive roll tilts it clockwise in the image; no claim is made that AffectNet+ has the same scale"
)
_ADAPTERS = {  # suffix of the model file -> module, class, what pip installs
    ".task": ("mediapipe_face", "MediaPipeFace", "mediapipe"),
    ".onnx": ("onnx_landmarks", "OnnxLandmarks", "onnxruntime"),
    ".dat": ("dlib_landmarks", "DlibLandmarks", "dlib (or dlib-bin, the same compiled)"),
}


@contextmanager
def open_landmarker(model_path, detector_path=None) -> Iterator[Landmarker]:
    """Yield the model that finds the points, and close it in the end; the suffix of its file says whose it is.

    Args:
        model_path: `face_landmarker.task` (MediaPipe, see `mediapipe_face`), a .onnx with 68 points (see
            `onnx_landmarks`) or a .dat of dlib (see `dlib_landmarks`). None is part of this project.
        detector_path: the .onnx that finds faces, for a .onnx; the others find faces themselves.

    Raises:
        FileNotFoundError, ValueError: no such file, no such model, or a detector where none is needed, or none.
        ImportError: the package that runs it is not installed; the message says which.
    """
    suffix = Path(model_path).suffix
    if suffix not in _ADAPTERS:
        raise ValueError(f"{model_path} is no model with landmarks: expected a file {', '.join(_ADAPTERS)}")
    if (detector_path is not None) != (suffix == ".onnx"):
        raise ValueError(
            f"{model_path} with the detector {detector_path}: a .onnx needs a detector, and the others have their own"
        )
    for path in (model_path, detector_path):
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(f"there is no model {path}")
    module, name, package = _ADAPTERS[suffix]
    try:
        adapter = getattr(importlib.import_module(f".{module}", __package__), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{model_path} needs a package that is not here: pip install {package}") from error
    with closing(adapter(model_path) if detector_path is None else adapter(model_path, detector_path)) as landmarker:
        yield landmarker


def annotate(picture: np.ndarray, landmarker: Landmarker, wanted: Collection[str] = WANTED) -> dict:
    """What the `meta-data` of one picture gets.

    Args:
        picture: (height, width, 3) uint8 RGB, as `images.decode` gives it.
        landmarker: see `open_landmarker`.
        wanted: of "landmarks" and "pose".

    Returns:
        {"landmarks_68": (68, 2) float64 in pixels or None, "pose": {"yaw", "pitch", "roll"} in radians or None (see
        `POSE_UNIT`), "blendshapes": name -> [0, 1] or None, "reason": why there is no face, or None}. What is not
        wanted is None. Landmarks may lie a little outside of the picture.

    Raises:
        ValueError: something else is wanted.
    """
    if not set(wanted) <= set(WANTED):
        raise ValueError(f"{', '.join(wanted)} is wanted, expected some of {', '.join(WANTED)}")
    found = landmarker.find(picture)
    if found is None:
        reason = f"no face found by {landmarker.name}"
        return {"landmarks_68": None, "pose": None, "blendshapes": None, "reason": reason}
    pose = None
    if "pose" in wanted:
        pose = dict(zip(ANGLES, head_pose(found.landmarks_68, (picture.shape[1], picture.shape[0])), strict=True))
    return {
        "landmarks_68": found.landmarks_68 if "landmarks" in wanted else None,
        "pose": pose,
        "blendshapes": found.blendshapes,
        "reason": None,
    }
