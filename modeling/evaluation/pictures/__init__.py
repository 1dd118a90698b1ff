"""Pictures of an evaluation, each as PNG and SVG, and the sheets with faces, which are PNG only.

`draw_pictures` needs no image and shows no face. `draw_sheets` shows faces, and what it writes is never published.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..predictions import Predictions
from .circumplex import circumplex_figure
from .confusion import confusion_figure
from .parts import groups_figure, subsets_figure
from .reliability import reliability_figure
from .sheets import Face, ambiguous_sheet_figure, drawn_by_lot, mistakes_sheet_figure, prediction_sheet_figure
from .style import save

# What each picture shows, in words: the title of its SVG, and what a screen reader says of it in the report.
SHOWN = {
    "confusion": "Confusion matrix: what the model calls the faces of each true emotion, in per cent and in numbers",
    "reliability": "Reliability diagram: probability of the predicted emotion against how often it was the label, and "
    "against how much of the soft label is on it",
    "circumplex": "Valence and arousal of the faces on the circumplex, true on the left and predicted on the right",
    "subsets": "Accuracy and KL divergence of all faces and of each difficulty subset, with intervals",
    "groups": "Accuracy and KL divergence of each group of faces, with intervals, beside that of all faces",
}
SHEETS = ("faces.png", "mistakes.png", "ambiguous.png")  # they show faces: never published


def draw_pictures(metrics: Mapping[str, Any], predictions: Predictions, folder) -> list[str]:
    """Write every picture that there are numbers for, as PNG and SVG, into `folder`.

    Args:
        metrics: what metrics.json holds, see `evaluate`.

    Returns:
        The names of the files, in the order in which they are to be shown.
    """
    figures = {
        "confusion": confusion_figure(metrics),
        "reliability": reliability_figure(metrics),
        "circumplex": circumplex_figure(predictions),
        "subsets": subsets_figure(metrics),
        "groups": groups_figure(metrics),
    }
    names = []
    for name, figure in figures.items():
        if figure is None:
            continue
        for suffix in (".png", ".svg"):
            save(figure, Path(folder) / f"{name}{suffix}", SHOWN[name])
            names.append(f"{name}{suffix}")
    return names


def draw_sheets(metrics: Mapping[str, Any], predictions: Predictions, face: Face, folder, title: str) -> list[str]:
    """Write sheets of at most 12 faces each into `folder`, and return the names of the files. They show faces.

    faces.png has faces drawn by lot, and where the model errs. mistakes.png has the wrong answers of the highest
    probability; ambiguous.png the faces whose true soft label has the highest entropy. These two are left out where
    there are no such faces.

    Args:
        metrics: `scores.evaluate_predictions` of all `predictions`, or more.
        face: gives the picture of a row of `predictions`.
        title: stands above each.
    """
    shown = drawn_by_lot(predictions)
    images = [face(row) for row in shown]
    figures = (
        prediction_sheet_figure(images, predictions.take(shown), metrics, title),
        mistakes_sheet_figure(predictions, face, title),
        ambiguous_sheet_figure(predictions, face, title),
    )
    drawn = {name: figure for name, figure in zip(SHEETS, figures, strict=True) if figure is not None}
    for name, figure in drawn.items():
        save(figure, Path(folder) / name, title)
    return list(drawn)
