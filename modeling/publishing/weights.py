"""Who may have weights, and under which terms: those of the faces they learnt from, where these have any."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from ..files import read_json
from ..terms import TERMS, UNKNOWN, terms_of
from .hub import HubOptions

NON_COMMERCIAL = ("AffectNet", "AffectNet+")  # origins whose terms go with the weights that were trained on them
NOT_CHOSEN = {"license": "other", "license_name": "see-card"}


def read_training(folder: Path) -> Any:
    """The record of a training, training.json; None where there is none."""
    record = folder / "training.json"
    return read_json(record, _Training, "train again, or take the file away") if record.is_file() else None


class _Options(TypedDict):
    from_pretrained: NotRequired[str | None]


class _Data(TypedDict):
    origin: NotRequired[str | None]


class _Training(TypedDict):
    """What decides about who may have the weights."""

    data: NotRequired[_Data]
    options: NotRequired[_Options]


def licence_of(training: dict | None, said: str | None = None) -> dict[str, Any]:
    """The keys of a card that state the terms of weights.

    Args:
        training: the record of their training, None where there is none.
        said: the licence that is asked for, as the Hub names it; None and "other" leave it to the faces.

    Raises:
        ValueError: a licence is asked for, for weights that stand under the terms of their faces.
    """
    origin, _ = _faces(training)
    if said not in (None, "other"):
        if origin in NON_COMMERCIAL:
            raise ValueError(
                f"these weights were trained on {origin}, whose terms go with them, so they cannot be given out as "
                f"{said}: leave --license out"
            )
        return {"license": said}
    licence = terms_of(origin).licence
    return licence if licence["license"] == "other" else NOT_CHOSEN


def why_closed(training: dict | None, said: str | None, options: HubOptions) -> str | None:
    """Why weights may not lie where everybody reads them; None where they may.

    Those of AffectNet, AffectNet+ and FER+ may be opened for research with `public`. Where nobody can tell whose faces
    they learnt from, `public` needs a licence: who opens them says under which terms.

    Args:
        training, said: as for `licence_of`.

    Raises:
        PermissionError: `public`, for faces of unknown origin and without a licence.
        ValueError: as for `licence_of`.
    """
    origin, started = _faces(training)
    if are_free(training):
        return None
    learnt = f"these weights started from {started}" if started else f"these weights learnt from {origin}"
    if origin not in TERMS or origin == UNKNOWN or started:
        if options.public and said is None:
            raise PermissionError(
                f"{learnt}: whose faces those were is not recorded. To open them to everybody, say "
                "under which terms with --license"
            )
    licence_of(training, said)
    return None if options.public else f"{learnt}, so they stay closed; --public or --gated opens them"


def no_licence(training: dict | None, said: str | None) -> str | None:
    """That weights have no licence, and what gives them one; None where they have one.

    Args:
        training, said: as for `licence_of`.
    """
    if licence_of(training, said) != NOT_CHOSEN:
        return None
    return "no licence is chosen, as the card says, so readers may only read: --license chooses one"


def are_free(training: dict | None) -> bool:
    """Whether weights learnt from drawn faces alone. What those had seen that they started from, no record tells."""
    origin, started = _faces(training)
    return terms_of(origin).free and not started


def _faces(training: dict | None) -> tuple[str, str | None]:
    """The origin of the faces, and the weights of ours that the training started from."""
    training = training or {}
    return training.get("data", {}).get("origin") or UNKNOWN, training.get("options", {}).get("from_pretrained")
