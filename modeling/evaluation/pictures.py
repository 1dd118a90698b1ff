"""Pictures of an evaluation as PNG files: confusion matrix, reliability diagram, and one sheet with faces and both.

Drawn on `matplotlib.figure.Figure` with its own Agg canvas, so that no window system and no global pyplot state is
touched. Everything is placed in pixels: the same input gives the same bytes, and nothing depends on a layout engine.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageOps

from affectnet_plus_modeling.evaluation.metrics.calibration.formulas import calibration_gap, reliability_bins
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.scores import top_confidence

# Okabe & Ito's palette, told apart under every common colour blindness.
TRUE_COLOUR = "#0072B2"
PREDICTED_COLOUR = "#E69F00"
WRONG_COLOUR = "#D55E00"
INK, QUIET, FAINT = "#222222", "#666666", "#DDDDDD"
SHARES = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", "#56B4E9"])  # light enough for dark words on all

DPI = 100
TEXT, SMALL = 13, 12  # points; 12 points are still 8 pixels high when a sheet is shown at half its width
SHEET_WIDTH = 1800
MARGIN = 30
HEADER = 170
COLUMNS, GAP = 4, 32
CELL_WIDTH = (SHEET_WIDTH - 2 * MARGIN - GAP * (COLUMNS - 1)) // COLUMNS
CELL_HEIGHT = 300
FACE, NAMES = 190, 92  # a face's side, and the room that the longest emotion's name takes beside its bars
PLOTS_HEIGHT = 660


def confusion_matrix_picture(metrics: dict, path):
    """Writes the confusion matrix of `evaluate_predictions` as a PNG of 1000 x 700 pixels."""
    figure = _figure(1000, 700)
    draw_confusion_matrix(_axes(figure, 170, 90, 800, 530), metrics)
    _save(figure, path)


def reliability_diagram_picture(predictions: Predictions, path):
    """Writes top-1 confidence against accuracy, over the rows with a label, as a PNG of 900 x 700 pixels."""
    figure = _figure(900, 700)
    bins = reliability_bins(*top_confidence(predictions))
    draw_reliability_diagram(_axes(figure, 100, 90, 770, 530), bins)
    _save(figure, path)


def prediction_sheet(images: list[Image.Image], predictions: Predictions, metrics: dict, path, title: str):
    """Writes one PNG, 1800 pixels wide, that shows what a model does: faces, then where it errs and how surely.

    `images[i]` belongs to row i of `predictions`: take the rows to be shown with `Predictions.take`. `metrics` is
    `evaluate_predictions` over everything evaluated, not over the faces shown only; headline, confusion matrix and
    reliability diagram come from it. Raises ValueError for another number of images than rows.
    """
    if len(images) != len(predictions.image_ids):
        raise ValueError(f"{len(images)} images for {len(predictions.image_ids)} rows, expected one for each")
    grid_height = CELL_HEIGHT * -(-len(images) // COLUMNS)
    figure = _figure(SHEET_WIDTH, HEADER + grid_height + PLOTS_HEIGHT)
    _draw_header(figure, metrics, title)
    for row, image in enumerate(images):
        left = MARGIN + (CELL_WIDTH + GAP) * (row % COLUMNS)
        _draw_face(figure, left, HEADER + CELL_HEIGHT * (row // COLUMNS), image, predictions, row)
    top = HEADER + grid_height + 75
    draw_confusion_matrix(_axes(figure, 190, top, 790, 500), metrics)
    draw_reliability_diagram(_axes(figure, 1100, top, 670, 500), metrics["reliability"])
    _save(figure, path)


def draw_confusion_matrix(axes: Axes, metrics: dict):
    """Each true emotion's row of the confusion matrix as per cent of that row, its number of rows beside its name."""
    counts = np.array(metrics["confusion"])
    names, support = list(metrics["per_class"]), counts.sum(axis=1)
    shares = counts / np.where(support > 0, support, 1)[:, None]
    axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(np.broadcast_to(support[:, None] > 0, counts.shape)):
        colour = INK if counts[row, column] else QUIET
        percent = f"{100 * shares[row, column]:.0f}"
        axes.text(column, row, percent, ha="center", va="center", fontsize=TEXT, color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), [f"{name} ({number})" for name, number in zip(names, support, strict=True)])
    axes.set_xticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted emotion", fontsize=TEXT, color=INK, labelpad=10)
    axes.annotate(
        "% of each true emotion, with its number of faces", (0, 1), (0, 9), xycoords="axes fraction",
        textcoords="offset points", fontsize=SMALL, color=INK,
    )
    _finish(axes, "Confusion")


def draw_reliability_diagram(axes: Axes, bins: dict):
    """A dot for each bin at its mean confidence and accuracy, the gap to the diagonal, and the bin's share of rows.

    `bins` is what `reliability_bins` gives, or its plain form under "reliability" in the metrics.
    """
    edges, rows = np.array(bins["edges"]), np.array(bins["rows"])
    filled = rows > 0
    confidence, accuracy = (np.array(bins[key], dtype=float)[filled] for key in ("confidence", "accuracy"))
    shares = rows / max(rows.sum(), 1)
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color=FAINT, edgecolor="white", label="share of faces")
    axes.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1.5, label="perfect")
    axes.vlines(confidence, confidence, accuracy, color=PREDICTED_COLOUR, linewidth=4, label="gap")
    axes.plot(confidence, accuracy, "o", color=TRUE_COLOUR, markersize=10, label="accuracy")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("confidence: probability of the predicted emotion", fontsize=TEXT, color=INK, labelpad=10)
    axes.set_ylabel("accuracy", fontsize=TEXT, color=INK)
    # Above the frame, for inside it there is no corner that dots or bars may not need.
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01), ncols=4, fontsize=SMALL, frameon=False, labelcolor=INK,
        borderaxespad=0, borderpad=0.2, columnspacing=1.5, reverse=True,
    )
    error = f"calibration error {calibration_gap(bins):.3f}" if filled.any() else "no face has a label"
    _finish(axes, f"Reliability: {error}")


def _draw_header(figure: Figure, metrics: dict, title: str):
    _text(figure, MARGIN, 45, title, 24, INK, weight="bold", widest=SHEET_WIDTH - 2 * MARGIN)
    _text(figure, MARGIN, 92, headline(metrics), 16, INK, widest=SHEET_WIDTH - 2 * MARGIN)
    keys = [Patch(color=TRUE_COLOUR, label="true soft label"), Patch(color=PREDICTED_COLOUR, label="predicted")]
    figure.legend(
        handles=keys, loc="center left", ncols=2, fontsize=TEXT, frameon=False, borderaxespad=0, borderpad=0,
        bbox_to_anchor=(MARGIN / SHEET_WIDTH, 1 - 132 / _height(figure)), labelcolor=INK,
    )
    _text(figure, MARGIN + 390, 132, "in words: true → predicted;  V valence, A arousal", TEXT, QUIET)


def headline(metrics: dict) -> str:
    """One line: KL against the mean soft label's, accuracy against chance, and the number of faces behind them."""
    constant, uniform = metrics["baselines"]["mean_soft_label"], metrics["baselines"]["uniform"]
    parts = []
    if metrics["kl"] is not None:
        parts.append(f"KL to the soft labels {metrics['kl']:.3f} nats (mean soft label alone: {constant['kl']:.3f})")
    if metrics["accuracy"] is not None:
        parts.append(f"accuracy {100 * metrics['accuracy']:.1f} % (chance: {100 * uniform['accuracy']:.1f} %)")
    return "  ·  ".join([*parts, f"{metrics['rows']} face{'s' if metrics['rows'] > 1 else ''}"])


def _draw_face(figure: Figure, left: int, top: int, image: Image.Image, predictions: Predictions, row: int):
    label, guess = int(predictions.labels[row]), int(predictions.probabilities[row].argmax())
    names = predictions.names
    verdict = "" if label < 0 else "  ✓" if label == guess else "  ✗"
    colour = WRONG_COLOUR if label >= 0 and label != guess else INK
    heading = f"{names[label] if label >= 0 else '?'} → {names[guess]}{verdict}"
    _text(figure, left, top + 14, heading, 15, colour, weight="bold")
    face = _axes(figure, left, top + 34, FACE, FACE)
    face.imshow(np.asarray(ImageOps.pad(image.convert("RGB"), (FACE, FACE), color="white")))
    face.set_axis_off()
    known = [
        f"{letter} {true:+.2f} → {predicted:+.2f}".replace("-", "−")
        for letter, true, predicted in zip(
            "VA", predictions.true_valence_arousal[row], predictions.valence_arousal[row], strict=True
        )
        if not np.isnan(true)
    ]
    for number, line in enumerate(known):
        _text(figure, left, top + 34 + FACE + 16 + 22 * number, line, SMALL, INK)
    bars = _axes(figure, left + FACE + NAMES, top + 34, CELL_WIDTH - FACE - NAMES, FACE)
    _draw_paired_bars(bars, predictions.soft_labels[row], predictions.probabilities[row], names)


def _draw_paired_bars(axes: Axes, soft: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]):
    places = np.arange(len(names))
    axes.barh(places - 0.2, np.nan_to_num(soft), 0.4, color=TRUE_COLOUR)
    axes.barh(places + 0.2, probabilities, 0.4, color=PREDICTED_COLOUR)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(places, names)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid(axis="x", color=FAINT, linewidth=1)
    axes.tick_params(length=0)
    _finish(axes, "")


def _finish(axes: Axes, title: str):
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL, labelcolor=INK, color=FAINT)
    for side in axes.spines.values():
        side.set_color(FAINT)
    if title:
        axes.set_title(title, fontsize=15, fontweight="bold", color=INK, loc="left", pad=32)


def _figure(width: int, height: int) -> Figure:
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _height(figure: Figure) -> int:
    return round(figure.get_figheight() * DPI)


def _axes(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Axes whose frame lies at these pixels, counted from the upper left corner."""
    across, down = figure.get_figwidth() * DPI, _height(figure)
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _text(figure: Figure, left: int, middle: int, words: str, size: float, colour: str, weight="normal", widest=None):
    """Text that starts at pixel `left`, centred on pixel row `middle`; made smaller where it would be cut."""
    across, down = figure.get_figwidth() * DPI, _height(figure)
    text = figure.text(
        left / across, 1 - middle / down, words, fontsize=size, color=colour, fontweight=weight, va="center",
        parse_math=False,
    )
    # Step by step, for hinted letters do not shrink in proportion; below 6 points nobody could read the words anyway.
    while widest and text.get_window_extent().width > widest and size > 6:
        size *= 0.95
        text.set_fontsize(size)


def _save(figure: Figure, path):
    # Without its version string, the file depends on what is drawn only.
    figure.savefig(Path(path), format="png", dpi=DPI, metadata={"Software": None})
