"""Damage that knows what it damages: strategies of hypothesis for the files that we read, and how outcomes are judged.

A strategy takes a good file, as bytes or as the value that its JSON holds, and draws bytes that differ from it. All
that is random comes from hypothesis and one seed, so that a violation comes back, made smaller, in the next run.
"""

import copy
import json
import os
import re
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from affectnet_plus_modeling import cli

# What a refusal may be: the kinds of which the command line makes one sentence.
REFUSALS = (ValueError, OSError, ImportError)
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}|0x[0-9a-f]{9,}")
MOST = 2_000  # characters of one sentence


def runs(short: int, long: int):
    """Parametrise a test by `count`: so many inputs in `make test`, and so many slow ones in `make fuzz`.

    AFFECTNET_PLUS_LONG in the environment is the share of the long run: 1 in `make fuzz`, 0 takes the short one alone.
    """
    share = float(os.environ.get("AFFECTNET_PLUS_LONG", "0"))
    more = [pytest.param(max(short, round(share * long)), marks=pytest.mark.slow)] if share else []
    return pytest.mark.parametrize("count", [short, *more], ids=lambda count: f"{count:,}")


def many(count: int, strategy, check) -> None:
    """Call `check` with so many inputs of a strategy; AFFECTNET_PLUS_SEED in the environment chooses others."""
    health = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)
    told = settings(max_examples=count, deadline=None, database=None, suppress_health_check=health)
    tried = told(given(strategy)(lambda value: check(value)))
    seed(int(os.environ.get("AFFECTNET_PLUS_SEED", "0")))(tried)()


# --- how an outcome is judged ----------------------------------------------------------------------------------------


def check_sentence(text: str) -> None:
    """One sentence for people: one line, no traceback, no address in memory, not endless."""
    assert text.strip(), "a refusal without a word"
    assert "Traceback" not in text and not _ADDRESS.search(text), text
    assert len(text) <= MOST, f"{len(text)} characters: {text[:200]}"


@contextmanager
def refused_or_done():
    """What is called inside does its work, or refuses in a sentence; any other error of it is a violation."""
    try:
        yield
    except REFUSALS as error:
        if type(error) in (UnicodeDecodeError, json.JSONDecodeError):
            raise AssertionError(f"an error of a library came through: {error!r}") from error
        check_sentence(cli.in_one_line(error))


def run_verb(words: list[str]) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of a verb in this process; an error that would be a traceback comes through."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
    return status, out.getvalue(), err.getvalue()


# --- bytes -----------------------------------------------------------------------------------------------------------


@st.composite
def damaged_bytes(draw, content: bytes) -> bytes:
    """A flipped bit, a cut, a hole of zeros, bytes put in or taken out, or something else altogether."""
    size = len(content)
    place = draw(st.integers(0, max(size - 1, 0)))
    kind = draw(st.sampled_from(("bit", "cut", "hole", "insert", "delete", "repeat", "other")))
    if kind == "bit" and size:
        flipped = content[place] ^ 1 << draw(st.integers(0, 7))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    if kind == "cut":
        return content[:place]
    if kind == "hole":
        length = min(draw(st.sampled_from((1, 16, 512))), size - place)
        return content[:place] + bytes(length) + content[place + length :]
    if kind == "insert":
        return content[:place] + draw(st.binary(min_size=1, max_size=64)) + content[place:]
    if kind == "delete":
        return content[:place] + content[place + draw(st.integers(1, 64)) :]
    if kind == "repeat":
        return content + content[place:]
    return draw(st.sampled_from(OTHERS))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 12345\n"
OTHERS = (
    b"",
    b"\0",
    POINTER,
    b"<!DOCTYPE html><html></html>",
    b"\xff\xfe{\0}\0",
    b"null",
    b"[]",
    b"{}",
    b"\x80\x04K\x01.",
)


# --- JSON ------------------------------------------------------------------------------------------------------------

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    10**7,
    10**30,
    -0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "text",
    "../../etc/passwd",
    "a\u0000b",
    "\ud800",
    "7" * 5000,
    [],
    [None],
    [[]],
    {},
    {"": ""},
    {"type": "object"},
)


# A copy of one of them: what is changed next may lie in it, and the next input has to begin with the same ones.
odd_values = st.sampled_from(ODD_VALUES).map(copy.deepcopy)


def places_of(value, path: tuple = ()) -> list[tuple]:
    """The path of every value inside a value, the outermost first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, part in inner for place in places_of(part, (*path, key))]


def nested(depth: int, kind: str = "list") -> bytes:
    """JSON that is nested so deep."""
    return b"[" * depth + b"]" * depth if kind == "list" else b'{"a":' * depth + b"1" + b"}" * depth


@st.composite
def damaged_json(draw, value, names: tuple[str, ...] | None = None) -> bytes:
    """JSON of `value` in which one or two values are others, are gone, or are where none belongs; or is no JSON.

    Args:
        names: damage lies under these keys of the outermost object alone; None takes every place.
    """
    if draw(st.integers(0, 9)) == 0:
        return draw(damaged_bytes(json.dumps(value).encode()))
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        places = [place for place in places_of(value) if names is None or place[:1] and place[0] in names]
        if not places:
            break
        place = draw(st.sampled_from(places))
        value = _changed(draw, value, place)
    text = json.dumps(value)
    if draw(st.integers(0, 19)) == 0:
        depth = draw(st.sampled_from((100, 990, 5_000, 200_000)))
        text = text.replace("null", nested(depth).decode(), 1) if "null" in text else nested(depth).decode()
    return text.encode()


def _changed(draw, value, place: tuple):
    if not place:
        return draw(odd_values)
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    kind = draw(st.sampled_from(("other", "other", "other", "gone", "more", "wrapped")))
    if kind == "other":
        holder[place[-1]] = draw(odd_values)
    elif kind == "gone":
        del holder[place[-1]]
    elif kind == "wrapped":
        holder[place[-1]] = [holder[place[-1]]]
    elif isinstance(holder, dict):
        holder[draw(st.sampled_from(("", "extra", "__class__", "7" * 300)))] = draw(odd_values)
    else:
        holder.append(draw(odd_values))
    return value


# --- files of tensors and arrays -------------------------------------------------------------------------------------


@st.composite
def damaged_safetensors(draw, content: bytes) -> bytes:
    """The header says other names, shapes, types or places, or its length lies; or plain damage."""
    if draw(st.booleans()):
        return draw(damaged_bytes(content))
    length = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    text = draw(damaged_json(header))
    said = draw(st.sampled_from((len(text), len(text), len(text), 0, 10**9, 2**63)))
    return said.to_bytes(8, "little") + text + rest


def npy(header: str, values: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """An array file of NumPy with any header."""
    text = header.encode("latin1", "replace")
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 if version == (1, 0) else 4, "little") + text + values


@st.composite
def damaged_npy(draw, count: int) -> bytes:
    """An array file of about `count` numbers whose header says what numpy may stumble over; or plain damage."""
    if draw(st.booleans()):
        file = BytesIO()
        np.save(file, np.zeros(count))
        return draw(damaged_bytes(file.getvalue()))
    kinds = "'<f8' '<f4' '<i8' '|u1' '<U3' '|S3' '<f16' '<g' '|O' '<c16' '<M8[s]' '|V8'".split()
    odd = ("None", "1", "('<f8', 2)", "('<f8', (2,))", "[('a', '<f8')]", "[('a', '|O')]", "[]", "'f8,f8'", "''", "{}")
    shapes = ("()", f"({count},)", f"({count // 2}, 2)", "(True,)", "(0,)", "(0, 2)", "(-1,)", "(10**9,)", "(1.0,)")
    more = ("None", "5", "[1]", "(1, 1, 1)", "(1000000000000,)", "('1',)", "(False,)", "(True, 2)", "(2, True)")
    kind = draw(st.sampled_from((*kinds, *odd)))
    shape = draw(st.sampled_from(shapes + more))
    order = draw(st.sampled_from(("False", "True", "0", "None", "'C'")))
    extra = draw(st.sampled_from(("", "", ", 'more': 1", ", 'descr': '<f8'")))
    size = draw(st.sampled_from((0, 1, 4, 8, 16, 2 * count, 8 * count, 16 * count)))
    version = draw(st.sampled_from(((1, 0), (1, 0), (2, 0), (3, 0), (0, 9))))
    return npy(f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}{extra}}}\n", bytes(size), version)
