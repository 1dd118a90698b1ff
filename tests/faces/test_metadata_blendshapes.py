"""Blendshapes as action units: worked values, and a table that the reader of action units takes."""

import numpy as np
import pytest

from affectnet_plus_modeling.faces.blendshapes import BLENDSHAPES, LIPS_PART, UNITS, action_units, write_action_units

NAMES = {name for names in (*BLENDSHAPES.values(), *LIPS_PART) for name in names}


def face(**moved) -> dict:
    return dict.fromkeys(NAMES, 0.0) | moved


def row(**moved) -> dict:
    return {unit: value for unit, value in zip(UNITS, action_units([face(**moved)])[0].tolist()) if value}


def test_a_face_at_rest_moves_nothing_and_one_that_does_all_does_all():
    assert row() == {}
    assert action_units([dict.fromkeys(NAMES, 1.0)]).tolist() == [[1.0] * len(UNITS)]
    assert UNITS == tuple(sorted(UNITS)) and len(UNITS) == 14 and not {"AU06", "AU09", "AU23"} & set(UNITS)


def test_left_and_right_are_averaged():
    assert row(mouthSmileLeft=0.9, mouthSmileRight=0.3) == {"AU12": pytest.approx(0.6)}
    assert row(browOuterUpLeft=0.5) == {"AU02": 0.25}
    assert row(browInnerUp=0.5) == {"AU01": 0.5}


def test_lips_part_by_what_parts_them_most():
    assert row(jawOpen=0.4) == {"AU25": 0.4, "AU26": 0.4}
    assert row(mouthLowerDownLeft=0.8, mouthLowerDownRight=0.6) == {"AU25": pytest.approx(0.7)}
    assert row(jawOpen=0.4, mouthUpperUpLeft=1.0, mouthUpperUpRight=1.0) == {"AU10": 1.0, "AU25": 1.0, "AU26": 0.4}


def test_what_is_not_in_the_table_does_not_count():
    assert row(cheekSquintLeft=1.0, noseSneerRight=1.0, eyeBlinkLeft=1.0) == {}


def test_no_faces_give_no_rows():
    assert action_units([]).shape == (0, len(UNITS))


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_blendshape_out_of_range_is_named_with_its_face(value):
    with pytest.raises(ValueError, match=rf"jawOpen of face 1 is {value}, expected a number in \[0, 1\]"):
        action_units([face(), face(jawOpen=value)])


def test_a_blendshape_that_is_absent_is_named():
    lacking = face()
    del lacking["jawOpen"]
    with pytest.raises(ValueError, match="jawOpen of face 0 is None"):
        action_units([lacking])


def test_the_written_table_is_read_back_as_it_was(tmp_path):
    tables = pytest.importorskip("affectnet_plus_modeling.labelling.action_units.tables")
    values = np.random.default_rng(0).uniform(0, 1, (30, len(UNITS)))
    names = [f"train/{index}" for index in range(30)]
    write_action_units(tmp_path / "units.csv", names, values)
    table = tables.read_action_units(tmp_path / "units.csv")
    assert table.names == names and table.units == UNITS and not table.problems
    np.testing.assert_allclose(table.values, values, atol=5.1e-5)


def test_names_and_rows_of_another_number_write_no_table(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_action_units(tmp_path / "units.csv", ["1"], np.zeros((2, len(UNITS))))
    assert not list(tmp_path.iterdir())
