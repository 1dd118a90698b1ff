"""One page that gathers an evaluation, report.html: numbers, pictures, what the groups are, and the limits.

It holds all that it shows, asks nothing of the network, needs no script and shows no face.
"""

import base64
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from ..files import written_whole
from ..words import about, cautions
from .pictures import SHOWN
from .report_sections import limits, sections


def write_report(metrics: Mapping[str, Any], folder) -> Path:
    """Write report.html into `folder` and return its path.

    Args:
        metrics: what metrics.json holds, see `evaluate`.
        folder: where `draw_pictures` has written its files. A picture that is not there is left out.
    """
    folder = Path(folder)
    source = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(source).render(
        title=f"{metrics['model']} on {metrics['data']['name']}",
        about=about(metrics),
        cautions=cautions(metrics),
        sections=sections(metrics),
        limits=limits(metrics),
        pictures={name: _picture(folder / f"{name}.svg") for name in SHOWN if (folder / f"{name}.svg").is_file()},
        shown=SHOWN,
    )
    path = folder / "report.html"
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _picture(path: Path) -> dict:
    """The SVG as an address of its own content, and its size in CSS pixels, of which a point has 4/3."""
    content = path.read_bytes()
    size = re.search(rb'<svg[^>]* width="([0-9.]+)pt" height="([0-9.]+)pt"', content)
    if size is None:
        raise ValueError(f"{path} has no size in points, expected a picture that draw_pictures wrote")
    width, height = (round(float(side) * 4 / 3) for side in size.groups())
    return {
        "address": f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}",
        "width": width,
        "height": height,
    }
