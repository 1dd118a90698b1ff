"""Faces we draw: licence-free parametric faces whose labels are true because the drawing was made from them.

`expressions` says what the labels mean, `shape` what the action units and pose angles do. A face depends on its seed
and index alone; its bytes are the same on every run with the same versions of NumPy and Pillow.
"""

from .draw import draw_tree
from .face import DrawnFace, draw_expression, draw_face
from .repeat import draw_repeated_tree

__all__ = ["DrawnFace", "draw_expression", "draw_face", "draw_repeated_tree", "draw_tree"]
