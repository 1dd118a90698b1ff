"""The card of a model: its whole text, where each of its numbers is from, its head, its terms, and its examples."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from PIL import Image

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling import words
from affectnet_plus_modeling.evaluation.evaluate import evaluate
from affectnet_plus_modeling.exporting.export import export
from affectnet_plus_modeling.publishing.examples import draw_sheet, examples_of
from affectnet_plus_modeling.publishing.model_card import render_model_card
from affectnet_plus_modeling.publishing.publish import stage
from affectnet_plus_modeling.publishing.publish_model import CODE
from affectnet_plus_modeling.publishing.results import REPORTED, eval_results_file
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.training.options import TrainingOptions
from affectnet_plus_modeling.training.train import train
from affectnet_plus_modeling.vit import AffectNetPlusConfig
from affectnet_plus_modeling.vit.losses import LOSSES, Loss, soft_label_loss
from support.models import quick
from support.trees import picture

FIXED = Path(__file__).parent / "cards" / "model"  # config.json, training.json and metrics.json, written by hand
NOTEBOOK = Path(__file__).parents[2] / "examples" / "fine_tune.ipynb"
EXPECTED = Path(__file__).parent / "cards" / "expected_model_card.md"


@pytest.fixture
def fixed(tmp_path) -> Path:
    """A copy of `FIXED` that a test may change."""
    return Path(shutil.copytree(FIXED, tmp_path / "fixed"))


def changed(folder: Path, name: str, **values) -> Path:
    """The folder, with these values in one of its JSON files; None removes the key."""
    content = json.loads((folder / name).read_text()) | values
    (folder / name).write_text(json.dumps({key: value for key, value in content.items() if value is not REMOVED}))
    return folder


REMOVED = object()


def read(name: str, folder: Path = FIXED) -> dict:
    return json.loads((folder / name).read_text())


def of_origin(folder: Path, origin: str | None, **others) -> Path:
    return changed(folder, "training.json", data={"name": "ready", "origin": origin, "fingerprint": None} | others)


def head_of(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def table(text: str) -> dict[str, list[str]]:
    """The rows of every table of a card, by their first cell, the first of equals."""
    lines = [line.replace("\\|", "/").strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in reversed(lines)}


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


# --- the whole text --------------------------------------------------------------------------------------------------


def test_the_whole_card_is_as_expected():
    """Where a change of the text is meant: write it with `render_model_card(FIXED, "user/faces")` and read it."""
    assert render_model_card(FIXED, "user/faces") == EXPECTED.read_text()


# --- every number ----------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w])")
CONSTANTS = {
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",  # the label order, and how many labels there are
    "-1",
    "500",  # faces for an interval of a classwise error
    "200",  # and for one of a calibration error
    "0.05",
    "127.5",  # ranges and scaling of the pixels
    "1e-4",
    "-100",  # the example of fine-tuning: its learning rate, and an unknown class
    "2024",
    "1689",
    "2025",
    "50",  # Regulation (EU) 2024/1689, Articles 5 and 50, in force since 2025
    "2410.22506",  # the paper of AffectNet+
    "1,250",  # words that AffectNet was searched by, see `terms`
    "4.57",  # of transformers, from which on it loads
    "0.01",  # the least share that the first example shows
}


def numbers_in(text: str) -> list[str]:
    """As they are written. 112x112 are two, and a Hub name, a fingerprint or a version with letters none."""
    text = re.sub(r"(?<=\d)x(?=\d)", " ", text)
    return [found.rstrip(",") for found in NUMBER.findall(text)]


def values_in(value) -> list:
    """All numbers and texts of a JSON value, the names of its keys among them."""
    if isinstance(value, dict):
        return [*value, *(inner for item in value.values() for inner in values_in(item))]
    return [inner for item in value for inner in values_in(item)] if isinstance(value, list) else [value]


def ways_to_write(value) -> set[str]:
    """How a card may write a number of the files; the numbers of a text as they are."""
    if isinstance(value, str):
        return set(numbers_in(value))
    if value is None or isinstance(value, bool):
        return set()
    if isinstance(value, int):
        return {str(value), f"{value:,}"}
    ways = {f"{1000 * value:.3g}"} if abs(value) < 0.01 else set()  # Wh, where kWh would be a small fraction
    ways |= {f"{value:.3f}", f"{value:.4f}", f"{value:g}", f"{value:.3g}", str(value), str(round(value, 4))}
    if 0 <= value <= 1:
        ways |= {f"{1 - value:.4f}"}  # the bound of a prediction set
    return ways | ({f"{100 * value:.0f}", f"{100 * value:.1f}"} if 0 <= value <= 1 else set())


def untraced(text: str, folder: Path = FIXED) -> list[str]:
    """The numbers of a card that are in none of its files."""
    files = [read(name, folder) for name in ("metrics.json", "training.json", "config.json")]
    sources = CONSTANTS | {way for file in files for value in values_in(file) for way in ways_to_write(value)}
    sources |= {f"{files[1]['seconds']:,.0f}", str(len(files[0]["reliability"]["rows"]))}
    return [number for number in numbers_in(text) if number not in sources]


def test_every_number_of_the_card_is_in_its_files():
    text = render_model_card(FIXED, "user/faces")
    assert len(numbers_in(text)) > 300, "premise: they are found"
    assert untraced(text) == []
    invented = text.replace("0.7638 [0.7338, 0.7938]", "0.7639 [0.7338, 0.7937]")
    assert untraced(invented) == ["0.7639", "0.7937"], "premise: others are noticed"


def test_every_reported_figure_is_the_one_of_its_name():
    text, metrics = render_model_card(FIXED, "user/faces"), read("metrics.json")
    rows = table(section(text, "Results"))

    def cell(part, key, digits):
        value, (low, high) = part[key], part["intervals"][key]
        return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    blind = metrics["baselines"]["mean_soft_label"]
    for key in ("kl", "js", "accuracy"):
        assert f" | {cell(metrics, key, 4)} | {blind[key]:.4f} |\n" in text, key
    assert rows["balanced accuracy"][0] == cell(metrics, "balanced_accuracy", 4)
    assert rows["valence: CCC"][0] == cell(metrics["valence"], "ccc", 4)
    assert rows["arousal: RMSE"][0] == cell(metrics["arousal"], "rmse", 4)
    for name in EMOTIONS[:-1]:
        row = metrics["per_class"][name]
        figures = [cell(row, key, 3) for key in ("recall", "precision", "f1")]
        assert rows[name] == [*figures, str(row["support"])], name
    assert rows["contempt"][1:3] == ["-", "-"], "what a class never predicted leaves undefined"
    parts = ("accuracy", "balanced_accuracy", "kl", "ece")
    assert rows["easy"] == ["250", *(cell(metrics["subsets"]["easy"], key, 3) for key in parts)]
    assert rows["difficult"] == ["30", *4 * ["too few"]]
    for attribute, groups in metrics["groups"].items():
        for name, group in groups.items():
            shown = 4 * ["too few"] if group.get("too_few") else [cell(group, key, 3) for key in parts]
            assert f"| {attribute} | {name} | {group['rows']} | {' | '.join(shown)} |\n" in text, name
    assert rows["ECE of the top class against the label"] == [cell(metrics, "ece", 4)]
    assert rows["ECE, mean over classes, against the soft label"] == [cell(metrics, "classwise_ece_soft", 4)]


def test_the_gap_of_an_emotion_is_the_largest_one():
    text, gaps = render_model_card(FIXED, "user/faces"), read("metrics.json")["gaps"]
    found = {name: gap for name, gap in gaps["age"]["tpr_gap"].items() if isinstance(gap, dict)}
    worst = max(found, key=lambda name: found[name]["gap"])
    gap = found[worst]
    cells = f"{gap['gap']:.3f} | {words.by_chance(gap)} | {gap['highest']} | {gap['lowest']} |"
    assert f"| age | recall of {worst}, the largest gap of an emotion | {cells}" in text


def test_the_comparison_is_that_of_the_file():
    text, comparison = render_model_card(FIXED, "user/faces"), read("metrics.json")["comparison"]
    rows = table(text.split("### Beside another model")[1])
    for name, key in (("accuracy", "accuracy"), ("arousal: CCC", "arousal_ccc")):
        found = comparison["differences"][key]
        low, high = found["interval"]
        assert rows[name] == [f"{found['difference']:.4f} [{low:.4f}, {high:.4f}]"]
    said = " ".join(text.split())
    assert "this model alone is right about 130, and other alone about 121: McNemar's test p = 0.613 (exact)" in said


def test_the_statement_on_the_groups_stands_before_their_table():
    text = section(render_model_card(FIXED, "user/faces"), "Results")
    said = " ".join(text.split("### By group")[1].split("| attribute")[0].split())
    assert read("metrics.json")["groups_are"] in said and "Of fewer than 50 faces no figure is given" in said


# --- what is not known is said, or refused ---------------------------------------------------------------------------


def test_without_metrics_the_card_says_so(fixed):
    (fixed / "metrics.json").unlink()
    text = render_model_card(fixed, "user/faces")
    assert "every figure below is from the `training.json` and `config.json` beside it." in text
    assert section(text, "Results").strip() == "This model was not evaluated: there is no metrics.json beside it."
    assert not {"model-index", "metrics"} & set(head_of(text))


def test_without_a_record_of_the_training_the_card_says_so(fixed):
    (fixed / "training.json").unlink()
    text = render_model_card(fixed, "user/faces")
    assert "every figure below is from the `metrics.json` and `config.json` beside it." in text
    assert section(text, "Training").strip() == "Not recorded: there is no training.json beside the weights."
    assert "Were they of AffectNet or AffectNet+, the weights are for" in section(text, "Terms")
    assert head_of(text)["license_name"] == "see-card" and "base_model" not in head_of(text)


@pytest.mark.parametrize(
    "name, keys, advice",
    [
        ("metrics.json", ["subsets", "groups", "gaps"], "run affectnet-plus evaluate again, or remove the file"),
        ("training.json", ["finished", "energy"], "train again, or remove the file"),
    ],
)
def test_files_of_older_versions_are_refused_by_name(fixed, name, keys, advice):
    changed(fixed, name, **dict.fromkeys(keys, REMOVED))
    with pytest.raises(ValueError, match=f"^{name} lacks {', '.join(keys)}: an older version wrote it; {advice}"):
        render_model_card(fixed, "user/faces")


@pytest.mark.parametrize("calibrated, known", [(True, False), (False, True)])
def test_numbers_of_the_model_as_it_was_calibrated_otherwise_are_refused(fixed, calibrated, known):
    if not calibrated:
        changed(fixed, "config.json", uncertainty=None)
    changed(fixed, "metrics.json", calibrated_on_this_split=known)
    with pytest.raises(ValueError, match="as it was calibrated otherwise; run affectnet-plus evaluate again"):
        render_model_card(fixed, "user/faces")


OTHER = {"file": "other.csv", "label_order": "ferplus", "without": []} | {"missing": 0, "missing_are": "refuse"}
OTHER |= {"rounded_to": None}


def test_numbers_of_other_predictions_are_refused(fixed):
    changed(fixed, "metrics.json", predictions=OTHER)
    with pytest.raises(ValueError, match="metrics.json is of the predictions in other.csv; run affectnet-plus"):
        render_model_card(fixed, "user/faces")


def test_numbers_that_could_not_be_computed_are_dashes_and_no_results_of_the_head(fixed):
    metrics = read("metrics.json")
    intervals = metrics["intervals"] | {"kl": None, "ece": None}
    valence = metrics["valence"] | {"ccc": None, "rows": 1}
    valence["intervals"] = valence["intervals"] | {"ccc": None}
    baselines = metrics["baselines"]
    baselines["mean_soft_label"]["kl"] = None
    changed(fixed, "metrics.json", kl=None, ece=None, intervals=intervals, valence=valence, baselines=baselines)
    changed(fixed, "metrics.json", arousal=metrics["arousal"] | {"rows": 0})
    text = render_model_card(fixed, "user/faces")
    rows = table(text)
    assert "| KL(soft label \\|\\| predicted), smoothed by .001, nats | - | - |" in text and rows["valence: CCC"] == [
        "-",
        "",
    ]
    assert not any(name.startswith("arousal: R") for name in rows)
    types = [result["type"] for result in head_of(text)["model-index"][0]["results"][0]["metrics"]]
    assert types == ["accuracy", "macro_f1", "js"]


def test_faces_without_subsets_and_groups_are_said_to_be_so(fixed):
    changed(fixed, "metrics.json", subsets={}, groups={}, gaps={}, yaw_edges=None, comparison=None)
    text = render_model_card(fixed, "user/faces")
    assert "No face of this split has a difficulty subset." in text and "Nothing is known of the groups" in text
    assert "|yaw|" not in text and "McNemar" not in text
    changed(fixed, "metrics.json", groups=read("metrics.json")["groups"])
    assert "No two groups are large enough to be compared." in render_model_card(fixed, "user/faces")


def test_a_model_without_valence_and_arousal_says_so(fixed):
    text = render_model_card(changed(fixed, "config.json", valence_arousal_weight=0.0), "user/faces")
    assert "its `valence_arousal` output means nothing" in text and "output.valence_arousal" not in text


# --- cautions --------------------------------------------------------------------------------------------------------


def test_the_card_says_what_makes_figures_too_good(fixed):
    text = render_model_card(fixed, "user/faces")
    assert "The checkpoint was chosen on this split" in text and "was fitted on 1,003 of these faces" in text
    options = read("training.json")["options"]
    changed(fixed, "training.json", options=options | {"holdout": 0.05})
    changed(fixed, "config.json", uncertainty=None)
    changed(fixed, "metrics.json", calibrated_on_this_split=False, calibrated_rows=0)
    text = render_model_card(fixed, "user/faces")
    assert "a little too good" not in text and "held-out training faces" in text
    assert section(text, "Uncertainty").strip().startswith("Not fitted")


def test_other_data_than_that_of_the_training_has_not_chosen_the_checkpoint(fixed):
    changed(fixed, "metrics.json", data={"name": "prepared", "origin": "FER+", "fingerprint": "another"})
    assert "The checkpoint was chosen on this split" not in render_model_card(fixed, "user/faces")


def test_drawn_faces_are_said_to_be_drawn(fixed):
    changed(fixed, "metrics.json", data={"name": "prepared", "origin": "drawn", "fingerprint": "another"})
    assert "these figures say nothing about photographs" in render_model_card(fixed, "user/faces")
    limits = section(render_model_card(of_origin(fixed, "drawn"), "user/faces"), "Limits")
    assert "Nobody is seen on the training faces" in limits and "what a program computed" in limits
    assert "observers, saw" not in limits and "machine prediction" not in limits


@pytest.mark.parametrize(
    "given, said",
    [
        ({"abstain_entropy": None}, "never, since no threshold of entropy reached an accuracy of 80.0%"),
        ({"of": "vote"}, "to hold one random annotator's vote for 90.0% of faces"),
        ({"method": "aps"}, "the most probable classes whose probabilities sum to at most 0.8417"),
        ({"quantile": [0.1] * 8}, "probability is at least a bound of each emotion (0.9000, 0.9000, "),
        ({"share": 1.0}, "1,003 faces of `prepared`, validation split, default view."),
    ],
)
def test_the_rule_of_the_uncertainty_is_told(fixed, given, said):
    changed(fixed, "config.json", uncertainty=read("config.json")["uncertainty"] | given)
    assert said in " ".join(section(render_model_card(fixed, "user/faces"), "Uncertainty").split())


# --- the training ----------------------------------------------------------------------------------------------------


def test_the_options_are_those_that_differ_from_the_defaults(fixed):
    rows = table(section(render_model_card(fixed, "user/faces"), "Training"))
    default = json.loads(json.dumps(asdict(TrainingOptions())))
    given = read("training.json")["options"]
    differ = {name for name in given if name != "augmentation" and given[name] != default[name]}
    assert {name.strip("`") for name in rows if name.startswith("`")} == differ | {"augmentation.erase"}
    assert rows["`class_weights`"] == ["1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 2.5"]
    changed(fixed, "training.json", options=default)
    assert "All options are the defaults" in render_model_card(fixed, "user/faces")


@pytest.mark.parametrize("target", ["soft", "hard"])
def test_a_new_loss_is_one_entry_and_the_card_has_its_words(fixed, monkeypatch, target):
    """Added to the one table, it is taken by the configuration, computed by the model and named on the card."""
    half = Loss(lambda target, log_q: ((target - log_q.exp()) ** 2).sum(dim=1) / 2, "half the squared distance")
    monkeypatch.setitem(LOSSES, "half", half)
    changed(fixed, "config.json", loss="half")
    changed(fixed, "training.json", options=read("training.json")["options"] | {"loss": "half", "target": target})
    config = AffectNetPlusConfig.from_pretrained(fixed)
    assert config.loss == "half"
    logits = torch.zeros(1, 8)
    assert soft_label_loss(logits, torch.eye(8)[:1], kind=config.loss) == pytest.approx((1 - 1 / 8) / 2)
    kind = {"soft": "soft label", "hard": "one-hot label"}[target]
    assert table(render_model_card(fixed, "user/faces"))["target"] == [f"{kind}, half the squared distance"]


def test_the_divergence_from_a_one_hot_label_is_called_cross_entropy(fixed):
    changed(fixed, "training.json", options=read("training.json")["options"] | {"loss": "kl", "target": "hard"})
    assert table(render_model_card(fixed, "user/faces"))["target"] == ["one-hot label, cross-entropy"]


@pytest.mark.parametrize("option", [{"class_weights": [2.0] * 8}, {"label_smoothing": 0.1}, {"loss": "js"}])
def test_a_loss_that_is_not_plain_is_told_with_the_way_to_switch_it_off(fixed, option):
    plain = '`class_weights=None, label_smoothing=0.0, loss="kl"`'
    assert plain not in render_model_card(fixed, "user/faces")
    assert plain in render_model_card(changed(fixed, "config.json", **option), "user/faces")


def test_a_power_that_is_not_known_gives_no_energy(fixed):
    changed(fixed, "training.json", energy=None)
    text = render_model_card(fixed, "user/faces")
    assert "**Energy:** not estimated, since the power of the hardware is not known." in text and "kWh" not in text


@pytest.mark.parametrize(
    "hours, threads, processes, said",
    [
        (
            [2.66e-05, 0.000133],
            1,
            1,
            "0.0266 to 0.133 Wh, the time of the run at an assumed power, 3 to 15 W for each ",
        ),
        ([0.012, 0.06], 4, 1, "0.012 to 0.06 kWh, the time of the run at an assumed power, 3 to 15 W for each CPU "),
        ([2e-06, 9e-06], 1, 2, "less than 0.01 Wh, the time of the run at an assumed power, 3 to 15 W for each CPU "),
    ],
)
def test_the_energy_is_told_in_a_unit_that_is_read_easily_and_its_power_once(fixed, hours, threads, processes, said):
    watts = [3.0 * threads * processes, 15.0 * threads * processes]
    energy = {"watts": watts, "kilowatt_hours": hours, "assumption": "3 to 15 W for each CPU thread"}
    text = " ".join(
        render_model_card(changed(fixed, "training.json", energy=energy, processes=processes), "a/b").split()
    )
    assert said in text and text.count("3 to 15 W") == 1
    whole = f"({watts[0]:g} to {watts[1]:g} W in all)"
    assert (whole in text) is (threads * processes > 1) and ("thread in each process" in text) is (processes > 1)


@pytest.mark.parametrize("start, base", [("owner/vit", "owner/vit"), ("pretrained", None)])
def test_the_base_model_is_named_where_it_is_one_of_the_hub(fixed, start, base):
    options = read("training.json")["options"] | {"from_vit": None, "from_pretrained": start}
    text = render_model_card(changed(fixed, "training.json", options=options), "user/faces")
    head = head_of(text)
    assert (head.get("base_model"), head.get("base_model_relation")) == (base, base and "finetune")
    assert f"It started from the weights {start}, whose terms hold as well." in text


# --- the terms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["AffectNet", "AffectNet+"])
def test_weights_of_licensed_faces_are_for_research_in_text_and_head(fixed, origin):
    text = render_model_card(of_origin(fixed, origin), "user/faces")
    head = head_of(text)
    assert head["license"] == "other" and head["license_name"] == "affectnet-academic"
    assert head["license_link"].startswith("https://") and head["license_link"] in section(text, "Terms")
    assert "for **non-commercial research only**. They were trained on " + origin in section(text, "Terms")
    assert "For **non-commercial research only**, see [Terms](#terms)." in text
    with pytest.raises(ValueError, match=rf"trained on {re.escape(origin)}, whose terms go with them, so they cannot"):
        render_model_card(fixed, "user/faces", "mit")


def test_other_origins_keep_the_licence_that_is_given(fixed):
    text = render_model_card(of_origin(fixed, "drawn"), "user/faces", "apache-2.0")
    assert head_of(text)["license"] == "apache-2.0" and "license_name" not in head_of(text)
    assert "The weights stand under the licence `apache-2.0`." in text and "non-commercial" not in text
    text = render_model_card(fixed, "user/faces")
    assert head_of(text)["license_name"] == "see-card" and "No licence was chosen for the weights." in text
    head = head_of(render_model_card(of_origin(fixed, "FER+"), "user/faces"))
    assert head["license_name"] == "fer2013-research" and head["license_link"]


def test_the_training_faces_and_their_paper_are_named(fixed):
    text = render_model_card(of_origin(fixed, "FER+"), "user/faces")
    assert "ten people then voted on each face" in " ".join(section(text, "Training").split())
    assert "@inproceedings{barsoum2016training" in text and "@article{fard2025affectnetplus" in text
    text = render_model_card(of_origin(fixed, None), "user/faces")
    assert "Nothing says whose the training faces are" in text
    assert text.count("@") == EXPECTED.read_text().count("@")


def test_a_model_without_an_owner_is_cited_by_a_key_and_that_of_the_package_by_its_maintainers(fixed):
    assert "  key   = {faces},\n" in section(render_model_card(fixed, "faces"), "Citation")
    maintainers = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text())["authors"][0]["name"]
    assert f"  author = {{{{{maintainers}}}}},\n" in section(render_model_card(fixed, "ferplus"), "Citation")


def test_generated_soft_labels_are_said_to_be_generated(fixed):
    made = {"ensemble": "ab" * 32, "fusion": "product", "action_units": None, "human_label": True, "version": "0.1.0"}
    text = render_model_card(of_origin(fixed, "FER+", soft_labels=made), "user/faces")
    assert "The soft labels were generated, by `affectnet-plus label` 0.1.0" in " ".join(text.split())


# --- what the Hub reads ----------------------------------------------------------------------------------------------


def test_the_head_comes_back_from_the_hubs_own_reader(tmp_path):
    metrics = read("metrics.json")
    (tmp_path / "card.md").write_text(render_model_card(FIXED, "user/faces", dataset_id="user/data"))
    data = ModelCard.load(tmp_path / "card.md").data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "image-classification")
    assert data.language is None, "it looks at pictures"
    assert data.datasets == ["user/data"] and "custom_code" in data.tags and data.base_model == "owner/small-vit"
    assert data.model_name == "faces"
    found = {result.metric_type: result for result in data.eval_results}
    assert {name: result.metric_value for name, result in found.items()} == {
        name: round(metrics[name], 4) for name in REPORTED
    }
    assert {(result.dataset_type, result.dataset_name) for result in found.values()} == {("user/data", "prepared")}
    assert {(result.dataset_split, result.dataset_config) for result in found.values()} == {("validation", "default")}
    assert "datasets" not in head_of(render_model_card(FIXED, "user/faces")), "a folder is no data set of the Hub"


def test_the_file_of_results_comes_back_from_the_hubs_own_reader():
    metrics = read("metrics.json")
    entries = parse_eval_result_entries(yaml.safe_load(eval_results_file(metrics | {"kl": None}, "user/data")))
    assert {entry.task_id: entry.value for entry in entries} == {
        name: round(metrics[name], 4) for name in REPORTED if name != "kl"
    }
    assert {entry.dataset_id for entry in entries} == {"user/data"}
    assert all(math.isfinite(entry.value) and "3999 faces" in entry.notes for entry in entries)


# --- a model that was really trained ---------------------------------------------------------------------------------


def test_a_trained_model_has_a_card_whose_numbers_are_traced(trained):
    text = render_model_card(trained, "user/some-model")
    assert untraced(text, trained) == []
    assert "{%" not in text and "None" not in text and "nan" not in text.split()
    assert ", ".join(f"{index} {name}" for index, name in enumerate(EMOTIONS)) + "." in text
    assert "48x48 pixels" in text and "](confusion.png)" in text and "faces.png" not in text
    rows = table(text)
    assert rows["steps"] == ["4; 16 faces on each device, 1 process"]
    assert rows["kept"][0].endswith("the best on 8 faces of the validation split")


@pytest.mark.slow
def test_labels_alone_make_a_card_too(prepared_from, tmp_path, tiny):
    """Labels only, and one valence: no KL, and no concordance of a single row."""
    faces = [(picture((20 * row, 9, 9)), annotation(label=row, valence=0.5 if row == 0 else None)) for row in range(8)]
    data = prepared_from(faces, faces)
    train(data, tmp_path / "model", quick(target="hard", image_size=24, epochs=1))
    metrics = evaluate(tmp_path / "model", data, tmp_path / "model")
    assert metrics["kl"] is None and metrics["valence"]["ccc"] is None and metrics["valence"]["rows"] == 1
    rows = table(render_model_card(tmp_path / "model", "user/faces"))
    assert rows["KL(soft label // predicted), smoothed by .001, nats"][0] == "-" and rows["valence: CCC"][0] == "-"
    assert rows["target"] == ["one-hot label, cross-entropy"]


@pytest.fixture(scope="module")
def staged(trained, tmp_path_factory) -> Path:
    return stage(trained, tmp_path_factory.mktemp("card") / "staged", repo_id=".")


@pytest.mark.slow
def test_every_example_of_the_card_prints_what_the_card_says(staged):
    export(staged, staged / "exported")
    shown = re.findall("```python\n(.*?)```\n\n```text\n(.*?)```", (staged / "README.md").read_text(), re.DOTALL)
    assert len(shown) == 4
    script = "\nprint('---')\n".join(code for code, _ in shown)
    child = subprocess.run([sys.executable, "-c", script], cwd=staged, capture_output=True, text=True, timeout=900)
    assert child.returncode == 0, child.stderr
    number = re.compile(r"-?[0-9]+[.][0-9]*")
    for printed, (_, expected) in zip(child.stdout.split("---\n"), shown, strict=True):
        assert number.sub("#", printed).split() == number.sub("#", expected).split()
        found, said = ([float(one) for one in number.findall(text)] for text in (printed, expected))
        assert found == pytest.approx(said, abs=0.011)


def test_a_card_shows_drawn_faces_with_their_answers(trained, staged):
    examples = examples_of(trained)
    card = render_model_card(trained, "user/faces", examples=examples)
    head, place = head_of(card), "https://huggingface.co/user/faces/resolve/main"
    assert head["thumbnail"] == f"{place}/examples.png" and "](examples.png)" in card.split("\n## ")[0]
    for example, shown in zip(examples, head["widget"], strict=True):
        assert shown["src"] == f"{place}/example-{example.emotion}.png"
        assert {one["label"]: one["score"] for one in shown["output"]} == {
            name: round(share, 3) for name, share in example.answer["soft_label"].items()
        }
        assert (staged / f"example-{example.emotion}.png").read_bytes() == example.picture
        with Image.open(staged / f"example-{example.emotion}.png") as picture:
            assert picture.size == (224, 224)
    assert "as were those that the model learnt from" in card
    beside = head_of(render_model_card(trained, "faces", examples=examples))
    assert [beside["thumbnail"], beside["widget"][0]["src"]] == ["examples.png", examples[0].file]
    first = draw_sheet(examples)
    assert first == (staged / "examples.png").read_bytes() and len(first) < 150_000


def test_the_facts_stand_first_and_are_linked(fixed):
    first = render_model_card(of_origin(fixed, "FER+"), "user/faces").split("\n## ")[0]
    assert "[AffectNet+](https://arxiv.org/abs/2410.22506)" in first, "the Hub looks for papers in the text"
    assert "[fer2013-research](https://github.com/microsoft/FERPlus), see [Terms](#terms)" in first
    assert "[owner/small-vit](https://huggingface.co/owner/small-vit)" in first
    unknown = render_model_card(of_origin(fixed, None), "user/faces")
    assert "not chosen, see [Terms](#terms)" in unknown
    assert head_of(unknown)["license_link"] == "https://huggingface.co/user/faces#terms"


def test_no_row_repeats_the_row_of_all_faces(fixed):
    metrics = read("metrics.json")
    whole = {"unknown": metrics["groups"]["gender"]["female"] | {"rows": metrics["rows"]}}
    changed(fixed, "metrics.json", groups=dict.fromkeys(metrics["groups"], whole), subsets={"easy": whole["unknown"]})
    text = render_model_card(fixed, "user/faces")
    assert "| unknown |" not in text and "| easy |" not in text
    assert "Nothing is known of the groups" in text and "Every face of this split is of the subset easy," in text
    assert "whose label is the largest part of their soft label" in text


@pytest.mark.slow
def test_the_example_of_fine_tuning_and_the_notebook_work(staged, drawn, tmp_path):
    folder = shutil.copytree(staged, tmp_path / "staged")
    (folder / "prepared").symlink_to(drawn)
    text = (folder / "README.md").read_text()
    blocks = [block for block in re.findall("```python\n(.*?)```", text, re.DOTALL) if "Trainer(" in block]
    assert len(blocks) == 1 and len(blocks[0].splitlines()) <= 30
    (folder / "demo").mkdir()
    (folder / "demo" / "prepared").symlink_to(drawn)
    (folder / "demo" / "published").symlink_to(folder)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    blocks += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    child = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=folder, capture_output=True, text=True, timeout=900
    )
    assert child.returncode == 0, child.stderr
    assert "KL of the kept model" in child.stdout
    for kept in ("fine-tuned/best", "fine-tuned/notebook"):
        assert set(CODE) <= set(os.listdir(folder / kept))
