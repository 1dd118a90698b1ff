"""Who may read weights: those of faces that are not free stay closed until somebody says otherwise."""

import json
from pathlib import Path

from ..terms import TERMS, UNKNOWN, terms_of
from .card_data import NON_COMMERCIAL
from .hub import HubOptions


def why_closed(folder: Path, licence: str | None, options: HubOptions) -> str | None:
    """Why the weights of a folder may not lie where everybody reads them; None where they may.

    Those of AffectNet, AffectNet+ and FER+ may be opened for research with `public`. Where nobody can tell whose faces
    they learnt from, `public` needs a licence: who opens them says under which terms.

    Raises:
        PermissionError: `public`, for faces of unknown origin and without a licence.
        ValueError: a licence is given for weights that stand under the terms of their faces.
    """
    origin, started = _faces(folder)
    if are_free(folder):
        return None
    learnt = f"these weights started from {started}" if started else f"these weights learnt from {origin}"
    if origin not in TERMS or origin == UNKNOWN or started:
        if options.public and licence is None:
            raise PermissionError(
                f"{learnt}: whose faces those were is not recorded. To open them to everybody, say "
                "under which terms with --license"
            )
    if origin in NON_COMMERCIAL and licence not in (None, "other"):
        raise ValueError(
            f"{learnt}, whose terms go with them, so they cannot be given out as {licence}: leave --license out"
        )
    return None if options.public else f"{learnt}, so they stay closed; --public or --gated opens them"


def are_free(folder: Path) -> bool:
    """Whether weights learnt from drawn faces alone. What those had seen that they started from, no record tells."""
    origin, started = _faces(folder)
    return terms_of(origin).free and not started


def licence_of(folder: Path) -> dict[str, str]:
    """The keys of a card for weights whose licence nobody named."""
    origin, _ = _faces(folder)
    return TERMS[origin].licence if origin in NON_COMMERCIAL else {"license": "other", "license_name": "see-card"}


def _faces(folder: Path) -> tuple[str, str | None]:
    """The origin of the faces in the record of the training, and the weights of ours that it started from."""
    record = folder / "training.json"
    training = json.loads(record.read_text()) if record.is_file() else {}
    return training.get("data", {}).get("origin") or UNKNOWN, training.get("options", {}).get("from_pretrained")
