"""`predict` on Ray Data: the same pictures in the same batches, asked by whatever a cluster has, answered in order."""

import pickle
from collections.abc import Iterator
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from ..cluster import ray_session
from ..data.readers import Images, Picture
from .predict import Answer, Wanted, answer_batch, batch_size_of, opened_model, wanted_of

Rows = dict[str, Any]
Named = tuple[str | int, int, Picture]  # the name, the number of its reader, the picture


def predict_on_ray(
    address: str,
    model,
    sources,
    batch_size: int = 32,
    bf16: bool = False,
    faces: bool | None = None,
    follow_links: bool = False,
) -> Iterator[Answer]:
    """As `predict.predict`. All machines of the cluster have to see the model and the pictures.

    Args:
        address: as `cluster.ray_session` takes it.

    Raises:
        OSError: there is no such cluster, or it lost too much.
        FileNotFoundError, ValueError: as `predict.predict`.
    """
    wanted = wanted_of(sources, follow_links)
    network = opened_model(model, bf16)  # so that what is wrong with it is said before a cluster is asked
    at_once = batch_size_of(network, len(wanted), batch_size)
    readers: list[Images] = []
    numbers: dict[int, int] = {}
    named: list[Named] = []
    for one in wanted:
        if id(one.opened) not in numbers:
            numbers[id(one.opened)] = len(readers)
            readers.append(one.opened.without_list())
        named.append((one.name, numbers[id(one.opened)], one.picture))
    rows = [{"batch": pickle.dumps(named[start : start + at_once])} for start in range(0, len(named), at_once)]
    with ray_session(address) as cluster:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        ordered, context.execution_options.preserve_order = context.execution_options.preserve_order, True
        data = ray.data.from_items(rows, override_num_blocks=min(len(rows), 4 * cluster.askers)).map_batches(
            _Answerer,
            batch_size=1,
            fn_constructor_args=(model, bf16, faces, ray.put(readers)),
            num_gpus=1 if cluster.cards else None,
            compute=ActorPoolStrategy(min_size=1, initial_size=cluster.askers),
            **cluster.place,
        )
        try:
            for row in data.iter_rows():
                yield from pickle.loads(row["lines"])
        finally:
            context.execution_options.preserve_order = ordered


class _Answerer:
    """One for each GPU or processor, with the model."""

    def __init__(self, model, bf16: bool, faces: bool | None, readers: "ray.ObjectRef"):
        import torch

        torch.set_num_threads(1)
        self._model, self._faces = opened_model(model, bf16), faces
        self._readers: list[Images] = ray.get(readers)

    def __call__(self, rows: Rows) -> Rows:
        lines = []
        for row in rows["batch"]:
            wanted = [Wanted(name, self._readers[number], picture) for name, number, picture in pickle.loads(row)]
            lines.append(pickle.dumps(answer_batch(self._model, self._faces, wanted)))
        return {"lines": lines}
