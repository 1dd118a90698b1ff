"""How many processes share the work on faces."""

import os

import pytest

from affectnet_plus_modeling.workers import FACES_FOR_A_PROCESS, processes_for


@pytest.mark.parametrize("faces, expected", [(0, 1), (1, 1), (2, 2), (3, 3), (10, 4)])
def test_processes_are_as_many_as_have_faces_enough_and_no_more_than_processors(monkeypatch, faces, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda number: range(4))
    assert processes_for(faces * FACES_FOR_A_PROCESS, None) == expected
    assert processes_for(FACES_FOR_A_PROCESS - 1, None) == 1
    assert processes_for(faces * 20, None, each=20) == expected, "where a face is much work"
    assert processes_for(faces, 7) == 7, "what was asked for"
