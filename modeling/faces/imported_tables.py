"""Age, gender and race from a table that DeepFace or FairFace wrote. This project predicts none of them.

What comes out is `meta-data` as AffectNet+ has it: `age` in years, `gender` {female, male} and `race` {asian, indian,
black, white, middle eastern, latino hispanic} as probabilities. All of it is machine-made, and serves audits only.

**DeepFace.** Json: an object of image name -> what `DeepFace.analyze` returned (one face, or a list of them). Csv: a
column `image` beside those that `pandas.json_normalize` makes of a face: `age`, `gender.Woman`, `gender.Man`,
`race.asian` and so on. DeepFace says percent; here they are divided by 100.

**FairFace.** The csv of its `predict.py`: `face_name_align`, `race_scores_fair` (White, Black, Latino_Hispanic, East
Asian, Southeast Asian, Indian, Middle Eastern) and `gender_scores_fair` (Male, Female). East and Southeast Asian add
up to asian. Its ages are bands such as 20-29; the layout has years, and a year would be invented: `age` is null.

Both look for faces themselves. An image in which they saw several, or which is there with none, has a reason in place
of an entry; which of the faces is meant, nothing says.
"""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

from affectnet_plus import GENDERS, RACES

NO_FACE = "the table has no face of it"
SEVERAL_FACES = "the table has several faces of it"
_DEEPFACE_GENDERS = {"female": "Woman", "male": "Man"}
_FAIRFACE_RACES = ("white", "black", "latino hispanic", "asian", "asian", "indian", "middle eastern")
_SUM_TOLERANCE = 0.01


def read_deepface(path) -> tuple[dict[str, dict], dict[str, str]]:
    """What DeepFace says of each image, and why an image has none.

    Returns:
        (name -> {"age", "gender", "race"}, name -> reason), names as in the table. What DeepFace was not asked for is
        None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither such a json nor such a csv, a name stands twice, or a number is out of its range.
    """
    path = Path(path)
    faces = _deepface_json(path) if path.suffix == ".json" else _deepface_csv(path)
    reasons = {name: SEVERAL_FACES if found else NO_FACE for name, found in faces.items() if len(found) != 1}
    rows = {name: _deepface_face(f"{path}: {name}", found[0]) for name, found in faces.items() if name not in reasons}
    return rows, reasons


def read_fairface(path) -> tuple[dict[str, dict], dict[str, str]]:
    """The same for FairFace; names are those of the images without folder and suffix, since it keeps no more.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, a name is not one of FairFace's, or scores are not probabilities.
    """
    columns = ("face_name_align", "race_scores_fair", "gender_scores_fair")
    rows: dict[str, dict] = {}
    several = set()
    for line, cells in _read_csv(Path(path), columns):
        place = f"{path}: line {line}"
        match = re.fullmatch(r"(.*)_face[0-9]+", Path(cells["face_name_align"].replace("\\", "/")).stem)
        if match is None:
            raise ValueError(f"{place} has face_name_align {cells['face_name_align']!r}, expected NAME_face0.jpg")
        if match[1] in rows:
            several.add(match[1])
        races = dict.fromkeys(RACES, 0.0)
        for race, score in zip(_FAIRFACE_RACES, _scores(place, cells, "race_scores_fair", 7), strict=True):
            races[race] += score
        male, female = _scores(place, cells, "gender_scores_fair", 2)
        genders = {"female": female, "male": male}
        rows[match[1]] = {
            "age": None,
            "gender": _distribution(f"{place}: gender", genders, GENDERS, 1),
            "race": _distribution(f"{place}: race", races, RACES, 1),
        }
    return {name: row for name, row in rows.items() if name not in several}, dict.fromkeys(several, SEVERAL_FACES)


def _deepface_json(path: Path) -> dict[str, list[dict]]:
    try:
        table = json.loads(path.read_bytes(), object_pairs_hook=lambda pairs: _once(path, pairs))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not json: {error}") from error
    expected = "expected an object of image name -> what DeepFace.analyze returned"
    if not isinstance(table, dict):
        raise ValueError(f"{path} holds a {type(table).__name__}, {expected}")
    faces = {name: found if isinstance(found, list) else [found] for name, found in table.items()}
    for name, found in faces.items():
        if not all(isinstance(face, dict) for face in found):
            raise ValueError(f"{path}: {name} is {str(found)[:60]}, {expected}")
    return faces


def _once(path: Path, pairs: list) -> dict:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise ValueError(f"{path} names {', '.join(twice[:3])} twice; expected each once")
    return dict(pairs)


def _deepface_csv(path: Path) -> dict[str, list[dict]]:
    faces: dict[str, list[dict]] = {}
    for line, cells in _read_csv(path, ("image",)):
        place = f"{path}: line {line}"
        face: dict = {}
        if cells.get("age"):
            face["age"] = _number(f"{place}: age", cells["age"])
        for group in ("gender", "race"):
            named = {column[len(group) + 1 :]: column for column in cells if column.startswith(f"{group}.")}
            if named:
                face[group] = {name: _number(f"{place}: {column}", cells[column]) for name, column in named.items()}
        faces.setdefault(cells["image"], []).append(face)
    return faces


def _deepface_face(place: str, face: Mapping) -> dict:
    if not {"age", "gender", "race"} & set(face):
        raise ValueError(f"{place} has only {sorted(face)[:6]}, expected age, gender or race")
    age, gender, race = face.get("age"), face.get("gender"), face.get("race")
    if age is not None and (isinstance(age, bool) or not isinstance(age, (int, float)) or not 0 <= age <= 150):
        raise ValueError(f"{place}: age is {age!r}, expected years from 0 to 150")
    if isinstance(gender, Mapping):
        gender = {name: gender.get(theirs) for name, theirs in _DEEPFACE_GENDERS.items()}
    return {
        "age": None if age is None else float(age),
        "gender": None if gender is None else _distribution(f"{place}: gender", gender, GENDERS, 100),
        "race": None if race is None else _distribution(f"{place}: race", race, RACES, 100),
    }


def _distribution(place: str, values, names: tuple[str, ...], whole: float) -> dict[str, float]:
    """Shares of `whole` as probabilities; what rounding left of the sum is not touched."""
    expected = f"expected {', '.join(names)}, from 0 to {whole:g} and {whole:g} together"
    if not isinstance(values, Mapping) or not all(isinstance(values.get(name), (int, float)) for name in names):
        raise ValueError(f"{place} is {str(values)[:80]}, {expected}")
    shares = {name: values[name] / whole for name in names}
    if not all(0 <= share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"{place} is {str(dict(values))[:160]}, {expected}")
    return shares


def _scores(place: str, cells: Mapping[str, str], column: str, count: int) -> list[float]:
    """Numbers as NumPy prints them: "[0.1 0.9]"."""
    words = cells[column].strip(" []\n").split()
    if len(words) != count:
        raise ValueError(f"{place}: {column} has {len(words)} numbers, expected {count}")
    return [_number(f"{place}: {column}", word) for word in words]


def _number(place: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{place} is {text!r}, expected a number") from None


def _read_csv(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """(line where the row ends, cells) of every row."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
            raise ValueError(f"{path} has no column {', '.join(missing)}, only {', '.join(reader.fieldnames or ())}")
        rows = [(reader.line_num, row) for row in reader]
    for line, row in rows:
        if None in row or None in row.values():
            raise ValueError(f"{path}: line {line} has another number of cells than the header")
    return rows
