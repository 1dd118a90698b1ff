"""The confusion matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import FAINT, INK, QUIET, SHARES, SMALL, TEXT, finish, laid_out_figure, wrapped

_COUNT = 9  # points


def confusion_figure(metrics: Mapping[str, Any]) -> Figure:
    """The confusion matrix of `evaluate_predictions` in 900 x 720 pixels; taller for more classes than 8."""
    figure = laid_out_figure(900, max(720, 200 + 65 * len(metrics["confusion"])))
    draw_confusion_matrix(figure.add_subplot(), metrics)
    return figure


def draw_confusion_matrix(axes: Axes, metrics: Mapping[str, Any]):
    """Each true emotion's row of the confusion matrix: per cent of that row, and below it the number of faces."""
    counts = np.array(metrics["confusion"])
    names, support = [wrapped(name) for name in metrics["per_class"]], counts.sum(axis=1)
    shares = counts / np.where(support > 0, support, 1)[:, None]
    # Not imshow, which would be a blurred bitmap in an SVG.
    axes.pcolormesh(shares, cmap=SHARES, vmin=0, vmax=1, edgecolors=FAINT, linewidth=1)
    axes.invert_yaxis()
    for row, column in np.argwhere(np.broadcast_to(support[:, None] > 0, counts.shape)):
        colour = INK if counts[row, column] else QUIET
        percent = f"{100 * shares[row, column]:.0f}"
        axes.annotate(
            percent,
            (column + 0.5, row + 0.5),
            (0, -2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=TEXT,
            color=colour,
        )
        if counts[row, column]:
            axes.annotate(
                f"({counts[row, column]:,})",
                (column + 0.5, row + 0.5),
                (0, -3),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=_COUNT,
                color=colour,
            )
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names)
    axes.set_yticks(places, [f"{name} ({number:,})" for name, number in zip(names, support, strict=True)])
    axes.tick_params(length=0)
    axes.set_xlabel("predicted emotion", fontsize=TEXT, color=INK, labelpad=10)
    axes.annotate(
        "% of each true emotion, and (number of faces)",
        (0, 1),
        (0, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=SMALL,
        color=INK,
    )
    finish(axes, "Confusion")
    axes.tick_params(axis="x", labelsize=11)
