"""Progress: what is told of a stage, and the bars that are made of it."""

import pytest

from affectnet_plus_modeling.cli.progress import show_bars
from affectnet_plus_modeling.stages import told


def test_an_item_counts_as_done_when_the_next_one_is_asked_for():
    calls: list[tuple] = []
    items = told("ab", "read", lambda *call: calls.append(call))
    assert next(items) == "a" and calls == [("read", 0, 2)]
    assert list(items) == ["b"] and calls == [("read", 0, 2), ("read", 1, 2), ("read", 2, 2)]


def test_a_stage_may_begin_again_and_has_a_bar_each_time(capsys):
    with show_bars("batches") as progress:
        for _ in range(2):
            assert list(told(range(3), "read", progress)) == [0, 1, 2]
        list(told([], "write", progress))
    first, second, empty = capsys.readouterr().err.rstrip("\n").split("\n")
    for line in (first, second):
        assert "read: 100%" in line and "3/3" in line and " batches" in line
    assert "write: 0 batches" in empty


def test_a_bar_is_closed_when_the_work_fails(capsys):
    with pytest.raises(ValueError), show_bars() as progress:
        progress("read", 1, 3)
        raise ValueError
    assert capsys.readouterr().err.endswith("\n")
