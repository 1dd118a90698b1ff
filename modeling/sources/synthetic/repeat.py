"""Trees of any size in little time: a pool of faces, written over and over in the layout of the release."""

import json
from collections.abc import Callable

from ...stages import Progress, silent, told
from ..tree import writing_tree
from .draw import NO_HUMAN_START, jpeg, list_jobs, record
from .face import draw_face

POOL = 512
_JFIF = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
_DENSITY = slice(len(_JFIF) + 3, len(_JFIF) + 7)  # after two bytes of version and one of unit


def draw_repeated_tree(
    out,
    n: int,
    seed: int = 0,
    validation_fraction: float = 0.2,
    no_human: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict:
    """The tree of `draw_tree` with pictures that repeat, at some 10,000 faces a second: for measuring, not training.

    Face i is face i % POOL of the seed, with its annotation; so the first POOL are those of `draw_tree`, and the
    others look the same as one of them, also across train and validation. Faces without a human label repeat a pool
    of their own. There is no `action_units.csv`. Arguments, splits, result and errors are those of `draw_tree`.
    """

    def make(index: int, labelled: bool) -> tuple[bytes, dict]:
        face = draw_face(seed, index)
        return jpeg(face), record(face, labelled)

    jobs = list_jobs(n, seed, validation_fraction, no_human)
    return write_repeated(out, jobs, make, "drawn", overwrite, progress)


def write_repeated(
    out,
    jobs: list[tuple[int, str]],
    make: Callable[[int, bool], tuple[bytes, dict]],
    origin: str,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict:
    """Write a tree of the faces that `make(number, labelled)` gives, a JPEG and its annotation.

    It is asked for the first POOL numbers from 0, and from NO_HUMAN_START for faces that are not labelled, each once.
    No two files are the same: the copies are numbered in the density of their header, where no reader looks.

    Args:
        jobs: what `list_jobs` gives.
        origin: whose faces they are.

    Returns:
        Faces written per split.
    """
    counts = {"train": 0, "validation": 0, "no_human": 0}
    pool: dict[int, tuple[bytes, bytes]] = {}
    with writing_tree(out, overwrite, origin) as tree:
        for index, split in told(jobs, "draw", progress):
            start = NO_HUMAN_START if split == "no_human" else 0
            copy, place = divmod(index - start, POOL)
            number = start + place
            if number not in pool:
                image, annotation = make(number, split != "no_human")
                pool[number] = image, json.dumps(annotation).encode()
            image, text = pool[number]
            tree.add_bytes(split, counts[split], _numbered(image, copy), text)
            counts[split] += 1
    return counts


def _numbered(image: bytes, copy: int) -> bytes:
    """The same picture as another file: the width and height of its pixels, in no unit, say which copy it is."""
    if not image.startswith(_JFIF):
        raise ValueError(f"a picture begins with {image[:11]!r}, expected a JPEG with a JFIF header")
    across, down = divmod(copy, 65535)
    density = (across + 1).to_bytes(2) + (down + 1).to_bytes(2)  # zero is not allowed
    return image[: _DENSITY.start] + density + image[_DENSITY.stop :]
