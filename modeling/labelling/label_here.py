"""The work of `label` in this process: reading, decoding, asking and writing at the same time, in threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from itertools import repeat

import torch

from ..data.parts import InParts, Part
from ..data.stores import Store
from ..faces.landmarker import Landmarker
from ..workers import in_order
from . import label_shards
from .branches import Branches
from .label_batches import Answered, Batch, answer, batches_of, decode
from .label_options import LabelOptions
from .label_rows import Rules
from .label_shards import Done, Note, write_batches

BATCHES_AHEAD = 2


def label_here(
    source: InParts,
    left: list[Part],
    done: Done,
    branches: Branches,
    rules: Rules,
    options: LabelOptions,
    work: Store,
    opened: AbstractContextManager[Landmarker | None],
    count: Callable[[int], None],
) -> None:
    """Label what is left of some parts, and add the notes to `done`.

    Each of the threads that torch may use asks the networks about a batch by itself: threads that share a layer would
    wait for each other, and give other last digits than one alone.

    Args:
        opened: what finds the metadata, if any is wanted.
        count: told how many more pictures are done.

    Raises:
        ValueError: the networks give something that is no number.
        OSError: a shard could not be stored, or a part not be fetched.
    """
    threads = torch.get_num_threads()
    askers = threads if branches.ensemble.device.type == "cpu" else 1
    try:
        with (
            opened as landmarker,
            ThreadPoolExecutor(1) as reader,
            # Landmarkers do not say that threads may share them.
            ThreadPoolExecutor(1 if landmarker else threads) as decoders,
            ThreadPoolExecutor(askers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
            ThreadPoolExecutor(1) as writer,
        ):
            seen = partial(decode, sizes=branches.sizes, landmarker=landmarker, wanted=options.metadata)
            read = (
                batch
                for part in left
                for batch in batches_of(
                    source, part, options.batch_size, done.starts.get(part.number, set()), work, seen, decoders.map
                )
            )
            answered = in_order(pool, askers, partial(answer, branches), _ahead(reader, read))
            last: Future[Note] | None = None
            for group in _groups(answered, count):
                if last is not None:
                    done.add(last.result())
                last = writer.submit(write_batches, work, group, rules)
            if last is not None:
                done.add(last.result())
    finally:
        torch.set_num_threads(threads)  # what a thread sets for itself is also what later threads begin with


def _ahead(reader: Executor, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, read a few ahead by another thread."""
    for batch in in_order(reader, BATCHES_AHEAD, lambda _: next(batches, None), repeat(None)):
        if batch is None:
            return
        yield batch


def _groups(answered: Iterable[Answered], count: Callable[[int], None]) -> Iterator[list[Answered]]:
    """What goes into a shard together."""
    group: list[Answered] = []
    for one in answered:
        group.append(one)
        count(one.batch.place.size)
        if sum(kept.batch.place.size for kept in group) >= label_shards.SHARD_FACES:
            yield group
            group = []
    if group:
        yield group
