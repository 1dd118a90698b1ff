"""What the two older layouts of AffectNet have in common: a hard label, valence, arousal and 68 points, no more."""

import json
import re

from affectnet_plus import BadRow

ORIGIN = "AffectNet"

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?")
_WHOLE = re.compile(r"-?[0-9]{1,4}")


def annotation_text(label: int | None, valence: float, arousal: float, landmarks: list | None) -> bytes:
    """A face as the AffectNet+ annotation that says the same, so that one reader checks all of them.

    Landmarks are 136 numbers x, y, x, y, ...; -2 in valence or arousal is the sentinel for missing here too.
    """
    meta = {"valence": valence, "arousal": arousal, "landmark-68": landmarks}
    return json.dumps({"human-label": label, "meta-data": meta}).encode()


def number(name: str, text: str) -> float:
    """The number that a text holds.

    Raises:
        BadRow: it holds something else.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise BadRow(f"{name} is {text[:60]!r}, expected a number")
    return float(text)


def whole(name: str, text: str) -> int:
    """The whole number that a text holds.

    Raises:
        BadRow: it holds something else.
    """
    if not _WHOLE.fullmatch(text.strip()):
        raise BadRow(f"{name} is {text[:60]!r}, expected a whole number")
    return int(text)
