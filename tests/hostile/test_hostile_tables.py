"""Predictions of other tools as people and spreadsheets write them: read as they are meant, or refused in a word."""

import json
import math

import numpy as np
import pytest
from hypothesis import strategies as st

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data.dataset import load_prepared
from affectnet_plus_modeling.evaluation import evaluate as evaluation
from affectnet_plus_modeling.evaluation.evaluate import EvaluationOptions, compare, measure
from affectnet_plus_modeling.evaluation.external import read_external
from affectnet_plus_modeling.evaluation.report_text import format_metrics
from hostile.damage import damaged_bytes, damaged_json, many, refused_or_done, runs

ROWS = 8  # of the validation split of `drawn`


@pytest.fixture(scope="module")
def faces(drawn):
    return load_prepared(drawn, "default", "validation")


@pytest.fixture(scope="module")
def said(faces) -> dict[str, list[float]]:
    """image_id -> probabilities."""
    table = np.random.default_rng(0).dirichlet(np.ones(8), ROWS)
    return dict(zip(faces["image_id"][:], table.tolist(), strict=True))


def csv_of(said, decimals=17, names=("image_id", *EMOTIONS), between=",") -> str:
    rows = [[image_id, *(repr(round(value, decimals)) for value in row)] for image_id, row in said.items()]
    return "".join(between.join(row) + "\n" for row in ([*names], *rows))


def jsonl_of(said) -> str:
    lines = ({"image": f"{image_id}.jpg", "soft_label": dict(zip(EMOTIONS, row))} for image_id, row in said.items())
    return "".join(json.dumps(line) + "\n" for line in lines)


def read(tmp_path, faces, text: str | bytes, name="said.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_external(path, faces, **options)


# --- clumsy, and meant -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, change",
    [
        ("said.csv", lambda text: text.replace(",", ", ")),
        ("said.csv", lambda text: text.replace(",", " ,\t")),
        ("said.csv", lambda text: "\ufeff" + text.replace("\n", "\r\n")),
        ("said.csv", lambda text: "\n" + text.replace("\n", "\n\n  \n,,,,,,,,\n")),
        ("said.jsonl", lambda text: "\ufeff" + text),
        ("said.jsonl", lambda text: "\n" + text.replace("\n", "\r\n\n \t\n")),
        ("said.jsonl", lambda text: text.replace('"neutral"', '" neutral "')),
    ],
)
def test_spaces_marks_and_empty_lines_change_nothing(tmp_path, faces, said, name, change):
    text = csv_of(said) if name == "said.csv" else jsonl_of(said)
    found = read(tmp_path, faces, change(text), name).predictions
    np.testing.assert_allclose(found.probabilities, [said[image_id] for image_id in found.image_ids], atol=1e-12)


@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 8])
def test_sums_are_1_within_the_rounding_of_the_decimals_written(tmp_path, faces, said, decimals):
    for name, text in (("said.csv", csv_of(said, decimals)), ("said.jsonl", None)):
        rounded = {image_id: [round(value, decimals) for value in row] for image_id, row in said.items()}
        found = read(tmp_path, faces, text or jsonl_of(rounded), name)
        expected = np.array([rounded[image_id] for image_id in found.predictions.image_ids])
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found.predictions.probabilities, expected, atol=1e-12)
        assert found.rounded_to == (decimals if decimals < 4 else None)


@pytest.mark.parametrize(
    "row, total",
    [
        ([0.13] * 7 + [0.18], "1.09"),  # 8 numbers of 2 decimals may add up to .96 to 1.04
        ([0.125] * 7 + [0.13], "1.005"),
        ([1, 1, 0, 0, 0, 0, 0, 0], "2"),
        ([0] * 8, "0"),
    ],
)
def test_a_sum_that_rounding_does_not_explain_is_refused(tmp_path, faces, said, row, total):
    with pytest.raises(ValueError, match=f"expected a sum of 1 within 0.0001, not {total}"):
        read(tmp_path, faces, csv_of(dict.fromkeys(said, row)))


def test_a_face_without_a_prediction_is_refused_left_out_or_judged_as_said(tmp_path, drawn, faces, said, monkeypatch):
    some, rest = dict(list(said.items())[2:]), list(said)[:2]
    empty = f"{rest[0]},,,,,,,,\n"  # and of the second there is no line
    with pytest.raises(
        ValueError, match=r"2 are missing: \S+, \S+; expected .*; --missing skip leaves such faces out"
    ):
        read(tmp_path, faces, csv_of(some) + empty)
    path, whole = tmp_path / "said.csv", tmp_path / "whole.csv"
    whole.write_text(csv_of(said))
    figures = {}
    for missing in ("skip", "uniform"):
        options = EvaluationOptions(resamples=20, missing=missing, compare=str(whole))
        metrics, predictions = measure(path, drawn, options=options)
        figures[missing] = metrics
        kept = list(some) if missing == "skip" else list(said)
        assert sorted(predictions.image_ids) == sorted(kept) and metrics["rows"] == len(kept)
        assert metrics["predictions"]["missing"] == 2 and metrics["predictions"]["missing_are"] == missing
        assert f"--missing {missing}" in metrics["command"] and metrics["comparison"]["rows"] == len(kept)
        became = {"skip": "they are left out", "uniform": "they are judged as if"}[missing]
        assert f"says nothing of 2 faces of the split: {became}" in " ".join(format_metrics(metrics).split())
        for image_id, row in zip(predictions.image_ids, predictions.probabilities.tolist()):
            assert row == pytest.approx(said[image_id] if image_id in some else [1 / 8] * 8)
        assert compare(path, whole, drawn, options=options)["rows"] == len(kept)
    assert figures["skip"]["kl"] != figures["uniform"]["kl"]
    shown = []  # the pictures beside the faces are those of the faces that are left
    monkeypatch.setattr(
        evaluation, "_write", lambda metrics, predictions, rows, out: shown.extend(rows["image_id"][:])
    )
    evaluation.evaluate(path, drawn, tmp_path / "out", options=EvaluationOptions(resamples=20, missing="skip"))
    assert shown == [image_id for image_id in faces["image_id"][:] if image_id in some]
    with pytest.raises(ValueError, match="has a prediction of none of the split's 8 faces|has the columns"):
        read(tmp_path, faces, csv_of({}) + empty, may_miss=True)


def test_lines_of_pictures_that_failed_are_faces_without_a_prediction(tmp_path, faces, said):
    lines = jsonl_of(said).splitlines()
    failed = json.dumps({"image": json.loads(lines[0])["image"], "error": "is no picture"})
    found = read(tmp_path, faces, "\n".join([failed, *lines[1:]]), "said.jsonl", may_miss=True)
    assert [found.predictions.image_ids[row] for row in found.missing] == list(said)[:1]


@pytest.mark.parametrize(
    "text, words",
    [
        (b"\xff\xfe" + "image_id,p0\n".encode("utf-16-le"), "said.csv is not text in UTF-8 .byte 0.; save it as such"),
        (b"image_id, neutral,neutral\n1,2,3\n", "said.csv has several columns of the name neutral"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, faces, text, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, faces, text)


# --- damage ----------------------------------------------------------------------------------------------------------


@runs(150, 10_000)
def test_a_damaged_file_of_predictions_is_read_or_refused_in_a_sentence(tmp_path, faces, said, count):
    lines = [json.loads(line) for line in jsonl_of(said).splitlines()]
    line = st.builds(
        lambda first: first + b"\n" + jsonl_of(dict(list(said.items())[1:])).encode(), damaged_json(lines[0])
    )
    kinds = {
        "said.csv": st.sampled_from((2, 17)).flatmap(lambda d: damaged_bytes(csv_of(said, d).encode())),
        "said.jsonl": line | damaged_bytes(jsonl_of(said).encode()),
    }
    damages = st.sampled_from(sorted(kinds)).flatmap(lambda name: st.tuples(st.just(name), kinds[name], st.booleans()))

    def check(damage):
        name, content, may_miss = damage
        with refused_or_done():
            found = read(tmp_path, faces, content, name, may_miss=may_miss)
            sums = found.predictions.probabilities.sum(axis=1)
            assert len(sums) == ROWS and all(math.isclose(value, 1) for value in sums)
            assert may_miss or not found.missing

    many(count, damages, check)
