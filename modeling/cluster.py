"""Ray: a session on this machine or of a cluster, and what its errors say in a sentence."""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .sentences import first_line

LOCAL = "local"
_COLOURS = re.compile("\x1b\\[[0-9;]*m")


def need_ray() -> None:
    """Raise ImportError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ImportError("Ray is not installed: pip install 'affectnet-plus[ray]'")


class Capacity(NamedTuple):
    """Processors and GPUs of a cluster."""

    processors: int
    cards: int

    @property
    def askers(self) -> int:
        """Processes with networks: one for each GPU, or where there is none for each processor."""
        return max(1, self.cards or self.processors)

    @property
    def place(self) -> dict[str, Any]:
        """Where networks that need no GPU are asked: half a processor each, on all machines.

        Where a machine dies, those that were there find room on the others.
        """
        return {} if self.cards else {"num_cpus": 0.5, "scheduling_strategy": "SPREAD"}


@contextmanager
def ray_session(address: str) -> Iterator[Capacity]:
    """Be connected to Ray; a session that the process has already is used, and stays.

    Args:
        address: `LOCAL` starts a cluster of this machine, which ends with the block; else that of a running one, as
            `ray.init` takes it, such as "auto".

    Raises:
        ConnectionError: there is no such cluster.
        OSError, ValueError: what ended the work, in a sentence.
    """
    import ray

    found = ray.is_initialized()
    if not found:
        try:
            ray.init(address, include_dashboard=False if address == LOCAL else None, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConnectionError(f"there is no Ray cluster at {address}: {first_line(error)}") from error
    try:
        resources = ray.cluster_resources()
        yield Capacity(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))
    except ray.exceptions.RayError as error:
        raise _in_a_sentence(error) from error
    finally:
        if not found:
            ray.shutdown()


def _in_a_sentence(error: BaseException) -> Exception:
    """The error of ours that ended a task, or an OSError that says why Ray gave up."""
    from ray.exceptions import RayTaskError

    one: BaseException | None = error
    while one is not None:
        if isinstance(one, RayTaskError) and one.cause is not None:
            one = one.cause
        elif isinstance(one, (OSError, ValueError, ImportError)) and not isinstance(one, RayTaskError):
            return one
        else:
            one = one.__cause__
    return OSError(f"Ray gave up: {_COLOURS.sub('', first_line(error))}")
