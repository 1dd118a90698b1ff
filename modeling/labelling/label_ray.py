"""The work of `label` on Ray Data: parts are read, batches asked and shards written by whatever a cluster has.

Back-pressure, retries, spilling and how many do what are Ray's. Ours are the three functions, which `label_here` has
too, and that nothing is lost or counted twice: a row of the data set is a batch, whole, and the name of a shard says
which batches are in it. Where networks need no GPU, Ray lets the process that asks them read the pictures too.
"""

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import ray
import torch
from ray.data import ActorPoolStrategy, DataContext, Datasink

from ..cluster import ray_session
from ..data.parts import InParts, Part
from ..data.stores import Store
from ..faces import open_landmarker
from ..faces.landmarker import Landmarker
from . import label_shards
from .branches import Branches
from .label_batches import Batch, answer, batches_of, decode
from .label_options import LabelOptions
from .label_rows import Rules
from .label_shards import Done, Note, write_batches

Rows = dict[str, Any]  # a column -> its values; ours are pickled, one batch each


def label_on_ray(
    address: str,
    source: InParts,
    left: list[Part],
    done: Done,
    branches: Branches,
    rules: Rules,
    options: LabelOptions,
    work: Store,
    count: Callable[[int], None],
) -> None:
    """As `label_here`, by a Ray cluster. All its machines have to see the pictures, and the folder of the work.

    Args:
        address: as `cluster.ray_session` takes it.

    Raises:
        ImportError: Ray is not installed.
        OSError: there is no such cluster, it lost too much, or as `label_here`.
        ValueError: as `label_here`.
    """
    with ray_session(address) as cluster:
        shared = ray.put(branches.to("cpu"))
        DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
        rows = [{"part": pickle.dumps((part, done.starts.get(part.number, set())))} for part in left]
        read = partial(_read, source=source.travelling(), sizes=branches.sizes, options=options, work=work)
        data = (
            ray.data.from_items(rows, override_num_blocks=len(rows))
            .map_batches(read, batch_size=1, **cluster.place)
            .map_batches(
                _Asker,
                batch_size=1,
                fn_constructor_args=(shared,),
                compute=ActorPoolStrategy(min_size=1, initial_size=cluster.askers),
                num_gpus=1 if cluster.cards else None,
                **cluster.place,
            )
        )
        shards = _Shards(work, rules, max(1, label_shards.SHARD_FACES // options.batch_size))
        # Without a processor of their own: those that ask may have all.
        data.write_datasink(shards, ray_remote_args={"num_cpus": 0}, concurrency=max(1, cluster.processors))
        for note in shards.notes:
            if done.add(note):
                count(note.tally.pictures)


def _read(rows: Rows, source: InParts, sizes: tuple[int, ...], options: LabelOptions, work: Store) -> Iterator[Rows]:
    landmarker = None
    if options.metadata:
        landmarker = _landmarker(options.landmark_model, options.landmark_detector)
    seen = partial(decode, sizes=sizes, landmarker=landmarker, wanted=options.metadata)
    for row in rows["part"]:
        part, starts = pickle.loads(row)
        for batch in batches_of(source, part, options.batch_size, starts, work, seen):
            yield {"batch": [pickle.dumps(batch)]}


_OPEN = ExitStack()  # until the process ends


@cache
def _landmarker(model: str, detector: str | None) -> Landmarker:
    return _OPEN.enter_context(open_landmarker(model, detector))


class _Asker:
    """One for each GPU or processor, with the networks."""

    def __init__(self, shared: "ray.ObjectRef"):
        torch.set_num_threads(1)
        branches: Branches = ray.get(shared)
        self._branches = branches.to("cuda" if ray.get_gpu_ids() else "cpu")

    def __call__(self, rows: Rows) -> Rows:
        batches: list[Batch] = [pickle.loads(row) for row in rows["batch"]]
        return {"answered": [pickle.dumps(answer(self._branches, batch)) for batch in batches]}


class _Shards(Datasink[list[Note]]):
    """Writes what comes together as a shard; `notes` are of all that was written, once it is."""

    def __init__(self, work: Store, rules: Rules, batches: int):
        self._work, self._rules, self._batches = work, rules, batches
        self.notes: list[Note] = []

    def write(self, blocks: Iterable[Any], ctx) -> list[Note]:
        answered = [pickle.loads(row) for block in blocks for row in block["answered"].to_pylist()]
        return [write_batches(self._work, answered, self._rules)] if answered else []

    def on_write_complete(self, write_result) -> None:
        self.notes = [note for notes in write_result.write_returns for note in notes]

    @property
    def min_rows_per_write(self) -> int:
        return self._batches
