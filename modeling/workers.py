"""The same work for many jobs, in this process or in several, with the results in the order of the jobs."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any

Run = Callable[[Callable, Iterable], Iterator[Any]]
FACES_FOR_A_PROCESS = 5000  # in the two seconds that one takes to start, a process that runs reads thousands of faces


def processes_for(faces: int, workers: int | None, each: int = FACES_FOR_A_PROCESS) -> int:
    """As many `workers` as were asked for, or, with None, as are worth their start and there are processors for.

    One is worth its start for `each` faces.
    """
    if workers is not None:
        return workers
    return max(1, min(len(os.sched_getaffinity(0)), faces // each))


@contextmanager
def working(workers: int) -> Iterator[Run]:
    """Yield what does the same as `map(work, jobs)`, in `workers` processes where there is more than one.

    Jobs are asked for a few ahead of the results only, so that many of them need no memory.

    Raises:
        OSError: a worker process was killed.
    """
    if workers <= 1:
        yield map
        return
    # Spawned: forked ones could inherit a lock that a thread of a library holds.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start)
    try:
        yield lambda work, jobs: in_order(pool, 3 * workers, work, jobs)
    except BrokenProcessPool as error:
        raise OSError("a worker process was killed, perhaps for lack of memory; try fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(pool: Executor, ahead: int, work: Callable, jobs: Iterable) -> Iterator:
    """The results of the jobs in their order, asked for a few ahead; what is left is cancelled when nobody asks on."""
    waiting: deque = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for left in waiting:
            left.cancel()


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent then ends its workers in order
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next job for ever."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
