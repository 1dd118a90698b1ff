"""Which group a face is in, from real prepared data, and what is measured of the groups."""

import json

import numpy as np
import pytest

from affectnet_plus import EMOTIONS, GENDERS, RACES, SUBSETS
from affectnet_plus_modeling.data.dataset import load_prepared
from affectnet_plus_modeling.evaluation.audit import audit
from affectnet_plus_modeling.evaluation.groups import (
    AGES,
    UNKNOWN,
    YAWS,
    Grouping,
    attribute_groupings,
    subset_grouping,
    yaw_edges,
)
from affectnet_plus_modeling.evaluation.intervals import CELL
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.words import MIN_CLASSWISE
from support.predictions import informed_predictions
from support.trees import picture


def names_of(grouping: Grouping) -> list[str]:
    return [grouping.names[index] for index in grouping.of_rows]


@pytest.fixture
def groups_of(prepared_from):
    """Call with annotations' fields to have faces prepared; gives their groups by attribute, and the edges of yaw."""

    def build(*records):
        faces = [(picture(), annotation(label=0, **record)) for record in records]
        data = load_prepared(prepared_from(faces), "default", "train")
        data = data.select(sorted(range(len(data)), key=lambda row: int(data["image_id"][row].split("/")[1])))
        groupings, edges = attribute_groupings(data)
        return {name: names_of(grouping) for name, grouping in groupings.items()}, edges

    return build


def pose(yaw) -> dict:
    return {"yaw": yaw, "pitch": 0.0, "roll": 0.0}


# ---- which group


def test_age_bands_begin_with_their_first_year_and_null_is_unknown(groups_of):
    ages = (0.0, 17.9, 18.0, 29.9, 30.0, 44.0, 45.0, 59.5, 60.0, 101.0, None)
    found, _ = groups_of(*({"age": age} for age in ages))
    assert found["age"] == [
        "0-17",
        "0-17",
        "18-29",
        "18-29",
        "30-44",
        "30-44",
        "45-59",
        "45-59",
        "60+",
        "60+",
        "unknown",
    ]


def test_gender_and_ethnicity_are_the_most_probable_the_first_of_equals(groups_of):
    found, _ = groups_of(
        {"gender": {"female": 0.2, "male": 0.8}, "race": dict(zip(RACES, [0, 0, 0.1, 0.2, 0.7, 0], strict=True))},
        {"gender": {"female": 0.5, "male": 0.5}, "race": dict.fromkeys(RACES, 1 / 6)},
        {"gender": None, "race": None},
    )
    assert found["gender"] == ["male", "female", "unknown"]
    assert found["ethnicity"] == ["middle eastern", "asian", "unknown"]


def test_yaw_is_in_thirds_whatever_its_sign_and_unit(groups_of):
    turned = [0.1, -0.2, 0.3, -0.4, 0.5, -0.6]
    near, edges = groups_of(*({"pose": pose(yaw)} for yaw in turned), {"pose": None})
    assert near["yaw"] == [YAWS[0]] * 2 + [YAWS[1]] * 2 + [YAWS[2]] * 2 + ["unknown"]
    assert 0.2 < edges[0] < 0.3 and 0.4 < edges[1] < 0.5


def test_equal_yaws_stay_together_and_none_gives_no_edges():
    assert yaw_edges(np.full(5, 0.3)) == pytest.approx([0.3, 0.3])
    assert yaw_edges(np.full(5, np.nan)) is None


def test_without_any_yaw_every_face_is_unknown(groups_of):
    found, edges = groups_of({"age": 3.0}, {})
    assert edges is None and found["yaw"] == ["unknown"] * 2
    assert found["age"] == ["0-17", "unknown"]


def test_every_face_of_the_drawn_data_is_in_one_group(drawn):
    data = load_prepared(drawn, "default", "train")
    groupings, _ = attribute_groupings(data)
    for grouping in (subset_grouping(data), *groupings.values()):
        rows = np.concatenate(list(grouping.rows_of().values()))
        assert sorted(rows.tolist()) == list(range(len(data)))
    subsets = [SUBSETS[subset] for subset in data["subset"][:]]
    assert names_of(subset_grouping(data)) == subsets
    ages = np.array(data["age"][:])
    assert groupings["age"].rows_of()["60+"].tolist() == np.flatnonzero(ages >= AGES["45-59"]).tolist()


# ---- what is measured of them


def grouping_of(names, rows, seed) -> Grouping:
    return Grouping((*names, UNKNOWN), np.random.default_rng(seed).integers(0, len(names) + 1, rows))


@pytest.fixture(scope="module")
def audited():
    predictions = informed_predictions(400)
    subsets = Grouping((*SUBSETS, UNKNOWN), np.repeat([0, 1, 2], [250, 120, 30]))
    attributes = {"gender": grouping_of(GENDERS, 400, 0), "ethnicity": grouping_of(RACES, 400, 1)}
    return predictions, subsets, attributes, audit(predictions, None, subsets, attributes, 200)


def test_a_cell_has_the_numbers_of_its_faces_alone(audited):
    predictions, subsets, attributes, metrics = audited
    for grouping, cells in ((subsets, metrics["subsets"]), (attributes["gender"], metrics["groups"]["gender"])):
        assert set(cells) == set(grouping.rows_of())
        for name, rows in grouping.rows_of().items():
            assert cells[name]["rows"] == len(rows)
            if len(rows) < 50:
                continue
            expected = evaluate_predictions(predictions.take(rows))
            expected |= {f"{name}_ccc": expected[name]["ccc"] for name in ("valence", "arousal")}
            for key in CELL:
                assert cells[name][key] == pytest.approx(expected[key], abs=1e-9), key
                if cells[name]["intervals"][key] is not None:
                    low, high = cells[name]["intervals"][key]
                    assert low <= cells[name][key] <= high, key


def test_a_small_cell_says_so_and_shows_no_number(audited):
    assert audited[3]["subsets"]["difficult"] == {"rows": 30, "too_few": True}


def test_the_overall_numbers_are_unchanged_and_all_have_intervals(audited):
    predictions, _, _, metrics = audited
    plain = evaluate_predictions(predictions)
    for name, value in plain.items():
        if name.startswith("classwise"):
            assert len(predictions.image_ids) < MIN_CLASSWISE and metrics["intervals"][name] is None
        elif isinstance(value, float):
            low, high = metrics["intervals"][name]
            assert metrics[name] == value and low <= value <= high, name
    for emotion in EMOTIONS:
        row = metrics["per_class"][emotion]
        low, high = row["intervals"]["recall"]
        assert low <= row["recall"] <= high and set(row["intervals"]) == {"recall", "precision", "f1"}
    assert set(metrics["valence"]["intervals"]) == {"ccc", "pearson", "rmse", "sagr"}
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_unknown_group_is_measured_and_takes_no_part_in_gaps(audited):
    metrics = audited[3]
    assert "accuracy" in metrics["groups"]["gender"]["unknown"]
    gap = metrics["gaps"]["gender"]["accuracy_gap"]
    assert {gap["highest"], gap["lowest"]} == set(GENDERS)
    assert metrics["fairness"]["gender"]["groups"] == list(GENDERS)
    cells = metrics["groups"]["gender"]
    assert metrics["fairness"]["gender"]["rows"] == cells["female"]["rows"] + cells["male"]["rows"]
    assert gap["gap"] == pytest.approx(abs(cells["female"]["accuracy"] - cells["male"]["accuracy"]))


def test_a_smaller_cell_may_be_asked_for(audited):
    predictions, subsets, attributes, _ = audited
    metrics = audit(predictions, None, subsets, attributes, 50, min_cell=30)
    assert metrics["subsets"]["difficult"]["accuracy"] is not None
    nothing = audit(predictions, None, subsets, attributes, 50, min_cell=401)
    assert nothing["fairness"] == {"gender": None, "ethnicity": None}
    assert all("too_few" in cell for cell in nothing["groups"]["ethnicity"].values())
    assert nothing["gaps"]["gender"]["accuracy_gap"] is None and nothing["gaps"]["gender"]["tpr_gap"]["max"] is None
