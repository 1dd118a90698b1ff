"""What metrics.json says, in words: what each number is called, and the sentences that have to stand beside some.

The terminal (`evaluation/report_text.py`), the report (`evaluation/report_sections.py`) and the card
(`publishing/results.py`) take their words from here, and only lay them out.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypedDict, get_type_hints

MIN_OF_EACH_EMOTION = 5  # faces of every emotion for the interval of a mean over emotions
MIN_OF_DIVERGENCE = 30  # faces for the interval of a mean divergence
MIN_OF_CALIBRATION = 200  # faces for the interval of a calibration error of the top class
MIN_CLASSWISE = 500  # faces for the interval of a classwise calibration error
MIN_OF_RESAMPLES = 100  # faces for an interval from resamples
BEYOND_CHANCE = 0.05  # corrected p-values below it


class Number(NamedTuple):
    """A number of metrics.json.

    Attributes:
        short: at most 17 characters: in the terminal, at the head of a column, in gaps and comparisons.
        name: what a row of the report and of the card calls it.
        better: "higher" or "lower".
        on_card: whether the card shows it; terminal and report show all.
        key: what metrics.json calls it: the field below that these are the words of.
    """

    short: str
    name: str
    better: str
    on_card: bool = False
    key: str = ""


class OverallNumbers(TypedDict):
    """Of all faces, in the order in which they are shown; None where nothing can be told."""

    kl: Annotated[
        float | None, Number("KL, nats", "KL(soft label || predicted), smoothed by .001, nats", "lower", True)
    ]
    kl_unsmoothed: Annotated[float | None, Number("KL, unsmoothed", "KL without smoothing, nats", "lower")]
    js: Annotated[float | None, Number("JS, nats", "Jensen-Shannon, nats", "lower", True)]
    accuracy: Annotated[float | None, Number("accuracy", "accuracy", "higher", True)]
    balanced_accuracy: Annotated[float | None, Number("balanced accuracy", "balanced accuracy", "higher", True)]
    macro_f1: Annotated[float | None, Number("macro F1", "macro F1", "higher", True)]
    top_label_agreement: Annotated[
        float | None, Number("top label agrees", "predicted label is the soft label's largest", "higher", True)
    ]
    cosine: Annotated[float | None, Number("cosine", "cosine", "higher")]
    intersection: Annotated[float | None, Number("intersection", "intersection", "higher")]
    chebyshev: Annotated[float | None, Number("Chebyshev", "Chebyshev", "lower")]
    clark: Annotated[float | None, Number("Clark", "Clark", "lower")]
    canberra: Annotated[float | None, Number("Canberra", "Canberra", "lower")]
    brier: Annotated[float | None, Number("Brier", "Brier, against the soft label", "lower")]
    top_2: Annotated[float | None, Number("top 2", "two largest emotions the same", "higher")]
    spearman: Annotated[float | None, Number("Spearman", "Spearman of the ranks", "higher")]


class CalibrationNumbers(TypedDict):
    """How far confidence is from what comes true."""

    ece: Annotated[float | None, Number("ECE", "ECE of the top class against the label", "lower", True)]
    ece_soft: Annotated[
        float | None,
        Number("ECE, soft labels", "ECE of the top class against the mass of the soft label on it", "lower", True),
    ]
    classwise_ece: Annotated[
        float | None, Number("classwise ECE", "ECE, mean over classes, against the label", "lower", True)
    ]
    classwise_ece_soft: Annotated[
        float | None, Number("classwise, soft", "ECE, mean over classes, against the soft label", "lower", True)
    ]


class AffectNumbers(TypedDict):
    """Of a dimension, valence or arousal."""

    ccc: Annotated[float | None, Number("CCC", "CCC", "higher", True)]
    pearson: Annotated[float | None, Number("Pearson", "Pearson", "higher")]
    rmse: Annotated[float | None, Number("RMSE", "RMSE", "lower", True)]
    sagr: Annotated[float | None, Number("SAGR", "sign agreement", "higher")]


class EmotionNumbers(TypedDict):
    """Of an emotion."""

    recall: Annotated[float | None, Number("recall", "recall", "higher", True)]
    precision: Annotated[float | None, Number("precision", "precision", "higher", True)]
    f1: Annotated[float | None, Number("F1", "F1", "higher", True)]


def _numbers(record: type) -> tuple[Number, ...]:
    hints = get_type_hints(record, include_extras=True)
    return tuple(hint.__metadata__[0]._replace(key=key) for key, hint in hints.items())


OVERALL, CALIBRATION = _numbers(OverallNumbers), _numbers(CalibrationNumbers)
AFFECT, EMOTION = _numbers(AffectNumbers), _numbers(EmotionNumbers)
BY_KEY = {number.key: number for number in (*OVERALL, *CALIBRATION)}

# Of a part of the faces, and of a difference between two parts or two models.
PART = {key: BY_KEY[key].short for key in ("accuracy", "balanced_accuracy", "macro_f1", "kl", "js", "ece")} | {
    f"{dimension}_ccc": f"{dimension}: CCC" for dimension in ("valence", "arousal")
}

FAIRNESS_OF_DATA = {
    "effective_groups": "effective number of groups",
    "evenness": "evenness",
    "normalized_deviation": "normalised deviation",
    "cramers_v": "Cramér's V with the emotion",
    "mutual_information": "mutual information with the emotion",
}


def figure(value: float | None, digits: int) -> str:
    """A number as it is written everywhere; "-" where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def about(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What was measured, name by name."""
    data = metrics["data"]
    return {
        "Data": f"{data['name']} ({data['origin'] or 'origin not known'}), {metrics['split']} split, "
        f"{metrics['view']} view",
        "Faces": faces(metrics),
        "Pictures": metrics["crop"],
        "Intervals": f"{100 * metrics['level']:g} % of {metrics['resamples']:,} samples, drawn from these faces with "
        f"replacement, lie within; seed {metrics['seed']}",
        "Made by": f"{metrics['command']} (version {metrics['version']})",
    }


def faces(metrics: Mapping[str, Any]) -> str:
    """How many faces, of how many the truth is known, and how many of the split are left out."""
    left_out = metrics.get("calibrated_left_out")  # not among the numbers of predictions alone
    return (
        f"{metrics['rows']:,}, of which {metrics['rows_with_label']:,} have a label and "
        f"{metrics['rows_with_soft_label']:,} a soft label"
    ) + (f"; {left_out:,} others, which calibrated the model, are left out" if left_out else "")


def cautions(metrics: Mapping[str, Any]) -> list[str]:
    """What makes numbers of this very evaluation look better or worse than they are."""
    found = []
    if metrics["data"]["origin"] == "drawn":
        found.append("The faces were drawn by a program: these figures say nothing about photographs.")
    if metrics["calibrated_rows"]:
        found.append(
            f"The model's temperature was fitted on {metrics['calibrated_rows']:,} of these faces: its calibration "
            "and its KL look better here than on others."
        )
    found += _about_predictions(metrics["predictions"]) if metrics["predictions"] else []
    if metrics["baselines"]["mean_soft_label"]["prior_from"] == "evaluated rows":
        found.append(
            "The mean soft label is that of the faces measured here, since that of the training faces is not known: "
            "this flatters the baseline."
        )
    return found + _without_interval(metrics)


# Numbers that lack an interval together, what they are, and the faces from which they have one.
_INTERVALS_FROM = (
    (("kl",), "KL and JS", MIN_OF_DIVERGENCE),
    (("brier",), "The other distances, valence and arousal", MIN_OF_RESAMPLES),
    (("ece", "ece_soft"), "ECE and ECE of soft labels", MIN_OF_CALIBRATION),
    (("classwise_ece_soft",), "Classwise calibration errors", MIN_CLASSWISE),
)


def _without_interval(metrics: Mapping[str, Any]) -> list[str]:
    """Why a number of all faces has no interval: none is given that would not hold what it promises."""
    found = []
    if metrics["balanced_accuracy"] is not None and metrics["intervals"]["balanced_accuracy"] is None:
        few = {
            name: row["support"] for name, row in metrics["per_class"].items() if row["support"] < MIN_OF_EACH_EMOTION
        }
        named = ", ".join(f"{name}: {support}" for name, support in few.items())
        found.append(
            f"Balanced accuracy and macro F1 have an interval from {MIN_OF_EACH_EMOTION} faces of every emotion on "
            f"({named})."
        )
    for names, what, fewest in _INTERVALS_FROM:
        if any(metrics[name] is not None and metrics["intervals"][name] is None for name in names):
            found.append(f"{what} have an interval from {fewest} faces on.")
    return found


def _about_predictions(of: Mapping[str, Any]) -> list[str]:
    found = []
    if of["without"]:
        lacking = ", ".join(of["without"])
        found.append(f"The tool that made these predictions does not know {lacking}; its probability was taken as 0.")
    if count := of["missing"]:
        became = {
            "skip": "they are left out, so these figures are of the others alone",
            "uniform": "they are judged as if it held all emotions for alike likely",
        }
        found.append(f"The tool says nothing of {count:,} faces of the split: {became[of['missing_are']]}.")
    if of["rounded_to"] is not None:
        found.append(f"The predictions are rounded to {of['rounded_to']} decimals, and were scaled to sum to 1.")
    return found


def about_groups(metrics: Mapping[str, Any]) -> list[str]:
    """What has to stand beside numbers of groups."""
    found = [metrics["groups_are"], f"Of fewer than {metrics['min_cell']} faces no figure is given."]
    if metrics["yaw_edges"] is not None:
        low, high = metrics["yaw_edges"]
        found.append(f"The bands of yaw end at |yaw| {low:.3g} and {high:.3g}, in the unit of the data.")
    return [*found, *_beyond_chance(metrics)]


def _beyond_chance(metrics: Mapping[str, Any]) -> list[str]:
    """Which gaps between groups are more than chance; nothing where there is no gap."""
    named = [
        (f"{attribute}, {name}", gap)
        for attribute, gaps in metrics["gaps"].items()
        for name, gap in (
            *((f"recall of {emotion}", gap) for emotion, gap in gaps["tpr_gap"].items() if isinstance(gap, dict)),
            *((words, gaps[f"{key}_gap"]) for key, words in PART.items() if gaps.get(f"{key}_gap")),
        )
    ]
    if not named:
        return []
    beyond = [name for name, gap in named if gap["p"] < BEYOND_CHANCE]
    return [
        "Beside each gap stands the one to expect if the groups had been drawn by lot, and p, how probable one as "
        f"large then is, corrected for all {len(named)} gaps. More than chance (p < {BEYOND_CHANCE}): "
        f"{'; '.join(beyond) or 'none'}."
    ]


def worst_recall(gaps: Mapping[str, Any]) -> tuple[str, dict] | None:
    """The emotion whose recall differs most between two groups, and its gap; None where none is known."""
    known = {name: gap for name, gap in gaps["tpr_gap"].items() if isinstance(gap, dict)}
    return max(known.items(), key=lambda found: found[1]["gap"]) if known else None


def compared(comparison: Mapping[str, Any]) -> str:
    """What the differences of a comparison are, and why they have no intervals where they have none."""
    few = f" (intervals are given from {MIN_OF_RESAMPLES} on)" if comparison["rows"] < MIN_OF_RESAMPLES else ""
    return f"This model minus {comparison['model']}, over the same {comparison['rows']:,} faces{few}"


def right_alone(comparison: Mapping[str, Any]) -> list[str]:
    """McNemar's test of a comparison; nothing where no face has a label."""
    test = comparison["mcnemar"]
    if not test["rows"]:
        return []
    return [
        f"Of {test['rows']:,} faces with a label this model alone is right about {test['only_this']:,}, and "
        f"{comparison['model']} alone about {test['only_other']:,}: McNemar's test p = {test['p_exact']:.3g} (exact), "
        f"{test['p_mid']:.3g} (mid-p)."
    ]


def by_chance(gap: Mapping[str, Any]) -> str:
    """What stands beside a gap."""
    return f"{figure(gap['by_chance'], 3)} by chance, p = {gap['p']:.2g}"
