"""Results of DeepFace and FairFace as metadata: worked values, and every bad table by its message."""

import json

import pytest

from affectnet_plus import GENDERS, RACES, read_annotation
from affectnet_plus_modeling.faces.imported_tables import NO_FACE, SEVERAL_FACES, read_deepface, read_fairface
from affectnet_plus_modeling.sources.tree import annotation

PERCENT = {"asian": 5.0, "indian": 10.0, "black": 15.0, "white": 20.0, "middle eastern": 20.0, "latino hispanic": 30.0}
FACE = {
    "age": 31,
    "region": {"x": 0, "y": 0, "w": 224, "h": 224},
    "gender": {"Woman": 75.0, "Man": 25.0},
    "dominant_gender": "Woman",
    "race": PERCENT,
    "dominant_race": "latino hispanic",
}
EXPECTED = {
    "age": 31.0,
    "gender": {"female": 0.75, "male": 0.25},
    "race": {"asian": 0.05, "indian": 0.1, "black": 0.15, "white": 0.2, "middle eastern": 0.2, "latino hispanic": 0.3},
}
FAIRFACE = (
    "face_name_align,race,race4,gender,age,race_scores_fair,race_scores_fair_4,gender_scores_fair,age_scores_fair\n"
)


def deepface(path, content):
    file = path / "faces.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_deepface(file)


def deepface_csv(path, text):
    (path / "faces.csv").write_text(text)
    return read_deepface(path / "faces.csv")


def fairface(path, *rows):
    (path / "faces.csv").write_text(FAIRFACE + "".join(rows))
    return read_fairface(path / "faces.csv")


def line(name="detected_faces/12_face0.jpg", race="[0.1 0.2 0.05 0.3 0.15 0.1 0.1]", gender="[0.9 0.1]"):
    return f'{name},East Asian,Asian,Male,20-29,"{race}",[1 0 0 0],"{gender}",[0 0 0 1 0 0 0 0 0]\n'


# ---- DeepFace


def test_deepfaces_percent_are_probabilities_in_the_names_of_the_layout(tmp_path):
    rows, reasons = deepface(tmp_path, {"train/12.jpg": [FACE], "train/13.jpg": FACE})
    assert rows == {"train/12.jpg": EXPECTED, "train/13.jpg": EXPECTED} and not reasons
    assert tuple(rows["train/12.jpg"]["gender"]) == GENDERS and tuple(rows["train/12.jpg"]["race"]) == RACES


def test_what_is_imported_is_an_annotation_as_it_stands(tmp_path):
    rows, _ = deepface(tmp_path, {"12": FACE})
    row = read_annotation(json.dumps(annotation(label=0, **rows["12"])).encode())
    assert row["age"] == 31 and row["gender"]["female"] == 0.75 and row["race"]["latino_hispanic"] == 0.3
    rows, _ = fairface(tmp_path, line())
    row = read_annotation(json.dumps(annotation(label=0, **rows["12"])).encode())
    assert row["age"] is None and row["gender"]["male"] == 0.9


def test_what_deepface_was_not_asked_for_is_null(tmp_path):
    rows, _ = deepface(tmp_path, {"12": {"age": 40.5}})
    assert rows == {"12": {"age": 40.5, "gender": None, "race": None}}


def test_no_face_or_several_are_a_reason_and_no_guess(tmp_path):
    rows, reasons = deepface(tmp_path, {"1": [], "2": [FACE, FACE], "3": [FACE]})
    assert list(rows) == ["3"] and reasons == {"1": NO_FACE, "2": SEVERAL_FACES}


def test_the_csv_says_the_same_as_the_json(tmp_path):
    header = ["image", "age", "dominant_race", *(f"gender.{name}" for name in FACE["gender"])]
    header += [f"race.{name}" for name in PERCENT]
    cells = ["12.jpg", 31, "latino hispanic", *FACE["gender"].values(), *PERCENT.values()]
    text = f"{','.join(header)}\n{','.join(map(str, cells))}\n"
    rows, reasons = deepface_csv(tmp_path, text)
    assert rows == {"12.jpg": EXPECTED} and not reasons
    twice, reasons = deepface_csv(tmp_path, text + text.splitlines()[1] + "\n")
    assert not twice and reasons == {"12.jpg": SEVERAL_FACES}


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "is not json"),
        ("[1]", "holds a list, expected an object of image name"),
        ('{"a": {"age": 3}, "a": {"age": 4}}', "names a twice"),
        ({"a": 3}, r"a is \[3\], expected an object"),
        ({"a": {"emotion": {}}}, r"a has only \['emotion'\], expected age, gender or race"),
        ({"a": {"age": -1}}, "a: age is -1, expected years from 0 to 150"),
        ({"a": {"age": "31"}}, "a: age is '31'"),
        ({"a": {"gender": "Woman"}}, "a: gender is Woman, expected female, male, from 0 to 100"),
        ({"a": {"gender": {"Woman": 1.0, "Man": 0.0}}}, "a: gender is .*100 together"),
        ({"a": {"gender": {"Woman": 100.0}}}, "a: gender is .*'male': None"),
        ({"a": {"gender": {"Woman": 120.0, "Man": -20.0}}}, "a: gender is .*from 0 to 100"),
        ('{"a": {"gender": {"Woman": NaN, "Man": 50}}}', "a: gender is .*nan"),
        ({"a": {"race": {"asian": 100.0}}}, "a: race is .*expected asian, indian, black"),
    ],
)
def test_a_bad_json_is_refused_with_the_image_and_what_was_expected(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"faces.json.*{message}"):
        deepface(tmp_path, content)


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,age\na,3\n", "has no column image, only name, age"),
        ("image,age\na,old\n", "line 2: age is 'old', expected a number"),
        ("image,age\na\n", "line 2 has another number of cells"),
        ("", "has no column image"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"faces.csv.*{message}"):
        deepface_csv(tmp_path, text)


# ---- FairFace


def test_fairfaces_two_asians_add_up_and_its_band_of_age_is_no_age(tmp_path):
    rows, reasons = fairface(tmp_path, line(), line("13_face0.jpg", race="[1.0 0. 0.\n 0. 0. 0. 0.]"))
    race = {"asian": 0.45, "indian": 0.1, "black": 0.2, "white": 0.1, "middle eastern": 0.1, "latino hispanic": 0.05}
    assert rows["12"] == {
        "age": None,
        "gender": pytest.approx({"female": 0.1, "male": 0.9}),
        "race": pytest.approx(race),
    }
    assert rows["13"]["race"]["white"] == 1 and tuple(rows["13"]["race"]) == RACES and not reasons


def test_an_image_with_several_faces_is_a_reason(tmp_path):
    rows, reasons = fairface(tmp_path, line(), line("12_face1.jpg"), line("a_face0_face0.jpg"))
    assert list(rows) == ["a_face0"] and reasons == {"12": SEVERAL_FACES}


@pytest.mark.parametrize(
    "row, message",
    [
        (line(name="12.jpg"), "line 2 has face_name_align '12.jpg', expected NAME_face0.jpg"),
        (line(race="[0.5 0.5]"), "line 2: race_scores_fair has 2 numbers, expected 7"),
        (line(gender="[0.5 x]"), "line 2: gender_scores_fair is 'x', expected a number"),
        (line(gender="[0.5 0.9]"), "line 2: gender is .*from 0 to 1 and 1 together"),
        ("1_face0.jpg,White\n", "line 2 has another number of cells"),
    ],
)
def test_a_bad_row_of_fairface_is_refused_with_its_line(tmp_path, row, message):
    with pytest.raises(ValueError, match=f"faces.csv.*{message}"):
        fairface(tmp_path, row)


def test_a_table_that_is_not_there_is_an_error(tmp_path):
    for read in (read_deepface, read_fairface):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none.csv")
