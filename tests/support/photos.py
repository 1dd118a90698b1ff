"""Photos of several drawn faces, and where they are."""

import numpy as np
from PIL import Image

from affectnet_plus_modeling.sources.synthetic import draw_face


def group(count: int = 3, side: int = 200, first: int = 5) -> tuple[Image.Image, list[np.ndarray]]:
    """`count` faces beside each other on grey, and their landmarks, (68, 2) each, from the left to the right."""
    canvas = Image.new("RGB", (count * side, side + side // 2), (90, 110, 120))
    points = []
    for place in range(count):
        face = draw_face(first + place, (1, 3, 6)[place % 3])
        canvas.paste(face.image.resize((side, side)), (place * side, side // 4))
        points.append(face.landmarks_68 * side / face.image.width + (place * side, side // 4))
    return canvas, points
