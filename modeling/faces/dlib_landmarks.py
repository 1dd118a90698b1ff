"""dlib's 68 points (Kazemi and Sullivan 2014) in the box that its own detector finds (HOG and a linear SVM).

Needs `dlib` (Boost licence; `dlib-bin` is the same, compiled) and `shape_predictor_68_face_landmarks.dat`, which the
PyPI package face_recognition_models carries. dlib's detector is part of dlib. The predictor was trained on iBUG 300-W,
whose terms exclude commercial use; dlib's author refers to them for the predictor too.
"""

from pathlib import Path

import dlib
import numpy as np

from .landmarker import FoundFace, framed


class DlibLandmarks:
    """Of 400 FairFace faces it finds 306, at 100 a second on one core: it misses turned, veiled and shaded ones."""

    name = "dlib's face detector"

    def __init__(self, model_path):
        """Load the predictor; raises FileNotFoundError or ValueError if the file is none."""
        if not Path(model_path).is_file():
            raise FileNotFoundError(f"there is no model {model_path}")
        self._detector = dlib.get_frontal_face_detector()
        try:
            self._predictor = dlib.shape_predictor(str(model_path))
        except RuntimeError as error:
            raise ValueError(f"{model_path} is no shape predictor of dlib: {error}") from error

    def find(self, picture: np.ndarray) -> FoundFace | None:
        """See `Landmarker.find`."""
        whole, frame = framed(picture)
        boxes, scores, _ = self._detector.run(whole, 0, 0.0)
        if not boxes:
            return None
        points = self._predictor(whole, boxes[int(np.argmax(scores))]).parts()
        return FoundFace(np.array([(point.x, point.y) for point in points], dtype=float) - frame)

    def close(self) -> None:
        """Nothing is held open."""
