"""How progress is shown, and where people are told something: bars and sentences, on the stream for errors."""

import os
import sys
from contextlib import contextmanager


@contextmanager
def show_bars(unit: str = "faces"):
    """Yield progress(stage, done, total), which shows one bar for each stage; all are closed at the end."""
    from tqdm import tqdm

    bars: dict[str, tqdm] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = tqdm(desc=stage, unit=f" {unit}", total=total, initial=done, mininterval=0.5)
        bars[stage].update(done - bars[stage].n)
        if done == total:
            bars.pop(stage).close()

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.close()


def say(verb: str, text: str) -> None:
    """A sentence to the person, beside what the verb prints for programs."""
    print(f"affectnet-plus {verb}: {text}", file=sys.stderr, flush=True)


def is_first_process() -> bool:
    """Whether this is the one that speaks, of those that torchrun or accelerate started."""
    return os.environ.get("RANK", "0") == "0"
