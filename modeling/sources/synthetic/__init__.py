"""Faces we draw: licence-free parametric faces whose labels are true because the drawing was made from them."""

from .draw import draw_tree
from .face import DrawnFace, draw_expression, draw_face

__all__ = ["DrawnFace", "draw_expression", "draw_face", "draw_tree"]
