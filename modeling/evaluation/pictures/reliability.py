"""The reliability diagram, against labels and against soft labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...metrics.calibration.formulas import calibration_gap
from .style import FAINT, INK, PREDICTED_COLOUR, QUIET, TEXT, TRUE_COLOUR, finish, laid_out_figure

AGAINST_LABEL = ("Hard labels", "accuracy")
AGAINST_SOFT_LABEL = ("Soft labels", "soft label of the predicted emotion")


def reliability_figure(metrics: Mapping[str, Any]) -> Figure:
    """Top-1 confidence against what came true, 1100 x 600 pixels: the label left, the soft label right."""
    figure = laid_out_figure(1100, 600, between=0.06)
    left, right = figure.subplots(1, 2)
    draw_reliability_diagram(left, metrics["reliability"], *AGAINST_LABEL)
    draw_reliability_diagram(right, metrics["reliability_soft"], *AGAINST_SOFT_LABEL)
    return figure


def draw_reliability_diagram(axes: Axes, bins: dict, title: str, truth: str):
    """A dot for each bin at its mean confidence and truth, the gap to the diagonal, and the bin's share of rows.

    `bins` is what `reliability_bins` gives, as plain lists. `truth` names the vertical axis.
    """
    edges, rows = np.array(bins["edges"]), np.array(bins["rows"])
    filled = rows > 0
    confidence, found = (np.array(bins[key], dtype=float)[filled] for key in ("confidence", "accuracy"))
    shares = rows / max(rows.sum(), 1)
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color=FAINT, edgecolor="white", label="share of faces")
    axes.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1.5, label="perfect")
    axes.vlines(confidence, confidence, found, color=PREDICTED_COLOUR, linewidth=4, label="gap")
    axes.plot(confidence, found, "o", color=TRUE_COLOUR, markersize=9, label="found")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("probability of the predicted emotion", fontsize=TEXT, color=INK, labelpad=10)
    axes.set_ylabel(truth, fontsize=TEXT, color=INK)
    # Above the frame, for inside it there is no corner that dots or bars may not need.
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.01),
        ncols=4,
        fontsize=11,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0,
        borderpad=0.2,
        columnspacing=1.2,
        handlelength=1.5,
        reverse=True,
    )
    error = f"calibration error {calibration_gap(bins):.3f}" if filled.any() else "not known of any face"
    finish(axes, f"{title}: {error}")
