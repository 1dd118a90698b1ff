"""What the verbs of the command line share: how one is declared, and how progress is shown."""

import argparse
import os
from contextlib import contextmanager


def add_verb(verbs, name: str, run, text: str, *positional: str, overwrite: bool = True) -> argparse.ArgumentParser:
    """Declare a verb: `run(options)` does it and gives the exit status; `positional` names its arguments."""
    verb = verbs.add_parser(name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    verb.set_defaults(run=run)
    for argument in positional:
        verb.add_argument(argument)
    if overwrite:
        verb.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")
    return verb


def show_progress(text: str, unit: str = "batches"):
    """What wraps a list of faces, or of batches of them, so that a bar is shown while it is gone through."""
    from tqdm import tqdm

    return lambda items: tqdm(items, desc=text, unit=f" {unit}", mininterval=0.5)


@contextmanager
def show_bars():
    """Yield progress(stage, done, total), which shows one bar for each stage; all are closed at the end."""
    from tqdm import tqdm

    bars: dict[str, tqdm] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = tqdm(desc=stage, unit=" faces", total=total, initial=done, mininterval=0.5)
        bars[stage].update(done - bars[stage].n)
        if done == total:
            bars[stage].close()

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.close()


def add_workers(verb) -> None:
    verb.add_argument("--workers", type=int, metavar="N", help="processes; default: as many as there are processors")


def count_workers(options) -> int:
    return options.workers or len(os.sched_getaffinity(0))
