"""What the card says of metrics.json: its tables, the results in the head, and the file for `.eval_results`."""

from dataclasses import dataclass

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml

from .. import words
from ..preparing.columns import markdown_table
from ..words import AFFECT, BY_KEY, CALIBRATION, EMOTION, OVERALL, PART
from .card_data import ModelCardRecord

REPORTED = ("accuracy", "macro_f1", "kl", "js", "ece")  # in the head
PARTS = ("accuracy", "balanced_accuracy", "kl", "ece")
GAPS = ("accuracy", "kl", "ece")
EVAL_RESULTS_FILE = ".eval_results/affectnet-plus.yaml"


@dataclass(frozen=True)
class Results:
    """Paragraphs and Markdown tables; None where there is nothing to say."""

    about: str
    cautions: list[str]
    overall: str
    classes: str
    subsets: str | None
    no_subsets: str
    groups: str | None
    about_groups: str
    gaps: str | None
    calibration: str
    comparison: str | None
    right_alone: list[str]


def results_of(record: ModelCardRecord, metrics: dict) -> Results:
    """All that the card says of a metrics.json."""
    return Results(
        about=markdown_table(("", ""), list(words.about(metrics).items())),
        cautions=_cautions(record, metrics),
        overall=_overall(metrics),
        classes=_classes(metrics),
        subsets=_subsets(metrics["subsets"], metrics["rows"]),
        no_subsets=_no_subsets(metrics["subsets"], metrics["rows"]),
        groups=_groups(metrics["groups"], metrics["rows"]),
        about_groups=" ".join(words.about_groups(metrics)),
        gaps=_gaps(metrics["gaps"]),
        calibration=_calibration(metrics),
        comparison=_comparison(metrics["comparison"]),
        right_alone=words.right_alone(metrics["comparison"]) if metrics["comparison"] else [],
    )


# --- what was measured -----------------------------------------------------------------------------------------------


def _cautions(record: ModelCardRecord, metrics: dict) -> list[str]:
    chosen = "The checkpoint was chosen on this split, which makes figures on it a little too good."
    return words.cautions(metrics) + ([chosen] if record.chosen_on_the_reported_faces else [])


# --- tables ----------------------------------------------------------------------------------------------------------


def _overall(metrics: dict) -> str:
    blind = metrics["baselines"]["mean_soft_label"]
    rows = [
        (
            number.name,
            _with_interval(metrics, number.key, 4),
            words.figure(blind[number.key], 4) if number.key in blind else "",
        )
        for number in OVERALL
        if number.on_card
    ]
    rows += [
        (f"{dimension}: {number.name}", _with_interval(metrics[dimension], number.key, 4), "")
        for dimension in ("valence", "arousal")
        if metrics[dimension]["rows"]
        for number in AFFECT
        if number.on_card
    ]
    return markdown_table(("", "this model", f"mean soft label of the {blind['prior_from']}"), rows)


def _classes(metrics: dict) -> str:
    rows = [
        (name, *(_with_interval(row, number.key) for number in EMOTION), row["support"])
        for name, row in metrics["per_class"].items()
    ]
    return markdown_table(("emotion", *(number.name for number in EMOTION), "faces"), rows)


def _subsets(subsets: dict, all_rows: int) -> str | None:
    """None where one of them is all faces, too: its row would repeat what stands above."""
    if any(cell["rows"] == all_rows for cell in subsets.values()):
        return None
    rows = [(name, *_part(cell)) for name, cell in subsets.items()]
    return markdown_table(("subset", "faces", *map(PART.get, PARTS)), rows) if rows else None


_SUBSETS = {  # by the rank of the label in the soft label
    "easy": "which is the faces whose label is the largest part of their soft label",
    "challenging": "which is the faces whose label is the second or third largest part of their soft label",
    "difficult": "which is the faces whose label is no more than the fourth largest part of their soft label",
}


def _no_subsets(subsets: dict, all_rows: int) -> str:
    only = [name for name, cell in subsets.items() if cell["rows"] == all_rows and name != "unknown"]
    if not only:
        return "No face of this split has a difficulty subset."
    return (
        f"Every face of this split is of the subset {only[0]}, {_SUBSETS[only[0]]}, so that the figures above are "
        "those of this subset."
    )


def _groups(groups: dict, all_rows: int) -> str | None:
    """Without an attribute of which nothing is known: its row would repeat what stands above."""
    rows = [
        (attribute, name, *_part(cell))
        for attribute, cells in groups.items()
        for name, cell in cells.items()
        if name != "unknown" or cell["rows"] < all_rows
    ]
    return markdown_table(("attribute", "group", "faces", *map(PART.get, PARTS)), rows) if rows else None


def _part(cell: dict) -> tuple:
    few = cell.get("too_few", False)
    return cell["rows"], *("too few" if few else _with_interval(cell, key) for key in PARTS)


def _gaps(gaps: dict) -> str | None:
    rows = []
    for attribute, found in gaps.items():
        if worst := words.worst_recall(found):
            emotion, gap = worst
            rows.append((attribute, f"recall of {emotion}, the largest gap of an emotion", gap))
        by_key = {key: found[f"{key}_gap"] for key in GAPS}
        rows += [(attribute, PART[key], gap) for key, gap in by_key.items() if gap is not None]
    cells = [
        (attribute, name, words.figure(gap["gap"], 3), words.by_chance(gap), gap["highest"], gap["lowest"])
        for attribute, name, gap in rows
    ]
    return markdown_table(("attribute", "measure", "gap", "to expect", "highest", "lowest"), cells) if cells else None


def _calibration(metrics: dict) -> str:
    rows = [(number.name, _with_interval(metrics, number.key, 4)) for number in CALIBRATION if number.on_card]
    return markdown_table((f"{len(metrics['reliability']['rows'])} bins of equal width", ""), rows)


def _comparison(comparison: dict | None) -> str | None:
    if comparison is None:
        return None
    found = comparison["differences"]
    rows = [
        (PART[key], words.figure(found[key]["difference"], 4) + _interval(found[key]["interval"], 4))
        for key in (*REPORTED, "valence_ccc", "arousal_ccc")
    ]
    return markdown_table((words.compared(comparison), ""), rows)


def _with_interval(cell: dict, key: str, digits: int = 3) -> str:
    return "-" if cell[key] is None else words.figure(cell[key], digits) + _interval(cell["intervals"][key], digits)


def _interval(interval: list[float] | None, digits: int = 3) -> str:
    return "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


# --- what the Hub reads ----------------------------------------------------------------------------------------------


def eval_results(record: ModelCardRecord, metrics: dict) -> list[EvalResult]:
    """The results for `model-index` in the head, rounded to 4 digits."""
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=record.dataset_id or metrics["data"]["name"],
            dataset_name=metrics["data"]["name"],
            dataset_split=metrics["split"],
            dataset_config=metrics["view"],
            metric_type=key,
            metric_name=BY_KEY[key].name,
            metric_value=round(metrics[key], 4),
        )
        for key in REPORTED
        if metrics[key] is not None
    ]


def eval_results_file(metrics: dict, dataset_id: str) -> str:
    """The YAML that belongs at `EVAL_RESULTS_FILE` of a model whose evaluated data is on the Hub as `dataset_id`.

    One entry for each of `REPORTED`, whose name is the task. The Hub shows them where eval.yaml of the data set
    declares tasks of these names; without a data set on the Hub the format has no place for a result.
    """
    notes = f"{metrics['split']} split, {metrics['view']} view, {metrics['rows']} faces; {metrics['command']}"
    entries = [
        EvalResultEntry(dataset_id=dataset_id, task_id=key, value=round(metrics[key], 4), notes=notes)
        for key in REPORTED
        if metrics[key] is not None
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, width=119)
