"""`--revision`: which state of the one repository of the Hub that a command names."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace

from ..hub_names import on_hub


def at_revision(options):
    """The options with their `revision` told to the one name of the Hub among them, as you/name@REVISION.

    Raises:
        ValueError: no name of the Hub is among them, or several are, or the one says its revision itself.
    """
    if options.revision is None:
        return options
    names = sorted({text for text, kind in _may_be_names(options) if on_hub(text, kind)})
    if len(names) != 1 or "@" in names[0]:
        raise ValueError(
            f"--revision is of one name of the Hub, and here are {' and '.join(names) or 'none'}; with several, write "
            "you/name@REVISION"
        )
    [name] = names
    return _changed(options, lambda text: f"{name}@{options.revision}" if text == name else text)


def _may_be_names(options) -> Iterator[tuple[str, str]]:
    for one in fields(options):
        value = getattr(options, one.name)
        if is_dataclass(value):
            yield from _may_be_names(value)
        elif "hub" in one.metadata and value is not None:
            for text in value if isinstance(value, tuple) else (value,):
                yield text, one.metadata["hub"]


def _changed(options, change: Callable[[str], str]):
    """The same with every text that may be a name of the Hub changed."""
    found = {}
    for one in fields(options):
        value = getattr(options, one.name)
        if is_dataclass(value):
            found[one.name] = _changed(value, change)
        elif "hub" in one.metadata and value is not None:
            found[one.name] = tuple(map(change, value)) if isinstance(value, tuple) else change(value)
    return replace(options, **found)
