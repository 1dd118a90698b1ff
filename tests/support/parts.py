"""What `make parts` brings, and some tests are skipped without: a browser, models that find landmarks, and readers of
exported models."""

import os
import shutil
import sys
from pathlib import Path

HINT = "make parts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_CHROMIUM = f"no Chromium on the PATH ({HINT})"

# The environment variables that name the model files, with the names that `make parts` gives to them.
MODEL_FILES = {
    "AFFECTNET_PLUS_FACE_LANDMARKER": "face_landmarker.task",
    "AFFECTNET_PLUS_LANDMARK_ONNX": "fr_landmark.onnx",
    "AFFECTNET_PLUS_DETECTOR_ONNX": "fr_detect.onnx",
    "AFFECTNET_PLUS_DLIB_68": "shape_predictor_68_face_landmarks.dat",
}


_PARTS = Path(sys.prefix, "parts")
OPTIMUM = _PARTS / "optimum" / "bin" / "python"
NODE_MODULES = _PARTS / "js" / "node_modules"
NO_OPTIMUM = f"no environment of optimum ({HINT})"
NO_TRANSFORMERS_JS = f"no transformers.js ({HINT})"


def model_file(variable: str) -> str | None:
    """The file that an environment variable names, else that of `make parts`, else None."""
    brought = _PARTS / MODEL_FILES[variable]
    return os.environ.get(variable) or (str(brought) if brought.is_file() else None)


def missing(reasons) -> bool:
    """Whether one of the reasons for which tests were skipped is done away with by `make parts`."""
    return any(f"({HINT})" in reason for reason in reasons)
