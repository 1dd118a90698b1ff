"""A few drawn faces in each of which one emotion is expressed alone: examples for cards, pages and widgets.

They are free and nobody is seen on them, whatever a model learnt from; no face of any data set is ever shown.
"""

from functools import cache
from io import BytesIO

import numpy as np

from affectnet_plus import EMOTIONS

from .face import draw_expression

PERSONS = {"happy": 4, "surprise": 1, "sad": 2, "anger": 6}  # of seed 0, by the expression that they have


def example_faces() -> dict[str, bytes]:
    """The pictures by what is expressed: PNGs of 224x224 pixels in 256 colours."""
    return {emotion: _drawn(emotion, person) for emotion, person in PERSONS.items()}


@cache
def _drawn(emotion: str, person: int) -> bytes:
    face = draw_expression(np.eye(len(EMOTIONS))[EMOTIONS.index(emotion)], 0, person)
    content = BytesIO()
    face.image.quantize(256).save(content, "PNG", optimize=True)
    return content.getvalue()
