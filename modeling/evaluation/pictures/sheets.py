"""Sheets of faces with what is known and what is predicted. They show faces: they are looked at, never published."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageOps
from scipy.stats import entropy

from ..predictions import Predictions
from .confusion import draw_confusion_matrix
from .reliability import AGAINST_LABEL, draw_reliability_diagram
from .style import (
    FAINT,
    INK,
    PREDICTED_COLOUR,
    QUIET,
    SMALL,
    TEXT,
    TRUE_COLOUR,
    WRONG_COLOUR,
    axes_at,
    figure_of,
    finish,
    height_of,
    shortened,
    text_at,
)

SHEET_FACES = 12
Face = Callable[[int], Image.Image]  # the picture of a row

_WIDTH = 1800
_MARGIN = 30
_HEADER = 170
_COLUMNS, _GAP = 4, 32
_CELL_WIDTH = (_WIDTH - 2 * _MARGIN - _GAP * (_COLUMNS - 1)) // _COLUMNS
_CELL_HEIGHT = 300
_FACE, _NAMES = 190, 92  # a face's side, and the room that the longest emotion's name takes beside its bars
_PLOTS_HEIGHT = 660


def drawn_by_lot(predictions: Predictions) -> list[int]:
    """At most 12 rows by a fixed seed and not by how well they went: one per label, then any."""
    order = np.random.default_rng(0).permutation(len(predictions.image_ids))
    first = {int(predictions.labels[row]): int(row) for row in order[::-1]}
    chosen = [first[label] for label in sorted(first)]
    return (chosen + [int(row) for row in order if row not in chosen])[:SHEET_FACES]


def confident_mistakes(predictions: Predictions) -> np.ndarray:
    """All rows whose label is known and is not the predicted one, the highest top-1 probability first."""
    wrong = (predictions.labels >= 0) & (predictions.probabilities.argmax(axis=1) != predictions.labels)
    return _falling(predictions.probabilities.max(axis=1), np.flatnonzero(wrong))


def most_ambiguous(predictions: Predictions) -> np.ndarray:
    """All rows whose soft label is known, the highest entropy of the true soft label first."""
    known = ~np.isnan(predictions.soft_labels).any(axis=1)
    return _falling(entropy(predictions.soft_labels, axis=1), np.flatnonzero(known))


def _falling(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(-values[rows], kind="stable")]


def prediction_sheet_figure(
    images: Sequence[Image.Image], predictions: Predictions, metrics: Mapping[str, Any], title: str
) -> Figure:
    """1800 pixels wide, what a model does: faces, then where it errs and how surely.

    `images[i]` belongs to row i of `predictions`: take the rows to be shown with `Predictions.take`. `metrics` is
    `evaluate_predictions` over everything evaluated, not over the faces shown only; headline, confusion matrix and
    reliability diagram come from it. Raises ValueError for another number of images than rows.
    """
    grid_height = _CELL_HEIGHT * -(-len(images) // _COLUMNS)
    figure = figure_of(_WIDTH, _HEADER + grid_height + _PLOTS_HEIGHT)
    _draw_header(figure, title, headline(metrics))
    _draw_faces(figure, images, predictions, [""] * len(images))
    top = _HEADER + grid_height + 75
    draw_confusion_matrix(axes_at(figure, 190, top, 790, 480), metrics)
    draw_reliability_diagram(axes_at(figure, 1100, top, 670, 480), metrics["reliability"], *AGAINST_LABEL)
    return figure


def mistakes_sheet_figure(predictions: Predictions, face: Face, title: str) -> Figure | None:
    """The 12 wrong answers of the highest probability, which stands beside each; None if no answer is wrong."""
    rows = confident_mistakes(predictions)
    shown = rows[:SHEET_FACES]
    line = f"{len(shown)} of {len(rows):,} wrong answers: those of the highest probability, which stands beside them"
    notes = [f"{100 * value:.0f} %" for value in predictions.probabilities[shown].max(axis=1)]
    return _face_sheet_figure(predictions, shown, face, f"Mistakes: {title}", line, notes)


def ambiguous_sheet_figure(predictions: Predictions, face: Face, title: str) -> Figure | None:
    """The 12 faces of the highest entropy of the true soft label; None if no soft label is known."""
    rows = most_ambiguous(predictions)
    shown = rows[:SHEET_FACES]
    line = f"{len(shown)} of {len(rows):,} faces: those of the highest entropy of the true soft label, in nats"
    notes = [f"{value:.2f}" for value in entropy(predictions.soft_labels[shown], axis=1)]
    return _face_sheet_figure(predictions, shown, face, f"Ambiguous: {title}", line, notes)


def _face_sheet_figure(
    predictions: Predictions, rows: np.ndarray, face: Face, title: str, line: str, notes: list[str]
) -> Figure | None:
    if len(rows) == 0:
        return None
    figure = figure_of(_WIDTH, _HEADER + _CELL_HEIGHT * -(-len(rows) // _COLUMNS))
    _draw_header(figure, title, line)
    _draw_faces(figure, [face(int(row)) for row in rows], predictions.take(rows), notes)
    return figure


def headline(metrics: Mapping[str, Any]) -> str:
    """One line: KL against the mean soft label's, accuracy against chance, and the number of faces behind them."""
    constant, uniform = metrics["baselines"]["mean_soft_label"], metrics["baselines"]["uniform"]
    parts = []
    if metrics["kl"] is not None:
        parts.append(f"KL to the soft labels {metrics['kl']:.3f} nats (mean soft label alone: {constant['kl']:.3f})")
    if metrics["accuracy"] is not None:
        parts.append(f"accuracy {100 * metrics['accuracy']:.1f} % (chance: {100 * uniform['accuracy']:.1f} %)")
    return "  ·  ".join([*parts, f"{metrics['rows']:,} face{'s' if metrics['rows'] > 1 else ''}"])


def _draw_header(figure: Figure, title: str, line: str):
    text_at(figure, _MARGIN, 45, title, 24, INK, weight="bold", widest=_WIDTH - 2 * _MARGIN)
    text_at(figure, _MARGIN, 92, line, 16, INK, widest=_WIDTH - 2 * _MARGIN)
    keys = [Patch(color=TRUE_COLOUR, label="true soft label"), Patch(color=PREDICTED_COLOUR, label="predicted")]
    figure.legend(
        handles=keys,
        loc="center left",
        ncols=2,
        fontsize=TEXT,
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        bbox_to_anchor=(_MARGIN / _WIDTH, 1 - 132 / height_of(figure)),
        labelcolor=INK,
    )
    text_at(figure, _MARGIN + 390, 132, "in words: true → predicted;  V valence, A arousal", TEXT, QUIET)


def _draw_faces(figure: Figure, images: Sequence[Image.Image], predictions: Predictions, notes: Sequence[str]):
    if len(images) != len(predictions.image_ids):
        raise ValueError(f"{len(images)} images for {len(predictions.image_ids)} rows, expected one for each")
    for row, (image, note) in enumerate(zip(images, notes, strict=True)):
        left = _MARGIN + (_CELL_WIDTH + _GAP) * (row % _COLUMNS)
        _draw_face(figure, left, _HEADER + _CELL_HEIGHT * (row // _COLUMNS), image, predictions, row, note)


def _draw_face(figure: Figure, left: int, top: int, image: Image.Image, predictions: Predictions, row: int, note: str):
    label, guess = int(predictions.labels[row]), int(predictions.probabilities[row].argmax())
    names = [shortened(name, 18) for name in predictions.names]
    verdict = "" if label < 0 else "  ✓" if label == guess else "  ✗"
    colour = WRONG_COLOUR if label >= 0 and label != guess else INK
    heading = f"{names[label] if label >= 0 else '?'} → {names[guess]}{verdict}{'  ' if note else ''}{note}"
    text_at(figure, left, top + 14, heading, 15, colour, weight="bold", widest=_CELL_WIDTH)
    face = axes_at(figure, left, top + 34, _FACE, _FACE)
    face.imshow(np.asarray(ImageOps.pad(image.convert("RGB"), (_FACE, _FACE), color="white")))
    face.set_axis_off()
    known = [
        f"{letter} {true:+.2f} → {predicted:+.2f}".replace("-", "−")
        for letter, true, predicted in zip(
            "VA", predictions.true_valence_arousal[row], predictions.valence_arousal[row], strict=True
        )
        if not np.isnan(true + predicted)
    ]
    for number, line in enumerate(known):
        text_at(figure, left, top + 34 + _FACE + 16 + 22 * number, line, SMALL, INK)
    bars = axes_at(figure, left + _FACE + _NAMES, top + 34, _CELL_WIDTH - _FACE - _NAMES, _FACE)
    _draw_paired_bars(bars, predictions.soft_labels[row], predictions.probabilities[row], predictions.names)


def _draw_paired_bars(axes: Axes, soft: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]):
    places = np.arange(len(names))
    axes.barh(places - 0.2, np.nan_to_num(soft), 0.4, color=TRUE_COLOUR)
    axes.barh(places + 0.2, probabilities, 0.4, color=PREDICTED_COLOUR)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(places, [shortened(name, 8) for name in names])
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid(axis="x", color=FAINT, linewidth=1)
    axes.tick_params(length=0)
    finish(axes, "")
