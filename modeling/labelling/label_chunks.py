"""What the branches say of the pictures, a chunk of them at a time, each kept in a file that is whole or not there.

Batches never reach over the end of a chunk, so what a face gets does not depend on who labels the other chunks, or on
where an interrupted run goes on. While the networks look at one batch the next ones are read and decoded.
"""

import json
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xxhash

from affectnet_plus import EMOTIONS, BadRow

from .. import images
from ..data.pictures import Images, Picture
from ..faces import annotate
from ..faces.landmarker import Landmarker
from ..unfinished import keep, kept
from ..workers import in_order
from .branches import Branches, ensemble_confidences, model_scores, table_scores
from .ensemble.model import ALL_FOLDS

FACES_AT_A_TIME = 2048
BATCHES_AHEAD = 2

_CONFIDENCES = pa.list_(pa.float64(), len(EMOTIONS))  # NaN where not known
SCHEMA = pa.schema(
    {
        "label": pa.int8(),  # the human label, -1 where there is none
        "digest": pa.binary(),  # of the picture's file; null where it cannot be read
        "unreadable": pa.string(),
        "fold": pa.int16(),
        "ensemble": _CONFIDENCES,
        "action_units": _CONFIDENCES,
        "metadata": pa.string(),  # JSON
    }
)


class PictureChunk(NamedTuple):
    """Some pictures, the number of the first among all, and the file that holds what is known of them."""

    path: Path
    start: int
    pictures: list[Picture]


@dataclass(frozen=True)
class Batch:
    """n pictures that were read; k of them, the `readable`, are pictures indeed."""

    labels: list[int]
    digests: list[bytes | None]
    problems: list[str | None]
    metadata: list[str | None]
    readable: list[int]
    pixels: dict[int, np.ndarray]  # side -> (k, side, side, 3) uint8


class Decoded(NamedTuple):
    """A picture in every size (side -> pixels) with its metadata as JSON, or why it cannot be decoded."""

    pixels: dict[int, np.ndarray]
    metadata: str | None
    problem: str | None


def plan_chunks(pictures: list[Picture], folder: Path) -> list[PictureChunk]:
    """All pictures in their order, in chunks that depend on nothing but their number."""
    starts = range(0, len(pictures), FACES_AT_A_TIME)
    return [
        PictureChunk(folder / f"{number:06d}.parquet", start, pictures[start : start + FACES_AT_A_TIME])
        for number, start in enumerate(starts)
    ]


def read_labelled(path: Path) -> dict[str, Any]:
    """The columns of a stored chunk: (n, 8) float64 and (n,) int arrays, and lists of text and bytes."""
    table = pq.read_table(pa.BufferReader(kept(path)), schema=SCHEMA)
    found: dict[str, Any] = {name: table[name].to_pylist() for name in ("digest", "unreadable", "metadata")}
    found |= {name: table[name].to_numpy().astype(int) for name in ("label", "fold")}
    for name in ("ensemble", "action_units"):
        found[name] = table[name].combine_chunks().flatten().to_numpy().reshape(-1, len(EMOTIONS))
    return found


# --- the work --------------------------------------------------------------------------------------------------------


def label_chunks(
    source: Images,
    chunks: list[PictureChunk],
    branches: Branches,
    landmarker: Landmarker | None,
    wanted: tuple[str, ...],
    batch_size: int,
    count: Callable[[int], None],
) -> None:
    """Ask the branches about the pictures of the chunks and store what they say.

    Args:
        landmarker, wanted: what finds the `wanted` metadata in each picture, if any.
        count: told how many more pictures are done.

    Raises:
        ValueError: the networks give something that is no number.
        OSError: a chunk could not be stored.
    """
    batches = [
        chunk.pictures[start : start + batch_size]
        for chunk in chunks
        for start in range(0, len(chunk.pictures), batch_size)
    ]
    threads = 1 if landmarker else torch.get_num_threads()  # landmarkers do not say that threads may share them
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(threads) as decoders:
        decode = partial(_decode, sizes=branches.sizes, landmarker=landmarker, wanted=wanted)
        loaded = in_order(reader, BATCHES_AHEAD, partial(_load, source, decoders, decode), batches)
        for chunk in chunks:
            parts = []
            for _ in range(0, len(chunk.pictures), batch_size):
                batch = next(loaded)
                parts.append(_answer(branches, batch))
                count(len(batch.labels))
            table = pa.concat_tables(parts).combine_chunks()
            if branches.table is not None:
                scores = table_scores(branches.table, chunk.start, chunk.start + len(chunk.pictures))
                place = SCHEMA.get_field_index("action_units")
                table = table.set_column(place, SCHEMA.field(place), _lists(scores))
            content = pa.BufferOutputStream()
            pq.write_table(table, content)
            keep(chunk.path, content.getvalue())


def _load(source: Images, decoders: Executor, decode: Callable, pictures: list[Picture]) -> Batch:
    """Read some pictures, one by one as `Images` wants it, and decode them in threads."""
    read = [_read(source, picture) for picture in pictures]
    contents = [content for _, content, _ in read]
    found = list(decoders.map(decode, contents))
    readable = [place for place, answer in enumerate(found) if answer.pixels]
    sides = found[readable[0]].pixels if readable else ()
    return Batch(
        labels=[label for label, _, _ in read],
        digests=[
            xxhash.xxh3_128_digest(content) if answer.pixels else None
            for content, answer in zip(contents, found, strict=True)
        ],
        problems=[problem or answer.problem for (_, _, problem), answer in zip(read, found, strict=True)],
        metadata=[answer.metadata for answer in found],
        readable=readable,
        pixels={side: np.stack([found[place].pixels[side] for place in readable]) for side in sides},
    )


def _read(source: Images, picture: Picture) -> tuple[int, bytes, str | None]:
    """The human label or -1, the picture's file, and why it cannot be read."""
    try:
        known, content = source.read(picture)
    except BadRow as reason:
        return -1, b"", str(reason)
    return -1 if known.get("label") is None else known["label"], content, None


def _decode(content: bytes, sizes, landmarker: Landmarker | None, wanted) -> Decoded:
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


def _answer(branches: Branches, batch: Batch) -> pa.Table:
    count = len(batch.labels)
    answers = {name: np.full((count, len(EMOTIONS)), np.nan) for name in ("ensemble", "action_units")}
    folds = np.full(count, ALL_FOLDS)
    if batch.readable:
        first, *_ = branches.sizes
        confidences = ensemble_confidences(branches, batch.pixels[first])
        answers["ensemble"][batch.readable], folds[batch.readable] = confidences
        if branches.unit_model is not None:
            pixels = batch.pixels[branches.unit_model.image_size]
            answers["action_units"][batch.readable] = model_scores(branches.unit_model, pixels)
    columns = {
        "label": pa.array(batch.labels, pa.int8()),
        "digest": pa.array(batch.digests, pa.binary()),
        "unreadable": pa.array(batch.problems, pa.string()),
        "fold": pa.array(folds, pa.int16()),
        "ensemble": _lists(answers["ensemble"]),
        "action_units": _lists(answers["action_units"]),
        "metadata": pa.array(batch.metadata, pa.string()),
    }
    return pa.table(columns, schema=SCHEMA)


def _lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(EMOTIONS))
