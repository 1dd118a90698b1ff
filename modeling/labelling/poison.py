"""Pictures at which a decoder crashes, and takes the process with it: found in a process of their own, and left out.

What is being read is noted beside the work. A note that is still there was left by a process that died: then each
picture of the batch is first read and decoded by another process, whose end says which of them is to be left alone.
"""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from affectnet_plus import BadRow

from ..data.readers import Picture, Reader
from ..data.stores import Store

CRASHES = "image crashes the decoder (signal {})"
TRIES = 2  # a process may be killed for another reason, and hardly twice at the same picture


@contextmanager
def tried(work: Store, name: str) -> Iterator[bool]:
    """Note in the folder `work` that something is tried, as long as the block lasts; whether it was noted before.

    Then the note stays: the process may die of something else, and what it did here would be tried once more.
    """
    note = f"tried/{name}"
    before = work.exists(note)
    if not before:
        work.mark(note)
    try:
        yield before
    finally:
        if not before:
            work.remove(note)


def crashing(reader: Reader, pictures: list[Picture]) -> dict[int, int]:
    """The numbers of the pictures that crash a decoder, each with the signal that ends the process."""
    found: dict[int, int] = {}
    begin = tries = 0
    while begin < len(pictures):
        given = pickle.dumps((reader.without_list(), pictures[begin:]))
        done = subprocess.run([sys.executable, "-m", __name__], input=given, capture_output=True)
        reached = begin + len(done.stdout)
        if done.returncode >= 0 or reached >= len(pictures):
            break
        tries = tries + 1 if reached == begin else 1
        if tries == TRIES:
            found[reached] = -done.returncode
            reached, tries = reached + 1, 0
        begin = reached
    return found


def _main() -> None:
    """Read and decode the pictures that come in, and say of each that it is done, whether or not it is a picture."""
    from .. import images

    reader, pictures = pickle.load(sys.stdin.buffer)
    for picture in pictures:
        with suppress(BadRow, OSError):
            images.decode(reader.read(picture)[1])
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
