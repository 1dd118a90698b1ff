"""metrics.json as a table for a terminal."""

import textwrap
from collections.abc import Mapping
from typing import Any

from .. import words
from ..words import AFFECT, CALIBRATION, EMOTION, OVERALL, PART

WIDTH = 79


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """What `evaluate_predictions` or `evaluate` gives, as a table of at most 79 columns; "-" where there is None."""
    of_evaluate = "crop" in metrics
    lines = _about(metrics) if of_evaluate else [f"Faces: {words.faces(metrics)}"]
    lines += ["", *_overall(metrics), "", *_emotions(metrics), "", *_affect(metrics)]
    if of_evaluate:
        lines += _parts(metrics)
        lines += _comparison(metrics["comparison"]) if metrics["comparison"] else []
    return "\n".join(lines)


def _about(metrics: Mapping[str, Any]) -> list[str]:
    about = words.about(metrics)
    lines = _wrapped(*(f"{name}: {about[name]}" for name in ("Data", "Faces", "Pictures")))
    if source := metrics["predictions"]:
        lines += _wrapped(f"Predictions: {source['file']}")
    return lines + _wrapped(*words.cautions(metrics))


def _overall(metrics: Mapping[str, Any]) -> list[str]:
    constant, uniform = metrics["baselines"]["mean_soft_label"], metrics["baselines"]["uniform"]
    level = f"{100 * metrics['level']:g} %" if "level" in metrics else ""
    lines = [_line("", "model", level, "constant", "uniform")]
    for number in (*OVERALL, *CALIBRATION):
        key = number.key
        others = (constant[key], uniform[key]) if key in constant else ()
        lines.append(_line(number.short, metrics[key], _interval(metrics, key), *others))
    return [*lines, f"constant: the mean soft label of the {constant['prior_from']}"]


def _emotions(metrics: Mapping[str, Any]) -> list[str]:
    recall, precision, f1 = EMOTION
    lines = [_line("", recall.short, "", precision.short, f1.short, "faces")]
    for name, row in metrics["per_class"].items():
        figures = (row["recall"], _interval(row, "recall"), row["precision"], row["f1"])
        lines.append(_line(name, *figures, str(row["support"])))
    return lines


def _affect(metrics: Mapping[str, Any]) -> list[str]:
    ccc, *others = AFFECT
    lines = [_line("", ccc.short, "", *(number.short for number in others))]
    for name in ("valence", "arousal"):
        row = metrics[name]
        lines.append(_line(name, row["ccc"], _interval(row, "ccc"), *(row[number.key] for number in others)))
    return lines


def _parts(metrics: Mapping[str, Any]) -> list[str]:
    lines = ["", *_cells("", metrics["subsets"])]
    for attribute, cells in metrics["groups"].items():
        if list(cells) == ["unknown"]:
            lines += ["", f"{attribute}: not known of any face"]
            continue
        lines += ["", *_cells(attribute, cells), *_gaps(metrics["gaps"][attribute])]
    return [*lines, "", *_wrapped(*words.about_groups(metrics))]


def _cells(first: str, cells: dict) -> list[str]:
    lines = [_line(first, PART["kl"], "", PART["accuracy"], "", "faces")]
    for name, cell in cells.items():
        if "too_few" in cell:
            lines.append(_line(name, "too few", "", "", "", str(cell["rows"])))
        else:
            kl, accuracy = ((cell[key], _interval(cell, key)) for key in ("kl", "accuracy"))
            lines.append(_line(name, *kl, *accuracy, str(cell["rows"])))
    return lines


def _gaps(gaps: dict) -> list[str]:
    named = {f"gap, {PART[key]}": gaps[f"{key}_gap"] for key in ("accuracy", "kl")}
    if worst := words.worst_recall(gaps):
        emotion, gap = worst
        named[f"TPR gap, {emotion}"] = gap
    return [
        f"{_line(name, gap['gap'])}  {gap['highest']} over {gap['lowest']} ({words.by_chance(gap)})"
        for name, gap in named.items()
        if gap is not None
    ]


def _comparison(comparison: dict) -> list[str]:
    rows = comparison["differences"].items()
    lines = [_line(PART[key], row["difference"], _ends(row["interval"])) for key, row in rows]
    return ["", *_wrapped(words.compared(comparison)), *lines, *_wrapped(*words.right_alone(comparison))]


def _wrapped(*sentences: str) -> list[str]:
    return [line for sentence in sentences for line in textwrap.wrap(sentence, WIDTH)]


def _interval(cell: Mapping[str, Any], key: str) -> str:
    return _ends(cell["intervals"][key]) if "intervals" in cell else ""


def _ends(ends: list[float] | None) -> str:
    return "" if ends is None else f"{words.figure(ends[0], 3)}..{words.figure(ends[1], 3)}"


def _line(name: str, *cells) -> str:
    written = (cell if isinstance(cell, str) else words.figure(cell, 4) for cell in cells)
    widths = (8, 15, 10, 14, 8)
    return f"{name:<17}" + "".join(f"{cell:>{width}}" for cell, width in zip(written, widths, strict=False))
