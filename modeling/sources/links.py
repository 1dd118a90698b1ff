"""A link out of the folder that is read is followed only where whoever reads it says so."""

import os
from collections.abc import Iterable
from pathlib import Path

from affectnet_plus import LayoutError


class LinkOut(LayoutError):
    """A folder or a list of a source is a link that leaves it."""


def refuse_links_out(root: Path, places: Iterable[Path]) -> None:
    """Raise LinkOut for the first place that is there and in truth lies outside of `root`, which may be a link itself.

    Of single files `affectnet_plus.read_file` refuses what leaves its folder.
    """
    inside = os.path.realpath(root)
    for place in places:
        if os.path.lexists(place) and not Path(os.path.realpath(place)).is_relative_to(inside):
            raise LinkOut(f"{place} is a link that leaves {root}. Pass --follow-links to read what it leads to")
