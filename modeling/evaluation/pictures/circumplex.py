"""Valence and arousal, true beside predicted, on the circumplex (Russell 1980)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import LogLocator

from ...labels import CIRCUMPLEX
from ..predictions import Predictions
from .style import INK, QUIET, SMALL, TEXT, TRUE_COLOUR, finish, laid_out_figure

MOST_DOTS = 500  # more faces are counted in cells, for dots would hide one another
_CELLS = 24  # across the square, so that one is a little more than .1 high
_LIMIT = 1.1
_DENSITY = LinearSegmentedColormap.from_list("density", ["#D6EAF8", "#56B4E9", TRUE_COLOUR, "#003A5D"])


def circumplex_figure(predictions: Predictions) -> Figure | None:
    """The faces whose true and predicted valence and arousal are known, 1100 x 610 pixels; None if there are none."""
    both = np.concatenate([predictions.true_valence_arousal, predictions.valence_arousal], axis=1)
    known = ~np.isnan(both).any(axis=1)
    if not known.any():
        return None
    figure = laid_out_figure(1100, 610)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    true, predicted = predictions.true_valence_arousal[known], predictions.valence_arousal[known]
    number = f"{len(true):,} face{'s' if len(true) > 1 else ''}"
    drawn = [_draw_places(axes, places) for axes, places in ((left, true), (right, predicted))]
    if len(true) > MOST_DOTS:
        most = max(cells.get_array().max() for cells in drawn)
        for cells in drawn:
            cells.set_norm(LogNorm(1, max(most, 2)))
        bar = figure.colorbar(drawn[0], ax=[left, right], shrink=0.7, aspect=30, pad=0.02)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        bar.ax.minorticks_off()
        bar.set_label("faces in a cell", fontsize=SMALL, color=INK)
        bar.ax.tick_params(labelsize=SMALL, labelcolor=INK)
        bar.outline.set_visible(False)
    _draw_circumplex(left, f"True: {number}")
    _draw_circumplex(right, "Predicted, the same faces")
    left.set_ylabel("calm  ←  arousal  →  excited", fontsize=TEXT, color=INK)
    return figure


def _draw_places(axes: Axes, places: np.ndarray):
    if len(places) <= MOST_DOTS:
        return axes.scatter(places[:, 0], places[:, 1], s=36, color=TRUE_COLOUR, alpha=0.6, linewidths=0, zorder=2)
    return axes.hexbin(
        places[:, 0], places[:, 1], gridsize=_CELLS, extent=(-1, 1, -1, 1), mincnt=1, cmap=_DENSITY, linewidths=0.2
    )


def _draw_circumplex(axes: Axes, title: str):
    axes.add_patch(Circle((0, 0), 1, fill=False, color=QUIET, linewidth=1.5))
    axes.axhline(0, color=QUIET, linewidth=1, zorder=1.2)
    axes.axvline(0, color=QUIET, linewidth=1, zorder=1.2)
    for name, (valence, arousal) in CIRCUMPLEX.items():
        axes.annotate(
            name,
            (valence, arousal),
            ha="center",
            va="center",
            fontsize=11,
            color=INK,
            fontstyle="italic",
            zorder=1.5,  # above the cells, below the dots
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "round,pad=0.1"},
        )
    axes.set_aspect("equal")
    axes.set_xlim(-_LIMIT, _LIMIT)
    axes.set_ylim(-_LIMIT, _LIMIT)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes.set_xlabel("unpleasant  ←  valence  →  pleasant", fontsize=TEXT, color=INK, labelpad=8)
    finish(axes, title, above=12)
