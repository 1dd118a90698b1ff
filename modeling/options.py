"""What a field of an options dataclass says to people, and which values it takes; quick to import.

The command line makes its flags, and the library its refusals, of the same fields.
"""

from collections.abc import Sequence
from dataclasses import MISSING, field, fields
from typing import Any


def option(
    default: Any = MISSING,
    *,
    help: str,
    group: str | None = None,
    choices: Sequence[str] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    positional: bool | None = None,
    flag: str | None = None,
    metavar: str | None = None,
    commas: bool | None = None,
    scaled: bool | None = None,
    hub: str | None = None,
    alone: str | None = None,
) -> Any:
    """A field of an options dataclass; without a default it must be given.

    Args:
        help: for a newcomer, what it is, with its unit.
        group: title under which the command line shows it and the fields after it.
        choices: the words that it may be.
        low, high: the least and the largest value; `above` and `below` are these where they do not belong to it.
        positional: on the command line it is told by its place.
        flag: its name there, where it is not that of the field.
        metavar: what stands for its value in the help.
        commas: the words of a tuple may be one word on the command line, with commas between them.
        scaled: of a field that is a dataclass: a number on the command line strengthens the whole by its `scaled`.
        hub: "model" or "dataset": it may be the name of one on the Hub.
        alone: its value where its flag stands on the command line without one.
    """
    told = {name: value for name, value in locals().items() if name != "default" and value is not None}
    return field(default=default, metadata=told)


def check_options(options) -> None:
    """Raise ValueError for the first field, or element of one, that its `option` does not allow; None always is."""
    for one in fields(options):
        value = getattr(options, one.name)
        for element in value if isinstance(value, tuple) else () if value is None else (value,):
            _check(one.name, element, one.metadata)


def _check(name: str, value, told) -> None:
    if "choices" in told and value not in told["choices"]:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(told['choices'])}")
    if not (
        ("low" not in told or value >= told["low"])
        and ("high" not in told or value <= told["high"])
        and ("above" not in told or value > told["above"])
        and ("below" not in told or value < told["below"])
    ):
        raise ValueError(f"{name} is {value}; it must be {_range_in_words(told)}")


def _range_in_words(told) -> str:
    """The range of an `option`, such as "in [0, 1)", "at least 1" or "above 0"."""
    bottom = f"[{told['low']}" if "low" in told else f"({told['above']}" if "above" in told else ""
    top = f"{told['high']}]" if "high" in told else f"{told['below']})" if "below" in told else ""
    if bottom and top:
        return f"in {bottom}, {top}"
    if "low" in told:
        return "0 or positive" if told["low"] == 0 else f"at least {told['low']}"
    return f"above {told['above']}"
