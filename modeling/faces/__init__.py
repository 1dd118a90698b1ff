"""Faces found, cut out and followed; their landmarks and head pose by somebody else's model, and age, gender and race
by somebody else's table.

`find_faces` and `cut_out` are what every verb calls, and what travels with a model (`vit.faces`). `annotate` is what
`label` calls for landmarks and pose; `open_landmarker` says which model files can be used and where they come from.
"""

from ..vit.faces import Face, cut_out, find_faces, remark
from .annotate import POSE_UNIT, annotate, open_landmarker
from .blendshapes import UNITS, action_units, write_action_units
from .imported_tables import read_deepface, read_fairface
from .tracks import Tracks

__all__ = [
    "POSE_UNIT",
    "UNITS",
    "Face",
    "Tracks",
    "action_units",
    "annotate",
    "cut_out",
    "find_faces",
    "open_landmarker",
    "read_deepface",
    "read_fairface",
    "remark",
    "write_action_units",
]
