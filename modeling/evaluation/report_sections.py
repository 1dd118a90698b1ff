"""What the report says, as headings, paragraphs and tables of words; no HTML in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import words
from ..words import AFFECT, CALIBRATION, EMOTION, FAIRNESS_OF_DATA, OVERALL, PART
from .pictures.parts import known_groups


@dataclass(frozen=True)
class Table:
    """A table: what it is of, the names of its columns, and rows of cells, each (words, small words below)."""

    caption: str
    head: tuple[str, ...]
    rows: list[list[tuple[str, str]]]


@dataclass(frozen=True)
class Section:
    """A part of the report; `picture` is a name in `pictures.SHOWN`, or ""."""

    name: str
    title: str
    paragraphs: list[str]
    tables: list[Table]
    picture: str = ""


def limits(metrics: Mapping[str, Any]) -> list[str]:
    """What the numbers do not say."""
    return [
        "A soft label says what is expressed in a picture of a face, as people or machines have judged it. It does "
        "not say what the person feels.",
        f"The numbers are of these {metrics['rows']:,} faces. Other people, cameras and crops give other numbers.",
        "The intervals tell how much the numbers move with the choice of faces. They hold nothing of what another "
        "training run, or other labels, would change.",
        "None of this supports use at the workplace, in education, in hiring, for lie detection or in policing, nor "
        "any decision about a person.",
    ]


def sections(metrics: Mapping[str, Any]) -> list[Section]:
    """The parts of the report, those left out of which nothing is known."""
    found = [_overall(metrics), _emotions(metrics), _calibration(metrics)]
    if metrics["valence"]["rows"] or metrics["arousal"]["rows"]:
        found.append(_affect(metrics))
    if metrics["subsets"].keys() - {"unknown"}:
        found.append(_subsets(metrics))
    if known_groups(metrics):
        found.append(_groups(metrics))
    if metrics["comparison"] is not None:
        found.append(_comparison(metrics))
    return found


def _overall(metrics: Mapping[str, Any]) -> Section:
    constant, uniform = metrics["baselines"]["mean_soft_label"], metrics["baselines"]["uniform"]
    rows = [
        [
            _words(number.name),
            _estimate(metrics, number.key),
            _number(constant.get(number.key)),
            _number(uniform.get(number.key)),
            _words(number.better),
        ]
        for number in OVERALL
    ]
    head = ("measure", "this model", "mean soft label alone", "uniform", "better")
    text = (
        "Each number is over the faces whose truth is known. The mean soft label alone is the best answer of one who "
        f"does not look; it is that of the {constant['prior_from']}."
    )
    return Section("overall", "Overall", [text], [Table("All faces", head, rows)])


def _emotions(metrics: Mapping[str, Any]) -> Section:
    rows = [
        [_words(name), _words(f"{row['support']:,}"), *(_estimate(row, number.key) for number in EMOTION)]
        for name, row in metrics["per_class"].items()
    ]
    head = ("emotion", "faces", *(number.name for number in EMOTION))
    return Section("emotions", "Emotions", [], [Table("Each emotion", head, rows)], "confusion")


def _calibration(metrics: Mapping[str, Any]) -> Section:
    rows = [[_words(number.name), _estimate(metrics, number.key)] for number in CALIBRATION]
    text = (
        "ECE, the expected calibration error: how far the probability of the predicted emotion is from what comes "
        "true: how often it is the label, and how much of the soft label is on it. 0 is best."
    )
    return Section(
        "calibration", "Calibration", [text], [Table("15 bins", ("measure", "this model"), rows)], "reliability"
    )


def _affect(metrics: Mapping[str, Any]) -> Section:
    rows = [
        [_words(name), _words(f"{found['rows']:,}"), *(_estimate(found, number.key) for number in AFFECT)]
        for name, found in ((name, metrics[name]) for name in ("valence", "arousal"))
    ]
    head = ("dimension", "faces", *(number.name for number in AFFECT))
    text = "CCC, Pearson and sign agreement are better when higher, RMSE when lower."
    return Section("affect", "Valence and arousal", [text], [Table("Each dimension", head, rows)], "circumplex")


def _subsets(metrics: Mapping[str, Any]) -> Section:
    text = (
        "Easy: the label is the largest emotion of the soft label. Challenging: the second or third. Difficult: any "
        "further one."
    )
    return Section(
        "subsets", "Difficulty", [text], [_cells("Each subset", "subset", metrics["subsets"], metrics)], "subsets"
    )


def _groups(metrics: Mapping[str, Any]) -> Section:
    groups = known_groups(metrics)
    tables = [_cells(f"By {name}", "group", cells, metrics) for name, cells in groups.items()]
    gaps = _gaps({name: metrics["gaps"][name] for name in groups})
    if gaps.rows:
        tables.append(gaps)
    fairness = {name: found for name, found in metrics["fairness"].items() if found is not None}
    if fairness:
        tables += _fairness(fairness)
    return Section("groups", "Groups", words.about_groups(metrics), tables, "groups")


def _gaps(gaps: dict[str, dict]) -> Table:
    columns = []
    for found in gaps.values():
        recalls = {f"recall of {name}": gap for name, gap in found["tpr_gap"].items() if name not in ("mean", "max")}
        columns.append({name: found.get(f"{key}_gap") for key, name in PART.items()} | recalls)
    rows = [
        [_words(name), *(_gap(column[name]) for column in columns)]
        for name in columns[0]
        if any(column[name] is not None for column in columns)
    ]
    return Table("Largest difference between two groups", ("measure", *gaps), rows)


def _gap(gap: dict | None) -> tuple[str, str]:
    if gap is None:
        return _number(None)
    return _plain(gap["gap"]), f"{words.by_chance(gap)}\n{gap['highest']} over {gap['lowest']}"


def _fairness(fairness: dict[str, dict]) -> list[Table]:
    data = [
        [_words(name), *(_number(found["data"][key]) for found in fairness.values())]
        for key, name in FAIRNESS_OF_DATA.items()
    ]
    measures = list(next(iter(fairness.values()))["model"])
    model = [
        [_words(name.replace("_", " ")), *(_worst(found["model"][name]) for found in fairness.values())]
        for name in measures
    ]
    return [
        Table("Fairness of the data (arXiv:2502.11049)", ("measure", *fairness), data),
        Table("Fairness of the model (arXiv:2502.11049): the worst emotion", ("measure", *fairness), model),
    ]


def _worst(measure: dict) -> tuple[str, str]:
    if measure["max"] is None:
        return _number(None)
    return _plain(measure["max"]), f"{measure['emotion']}\nmean of all {_plain(measure['mean'])}"


def _comparison(metrics: Mapping[str, Any]) -> Section:
    comparison = metrics["comparison"]
    rows = [
        [_words(PART[key]), (_signed(found["difference"]), _interval(found["interval"]))]
        for key, found in comparison["differences"].items()
        if found["difference"] is not None
    ]
    paragraphs = [f"{words.compared(comparison)}.", *words.right_alone(comparison)]
    table = Table("Paired differences", ("measure", "difference"), rows)
    return Section("comparison", f"Beside {comparison['model']}", paragraphs, [table])


def _cells(caption: str, first: str, cells: dict[str, dict], metrics: Mapping[str, Any]) -> Table:
    keys = [key for key in PART if any(cell.get(key) is not None for cell in cells.values())]
    few = f"fewer than {metrics['min_cell']}"
    rows = [
        [_words(name), (f"{cell['rows']:,}", few), *(_number(None) for _ in keys)]
        if "too_few" in cell
        else [_words(name), _words(f"{cell['rows']:,}"), *(_estimate(cell, key) for key in keys)]
        for name, cell in cells.items()
    ]
    return Table(caption, (first, "faces", *(PART[key] for key in keys)), rows)


def _words(text: str) -> tuple[str, str]:
    return text, ""


def _number(value: float | None) -> tuple[str, str]:
    return _plain(value), ""


def _estimate(cell: Mapping[str, Any], key: str) -> tuple[str, str]:
    return _plain(cell[key]), _interval(cell["intervals"][key])


def _interval(ends: list | None) -> str:
    return "" if ends is None else f"{_plain(ends[0])} to {_plain(ends[1])}"


def _plain(value: float | None) -> str:
    return "-" if value is None else words.figure(value, 3).replace("-", "−")


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "") + _plain(value)
