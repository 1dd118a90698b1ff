"""What the branches say of the pictures of a part, a batch of them at a time: read, decoded, asked.

A batch never reaches over the end of its part, and each is asked by one thread. So what a face gets does not depend on
who labels the other parts, on where an interrupted run goes on, or on how many processors there are.
"""

import json
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import xxhash

from affectnet_plus import EMOTIONS, BadRow

from .. import images
from ..data.parts import InParts, Part
from ..data.readers import Picture, Reader
from ..data.stores import Store
from ..faces import annotate
from ..faces.landmarker import Landmarker
from .branches import Branches, ensemble_confidences, model_scores, table_scores
from .ensemble.model import ALL_FOLDS
from .poison import CRASHES, crashing, tried

Decode = Callable[[bytes], "Decoded"]
Map = Callable[..., Any]  # map, or that of an executor


class Place(NamedTuple):
    """Which pictures a batch is of: `size` of the `of` of a part, from `start` on."""

    part: int
    start: int
    size: int
    of: int


@dataclass(frozen=True)
class Batch:
    """n pictures that were read; `pixels` are of the k of them that could be, the `readable`.

    `contents` are their files, empty where there is none, `known` what their source says of them, `problems` why one
    is not readable, `metadata` is JSON of what was found in it.
    """

    place: Place
    first: int  # number of the first picture among all
    ids: list[str]
    names: list[str]
    known: list[dict]
    contents: list[bytes]
    problems: list[str | None]
    metadata: list[str | None]
    readable: list[int]
    pixels: dict[int, np.ndarray]  # side -> (k, side, side, 3) uint8


@dataclass(frozen=True)
class Answered:
    """A batch without its pixels, and what the branches say: (n, 8) float64 with NaN, (n,) folds."""

    batch: Batch
    ensemble: np.ndarray
    action_units: np.ndarray
    folds: np.ndarray


class Decoded(NamedTuple):
    """A picture in every size (side -> pixels) with its metadata as JSON, or why it cannot be decoded."""

    pixels: dict[int, np.ndarray]
    metadata: str | None
    problem: str | None


# --- read ------------------------------------------------------------------------------------------------------------


def batches_of(
    source: InParts, part: Part, size: int, done: Set[int], work: Store, decode: Decode, each: Map = map
) -> Iterator[Batch]:
    """The batches of a part but those that begin at a place in `done`; of a part without a picture an empty one.

    Args:
        work: where is noted what is being decoded, see `poison`.
        each: the `map` of what decodes several pictures at once.

    Raises:
        LayoutError, OSError: as `InParts.opened`.
    """
    with source.opened(part) as (reader, pictures):
        for start in range(0, max(len(pictures), 1), size):
            if start not in done:
                some = pictures[start : start + size]
                place = Place(part.number, start, len(some), len(pictures))
                yield _read(reader, some, place, part.first + start, work, decode, each)


def _read(
    reader: Reader, pictures: list[Picture], place: Place, first: int, work: Store, decode: Decode, each: Map
) -> Batch:
    with tried(work, f"{place.part}-{place.start}") as before:
        crash = crashing(reader, pictures) if before else {}
        left = [
            picture._replace(problem=CRASHES.format(crash[number])) if number in crash else picture
            for number, picture in enumerate(pictures)
        ]
        read = [_read_one(reader, picture) for picture in left]
        contents = [content for _, content, _ in read]
        found = list(each(decode, contents))
    problems = [problem or answer.problem for (_, _, problem), answer in zip(read, found, strict=True)]
    readable = [number for number, answer in enumerate(found) if answer.pixels]
    sides = found[readable[0]].pixels if readable else ()
    return Batch(
        place,
        first,
        [picture.image_id for picture in pictures],
        [picture.name for picture in pictures],
        [known for known, _, _ in read],
        contents,
        problems,
        [answer.metadata for answer in found],
        readable,
        {side: np.stack([found[number].pixels[side] for number in readable]) for side in sides},
    )


def _read_one(reader: Reader, picture: Picture) -> tuple[dict, bytes, str | None]:
    """What is known of a picture, its file, and why it cannot be read."""
    try:
        if picture.problem:
            raise BadRow(picture.problem)
        known, content = reader.read(picture)
    except BadRow as reason:
        return {}, b"", str(reason)
    return known, content, None


def decode(content: bytes, sizes: tuple[int, ...], landmarker: Landmarker | None, wanted: tuple[str, ...]) -> Decoded:
    """The picture in all sizes, with what the landmarker finds of the wanted metadata."""
    if not content:
        return Decoded({}, None, None)
    try:
        picture = images.decode(content)
    except OSError as error:
        return Decoded({}, None, str(error).removeprefix("embedded image "))
    metadata = None
    if landmarker is not None:
        found = annotate(picture, landmarker, wanted)
        points = found["landmarks_68"]
        plain = {"landmarks_68": None if points is None else np.round(points, 2).tolist(), "pose": found["pose"]}
        metadata = json.dumps(plain | {"reason": found["reason"]})
    return Decoded({size: images.resize(picture, size, size) for size in sizes}, metadata, None)


# --- ask -------------------------------------------------------------------------------------------------------------


def answer(branches: Branches, batch: Batch) -> Answered:
    """What the branches say of a batch.

    Raises:
        ValueError: the networks give something that is no number.
    """
    count = len(batch.ids)
    ensemble, units = (np.full((count, len(EMOTIONS)), np.nan) for _ in range(2))
    folds = np.full(count, ALL_FOLDS)
    if batch.readable:
        first, *_ = branches.sizes
        ensemble[batch.readable], folds[batch.readable] = ensemble_confidences(branches, batch.pixels[first])
        if branches.unit_model is not None:
            pixels = batch.pixels[branches.unit_model.image_size]
            units[batch.readable] = model_scores(branches.unit_model, pixels)
    if branches.table is not None:
        units[batch.readable] = table_scores(branches.table, batch.first, batch.first + count)[batch.readable]
    return Answered(replace(batch, pixels={}), ensemble, units, folds)


def digest_of(places: list[Place]) -> str:
    """16 hexadecimal digits for a set of batches."""
    return xxhash.xxh3_64_hexdigest(repr(sorted(places)).encode())
