"""How far a long work is: the one signature that `progress` has in every room."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# Called with the stage, how much of it is done, and how much there is: before the first and after each piece. What was
# done in an interrupted run counts as done. A stage that is finished may begin again, on other things.
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """The progress of those who want to hear of none."""


def told(items: Sequence[T], stage: str, progress: Progress) -> Iterator[T]:
    """The items, one after the other; an item counts as done when the next one is asked for."""
    progress(stage, 0, len(items))
    for done, item in enumerate(items, 1):
        yield item
        progress(stage, done, len(items))
