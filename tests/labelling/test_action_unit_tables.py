"""Tables of action units: each tool's format, and everything that can be wrong with one."""

import numpy as np
import pytest

from affectnet_plus_modeling.labelling.action_units.tables import (
    AMBIGUOUS,
    EMPTY,
    FAILED,
    OUTSIDE,
    PARTLY,
    REPEATED,
    describe_problems,
    match_images,
    read_action_units,
)

# Beginnings of files as the tools write them: OpenFace 2.2 FeatureExtraction, OpenFace 3 (openface-test 0.1.26),
# LibreFace 0.2.0 and py-feat 2.1.5, most columns left out.
OPENFACE_2 = """frame, timestamp, confidence, success, gaze_0_x, AU01_r, AU12_r, AU01_c, AU12_c, AU28_c
1,0,0.88,1,0.109,0.68,5,1,1,0
2,0.001,0.88,1,0.110,0.60,0,0,0,1
"""
OPENFACE_3 = """timestamp,image_path,face_id,face_detection,landmarks,emotion,gaze_yaw,gaze_pitch,action_units
2025-06-12 10:00:00,faces/7.jpg,0,"[1.0, 2.0]","[[1.0, 2.0], [3.0, 4.0]]",1,-0.79,-0.83,\
"[[0.0, 0.1, 0.2, 0.3, 8.9405e-05, 0.5, 0.85469, 1.0]]"
"""
LIBREFACE = """input_image_path,aligned_image_path,facial_expression,au_1,au_7,au_14,au_1_intensity,au_12_intensity
faces/a.png,tmp/a.png,Happiness,1,1,0,0.5,4.25
"""
PY_FEAT = """frame,FaceRectX,x_0,AU01,AU02,AU43,anger,input,FaceScore
0,222.86,226.0,0.007,0.9,0.1,1.5e-05,/data/a.jpg,0.99
1,222.86,226.0,1.0,0,0.25,1.5e-05,/data/b.jpg,0.99
"""


@pytest.fixture
def table(tmp_path):
    """Call with the text of a csv to have it read."""

    def read(text: str, scale=None, name="table.csv", frames=True):
        (tmp_path / name).write_text(text)
        return read_action_units(tmp_path / name, scale, frames)

    return read


def of_drawn_faces(rows, header="split,stem,AU01_r,AU12_r") -> str:
    return "\n".join([header, *rows]) + "\n"


# ---- formats


def test_openface_2_is_read_with_its_spaces_and_intensity_goes_before_presence(table):
    found = table(OPENFACE_2)
    assert (found.source, found.names, found.units) == ("OpenFace 2", ["1", "2"], ("AU01", "AU12", "AU28"))
    assert found.presence == ("AU28",) and found.problems == {}
    np.testing.assert_allclose(found.values, [[0.136, 1, 0], [0.12, 0, 1]])


def test_a_table_of_presences_alone_is_from_0_to_1(table):
    found = table("frame, success, AU04_c, AU01_c\n1, 1, 0, 1\n")
    assert (found.source, found.units, found.presence) == ("OpenFace 2", ("AU01", "AU04"), ("AU01", "AU04"))
    assert found.values.tolist() == [[1, 0]]


def test_a_folder_with_a_file_for_each_image_is_one_table(tmp_path):
    for name, value in (("b", 5), ("a", 2.5)):
        (tmp_path / f"{name}.csv").write_text(f"face, confidence, AU12_r, AU12_c\n0, 0.9, {value}, 1\n")
    (tmp_path / "a.hog").write_bytes(b"\0")
    found = read_action_units(tmp_path)
    assert found.names == ["a", "b"] and found.values.tolist() == [[0.5], [1]]


def test_openface_3_is_a_list_of_eight_units_without_names(table):
    found = table(OPENFACE_3)
    assert (found.source, found.names) == ("OpenFace 3", ["faces/7.jpg"])
    assert found.units == found.presence == ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26")
    np.testing.assert_allclose(found.values, [[0, 0.1, 0.2, 0.3, 8.9405e-05, 0.5, 0.85469, 1]])


def test_openface_3_without_a_face_or_with_another_number_of_units_is_null(table):
    lines = ['a.jpg,"[[0, 0, 0, 0, 0, 0, 0]]"', "b.jpg,", 'c.jpg,"[[1, 0, 0, 0, 0, 0, 0, 0]]"', "d.jpg,None"]
    found = table("\n".join(["image_path,action_units", *lines]))
    assert found.problems == {EMPTY: ("a.jpg", "b.jpg", "d.jpg")}
    assert np.isnan(found.values[[0, 1, 3]]).all() and found.values[2].tolist() == [1] + 7 * [0]


def test_libreface_has_intensities_and_presences_side_by_side(table):
    found = table(LIBREFACE)
    assert (found.source, found.names) == ("LibreFace", ["faces/a.png"])
    assert found.units == ("AU01", "AU07", "AU12", "AU14") and found.presence == ("AU07", "AU14")
    np.testing.assert_allclose(found.values, [[0.1, 1, 0.85, 0]])


def test_py_feat_is_from_0_to_1(table):
    found = table(PY_FEAT)
    assert (found.source, found.names) == ("py-feat", ["/data/a.jpg", "/data/b.jpg"])
    assert found.units == found.presence == ("AU01", "AU02", "AU43")
    np.testing.assert_allclose(found.values, [[0.007, 0.9, 0.1], [1, 0, 0.25]])


def test_drawn_faces_are_named_as_their_image_ids(drawn_tree):
    found = read_action_units(drawn_tree / "action_units.csv")
    assert found.source == "drawn faces" and len(found.names) == 40 and found.problems == {}
    assert found.names[0] == "train/0" and "validation/7" in found.names
    assert len(found.units) == 17 and 0.5 < found.values.max() <= 1 and found.presence == ()


def test_a_column_with_the_name_of_the_file_is_preferred_to_the_frame(table):
    assert table("frame, filename, AU12_r\n1, b.jpg, 1\n2, a.jpg, 2\n").names == ["b.jpg", "a.jpg"]


@pytest.mark.parametrize("column", ["frame", " frame_idx", "frame_index"])
def test_frame_numbers_are_no_names_unless_somebody_says_so(table, column):
    text = f"{column}, success, AU12_r\n1, 1, 1\n2, 1, 2\n"
    with pytest.raises(ValueError, match=r"table.csv has frame numbers \(frame\w*\) and no names of pictures. Add a"):
        table(text, frames=False)
    assert table(text).names == ["1", "2"]
    assert table(text.replace("success", "file").replace(", 1, ", ", b.jpg, "), frames=False).names == ["b.jpg"]


# ---- bad rows


def test_a_cell_that_is_no_number_is_null_and_counted(table):
    rows = ["train,1,nan,1", "train,2,,", "train,3,x,2", "train,4,1e-1,.5", "train,5,inf,1", "train,6, 2 ,3."]
    found = table(of_drawn_faces(rows))
    assert found.problems == {EMPTY: ("train/2",), PARTLY: ("train/1", "train/3", "train/5")}
    np.testing.assert_allclose(
        found.values, [[np.nan, 0.2], [np.nan] * 2, [np.nan, 0.4], [0.02, 0.1], [np.nan, 0.2], [0.4, 0.6]]
    )
    assert found.reasons() == {"train/2": EMPTY}, "a row of which something is known is not refused"


def test_a_row_of_which_the_tool_says_that_it_failed_is_null(table):
    found = table("frame, success, AU12_r\n1, 1, 2\n2, 0, 0\n3, 0, nan\n")
    assert found.problems == {FAILED: ("2", "3")} and found.reasons() == {"2": FAILED, "3": FAILED}
    np.testing.assert_allclose(found.values, [[0.4], [np.nan], [np.nan]])


def test_a_row_outside_the_scale_is_null_and_the_others_are_kept(table):
    rows = [f"train,{stem},1,5" for stem in range(30)] + ["train,30,-0.01,1", "train,31,1,5.01"]
    found = table(of_drawn_faces(rows))
    assert found.problems == {OUTSIDE: ("train/30", "train/31")}
    assert np.isnan(found.values).all(axis=1).tolist() == [False] * 30 + [True] * 2


def test_rows_of_one_image_that_differ_are_null_and_those_that_agree_are_one(table):
    rows = ["1,1,1", "2,0,0", "1,2,1", "3,4,nan", "2,0,0", "3,4,nan", "4,1,1"]
    found = table(of_drawn_faces([f"train,{row}" for row in rows]))
    assert found.names == ["train/1", "train/2", "train/3", "train/4"]
    assert found.problems == {PARTLY: ("train/3",), AMBIGUOUS: ("train/1",), REPEATED: ("train/2", "train/3")}
    np.testing.assert_allclose(found.values, [[np.nan] * 2, [0, 0], [0.8, np.nan], [0.2, 0.2]])


def test_two_faces_of_one_image_are_ambiguous(table):
    found = table(PY_FEAT.replace("b.jpg", "a.jpg"))
    assert found.reasons() == {"/data/a.jpg": AMBIGUOUS}


def test_a_table_of_no_rows_is_a_table(table):
    found = table("split,stem,AU01_r\n")
    assert found.names == [] and found.values.shape == (0, 1) and found.problems == {}


# ---- wrong tables


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,anger,happy\na,0,1\n", r"has the columns image, anger, happy; none .* OpenFace 2 \(AU01_r"),
        (",".join(f"x_{i}" for i in range(100)) + "\n", "x_11 and 88 more; none of them are action units"),
        ("", "none of them are action units"),
        ("input,AU01,AU01\na,0,1\n", "several columns of the name AU01"),
        ("split,stem,AU01_r\ntrain,1\n", "is not csv .*Expected 3 columns, got 2"),
        ("input,AU01\na,0\n,1\n,1\n", "input is empty in 2 rows, the first is row 2"),
    ],
)
def test_what_is_no_table_of_action_units_is_refused(table, text, words):
    with pytest.raises(ValueError, match=f"table.csv.*{words}"):
        table(text)


def test_a_folder_without_tables_or_with_those_of_two_tools_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no .csv"):
        read_action_units(tmp_path)
    (tmp_path / "a.csv").write_text(OPENFACE_2)
    (tmp_path / "b.csv").write_text(PY_FEAT)
    with pytest.raises(ValueError, match="b.csv has py-feat's 3 action units, the file before it OpenFace 2's 3"):
        read_action_units(tmp_path, frames=True)
    with pytest.raises(FileNotFoundError):
        read_action_units(tmp_path / "nothing.csv")


def in_scale(largest: float, rows: int = 50) -> list[str]:
    values = largest * np.random.default_rng(0).random((rows, 4)).round(3)
    return [f"train,{stem}," + ",".join(f"{value:g}" for value in row) for stem, row in enumerate(values)]


def test_0_to_1_where_0_to_5_is_expected_is_refused_unless_the_caller_says_so(table):
    text = of_drawn_faces(in_scale(1), "split,stem,AU01_r,AU02_r,AU04_r,AU12_r")
    with pytest.raises(ValueError, match="expected from 0 to 5, and in 50 rows none is above 0.99.*Say with scale=1"):
        table(text)
    taken = table(text, scale=1).values
    assert 0.9 < taken.max() <= 1
    np.testing.assert_allclose(table(text, scale=5).values, taken / 5)


def test_a_few_weak_faces_are_no_reason_to_doubt_the_scale(table):
    text = of_drawn_faces(in_scale(1, rows=19), "split,stem,AU01_r,AU02_r,AU04_r,AU12_r")
    assert table(text).values.max() < 0.2


def test_0_to_5_where_0_to_1_is_expected_is_refused_unless_the_caller_says_so(table):
    text = of_drawn_faces(in_scale(5), "split,stem,AU01,AU02,AU04,AU12")
    with pytest.raises(ValueError, match="of py-feat are expected from 0 to 1, and .* of 50 rows have others"):
        table(text)
    found = table(text, scale=5)
    assert 0.9 < found.values.max() <= 1 and not found.problems


def test_percentages_and_negative_numbers_are_refused(table):
    with pytest.raises(ValueError, match="from 0 to 5, and 50 of 50 rows have others.*scale="):
        table(of_drawn_faces(in_scale(100), "split,stem,AU01_r,AU02_r,AU04_r,AU12_r"))
    with pytest.raises(ValueError, match="from -0.5 to"):
        table(of_drawn_faces([f"train,{stem},-0.5,1" for stem in range(9)]))


def test_a_scale_leaves_presences_as_they_are(table):
    found = table(LIBREFACE.replace("0.5,4.25", "10,85"), scale=100)
    np.testing.assert_allclose(found.values, [[0.1, 1, 0.85, 0]])
    with pytest.raises(ValueError, match="scale is 0"):
        table(LIBREFACE, scale=0)


# ---- matching


def test_images_are_matched_by_their_whole_name_and_the_rest_is_reported():
    found = match_images(["train/1", "train/2", "train/9"], ["train/2", "train/3", "train/1"])
    assert found.rows.tolist() == [1, -1, 0]
    assert (found.missing, found.ambiguous, found.unused) == (("train/3",), (), ("train/9",))


@pytest.mark.parametrize("name", ["/data/train/12.jpg", "train/12.JPEG", "12", "12.png", "C:\\faces\\train\\12.jpg"])
def test_a_name_that_ends_as_the_image_does_is_that_image(name):
    found = match_images(["train/7", name], ["train/12"])
    assert found.rows.tolist() == [1] and found.unused == ("train/7",)


@pytest.mark.parametrize("name", ["train/112", "112", "rain/12", "12/train", "other/12"])
def test_a_name_that_only_looks_alike_is_none(name):
    assert match_images([name], ["train/12"]).missing == ("train/12",)


def test_what_fits_several_images_or_rows_is_given_to_none():
    found = match_images(["12", "3.jpg", "3.png"], ["train/12", "validation/12", "train/3"])
    assert found.rows.tolist() == [-1, -1, -1] and found.missing == ()
    assert found.ambiguous == ("train/12", "validation/12", "train/3") and found.unused == ("12", "3.jpg", "3.png")


def test_the_same_name_goes_before_one_that_ends_alike():
    found = match_images(["12", "train/12"], ["train/12", "validation/12"])
    assert found.rows.tolist() == [1, 0]


def test_nothing_matches_nothing():
    assert match_images([], ["a"]).missing == ("a",) and match_images(["a"], []).unused == ("a",)
    assert match_images([], []).rows.tolist() == []


def test_problems_are_described_with_their_number_and_first_names():
    assert describe_problems({EMPTY: ("a",), AMBIGUOUS: tuple("bcdef")}) == [
        "1 image: no action unit has a number (a)",
        "5 images: several rows with different numbers (b, c, d, ...)",
    ]
