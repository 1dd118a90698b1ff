"""Text that others wrote, such as names and origins, as a card may hold it: told, and never obeyed."""

import re

MOST = 200  # characters of one name or reason: what is longer is no name


def escaped(text: str, most: int = MOST) -> str:
    """The text as one line of Markdown that shows it: no tag, link, picture, code, emphasis or heading comes of it.

    What is longer than `most` characters is cut, and says so.
    """
    line = " ".join(text.split())
    if len(line) > most:
        line = f"{line[:most]}... ({len(line):,} characters)"
    return re.sub(r"^(?=[#>+=~-]|\d+[.)]\s)|(?=[\\`*<]|\][(\[])", r"\\", line)
