"""benchmarks/peers.py: from a tool's file of answers to its scores, and its turns to medians."""

import sys
from pathlib import Path

import numpy as np
import pytest

from affectnet_plus_modeling.labels import ORDERS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ADAPTER = """
import numpy as np
from answering import run
run(lambda faces: np.full((len(faces), 7), 1 / 7), __file__)
"""


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers

    return peers


def tool(peers, name: str, order):
    return peers.Tool(name, "1", "folder", None, "", None, order, "nothing", "no", "none")


def test_an_answers_file_becomes_scores(peers, drawn, tmp_path):
    """One that always names the majority label, by seven emotions in an order of its own: contempt alone is missed."""
    faces = peers.validation(drawn, 48)
    labels = faces.labels.numpy()
    known = labels != 7
    order = ORDERS["fer2013"]
    answers = np.zeros((len(labels), 7))
    answers[
        np.arange(len(labels)),
        [
            order.index(("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "neutral")[k])
            for k in labels
        ],
    ] = 1
    answers.tofile(tmp_path / "some-tool.answers")
    answers.tofile(tmp_path / "same-tool.answers")
    prepared, splits = dict.fromkeys("AB", drawn), dict.fromkeys("AB", faces)
    by_name = peers.scores(tool(peers, "some tool", "fer2013"), tmp_path / "at", [], (), prepared, splits)
    by_column = peers.scores(tool(peers, "same, tool", order), tmp_path / "at", [], (), prepared, splits)
    assert by_name == by_column | {"tool": "some tool"}
    assert by_name["accuracy_a"] == by_name["accuracy_b"] == pytest.approx(known.mean())
    assert by_name["accuracy_a_low"] <= by_name["accuracy_a"] <= by_name["accuracy_a_high"]
    assert by_name["classes"] == 7
    votes = faces.soft_labels.numpy()
    votes = votes / votes.sum(axis=1, keepdims=True)
    said = np.eye(8)[np.where(known, labels, 0)] * 0.999 + 0.001 / 8
    kl = np.where(votes > 0, votes * np.log(np.where(votes > 0, votes, 1) / said), 0).sum(axis=1).mean()
    assert by_name["kl_a"] == pytest.approx(kl, rel=1e-4)


def test_an_adapter_is_asked_and_its_speed_compared(peers, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS / "peers"))
    script = tmp_path / "run_even.py"
    script.write_text(ADAPTER)
    np.zeros((40, 48, 48), dtype=np.uint8).tofile(tmp_path / "timed")
    cold, found = peers.ask([sys.executable, str(script)], tmp_path / "timed", tmp_path / "out", 2, ())
    assert np.fromfile(tmp_path / "out").reshape(40, 7) == pytest.approx(1 / 7)
    assert cold > 0 and found["classes"] == 7 and len(found["seconds_batch"]) == len(found["seconds_single"]) == 2

    def turn(theirs, ours):
        rest = {"images_per_second_single": 1, "megabytes": 2}
        return {
            "theirs": {"images_per_second": theirs, "cold_start_seconds": 1} | rest,
            peers.OURS_FAST: {"images_per_second": ours, "cold_start_seconds": 2} | rest,
        }

    found = peers.medians([turn(10, 100), turn(5, 10), turn(9, 10)], "theirs")  # the machine was busy twice
    assert found["images_per_second"] == 9 and found["speed_to_ours"] == 0.5 and found["cold_start_to_ours"] == 0.5
    with pytest.raises(SystemExit, match="ended with 1"):
        peers.ask([sys.executable, "-c", "raise SystemExit(1)"], tmp_path, tmp_path, 0, ())
