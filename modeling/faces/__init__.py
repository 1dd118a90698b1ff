"""Landmarks and head pose of a face by somebody else's model, and age, gender and race by somebody else's table.

`annotate` is what a command calls; `open_landmarker` says which model files can be used and where they come from.
"""

from .annotate import POSE_UNIT, annotate, open_landmarker
from .blendshapes import UNITS, action_units, write_action_units
from .imported_tables import read_deepface, read_fairface

__all__ = [
    "POSE_UNIT",
    "UNITS",
    "action_units",
    "annotate",
    "open_landmarker",
    "read_deepface",
    "read_fairface",
    "write_action_units",
]
