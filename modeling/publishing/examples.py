"""The example faces that we draw, and what a model says of them: what its card and its widget show first."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..evaluation.pictures.style import (
    DPI,
    INK,
    QUIET,
    SMALL,
    TEXT,
    TRUE_COLOUR,
    axes_at,
    figure_of,
    shortened,
    text_at,
)
from ..evaluation.predict import Answer, load_model, predict
from ..sources.synthetic.examples import example_faces

SHEET = "examples.png"

_FACE, _NAMES, _MARGIN = 210, 96, 24  # pixels of the sheet, which a card shows about as large
_TITLE, _BARS, _BELOW = 40, 84, 34
_LARGEST = 3  # emotions that have a bar


class Example(NamedTuple):
    """A drawn face in which one emotion is expressed alone, with what the model says of this very picture."""

    emotion: str
    picture: bytes
    answer: Answer

    @property
    def file(self) -> str:
        return file_of(self.emotion)


def file_of(emotion: str) -> str:
    """The name of the picture in a repository."""
    return f"example-{emotion}.png"


def examples_of(folder: str | Path) -> list[Example]:
    """What the model of a folder says of the example faces.

    Raises:
        FileNotFoundError, ValueError: as `load_model`.
    """
    faces = example_faces()
    said = predict(load_model(folder), [Image.open(BytesIO(content)).convert("RGB") for content in faces.values()])
    return [Example(*found) for found in zip(faces, faces.values(), said, strict=True)]


def draw_sheet(examples: Sequence[Example]) -> bytes:
    """The examples side by side, each with bars of the largest parts of its soft label, as a PNG."""
    width = _MARGIN + len(examples) * (_FACE + _MARGIN)
    figure = figure_of(width, _TITLE + _FACE + _BARS + 2 * _BELOW)
    for number, example in enumerate(examples):
        _draw_example(figure, _MARGIN + number * (_FACE + _MARGIN), example)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    # So few colours are half of the bytes, and nobody sees it.
    smaller = BytesIO()
    Image.open(content).convert("RGB").quantize(256).save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def _draw_example(figure: Figure, left: int, example: Example) -> None:
    answer = example.answer
    text_at(figure, left, _TITLE // 2, answer["label"], 16, INK, weight="bold", widest=_FACE)
    face = axes_at(figure, left, _TITLE, _FACE, _FACE)
    face.imshow(np.asarray(Image.open(BytesIO(example.picture)).convert("RGB")))
    face.set_axis_off()
    largest = sorted(answer["soft_label"].items(), key=lambda found: -found[1])[:_LARGEST]
    top = _TITLE + _FACE + _BELOW // 2
    bars = axes_at(figure, left + _NAMES, top, _FACE - _NAMES, _BARS)
    bars.barh(range(_LARGEST), [share for _, share in largest], 0.6, color=TRUE_COLOUR)
    for row, (name, share) in enumerate(largest):
        bars.text(-0.05, row, shortened(name, 8), ha="right", va="center", fontsize=TEXT, color=INK, parse_math=False)
        bars.text(share + 0.05, row, f"{share:.0%}", va="center", fontsize=SMALL, color=INK)
    bars.set_xlim(0, 1.45)  # the number of the longest bar stands behind it
    bars.set_ylim(_LARGEST - 0.5, -0.5)
    bars.set_axis_off()
    text_at(figure, left, top + _BARS + _BELOW // 2, f"drawn as: {example.emotion}", SMALL, QUIET)
