"""How progress is shown, and where people are told something: bars and sentences, on the stream for errors."""

import os
import sys
from contextlib import contextmanager


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


def say(verb: str, text: str) -> None:
    """A sentence to the person, beside what the verb prints for programs."""
    print(f"affectnet-plus {verb}: {text}", file=sys.stderr, flush=True)


def is_first_process() -> bool:
    """Whether this is the one that speaks, of those that torchrun or accelerate started."""
    return os.environ.get("RANK", "0") == "0"
