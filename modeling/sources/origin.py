"""Whose faces a tree holds: what it says itself in source.json, which the release does not have."""

import json

from affectnet_plus import LayoutError

ORIGIN_FILE = "source.json"  # beside human_annotated/, in trees that we write; the release has none
LICENSED = "AffectNet+"


def parse_origin(content: bytes, where) -> str:
    """The origin that a source.json names.

    Raises:
        LayoutError: it names none.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("origin"), str):
        raise LayoutError(f'{where} does not say {{"origin": "..."}}. Remove it if the faces are those of AffectNet+')
    return record["origin"]
