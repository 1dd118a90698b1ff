"""What metrics.json says, in words: what each number is called, and the sentences that have to stand beside some.

The terminal (`evaluation/report_text.py`), the report (`evaluation/report_sections.py`) and the card
(`publishing/results.py`) take their words from here, and only lay them out.
"""

from typing import NamedTuple


class Number(NamedTuple):
    """A number of metrics.json.

    Attributes:
        key: what metrics.json calls it.
        short: at most 17 characters: in the terminal, at the head of a column, in gaps and comparisons.
        name: what a row of the report and of the card calls it.
        better: "higher" or "lower".
        on_card: whether the card shows it; terminal and report show all.
    """

    key: str
    short: str
    name: str
    better: str
    on_card: bool = False


# Of all faces, in this order.
OVERALL = (
    Number("kl", "KL, nats", "KL(soft label || predicted), nats", "lower", on_card=True),
    Number("js", "JS, nats", "Jensen-Shannon, nats", "lower", on_card=True),
    Number("accuracy", "accuracy", "accuracy", "higher", on_card=True),
    Number("balanced_accuracy", "balanced accuracy", "balanced accuracy", "higher", on_card=True),
    Number("macro_f1", "macro F1", "macro F1", "higher", on_card=True),
    Number(
        "top_label_agreement",
        "top label agrees",
        "predicted label is the soft label's largest",
        "higher",
        on_card=True,
    ),
    Number("cosine", "cosine", "cosine", "higher"),
    Number("intersection", "intersection", "intersection", "higher"),
    Number("chebyshev", "Chebyshev", "Chebyshev", "lower"),
    Number("clark", "Clark", "Clark", "lower"),
    Number("canberra", "Canberra", "Canberra", "lower"),
    Number("brier", "Brier", "Brier, against the soft label", "lower"),
    Number("top_2", "top 2", "two largest emotions the same", "higher"),
    Number("spearman", "Spearman", "Spearman of the ranks", "higher"),
)
CALIBRATION = (
    Number("ece", "ECE", "ECE of the top class against the label", "lower", on_card=True),
    Number(
        "ece_soft",
        "ECE, soft labels",
        "ECE of the top class against the mass of the soft label on it",
        "lower",
        on_card=True,
    ),
    Number("classwise_ece", "classwise ECE", "ECE, mean over classes, against the label", "lower", on_card=True),
    Number(
        "classwise_ece_soft",
        "classwise, soft",
        "ECE, mean over classes, against the soft label",
        "lower",
        on_card=True,
    ),
)
# Of each dimension, valence and arousal.
AFFECT = (
    Number("ccc", "CCC", "CCC", "higher", on_card=True),
    Number("pearson", "Pearson", "Pearson", "higher"),
    Number("rmse", "RMSE", "RMSE", "lower", on_card=True),
    Number("sagr", "SAGR", "sign agreement", "higher"),
)
# Of each emotion.
EMOTION = (
    Number("recall", "recall", "recall", "higher", on_card=True),
    Number("precision", "precision", "precision", "higher", on_card=True),
    Number("f1", "F1", "F1", "higher", on_card=True),
)
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


def about(metrics: dict) -> dict[str, str]:
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


def faces(metrics: dict) -> str:
    """How many faces, and of how many the truth is known."""
    return (
        f"{metrics['rows']:,}, of which {metrics['rows_with_label']:,} have a label and "
        f"{metrics['rows_with_soft_label']:,} a soft label"
    )


def cautions(metrics: dict) -> list[str]:
    """What makes numbers of this very evaluation look better or worse than they are."""
    found = []
    if metrics["data"]["origin"] == "drawn":
        found.append("The faces were drawn by a program: these figures say nothing about photographs.")
    if metrics["calibrated_on_this_split"]:
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


def about_groups(metrics: dict) -> list[str]:
    """What has to stand beside numbers of groups."""
    found = [metrics["groups_are"], f"Of fewer than {metrics['min_cell']} faces no figure is given."]
    if metrics["yaw_edges"] is not None:
        low, high = metrics["yaw_edges"]
        found.append(f"The bands of yaw end at |yaw| {low:.3g} and {high:.3g}, in the unit of the data.")
    return found


def worst_recall(gaps: dict) -> tuple[str, dict] | None:
    """The emotion whose recall differs most between two groups, and its gap; None where none is known."""
    known = {name: gap for name, gap in gaps["tpr_gap"].items() if isinstance(gap, dict)}
    return max(known.items(), key=lambda found: found[1]["gap"]) if known else None


def compared(comparison: dict) -> str:
    """What the differences of a comparison are."""
    return f"This model minus {comparison['model']}, over the same {comparison['rows']:,} faces"


def right_alone(comparison: dict) -> list[str]:
    """McNemar's test of a comparison; nothing where no face has a label."""
    test = comparison["mcnemar"]
    if not test["rows"]:
        return []
    return [
        f"Of {test['rows']:,} faces with a label this model alone is right about {test['only_this']:,}, and "
        f"{comparison['model']} alone about {test['only_other']:,}: McNemar's test p = {test['p_exact']:.3g} (exact), "
        f"{test['p_mid']:.3g} (mid-p)."
    ]
