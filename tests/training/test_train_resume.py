"""Training: the best checkpoint, and interruption and resuming, bit for bit."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import load_dataset
from safetensors.torch import load_file

from affectnet_plus_modeling.training import train as train_module
from affectnet_plus_modeling.training.options import SIZES, Augmentation
from affectnet_plus_modeling.training.soft_label_trainer import SoftLabelTrainer
from affectnet_plus_modeling.training.train import TrainingFacts, train
from affectnet_plus_modeling.training.work_folder import CHECKPOINT_FORMAT
from support.models import CODE, LOADED, TINY, quick

STILL = Augmentation(flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erase=0)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# ---- the best checkpoint


@pytest.fixture
def kept(monkeypatch):
    """The folder of checkpoints is not removed at the end."""
    monkeypatch.setattr(train_module, "remove", lambda work: None)


# So fast and so long that the choosing faces get worse again: the best checkpoint is not the last.
OVERFITTING = quick(epochs=12, learning_rate=5e-3, warmup=0.0, augmentation=STILL)


def best_and_last(out: Path, record: dict) -> tuple[dict, dict]:
    assert record["best_step"] < record["steps"], "premise: the best checkpoint is not the last"
    work = out.with_name(out.name + ".training")
    best, last = (weights(work / f"checkpoint-{record[step]}") for step in ("best_step", "steps"))
    assert not any(torch.equal(best[name], last[name]) for name in best), "premise: every tensor was trained on"
    return best, last


@pytest.mark.slow
def test_the_best_checkpoint_is_what_is_saved(drawn, tmp_path, tiny, kept):
    record = train(drawn, tmp_path / "model", OVERFITTING)
    best, _ = best_and_last(tmp_path / "model", record)
    assert same(weights(tmp_path / "model"), best)
    losses = {entry["step"]: entry["eval_objective"] for entry in record["log"] if "eval_objective" in entry}
    assert record["best_step"] == min(losses, key=losses.get)
    assert record["best_objective"] == losses[record["best_step"]]


# ---- interruption


def interrupted_at(step: int) -> type[SoftLabelTrainer]:
    class Interrupted(SoftLabelTrainer):
        def training_step(self, *args, **kwargs):
            if self.state.global_step == step:
                raise KeyboardInterrupt
            return super().training_step(*args, **kwargs)

    return Interrupted


def interrupt(data, out, options, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "SoftLabelTrainer", interrupted_at(step))
        train(data, out, options)


def fail_to_save(data, out, options) -> None:
    def full_disk(*_):
        raise OSError("No space left on device")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(train_module, "save_model", full_disk)
        train(data, out, options)


@pytest.fixture(scope="module")
def uninterrupted(drawn, tmp_path_factory) -> tuple[dict, dict]:
    """The weights and the record of a run of 3 epochs, with every random change of the pictures."""
    out = tmp_path_factory.mktemp("uninterrupted") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", TINY)
        record = train(drawn, out, quick(epochs=3))
    return weights(out), record


def facts_of(record: dict) -> dict:
    """What a record says of the run, and not of the clock and the machine."""
    return {name: record[name] for name in TrainingFacts.__annotations__}


# Of CHECKPOINT_FORMAT 2: the names of the files and of what is in them, and what the first epoch came to.
CHECKPOINT = "67d6e33936d5f46786228422682bde0cefa6db7dcaee5cd948276946c4425f1a"


def test_a_checkpoint_is_as_before_or_the_format_has_another_number(drawn, tmp_path, tiny):
    interrupt(drawn, tmp_path / "model", quick(), step=3)
    [folder] = (tmp_path / "model.training").glob("checkpoint-2")
    tensors = {path.name: sorted(load_file(path)) for path in sorted(folder.glob("*.safetensors"))}
    names = sorted({path.name for path in folder.iterdir()} - {*CODE})  # the code that travels is no part of the run
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    losses = [round(entry["eval_objective"], 3) for entry in log if "eval_objective" in entry]
    found = hashlib.sha256(json.dumps([names, tensors, losses]).encode()).hexdigest()
    assert (CHECKPOINT_FORMAT, found) == (2, CHECKPOINT), (
        f"a checkpoint holds something else than before ({found}), or the first steps come out otherwise. Is that "
        "meant? Then raise CHECKPOINT_FORMAT in training/work_folder.py, and pin number and digest here"
    )


def test_a_run_leaves_the_model_and_nothing_else(drawn, tmp_path, tiny):
    out = tmp_path / "deeper" / "model"
    train(drawn, out, quick(epochs=1))
    assert os.listdir(out.parent) == ["model"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*CODE, *LOADED, "training.json"])


def test_a_resumed_run_ends_as_the_uninterrupted_one(drawn, tmp_path, tiny, uninterrupted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    interrupt(drawn, "model", quick(epochs=3), step=5)  # in the middle of the third epoch
    assert sorted(os.listdir(tmp_path)) == ["model.training"]
    with pytest.raises(ValueError, match="another command: epochs was 3 and is 2. Give the command"):
        train(drawn, "model", quick(epochs=2))
    with pytest.raises(ValueError, match="order of the faces is another"):  # a checkpoint knows them by their places
        train(load_dataset(str(drawn)).shuffle(seed=0), "model", quick(epochs=3))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    told: list[str] = []
    record = train(drawn, "../model", quick(epochs=3), resume=True, say=told.append)
    assert told == ["going on with an interrupted run, from step 4"]
    expected, whole = uninterrupted
    assert same(weights(tmp_path / "model"), expected)
    assert facts_of(record) == facts_of(whole)
    assert len(record["clock"]["parts"]) == 2 and len(whole["clock"]["parts"]) == 1
    assert sum(record["clock"]["parts"]) == pytest.approx(record["seconds"], abs=0.1)
    assert [line["step"] for line in record["clock"]["log"]] == [2, 4, 6]
    assert not (tmp_path / "model.training").exists()


@pytest.mark.slow
@pytest.mark.parametrize("step", [21, None], ids=["near the end", "at the end"])
def test_the_best_checkpoint_survives_resuming(drawn, tmp_path, tiny, kept, monkeypatch, step):
    monkeypatch.chdir(tmp_path)
    if step:
        interrupt(drawn, "model", OVERFITTING, step)
    else:
        fail_to_save(drawn, "model", OVERFITTING)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    record = train(drawn, tmp_path / "model", OVERFITTING, resume=True)
    assert record["best_step"] <= 20, "premise: the best checkpoint is from before the interruption"
    best, _ = best_and_last(tmp_path / "model", record)
    assert same(weights(tmp_path / "model"), best)


def test_a_half_written_checkpoint_is_not_resumed_from(drawn, tmp_path, tiny, uninterrupted):
    interrupt(drawn, tmp_path / "model", quick(epochs=3), step=4)
    newest = tmp_path / "model.training" / "checkpoint-4"
    (newest / "trainer_state.json").unlink()
    (newest / "model.safetensors").write_bytes(b"half")
    train(drawn, tmp_path / "model", quick(epochs=3))  # the same command goes on by itself
    assert same(weights(tmp_path / "model"), uninterrupted[0])


def test_a_run_that_was_interrupted_before_its_first_checkpoint_can_be_resumed(drawn, tmp_path, tiny, uninterrupted):
    interrupt(drawn, tmp_path / "model", quick(epochs=3), step=0)
    train(drawn, tmp_path / "model", quick(epochs=3), resume=True)
    assert same(weights(tmp_path / "model"), uninterrupted[0])


@pytest.mark.slow
def test_a_run_that_was_interrupted_while_it_saved_can_be_resumed(drawn, tmp_path, tiny, uninterrupted):
    fail_to_save(drawn, tmp_path / "model", quick(epochs=3))
    assert os.listdir(tmp_path) == ["model.training"]
    record = train(drawn, tmp_path / "model", quick(epochs=3), resume=True)
    assert facts_of(record) == facts_of(uninterrupted[1])
    assert same(weights(tmp_path / "model"), uninterrupted[0])


def test_a_failing_run_leaves_the_model_that_was_there(drawn, tmp_path, tiny):
    out = tmp_path / "model"
    train(drawn, out, quick(epochs=1))
    before = weights(out)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "SoftLabelTrainer", interrupted_at(1))
        train(drawn, out, quick(epochs=1, seed=1), overwrite=True)
    assert same(weights(out), before)
    train(drawn, out, quick(epochs=1, seed=1), overwrite=True)
    assert not same(weights(out), before)


# A run in a process of its own that says so when it is at its third step, and then waits to be killed.
WAITING = """
import sys, time
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.training import options, train
options.SIZES["tiny"] = TINY

class Waiting(train.SoftLabelTrainer):
    def training_step(self, *args, **kwargs):
        if self.state.global_step == 3:
            print("HERE", flush=True)
            time.sleep(60)
        return super().training_step(*args, **kwargs)

train.SoftLabelTrainer = Waiting
main(["train", *sys.argv[1:], "--epochs", "3", "--batch-size", "16", "--image-size", "48", "--bf16", "no"])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.slow
def test_a_killed_run_can_be_resumed(drawn, tmp_path, tiny, uninterrupted, number):
    out = tmp_path / "model"
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING.replace("TINY", repr(TINY)), str(drawn), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert any(line.strip() == "HERE" for line in child.stdout)
    child.send_signal(number)
    child.communicate(timeout=900)
    assert child.returncode == (143 if number == signal.SIGTERM else -9)
    assert os.listdir(tmp_path) == ["model.training"]
    train(drawn, out, quick(epochs=3), resume=True)
    assert same(weights(out), uninterrupted[0])
