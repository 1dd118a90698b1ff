"""What the card says of metrics.json: its tables, the results in the head, and the file for `.eval_results`."""

from dataclasses import dataclass

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml

from ..preparing.columns import markdown_table
from .card_data import ModelCardRecord

KL, JS = "KL(soft label || predicted), nats", "Jensen-Shannon, nats"
REPORTED = {"accuracy": "accuracy", "macro_f1": "macro F1", "kl": KL, "js": JS, "ece": "ECE"}  # in the head
OVERALL = {
    "kl": KL,
    "js": JS,
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "top_label_agreement": "predicted label is the soft label's largest",
}
CALIBRATION = {
    "ece": "ECE of the top class against the label",
    "ece_soft": "ECE of the top class against the mass of the soft label on it",
    "classwise_ece": "ECE, mean over classes, against the label",
    "classwise_ece_soft": "ECE, mean over classes, against the soft label",
}
PARTS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "kl": "KL, nats", "ece": "ECE"}
GAPS = {"accuracy_gap": "accuracy", "kl_gap": "KL, nats", "ece_gap": "ECE"}
EVAL_RESULTS_FILE = ".eval_results/affectnet-plus.yaml"


@dataclass(frozen=True)
class Results:
    """Paragraphs and Markdown tables; None where there is nothing to say."""

    about: str
    cautions: list[str]
    overall: str
    classes: str
    subsets: str | None
    groups: str | None
    about_groups: str
    gaps: str | None
    calibration: str
    comparison: str | None


def results_of(record: ModelCardRecord, metrics: dict) -> Results:
    """All that the card says of a metrics.json."""
    return Results(
        about=_about(metrics),
        cautions=_cautions(record, metrics),
        overall=_overall(metrics),
        classes=_classes(metrics),
        subsets=_subsets(metrics["subsets"]),
        groups=_groups(metrics["groups"]),
        about_groups=_about_groups(metrics),
        gaps=_gaps(metrics["gaps"]),
        calibration=_calibration(metrics),
        comparison=_comparison(metrics["comparison"]),
    )


# --- what was measured -----------------------------------------------------------------------------------------------


def _about(metrics: dict) -> str:
    data = metrics["data"]
    return (
        f"Measured on {metrics['rows']:,} faces, the {metrics['split']} split of `{data['name']}` (origin: "
        f"{data['origin'] or 'not known'}), view {metrics['view']}; {metrics['rows_with_label']:,} have a label, "
        f"{metrics['rows_with_soft_label']:,} a soft label. Pictures: {metrics['crop']}. By `{metrics['command']}`, "
        f"affectnet-plus {metrics['version']}. In brackets: {metrics['level']:.0%} intervals by bootstrap over the "
        f"faces, {metrics['resamples']:,} resamples, seed {metrics['seed']}."
    )


def _cautions(record: ModelCardRecord, metrics: dict) -> list[str]:
    cautions = []
    if metrics["data"]["origin"] == "drawn":
        cautions.append("The faces were drawn by a program: these figures say nothing about photographs.")
    if record.chosen_on_the_reported_faces:
        cautions.append("The checkpoint was chosen on this split, which makes figures on it a little too good.")
    if metrics["calibrated_on_this_split"]:
        cautions.append(
            f"The temperature was fitted on {metrics['calibrated_rows']:,} of these faces, which makes the figures a "
            "little too good, those of the calibration above all."
        )
    return cautions


# --- tables ----------------------------------------------------------------------------------------------------------


def _overall(metrics: dict) -> str:
    blind = metrics["baselines"]["mean_soft_label"]
    rows = [
        (name, _with_interval(metrics, key, 4), _number(blind[key], 4) if key in blind else "")
        for key, name in OVERALL.items()
    ]
    rows += [
        (f"{name}: {key.upper()}", _with_interval(metrics[name], key, 4), "")
        for name in ("valence", "arousal")
        if metrics[name]["rows"]
        for key in ("ccc", "rmse")
    ]
    return markdown_table(("", "this model", f"mean soft label of the {blind['prior_from']}"), rows)


def _classes(metrics: dict) -> str:
    keys = ("recall", "precision", "f1")
    rows = [
        (name, *(_with_interval(row, key) for key in keys), row["support"])
        for name, row in metrics["per_class"].items()
    ]
    return markdown_table(("emotion", "recall", "precision", "F1", "faces"), rows)


def _subsets(subsets: dict) -> str | None:
    rows = [(name, *_part(cell)) for name, cell in subsets.items()]
    return markdown_table(("subset", "faces", *PARTS.values()), rows) if rows else None


def _groups(groups: dict) -> str | None:
    rows = [(attribute, name, *_part(cell)) for attribute, cells in groups.items() for name, cell in cells.items()]
    return markdown_table(("attribute", "group", "faces", *PARTS.values()), rows) if rows else None


def _part(cell: dict) -> tuple:
    few = cell.get("too_few", False)
    return cell["rows"], *("too few" if few else _with_interval(cell, key) for key in PARTS)


def _about_groups(metrics: dict) -> str:
    text = f"{metrics['groups_are']} Of fewer than {metrics['min_cell']} faces no figure is given."
    if metrics["yaw_edges"] is not None:
        low, high = metrics["yaw_edges"]
        text += f" The bands of |yaw| meet at {low:.3f} and {high:.3f}, in the unit of the data."
    return text


def _gaps(gaps: dict) -> str | None:
    rows = []
    for attribute, found in gaps.items():
        by_emotion = {name: gap for name, gap in found["tpr_gap"].items() if isinstance(gap, dict)}
        if by_emotion:
            worst = max(by_emotion, key=lambda name: by_emotion[name]["gap"])
            rows.append((attribute, f"recall of {worst}, the largest gap of an emotion", by_emotion[worst]))
        rows += [(attribute, name, found[key]) for key, name in GAPS.items() if found[key] is not None]
    cells = [
        (attribute, name, f"{_number(gap['gap'])}{_interval(gap['interval'])}", gap["highest"], gap["lowest"])
        for attribute, name, gap in rows
    ]
    return markdown_table(("attribute", "measure", "gap", "highest", "lowest"), cells) if cells else None


def _calibration(metrics: dict) -> str:
    rows = [(name, _with_interval(metrics, key, 4)) for key, name in CALIBRATION.items()]
    return markdown_table((f"{len(metrics['reliability']['rows'])} bins of equal width", ""), rows)


def _comparison(comparison: dict | None) -> str | None:
    if comparison is None:
        return None
    names = REPORTED | {"valence_ccc": "valence: CCC", "arousal_ccc": "arousal: CCC"}
    found, test = comparison["differences"], comparison["mcnemar"]
    rows = [
        (name, _number(found[key]["difference"], 4) + _interval(found[key]["interval"], 4))
        for key, name in names.items()
    ]
    return (
        markdown_table((f"this model minus {comparison['model']}, {comparison['rows']:,} faces", ""), rows)
        + f"\n\nMcNemar's test: this model alone is right about {test['only_this']:,} faces, the other alone about "
        f"{test['only_other']:,}; exact p = {test['p_exact']:.3g}."
    )


def _with_interval(cell: dict, key: str, digits: int = 3) -> str:
    return "-" if cell[key] is None else _number(cell[key], digits) + _interval(cell["intervals"][key], digits)


def _interval(interval: list[float] | None, digits: int = 3) -> str:
    return "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


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
            metric_name=name,
            metric_value=round(metrics[key], 4),
        )
        for key, name in REPORTED.items()
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
