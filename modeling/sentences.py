"""What an error says, made fit for a sentence of ours: one line, of bounded length, the same in every run."""

import os
import re
from collections.abc import Sequence

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
MOST_LETTERS = 200


def without_addresses(text: str) -> str:
    """A text without the places in memory that some libraries name, which are others in every run."""
    return _ADDRESS.sub("", text)


def in_one_line(error: BaseException) -> str:
    """All that an error says, without places in memory."""
    return without_addresses(" ".join(str(error).split()))


def first_line(error: BaseException) -> str:
    """The first line of what an error says, of at most `MOST_LETTERS` letters; its kind where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0][:MOST_LETTERS] if said else type(error).__name__


def lacks(folder: str | os.PathLike, missing: Sequence[str], name: str | None = None) -> str:
    """The beginning of a refusal of a folder that is not there, or holds none of these files.

    Args:
        name: what it is called, where that is not its path, as of a name of the Hub.
    """
    said = f"holds no {' and no '.join(missing)}" if os.path.exists(folder) else "does not exist"
    return f"{name or folder} {said}"
