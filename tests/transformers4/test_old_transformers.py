"""A published model under transformers 4.57, whose ViT has other names: the same numbers, and the same stock tools."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, Trainer, TrainingArguments, pipeline

FERPLUS = Path(__file__).parents[2] / "modeling" / "pretrained" / "ferplus"
LOGITS = [1.611045, 1.187151, -0.898636, -1.136790, -2.171504, -2.206744]  # as transformers 5.24 has them


@pytest.fixture(scope="module")
def model():
    return AutoModelForImageClassification.from_pretrained(FERPLUS, trust_remote_code=True)


def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_this_is_the_old_one_and_nothing_of_ours_is_here(model):
    assert transformers.__version__.startswith("4.57.")
    assert type(model).__module__.startswith("transformers_modules.")
    with pytest.raises(ModuleNotFoundError):
        __import__("affectnet_plus_modeling")


def test_the_numbers_are_the_same_and_every_tensor_is_restored(model):
    with torch.no_grad():
        assert model(pixels()).logits[0, :6].tolist() == pytest.approx(LOGITS, abs=1e-5)
    copy.deepcopy(model).load_state_dict(load_file(FERPLUS / "model.safetensors"), strict=True)


def test_what_is_saved_again_answers_in_both_pipelines(model, tmp_path):
    model.save_pretrained(tmp_path)
    assert {file.name for file in FERPLUS.glob("*.py")} == {file.name for file in tmp_path.glob("*.py")}
    face = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8))
    ask = [pipeline("facial-affect", str(folder), trust_remote_code=True) for folder in (FERPLUS, tmp_path)]
    answer = ask[0](face)
    assert answer == ask[1](face) and answer["prediction_set"]
    stock = pipeline("image-classification", str(tmp_path), trust_remote_code=True, top_k=8)(face)
    assert {entry["label"] for entry in stock} == set(answer["soft_label"])


def test_the_stock_trainer_takes_another_head_and_keeps_the_best(tmp_path):
    options = {"trust_remote_code": True, "num_labels": 3, "ignore_mismatched_sizes": True}
    model = AutoModelForImageClassification.from_pretrained(FERPLUS, **options)
    fitted = model.config.logit_temperature, model.config.uncertainty, model.config.class_weights
    assert fitted == (1.0, None, None)
    scores = iter((2.0, 1.0))  # the first checkpoint is the best
    rows = [{"pixel_values": face, "labels": index} for index, face in enumerate(pixels())]
    arguments = TrainingArguments(
        str(tmp_path),
        num_train_epochs=2,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="score",
        report_to="none",
        use_cpu=True,
    )
    trainer = Trainer(
        model, arguments, train_dataset=rows, eval_dataset=rows, compute_metrics=lambda _: {"score": next(scores)}
    )
    trainer.train()
    best = load_file(tmp_path / "checkpoint-1" / "model.safetensors")
    last = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    kept = trainer.model.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in best.items()) and len(kept) == len(best)
    assert not torch.equal(best["classifier.weight"], last["classifier.weight"]), "premise"
