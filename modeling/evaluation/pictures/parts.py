"""Numbers with their intervals: of the difficulty subsets as bars, of the groups of faces as dots."""

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import FAINT, INK, QUIET, SMALL, TRUE_COLOUR, finish, laid_out_figure, wrapped

_DRAWN = (("accuracy", "Accuracy"), ("kl", "KL to the soft label, nats"))
_LINE = 34  # pixels of a group


def subsets_figure(metrics: Mapping[str, Any]) -> Figure | None:
    """Accuracy and KL of all faces and of each difficulty subset, 1100 x 480 pixels; None without subsets."""
    if not metrics["subsets"].keys() - {"unknown"}:
        return None
    cells = {"all": metrics} | metrics["subsets"]
    figure = laid_out_figure(1100, 480)
    for axes, (key, title) in zip(figure.subplots(1, 2), _DRAWN, strict=True):
        _draw_bars(axes, cells, key, metrics["min_cell"])
        finish(axes, title, above=12)
        axes.tick_params(axis="x", length=0, labelsize=11)
    return figure


def _draw_bars(axes: Axes, cells: dict[str, dict], key: str, min_cell: int):
    top = 0.0
    for place, cell in enumerate(cells.values()):
        found = _estimate(cell, key)
        if found is None:
            axes.annotate(
                wrapped(_why_not(cell, min_cell)),
                (place, 0),
                (0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=11,
                color=QUIET,
            )
            continue
        value, low, high = found
        axes.bar(place, value, 0.6, color=TRUE_COLOUR if place else QUIET)
        axes.vlines(place, low, high, color=INK, linewidth=2)
        axes.hlines([low, high], place - 0.08, place + 0.08, color=INK, linewidth=2)
        above = max(value, high)
        axes.annotate(
            f"{value:.3f}", (place, above), (0, 4), textcoords="offset points", ha="center", fontsize=SMALL, color=INK
        )
        top = max(top, above)
    axes.set_xticks(range(len(cells)), [f"{name}\n({cell['rows']:,})" for name, cell in cells.items()])
    axes.set_xlim(-0.6, len(cells) - 0.4)
    axes.set_ylim(0, 1.15 * top or 1)  # room for the number above the highest interval
    axes.grid(axis="y", color=FAINT, linewidth=1)


def groups_figure(metrics: Mapping[str, Any]) -> Figure | None:
    """Accuracy and KL of each group of each attribute, a dot with its interval beside all faces; None without groups.

    1000 pixels wide, and as high as the groups need. A group that is too small to be measured says so, and below all
    stands what the groups are.
    """
    lines: list[tuple[str, dict | None]] = []
    for attribute, groups in known_groups(metrics).items():
        lines += [(attribute, None), *groups.items()]
    if not lines:
        return None
    figure = laid_out_figure(1000, 200 + _LINE * len(lines))
    for axes, (key, title) in zip(figure.subplots(1, 2, sharey=True), _DRAWN, strict=True):
        _draw_dots(axes, lines, key, metrics)
        finish(axes, title, above=28)
        axes.tick_params(axis="y", length=0)
    for (_, cell), label in zip(lines, figure.axes[0].get_yticklabels(), strict=True):
        label.set_fontweight("bold" if cell is None else "normal")
    figure.supxlabel(textwrap.fill(metrics["groups_are"], 115), x=0.015, ha="left", fontsize=11, color=INK)
    return figure


def _draw_dots(axes: Axes, lines: list[tuple[str, dict | None]], key: str, metrics: Mapping[str, Any]):
    overall = metrics[key]
    if overall is not None:
        axes.axvline(overall, color=QUIET, linestyle="--", linewidth=1.5)
        axes.annotate(
            f"dashed: all faces, {overall:.3f}",
            (0, 1),
            (0, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=11,
            color=INK,
        )
    for place, (_, cell) in enumerate(lines):
        if cell is None:
            continue
        found = _estimate(cell, key)
        if found is None:
            axes.annotate(
                _why_not(cell, metrics["min_cell"]),
                (0.03, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=11,
                color=QUIET,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
            )
            continue
        value, low, high = found
        axes.hlines(place, low, high, color=TRUE_COLOUR, linewidth=2.5)
        axes.plot(value, place, "o", color=TRUE_COLOUR, markersize=9)
    names = [name if cell is None else f"{name} ({cell['rows']:,})" for name, cell in lines]
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(axis="both", color=FAINT, linewidth=1)


def known_groups(metrics: Mapping[str, Any]) -> dict[str, dict[str, dict]]:
    """The groups of each attribute that is known of at least one face."""
    return {name: groups for name, groups in metrics["groups"].items() if groups.keys() - {"unknown"}}


def _why_not(cell: dict, min_cell: int) -> str:
    return f"fewer than {min_cell} faces" if "too_few" in cell else "not known"


def _estimate(cell: dict, key: str) -> tuple[float, float, float] | None:
    """A number of the metrics and the ends of its interval, which are the number itself where there is none."""
    value = cell.get(key)
    if value is None:
        return None
    low, high = cell["intervals"][key] or (value, value)
    return value, low, high
