"""What all pictures have in common: colours, sizes, places in pixels, and how they are saved.

Drawn on `matplotlib.figure.Figure` with its own Agg canvas, so that no window system and no global pyplot state is
touched.
"""

import re
import textwrap
from io import StringIO
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe & Ito's palette, told apart under every common colour blindness.
TRUE_COLOUR = "#0072B2"
PREDICTED_COLOUR = "#E69F00"
WRONG_COLOUR = "#D55E00"
INK, QUIET, FAINT = "#222222", "#666666", "#DDDDDD"
SHARES = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", "#56B4E9"])  # light enough for dark words on all

DPI = 100
TEXT, SMALL = 13, 12  # points; 12 points are still 8 pixels high when a sheet is shown at half its width
HEADING = 15


def figure_of(width: int, height: int) -> Figure:
    """An empty white figure of so many pixels as a PNG, to place axes in by hand."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def laid_out_figure(width: int, height: int, between: float = 0.02) -> Figure:
    """The same, but matplotlib makes room for the words; `between` subplots is a share of their width."""
    figure = figure_of(width, height)
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=between))  # pads in inches
    return figure


def height_of(figure: Figure) -> int:
    """Height in pixels."""
    return round(figure.get_figheight() * DPI)


def axes_at(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Axes whose frame lies at these pixels, counted from the upper left corner."""
    across, down = figure.get_figwidth() * DPI, height_of(figure)
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def text_at(
    figure: Figure, left: int, middle: int, words: str, size: float, colour: str, weight="normal", widest=None
):
    """Text that starts at pixel `left`, centred on pixel row `middle`; made smaller where it would be cut."""
    across, down = figure.get_figwidth() * DPI, height_of(figure)
    text = figure.text(
        left / across,
        1 - middle / down,
        words,
        fontsize=size,
        color=colour,
        fontweight=weight,
        va="center",
        parse_math=False,
    )
    # Step by step, for hinted letters do not shrink in proportion; below 6 points nobody could read the words anyway.
    while widest and text.get_window_extent().width > widest and size > 6:
        size *= 0.95
        text.set_fontsize(size)


def wrapped(name: str) -> str:
    """A class name in lines that are no longer than those of the 8 emotions."""
    return textwrap.fill(name.replace("_", " "), 11)


def shortened(name: str, most: int) -> str:
    """A class name where there is room for one line of so many letters only."""
    return name if len(name) <= most else name[: most - 2] + "…"


def finish(axes: Axes, title: str, above: int = 32):
    """Quiet frame and numbers, and a title that leaves `above` points between itself and the frame."""
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL, labelcolor=INK, color=FAINT)
    for side in axes.spines.values():
        side.set_color(FAINT)
    if title:
        axes.set_title(title, fontsize=HEADING, fontweight="bold", color=INK, loc="left", pad=above)


def save(figure: Figure, path, title: str):
    """Write a PNG or SVG, by the suffix of `path`. The bytes depend on what is drawn only.

    An SVG keeps its words as text, refers to nothing outside itself and has `title` as its title.
    """
    path = Path(path)
    if path.suffix == ".png":
        figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})
        return
    out = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "affectnet-plus"}):
        figure.savefig(out, format="svg", metadata={"Title": title, "Date": None, "Creator": None})
    # The document type and the metadata name addresses; no reader of SVG needs them.
    plain = re.sub(r"<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
    path.write_text(plain, encoding="utf-8")
