"""Names of the Hub, in place of folders: what is one, and its files on this machine. The one way for every verb.

`you/name` is one, and `you/name@REVISION` with a branch, tag or commit; so is what begins with "hf://" (of data
"hf://datasets/"), whatever lies here. Quick to import: the command line refuses mistyped paths with it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["model", "dataset"]
PREFIX = {"model": "hf://", "dataset": "hf://datasets/"}
WORDS = {"model": "model", "dataset": "data set"}

_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w.][\w./-]*))?", re.ASCII)
# Which no repository of the Hub is called: a mistyped path to a file is not asked for there.
_FILES = (
    ".jpg .jpeg .png .webp .bmp .gif .tif .tiff .heic .mp4 .avi .mov .mkv .webm .zip .tar .tgz .gz .csv .json .jsonl "
    ".parquet .npy .npz .txt .yaml .onnx .safetensors .pt .pth .bin"
).split()
# Pickles, and weights of other frameworks: nothing of ours reads them.
_UNREAD = [f"*{suffix}" for suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".ot")]


_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")


def is_address(given) -> bool:
    """Whether it begins with a protocol, as s3://bucket/faces; anything else is a path, or a name of the Hub."""
    return isinstance(given, str) and _ADDRESS.match(given) is not None


class HubName(NamedTuple):
    """A repository of the Hub; `revision` is None where its main branch is meant."""

    repo: str
    revision: str | None
    kind: Kind


def on_hub(given, kind: Kind) -> HubName | None:
    """The repository that is meant; None where a path is, or no text was given.

    A path is what exists, what lies in a folder that exists, what is called as a file is, and all that has another
    form than `you/name`.

    Raises:
        ValueError: it begins as an address of the Hub and goes on as none.
    """
    if not isinstance(given, str):
        return None
    name = given.removeprefix(PREFIX[kind])
    found = _NAME.fullmatch(name)
    if name != given:
        if found is None:
            raise ValueError(f"{given} is no {WORDS[kind]} of the Hub, expected {PREFIX[kind]}you/name")
        return HubName(found[1], found[2], kind)
    here = Path(name.split("/")[0]).exists() or Path(name).suffix.lower() in _FILES
    return None if found is None or here else HubName(found[1], found[2], kind)


def is_streamed(given) -> bool:
    """Whether pictures are read where an address says, piece by piece: all but a whole data set of the Hub, which is
    fetched, and a folder in one is not."""
    if not is_address(given):
        return False
    try:
        return on_hub(given, "dataset") is None
    except ValueError:
        return True


def fetched(given, kind: Kind = "dataset", only: Sequence[str] | None = None) -> Path:
    """The folder that holds what is named: fetched from the Hub, of which what is here already is not sent again.

    No pickle is fetched. What is no name of the Hub is taken for a path, and may not exist.

    Args:
        only: names of the files that are wanted; without it, all.

    Raises:
        FileNotFoundError: the Hub has no such repository or revision that you may read.
        PermissionError: it is gated, and nobody let you in yet.
        ConnectionError: the Hub cannot be reached, and not all of it is here.
        OSError: the Hub refuses for another reason.
    """
    name = on_hub(given, kind)
    if name is None:
        return Path(given)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import httpx

    try:
        some = None if only is None else list(only)
        return Path(
            snapshot_download(
                name.repo, repo_type=kind, revision=name.revision, allow_patterns=some, ignore_patterns=_UNREAD
            )
        )
    except GatedRepoError as error:
        raise PermissionError(
            f"{name.repo} is gated: ask for access on its page on the Hub, then sign in with hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{given} is nothing here, and no {WORDS[kind]} of the Hub that you may read: check the name; for a "
            "private one, sign in with hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"{name.repo} has no revision {name.revision}: give a branch, a tag or a commit of it"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.TransportError) as error:
        raise ConnectionError(
            f"{given} is nothing here, and the Hub cannot be asked for it ({_cause(error)})"
        ) from error
    except HfHubHTTPError as error:
        raise OSError(f"the Hub refused {name.repo} ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    """The innermost reason, in one line and without an address."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = re.sub(r"https?://\S+", "its address", " ".join(str(error).split()))
    return said.rstrip(".") or type(error).__name__
