"""The metrics as `evaluate` loads them: the numbers, how rows come in, and what is refused."""

import doctest
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
import torch
import yaml

from affectnet_plus_modeling import metrics
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.metrics.calibration.formulas import (
    classwise_calibration_error,
    expected_calibration_error,
)
from affectnet_plus_modeling.metrics.soft_label import formulas

FOLDER = Path(metrics.__file__).parent
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__")
CASES = [("soft_label", None), ("affect_dimensions", None), ("calibration", "hard"), ("calibration", "soft")]
NAN = float("nan")


def load(name, config=None, **options):
    return evaluate.load(str(FOLDER / name), config, **options)


def distributions(rows, seed) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(8, 0.5), rows)


def some_rows(name, config, rows=30) -> dict:
    """Predictions and references of a metric, every tenth reference unknown."""
    rng = np.random.default_rng(rows)
    if name == "affect_dimensions":
        predictions, references = rng.uniform(-1, 1, (rows, 2)), rng.uniform(-1, 1, (rows, 2))
    else:
        predictions, references = distributions(rows, 1), distributions(rows, 2)
    if config == "hard":
        references = references.argmax(axis=1)
    references[::10] = -1 if config == "hard" else NAN
    return {"predictions": predictions, "references": references}


def test_there_are_three_metrics():
    assert NAMES == ["affect_dimensions", "calibration", "soft_label"]


# ---- numbers


def test_soft_label_is_the_mean_of_its_formulas_over_the_known_rows():
    rows = some_rows("soft_label", None)
    found = load("soft_label").compute(**rows)
    known = np.arange(30) % 10 != 0
    true, predicted = rows["references"][known], rows["predictions"][known]
    expected = {
        "kl": formulas.kl_divergence,
        "kl_unsmoothed": formulas.kl_unsmoothed,
        "js": formulas.jensen_shannon,
        "cosine": formulas.cosine,
        "intersection": formulas.intersection,
        "chebyshev": formulas.chebyshev,
        "clark": formulas.clark,
        "canberra": formulas.canberra,
        "brier": formulas.brier,
        "top_2": formulas.top_2,
        "spearman": formulas.spearman,
    }
    for name, formula in expected.items():
        assert found[name] == pytest.approx(formula(true, predicted).mean(), rel=1e-12), name
    counts = {name: value for name, value in found.items() if name not in expected}
    assert counts == {"rows": 27, "unknown": 3, "spearman_rows": 27}


def test_a_constant_row_has_no_ranks_and_is_counted():
    rows = {"predictions": [[0.5, 0.5], [0.75, 0.25]], "references": [[0.25, 0.75], [1, 0]]}
    found = load("soft_label").compute(**rows)
    assert found["rows"] == 2 and found["spearman_rows"] == 1 and found["spearman"] == 1


def test_each_dimension_has_its_own_known_values_and_the_pool_has_all():
    predictions = [[0.5, 0.1], [0.25, -0.5], [-0.75, 0.3], [0.1, 0.2]]
    references = [[0.25, NAN], [0.5, -0.5], [-0.5, 0.1], None]
    found = load("affect_dimensions").compute(predictions=predictions, references=references)
    assert (found["valence_rows"], found["arousal_rows"], found["pooled_rows"]) == (3, 2, 5)
    assert found["valence_rmse"] == pytest.approx(0.25) and found["arousal_rmse"] == pytest.approx(0.02**0.5)
    assert found["pooled_rmse"] == pytest.approx(((3 * 0.0625 + 0.04) / 5) ** 0.5)
    x, y = np.array([0.5, 0.25, -0.75, -0.5, 0.3]), np.array([0.25, 0.5, -0.5, -0.5, 0.1])
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    ccc = 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert found["pooled_ccc"] == pytest.approx(ccc)
    assert found["pooled_pearson"] == pytest.approx(covariance / (x.std() * y.std()))
    assert found["arousal_pearson"] == pytest.approx(1) and found["pooled_sagr"] == found["mean_sagr"] == 1
    for key in ("ccc", "pearson", "rmse"):
        assert found[f"mean_{key}"] == pytest.approx((found[f"valence_{key}"] + found[f"arousal_{key}"]) / 2)


def test_calibration_of_hard_and_of_soft_labels():
    rows = some_rows("calibration", "soft")
    known = np.arange(30) % 10 != 0
    true, predicted = rows["references"][known], rows["predictions"][known]
    confidence, mass = predicted.max(axis=1), true[np.arange(27), predicted.argmax(axis=1)]
    found = load("calibration", "soft").compute(**rows, bins=6)
    assert found["ece"] == pytest.approx(expected_calibration_error(confidence, mass, 6))
    assert found["ece_equal_mass"] == pytest.approx(expected_calibration_error(confidence, mass, 6, True))
    assert found["classwise_ece"] == pytest.approx(classwise_calibration_error(predicted, true, 6))
    assert found["classwise_ece_equal_mass"] == pytest.approx(classwise_calibration_error(predicted, true, 6, True))
    assert found["classwise_ece"] != found["classwise_ece_equal_mass"]
    assert (found["rows"], found["unknown"]) == (27, 3)


def test_one_hot_soft_labels_are_calibrated_as_the_labels_are():
    rows = some_rows("calibration", "hard")
    one_hot = np.eye(8)[rows["references"]]
    one_hot[::10] = NAN
    soft = load("calibration", "soft").compute(predictions=rows["predictions"], references=one_hot)
    assert load("calibration").compute(**rows) == load("calibration", "hard").compute(**rows) == soft


def test_the_numbers_are_those_of_evaluate_predictions():
    rng, labels = np.random.default_rng(3), np.arange(40) % 9 - 1
    affect, true_affect = rng.uniform(-1, 1, (40, 2)), rng.uniform(-1, 1, (40, 2))
    true_affect[3, 1] = NAN
    probabilities, soft = distributions(40, 4) * (1 + 5e-5), distributions(40, 5)
    everything = Predictions([f"{i}" for i in range(40)], probabilities, soft, labels, affect, true_affect)
    expected = evaluate_predictions(everything)
    soft_label = load("soft_label").compute(predictions=probabilities, references=soft)
    assert (soft_label["kl"], soft_label["js"]) == (expected["kl"], expected["js"])
    calibration = load("calibration").compute(predictions=probabilities, references=labels)
    assert (calibration["ece"], calibration["rows"]) == (expected["ece"], expected["rows_with_label"])
    found = load("affect_dimensions").compute(predictions=affect, references=true_affect)
    for name in ("valence", "arousal"):
        assert {key: found[f"{name}_{key}"] for key in ("ccc", "pearson", "rmse", "sagr", "rows")} == expected[name]


@pytest.mark.parametrize("name, config", CASES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_one_row_and_no_known_row(name, config):
    rows = {key: values[1:2] for key, values in some_rows(name, config).items()}
    one = load(name, config).compute(**rows)
    assert one.get("rows", one.get("valence_rows")) == 1
    unknown = load(name, config).compute(
        predictions=rows["predictions"], references=[-1] if config == "hard" else [None]
    )
    assert unknown.keys() == one.keys()
    for key, value in unknown.items():
        assert value == (key == "unknown") if key == "unknown" or key.endswith("rows") else np.isnan(value), key


# ---- how rows come in


@pytest.mark.parametrize("name, config", CASES)
def test_rows_one_by_one_in_batches_and_at_once_are_the_same(name, config):
    rows = some_rows(name, config)
    metric = load(name, config)
    expected = metric.compute(**rows)
    for prediction, reference in zip(rows["predictions"], rows["references"], strict=True):
        metric.add(prediction=prediction, reference=reference)
    assert metric.compute() == expected
    for some in (slice(0, 7), slice(7, 30)):
        metric.add_batch(predictions=rows["predictions"][some].tolist(), references=rows["references"][some].tolist())
    assert metric.compute() == expected
    tensors = {key: torch.from_numpy(values) for key, values in rows.items()}
    assert load(name, config, keep_in_memory=True).compute(**tensors) == expected


def test_nothing_is_lost_on_the_way_through_the_cache():
    """Two rows that float32 cannot tell apart."""
    found = load("soft_label").compute(predictions=[[0.5, 0.5]], references=[[0.5 + 1e-12, 0.5 - 1e-12]])
    assert found["chebyshev"] == pytest.approx(1e-12, rel=1e-3)


def test_single_precision_is_rescaled_and_not_refused():
    single = distributions(50, 6).astype(np.float32)
    assert not np.array_equal(single.astype(float).sum(axis=1), np.ones(50))
    found = load("soft_label").compute(predictions=single, references=single.tolist())
    assert found["chebyshev"] == 0 and found["intersection"] == pytest.approx(1, abs=1e-15)


def test_a_prepared_folder_gives_references_as_they_are(prepared):
    data = datasets.load_dataset(str(prepared), "default", split="train")
    soft = data["soft_label_normalized"][:]
    uniform = np.full((len(soft), 8), 1 / 8)
    found = load("soft_label").compute(predictions=uniform, references=soft)
    assert found["unknown"] == soft.count(None) > 0 and found["rows"] == len(soft) - soft.count(None)
    affect = [[row["valence"], row["arousal"]] for row in data.select_columns(["valence", "arousal"])]
    found = load("affect_dimensions").compute(predictions=np.zeros((len(affect), 2)), references=affect)
    assert 0 < found["valence_rows"] < len(affect) and found["valence_ccc"] == 0


def test_metrics_of_the_same_rows_combine():
    rows = some_rows("calibration", "soft")
    both = evaluate.combine([load("soft_label"), load("calibration", "soft")])
    found = both.compute(**rows)
    both.add_batch(**rows)
    assert both.compute() == found
    for prediction, reference in zip(rows["predictions"], rows["references"], strict=True):
        both.add(prediction=prediction, reference=reference)
    assert both.compute() == found
    for name, config in (("soft_label", None), ("calibration", "soft")):
        for key, value in load(name, config).compute(**rows).items():
            assert found[f"{name}_{key}" if key in ("rows", "unknown") else key] == value


PROCESS = """
import json, sys
for absent in ("affectnet_plus", "affectnet_plus_modeling", "transformers"):
    sys.modules[absent] = None
import evaluate
del sys.modules["transformers"]  # absent only while evaluate is imported, which saves seconds

process, folder = int(sys.argv[1]), sys.argv[2]
for name, config, rows in json.load(open(folder + "/rows.json")):
    options = {"num_process": 2, "process_id": process, "experiment_id": "two", "cache_dir": folder + "/cache"}
    metric = evaluate.load(f"{folder}/{name}", config, **options)
    share = slice(process * 12, 12 if process == 0 else None)
    metric.add_batch(**{key: values[share] for key, values in rows.items()})
    print(json.dumps(metric.compute()), flush=True)
"""


@pytest.mark.slow
def test_two_processes_with_the_folders_alone_find_what_one_does(tmp_path):
    for name in NAMES:
        shutil.copytree(FOLDER / name, tmp_path / name)
    rows = [(name, config, some_rows(name, config)) for name, config in CASES]
    plain = [(name, config, {key: v.tolist() for key, v in columns.items()}) for name, config, columns in rows]
    (tmp_path / "rows.json").write_text(json.dumps(plain))
    command = [sys.executable, "-c", PROCESS]
    running = [
        subprocess.Popen([*command, str(process), str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for process in range(2)
    ]
    first, second = (process.communicate(timeout=900)[0].splitlines() for process in running)
    assert [json.loads(line) for line in first] == [load(name, config).compute(**r) for name, config, r in rows]
    assert second == ["null"] * 4, "only the first process answers"


# ---- what is refused


@pytest.mark.parametrize(
    "name, config, changes, words",
    [
        ("soft_label", None, {"predictions": {4: np.full(8, 0.1)}}, r"predictions of row 4.*0.1.*a distribution"),
        ("soft_label", None, {"predictions": {4: [NAN] * 8}}, "predictions of row 4: found .*nan"),
        ("soft_label", None, {"predictions": {4: None}}, "predictions of row 4: found .*nan"),
        ("soft_label", None, {"predictions": {4: [1.5, -0.5, 0, 0, 0, 0, 0, 0]}}, "predictions of row 4.*-0.5"),
        ("soft_label", None, {"predictions": {4: [np.inf, 0, 0, 0, 0, 0, 0, 0]}}, "predictions of row 4: found .*inf"),
        ("soft_label", None, {"predictions": {4: [0.5, 0.5]}}, "predictions of row 4: found 2 values, expected 8"),
        ("soft_label", None, {"references": {4: [0.5, 0.5]}}, "references of row 4: found 2 values, expected 8"),
        ("soft_label", None, {"references": {4: [NAN, 1, 0, 0, 0, 0, 0, 0]}}, "references of row 4.*all NaN where"),
        ("soft_label", None, {"references": {4: [None, 1, 0, 0, 0, 0, 0, 0]}}, "references of row 4.*all NaN where"),
        ("calibration", "soft", {"predictions": {4: np.full(8, 0.1)}}, "predictions of row 4.*a distribution"),
        ("calibration", "soft", {"references": {4: np.full(8, 0.1)}}, "references of row 4.*, or all NaN"),
        ("calibration", "hard", {"references": {4: 8}}, "references of row 4: found 8.*a label from 0 to 7"),
        ("calibration", "hard", {"references": {4: -2}}, "references of row 4: found -2"),
        ("calibration", "hard", {"references": {4: 0.7}}, "references of row 4: found 0.7"),
        ("calibration", "hard", {"references": {4: None}}, "references of row 4: found nan"),
        ("affect_dimensions", None, {"references": {4: [-2, -2]}}, r"references of row 4.*-2.*\[-1, 1\], or NaN"),
        ("affect_dimensions", None, {"predictions": {4: [0, NAN]}}, "predictions of row 4.*nan.*two finite numbers"),
        ("affect_dimensions", None, {"predictions": {4: [0, 0, 0]}}, "predictions of row 4: found 3 values, exp.* 2"),
    ],
)
def test_the_first_bad_row_is_named(name, config, changes, words):
    rows = {key: list(values) for key, values in some_rows(name, config).items()}
    for key, changed in changes.items():
        for row, value in changed.items():
            rows[key][row] = rows[key][row + 1] = value
    with pytest.raises(ValueError, match=words):
        load(name, config, keep_in_memory=True).compute(**rows)


@pytest.mark.parametrize("name, config", CASES)
def test_no_rows_are_refused(name, config):
    with pytest.raises(ValueError, match="no rows to evaluate: predictions holds 0"):
        load(name, config, keep_in_memory=True).compute(predictions=[], references=[])


@pytest.mark.parametrize("name", ["soft_label", "calibration"])
def test_one_class_is_refused(name):
    with pytest.raises(ValueError, match="predictions are rows of 1 values, expected at least 2 classes"):
        load(name, "soft", keep_in_memory=True).compute(predictions=[[1.0]], references=[[1.0]])


def test_unequal_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match=r"predictions \(2\) and references \(1\)"):
        load("soft_label").compute(predictions=distributions(2, 0), references=distributions(1, 1))


def test_an_unknown_configuration_is_refused():
    with pytest.raises(ValueError, match="configuration 'both', expected hard or soft"):
        load("calibration", "both")


def test_rows_after_refused_ones_are_measured_alone(tmp_path):
    metric = load("soft_label", cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match="row 0"):
        metric.compute(predictions=[[1.0, 1.0]], references=[[1.0, 0.0]])
    assert metric.compute(predictions=[[1.0, 0.0]], references=[[1.0, 0.0]])["rows"] == 1


# ---- the folders


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_the_card_is_what_comes_out(name, monkeypatch):
    monkeypatch.chdir(FOLDER.parents[1])
    examples = re.findall(r"```python\n(.*?)```", (FOLDER / name / "README.md").read_text(), flags=re.S)
    test = doctest.DocTestParser().get_doctest("".join(examples), {}, name, name, 0)
    found = doctest.DocTestRunner().run(test)
    assert found.attempted >= 5 and found.failed == 0


@pytest.mark.parametrize("name, config", CASES)
def test_the_card_and_the_description_name_every_number(name, config):
    card = (FOLDER / name / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    metric = load(name, config)
    assert head["title"] == metric.name == name and {"evaluate", "metric"} <= set(head["tags"])
    for key in metric.compute(**some_rows(name, config)):
        for text in (card, metric.inputs_description):
            assert re.search(rf"\b{key}\b", text), key


def test_the_checks_of_inputs_are_the_same_in_every_folder():
    assert len({(FOLDER / name / "inputs.py").read_text() for name in NAMES}) == 1
