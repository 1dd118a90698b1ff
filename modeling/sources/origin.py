"""Whose faces a tree holds, and what made its soft labels: what it says itself in source.json.

The release has no such file.
"""

import json

from affectnet_plus import LayoutError

from ..terms import SoftLabels

ORIGIN_FILE = "source.json"  # beside human_annotated/, in trees that we write; the release has none
LICENSED = "AffectNet+"


def parse_source(content: bytes, where) -> tuple[str, SoftLabels | None]:
    """The origin that a source.json names, and what it says of soft labels that were generated, if they were.

    Raises:
        LayoutError: it names no origin, or says something else of the soft labels.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not _is_name(record.get("origin")):
        raise LayoutError(f'{where} does not say {{"origin": "..."}}. Remove it if the faces are those of AffectNet+')
    if "soft_labels" not in record:
        return record["origin"], None
    try:
        return record["origin"], SoftLabels(**record["soft_labels"])
    except TypeError as error:
        raise LayoutError(
            f"{where} does not say of its soft labels what `affectnet-plus label` writes ({error}). Label again"
        ) from error


def _is_name(origin) -> bool:
    """One line of text that can be written: it stands on cards."""
    return isinstance(origin, str) and 0 < len(origin) <= 200 and origin.isprintable()
