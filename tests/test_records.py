"""What the verbs return is what their types say: no key less, none more, and each value of its kind."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from affectnet_plus_modeling.checking.findings import Examination
from affectnet_plus_modeling.evaluation import model_order
from affectnet_plus_modeling.evaluation.evaluate import compare, evaluate
from affectnet_plus_modeling.evaluation.options import EvaluationOptions
from affectnet_plus_modeling.evaluation.records import Comparison, Metrics
from affectnet_plus_modeling.examination import doctor
from affectnet_plus_modeling.exporting.export import export
from affectnet_plus_modeling.exporting.records import ExportReport
from affectnet_plus_modeling.labelling.ensemble.card import EnsembleRecord
from affectnet_plus_modeling.labelling.ensemble.options import EnsembleOptions
from affectnet_plus_modeling.labelling.ensemble.train import train_ensemble
from affectnet_plus_modeling.labelling.label import Account, label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from affectnet_plus_modeling.preparing.prepare import PreparingReport, prepare
from affectnet_plus_modeling.sources.synthetic import draw_tree
from affectnet_plus_modeling.training.pretrain import PretrainingRecord, pretrain
from affectnet_plus_modeling.training.pretrain_options import PretrainingOptions
from affectnet_plus_modeling.training.train import TrainingRecord
from support.ensembles import make_ensemble

FEW = EvaluationOptions(resamples=20)


def told(record: Any, kind: Any) -> None:
    """A record is of its type, as msgspec reads it, which leaves out what the type does not have."""
    plain = json.loads(json.dumps(record))
    assert plain and msgspec.convert(plain, kind) == plain


def test_an_evaluation_and_a_comparison(drawn, trained):
    metrics = evaluate(trained, drawn, options=FEW)
    told(metrics, Metrics)
    assert metrics["comparison"] is None and metrics["kl"] is not None
    told(evaluate(trained, drawn, options=EvaluationOptions(resamples=20, compare=str(trained))), Metrics)
    told(compare(trained, trained, drawn, options=FEW), Comparison)


def test_preparing_and_examining(drawn_tree, drawn, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(model_order, "MIN_FACES", 30)  # `drawn` has 32
    told(prepare(drawn_tree, tmp_path / "prepared"), PreparingReport)
    told(doctor(drawn_tree), Examination)
    told(doctor(drawn), Examination)
    told(model_order.examine_model(trained, drawn, split="train"), Examination)


@pytest.mark.slow
def test_trainings(drawn, trained, tmp_path):
    told(json.loads((Path(trained) / "training.json").read_text()), TrainingRecord)
    few = {"trunk_epochs": 1, "epochs": 1, "fewest_positives": 8, "batch_size": 32, "bf16": False}
    chosen = EnsembleOptions(backbones=("resnet",), folds=1, image_size=24, **few)
    draw_tree(tmp_path / "raw", 200, seed=5, validation_fraction=0.3)  # enough of each emotion
    prepare(tmp_path / "raw", tmp_path / "prepared")
    told(train_ensemble(tmp_path / "prepared", tmp_path / "ensemble", chosen, say=lambda text: None), EnsembleRecord)
    told(pretrain(drawn, tmp_path / "encoder", PretrainingOptions(epochs=1, image_size=48)), PretrainingRecord)


def test_labels(drawn_tree, tmp_path):
    ensemble = make_ensemble(tmp_path / "ensemble")
    told(label(drawn_tree, tmp_path / "labelled", LabelOptions(str(ensemble))), Account)


@pytest.mark.slow
def test_an_export(trained, tmp_path):
    told(export(trained, tmp_path / "exported"), ExportReport)
