"""What the report says, as headings, paragraphs and tables of words; no HTML in here."""

from dataclasses import dataclass

from .pictures.parts import known_groups

# key in metrics.json, its name, and what is better
_OVERALL = (
    ("accuracy", "accuracy", "higher"),
    ("balanced_accuracy", "balanced accuracy", "higher"),
    ("macro_f1", "macro F1", "higher"),
    ("top_label_agreement", "predicted emotion is the soft label's largest", "higher"),
    ("kl", "KL to the soft label, nats", "lower"),
    ("js", "Jensen-Shannon, nats", "lower"),
    ("cosine", "cosine", "higher"),
    ("intersection", "intersection", "higher"),
    ("chebyshev", "Chebyshev", "lower"),
    ("clark", "Clark", "lower"),
    ("canberra", "Canberra", "lower"),
    ("brier", "Brier, against the soft label", "lower"),
    ("top_2", "two largest emotions the same", "higher"),
    ("spearman", "Spearman of the ranks", "higher"),
)
_CALIBRATION = (
    ("ece", "calibration error, hard labels", "lower"),
    ("ece_soft", "calibration error, soft labels", "lower"),
    ("classwise_ece", "classwise calibration error, hard labels", "lower"),
    ("classwise_ece_soft", "classwise calibration error, soft labels", "lower"),
)
_CELL = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("macro_f1", "macro F1"),
    ("kl", "KL, nats"),
    ("js", "JS, nats"),
    ("ece", "ECE"),
    ("valence_ccc", "valence CCC"),
    ("arousal_ccc", "arousal CCC"),
)
_AFFECT = (("ccc", "CCC"), ("pearson", "Pearson"), ("rmse", "RMSE"), ("sagr", "sign agreement"))
_DATA_MEASURES = (
    ("effective_groups", "effective number of groups"),
    ("evenness", "evenness"),
    ("normalized_deviation", "normalised deviation"),
    ("cramers_v", "Cramér's V with the emotion"),
    ("mutual_information", "mutual information with the emotion"),
)


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


def about(metrics: dict) -> dict[str, str]:
    """What was measured, name by name."""
    data = metrics["data"]
    return {
        "Data": f"{data['name']} ({data['origin']}), {metrics['split']} split, {metrics['view']} view",
        "Faces": f"{metrics['rows']:,}, of which {metrics['rows_with_label']:,} have a label and "
        f"{metrics['rows_with_soft_label']:,} a soft label",
        "Pictures": metrics["crop"],
        "Intervals": f"{100 * metrics['level']:g} % of {metrics['resamples']:,} samples, drawn from these faces with "
        f"replacement, lie within; seed {metrics['seed']}",
        "Made by": f"{metrics['command']} (version {metrics['version']})",
    }


def cautions(metrics: dict) -> list[str]:
    """What makes numbers of this very evaluation look better or worse than they are."""
    found = []
    if metrics["calibrated_rows"]:
        found.append(
            f"The model's temperature was fitted on {metrics['calibrated_rows']:,} of these faces: its calibration "
            "and its KL look better here than on others."
        )
    if metrics["predictions"] and metrics["predictions"]["without"]:
        lacking = ", ".join(metrics["predictions"]["without"])
        found.append(f"The tool that made these predictions does not know {lacking}; its probability was taken as 0.")
    if metrics["baselines"]["mean_soft_label"]["prior_from"] == "evaluated rows":
        found.append(
            "The mean soft label is that of the faces measured here, since that of the training faces is not known: "
            "this flatters the baseline."
        )
    return found


def limits(metrics: dict) -> list[str]:
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


def sections(metrics: dict) -> list[Section]:
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


def _overall(metrics: dict) -> Section:
    constant, uniform = metrics["baselines"]["mean_soft_label"], metrics["baselines"]["uniform"]
    rows = [
        [_words(name), _estimate(metrics, key), _number(constant.get(key)), _number(uniform.get(key)), _words(better)]
        for key, name, better in _OVERALL
    ]
    head = ("measure", "this model", "mean soft label alone", "uniform", "better")
    text = (
        "Each number is over the faces whose truth is known. The mean soft label alone is the best answer of one who "
        f"does not look; it is that of the {constant['prior_from']}."
    )
    return Section("overall", "Overall", [text], [Table("All faces", head, rows)])


def _emotions(metrics: dict) -> Section:
    rows = [
        [_words(name), _words(f"{row['support']:,}"), *(_estimate(row, key) for key in ("recall", "precision", "f1"))]
        for name, row in metrics["per_class"].items()
    ]
    head = ("emotion", "faces", "recall", "precision", "F1")
    return Section("emotions", "Emotions", [], [Table("Each emotion", head, rows)], "confusion")


def _calibration(metrics: dict) -> Section:
    rows = [[_words(name), _estimate(metrics, key)] for key, name, _ in _CALIBRATION]
    text = (
        "How far the probability of the predicted emotion is from what comes true: how often it is the label, and how "
        "much of the soft label is on it. 0 is best."
    )
    return Section(
        "calibration", "Calibration", [text], [Table("15 bins", ("measure", "this model"), rows)], "reliability"
    )


def _affect(metrics: dict) -> Section:
    rows = [
        [_words(name), _words(f"{metrics[name]['rows']:,}"), *(_estimate(metrics[name], key) for key, _ in _AFFECT)]
        for name in ("valence", "arousal")
    ]
    head = ("dimension", "faces", *(name for _, name in _AFFECT))
    text = "CCC, Pearson and sign agreement are better when higher, RMSE when lower."
    return Section("affect", "Valence and arousal", [text], [Table("Each dimension", head, rows)], "circumplex")


def _subsets(metrics: dict) -> Section:
    text = (
        "Easy: the label is the largest emotion of the soft label. Challenging: the second or third. Difficult: any "
        "further one."
    )
    return Section(
        "subsets", "Difficulty", [text], [_cells("Each subset", "subset", metrics["subsets"], metrics)], "subsets"
    )


def _groups(metrics: dict) -> Section:
    groups = known_groups(metrics)
    tables = [_cells(f"By {name}", "group", cells, metrics) for name, cells in groups.items()]
    paragraphs = [metrics["groups_are"]]
    if metrics["yaw_edges"] is not None:
        low, high = metrics["yaw_edges"]
        paragraphs.append(f"The bands of yaw end at |yaw| {low:.3g} and {high:.3g}, in the unit of the data.")
    gaps = _gaps({name: metrics["gaps"][name] for name in groups})
    if gaps.rows:
        tables.append(gaps)
    fairness = {name: found for name, found in metrics["fairness"].items() if found is not None}
    if fairness:
        tables += _fairness(fairness)
    return Section("groups", "Groups", paragraphs, tables, "groups")


def _gaps(gaps: dict[str, dict]) -> Table:
    columns = []
    for found in gaps.values():
        recalls = {f"recall of {name}": gap for name, gap in found["tpr_gap"].items() if name not in ("mean", "max")}
        columns.append({name: found.get(f"{key}_gap") for key, name in _CELL} | recalls)
    rows = [
        [_words(name), *(_gap(column[name]) for column in columns)]
        for name in columns[0]
        if any(column[name] is not None for column in columns)
    ]
    return Table("Largest difference between two groups", ("measure", *gaps), rows)


def _gap(gap: dict | None) -> tuple[str, str]:
    if gap is None:
        return _number(None)
    return _plain(gap["gap"]), f"{_interval(gap['interval'])}\n{gap['highest']} over {gap['lowest']}".strip()


def _fairness(fairness: dict[str, dict]) -> list[Table]:
    data = [
        [_words(name), *(_number(found["data"][key]) for found in fairness.values())] for key, name in _DATA_MEASURES
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


def _comparison(metrics: dict) -> Section:
    other, names = metrics["comparison"], dict(_CELL)
    rows = [
        [_words(names[key]), (_signed(found["difference"]), _interval(found["interval"]))]
        for key, found in other["differences"].items()
        if found["difference"] is not None
    ]
    test = other["mcnemar"]
    paragraphs = [f"This model minus {other['model']}, over the same {other['rows']:,} faces."]
    if test["rows"]:
        paragraphs.append(
            f"Of {test['rows']:,} faces with a label this model alone is right about {test['only_this']:,}, and "
            f"{other['model']} alone about {test['only_other']:,}: McNemar's test p = {test['p_exact']:.3g} (exact), "
            f"{test['p_mid']:.3g} (mid-p)."
        )
    table = Table("Paired differences", ("measure", "difference"), rows)
    return Section("comparison", f"Beside {other['model']}", paragraphs, [table])


def _cells(caption: str, first: str, cells: dict[str, dict], metrics: dict) -> Table:
    keys = [key for key, _ in _CELL if any(cell.get(key) is not None for cell in cells.values())]
    few = f"fewer than {metrics['min_cell']}"
    rows = [
        [_words(name), (f"{cell['rows']:,}", few), *(_number(None) for _ in keys)]
        if "too_few" in cell
        else [_words(name), _words(f"{cell['rows']:,}"), *(_estimate(cell, key) for key in keys)]
        for name, cell in cells.items()
    ]
    return Table(caption, (first, "faces", *(dict(_CELL)[key] for key in keys)), rows)


def _words(words: str) -> tuple[str, str]:
    return words, ""


def _number(value: float | None) -> tuple[str, str]:
    return ("-" if value is None else _plain(value)), ""


def _estimate(cell: dict, key: str) -> tuple[str, str]:
    return _number(cell[key])[0], _interval(cell["intervals"][key])


def _interval(ends: list | None) -> str:
    return "" if ends is None else f"{_plain(ends[0])} to {_plain(ends[1])}"


def _plain(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
