"""Pictures at which a decoder crashes, and takes the process with it: found in a process of their own, and left out.

What is being decoded is noted beside the work. A note that is still there was left by a process that died: then each
picture of the batch is first decoded by another process, whose end says which of them it cannot be given.
"""

import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..data.stores import Store

CRASHES = "image crashes the decoder (signal {})"
TRIES = 2  # a process may be killed for another reason, and hardly twice at the same picture


@contextmanager
def tried(work: Store, name: str) -> Iterator[bool]:
    """Note in the folder `work` that something is tried, as long as the block lasts; whether it was noted before."""
    note = f"tried/{name}"
    before = work.exists(note)
    work.mark(note)
    try:
        yield before
    finally:
        work.remove(note)


def crashing(contents: list[bytes]) -> dict[int, int]:
    """The numbers of the pictures that crash a decoder, each with the signal that ends the process."""
    found: dict[int, int] = {}
    begin = tries = 0
    while begin < len(contents):
        given = b"".join(struct.pack("<I", len(content)) + content for content in contents[begin:])
        done = subprocess.run([sys.executable, "-m", __name__], input=given, capture_output=True)
        reached = begin + len(done.stdout)
        if done.returncode >= 0 or reached >= len(contents):
            break
        tries = tries + 1 if reached == begin else 1
        if tries == TRIES:
            found[reached] = -done.returncode
            reached, tries = reached + 1, 0
        begin = reached
    return found


def _main() -> None:
    """Decode what comes in, and say of each picture that it is done; whether it can be decoded does not matter."""
    from .. import images

    while head := sys.stdin.buffer.read(4):
        content = sys.stdin.buffer.read(*struct.unpack("<I", head))
        try:
            images.decode(content)
        except OSError:
            pass
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
