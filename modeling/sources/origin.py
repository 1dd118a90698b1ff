"""Whose faces a tree holds, and what made its soft labels: what it says itself in source.json.

The release has no such file.
"""

import json
from dataclasses import dataclass

from affectnet_plus import LayoutError

ORIGIN_FILE = "source.json"  # beside human_annotated/, in trees that we write; the release has none
LICENSED = "AffectNet+"


@dataclass(frozen=True)
class SoftLabels:
    """What generated the soft labels of a tree that `label` wrote, in place of those that its faces came with.

    Attributes:
        ensemble: SHA-256 of the ensemble's configuration, weights and table of training faces.
        fusion: the method that combines the branches.
        action_units: where they are from, in words; None where the ensemble alone was asked.
        human_label: the human label of a face, where it has one, is a source of its soft label.
        version: of this package.
    """

    ensemble: str
    fusion: str
    action_units: str | None
    human_label: bool
    version: str

    def __post_init__(self):
        texts = (self.ensemble, self.fusion, self.action_units or "", self.version)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.human_label, bool):
            raise TypeError(f"{self} has a value of another type")


def parse_source(content: bytes, where) -> tuple[str, SoftLabels | None]:
    """The origin that a source.json names, and what it says of soft labels that were generated, if they were.

    Raises:
        LayoutError: it names no origin, or says something else of the soft labels.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("origin"), str):
        raise LayoutError(f'{where} does not say {{"origin": "..."}}. Remove it if the faces are those of AffectNet+')
    if "soft_labels" not in record:
        return record["origin"], None
    try:
        return record["origin"], SoftLabels(**record["soft_labels"])
    except TypeError as error:
        raise LayoutError(
            f"{where} does not say of its soft labels what `affectnet-plus label` writes ({error}). Label again"
        ) from error
