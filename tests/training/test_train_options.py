"""Training with each of its options: that it does what it says, and resumes bit for bit with all of them on."""

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.evaluation.predict import load_model
from affectnet_plus_modeling.sources.tree import annotation
from affectnet_plus_modeling.training import faces as faces_module
from affectnet_plus_modeling.training import train as train_module
from affectnet_plus_modeling.training import trainer as trainer_module
from affectnet_plus_modeling.training.options import SIZES, Augmentation, TrainingOptions
from affectnet_plus_modeling.training.soft_label_trainer import SoftLabelTrainer, WholeSteps
from affectnet_plus_modeling.training.train import train
from affectnet_plus_modeling.vit.configuration_affectnet_plus import LOSSES
from support.models import TINY, quick
from support.trees import full_record, picture

STILL = Augmentation(flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erase=0)
# As options, and as they stand on the command line.
EVERYTHING = {
    "sampler": "square-root",
    "accumulation": 2,
    "drop_path": 0.3,
    "layer_decay": 0.8,
    "average": 0.9,
    "mixup": 0.4,
    "cutmix": 0.4,
    "label_smoothing": 0.05,
    "holdout": 0.25,
    "epochs": 4,
    "batch_size": 8,
    "image_size": 48,
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def kept(monkeypatch):
    """The folder of checkpoints is not removed at the end."""
    monkeypatch.setattr(train_module, "remove", lambda work: None)


def losses(record: dict) -> list[float]:
    return [entry["loss"] for entry in record["log"] if "loss" in entry]


# ---- options


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"loss": "emd"}, "loss is 'emd'; it must be one of kl, js, cross_entropy"),
        ({"sampler": "odd"}, "sampler is 'odd'; it must be one of natural, balanced, square-root"),
        ({"average": 1.0}, r"average is 1.0; it must be in \[0, 1\)"),
        ({"layer_decay": 0.0}, r"layer_decay is 0.0; it must be in \(0, 1\]"),
        ({"accumulation": 0}, "accumulation is 0; it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"epochs": 0}, "epochs is 0; it must be above 0"),
        ({"patience": 0}, "patience is 0; it must be at least 1"),
        ({"mixup": -0.1}, "mixup is -0.1; it must be 0 or positive"),
        ({"from_vit": "a", "from_pretrained": "b"}, "both say what to start from"),
    ],
)
def test_unusable_options_are_refused(option, words):
    with pytest.raises(ValueError, match=words):
        TrainingOptions(**option)


def test_the_losses_of_the_options_are_those_of_the_model():
    assert TrainingOptions.__dataclass_fields__["loss"].metadata["choices"] == tuple(LOSSES)


def test_every_option_is_on_the_command_line(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    for name in TrainingOptions.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in re.split(r"[\s\]]", said), name


# ---- a run with everything on


@pytest.fixture(scope="module")
def everything(drawn, tmp_path_factory) -> tuple[dict, dict]:
    out = tmp_path_factory.mktemp("everything") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", TINY)
        record = train(drawn, out, TrainingOptions(**EVERYTHING, bf16=False))
    return weights(out), record


@pytest.mark.slow
def test_with_everything_on_the_steps_are_whole_and_the_seed_decides(drawn, everything, tmp_path, tiny):
    expected, record = everything
    assert record["training_faces"] == 24 and record["steps"] == 8  # three batches of 8 make two steps
    train(drawn, tmp_path / "model", TrainingOptions(**EVERYTHING, bf16=False))
    assert same(weights(tmp_path / "model"), expected)
    train(drawn, tmp_path / "other", TrainingOptions(**EVERYTHING, bf16=False, seed=1))
    assert not same(weights(tmp_path / "other"), expected)


# A run in a process of its own that says at which batch it is, and then waits to be killed.
WAITING = """
import sys, time
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.training import options, train
options.SIZES["tiny"] = TINY

class Waiting(train.SoftLabelTrainer):
    batches = 0
    def training_step(self, *args, **kwargs):
        if Waiting.batches == AT:
            print("HERE", flush=True)
            time.sleep(60)
        Waiting.batches += 1
        return super().training_step(*args, **kwargs)

train.SoftLabelTrainer = Waiting
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_run_that_is_killed_at_a_random_step_ends_as_if_it_had_not_been(drawn, everything, tmp_path, tiny):
    words = ["train", str(drawn), str(tmp_path / "model"), "--bf16", "no"]
    for name, value in EVERYTHING.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    at = random.SystemRandom().randrange(12)
    print(f"killed at batch {at} of 12")
    code = WAITING.replace("TINY", repr(TINY)).replace("AT", str(at))
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert any(line.strip() == "HERE" for line in child.stdout)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=900)
    assert child.returncode == -9 and os.listdir(tmp_path) == ["model.training"]
    assert main([*words, "--resume"]) == 0
    assert same(weights(tmp_path / "model"), everything[0])


def test_a_run_is_not_resumed_with_other_options(drawn, tmp_path, tiny, kept):
    train(drawn, tmp_path / "model", quick(epochs=1))
    (tmp_path / "model").rename(tmp_path / "away")
    with pytest.raises(ValueError, match="another command: learning_rate was 0.001 and is 0.01. Give the"):
        train(drawn, tmp_path / "model", quick(epochs=1, learning_rate=0.01), resume=True)
    train(drawn, tmp_path / "model", quick(epochs=1, bf16=None), resume=True)  # what was measured then holds


def test_seconds_count_what_was_before_the_interruption(drawn, tmp_path, tiny, monkeypatch):
    class Interrupted(SoftLabelTrainer):
        def training_step(self, *args, **kwargs):
            if self.state.global_step == 3:
                raise KeyboardInterrupt
            return super().training_step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "SoftLabelTrainer", Interrupted)
        patch.setattr(trainer_module.Clock, "parts", property(lambda clock: [400.0, 600.0]))
        train(drawn, tmp_path / "model", quick())
    record = train(drawn, tmp_path / "model", quick(), resume=True)
    assert 1000 < record["seconds"] < 1100


# ---- each option


def test_an_epoch_leaves_out_what_would_not_fill_a_step():
    class Order:
        epoch, never_drawn = 0, 0

        def __len__(self):
            return 10

        def __iter__(self):
            return iter(range(self.epoch, self.epoch + 10))

        def set_epoch(self, epoch):
            self.epoch = epoch

    order = WholeSteps(Order(), 4)
    assert (len(order), list(order)) == (8, list(range(8)))
    order.set_epoch(2)
    assert list(order) == list(range(2, 10))


def test_a_set_smaller_than_a_step_is_one_step(drawn, tmp_path, tiny):
    record = train(drawn, tmp_path / "model", quick(batch_size=64, epochs=1))
    assert record["steps"] == 1


@pytest.mark.slow
def test_accumulated_batches_train_like_one_big_one(drawn, tmp_path, tiny):
    """Valence and arousal too, whose CCC is of all faces of a step together."""
    options = {"epochs": 3, "augmentation": STILL}
    whole = train(drawn, tmp_path / "whole", quick(batch_size=16, **options))
    parts = train(drawn, tmp_path / "parts", quick(batch_size=4, accumulation=4, **options))
    assert losses(parts) == pytest.approx(losses(whole), rel=2e-5)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name in one:
        assert torch.allclose(one[name], other[name], atol=2e-4), name


def test_the_average_of_the_weights_is_what_is_measured_and_saved(drawn, tmp_path, tiny, kept):
    record = train(drawn, tmp_path / "model", quick(epochs=3, average=0.9))
    checkpoint = tmp_path / "model.training" / f"checkpoint-{record['best_step']}"
    average = load_file(checkpoint / "average.safetensors")
    model = load_model(tmp_path / "model")
    assert all(torch.equal(value, average[name]) for name, value in model.named_parameters())
    assert not same(weights(tmp_path / "model"), weights(checkpoint)), "premise: the weights are not their average"
    steady = min(entry["eval_objective"] for entry in record["log"] if "eval_objective" in entry)
    assert record["best_objective"] == steady


def test_layers_near_the_picture_change_less(drawn, tmp_path, tiny):
    options = quick(epochs=1, layer_decay=0.1, warmup=0.0, weight_decay=0.0)
    train(drawn, tmp_path / "model", options)
    train_module.transformers.set_seed(options.seed)
    begun = train_module._model(train_module._decided(options, 48), 48, EMOTIONS, knows_affect=True)
    trained = load_model(tmp_path / "model").state_dict()
    change = {name: float((trained[name] - value).abs().max()) for name, value in begun.state_dict().items()}
    assert change["stem.0.weight"] < change["vit.layers.1.mlp.fc1.weight"] / 20 < change["classifier.weight"]


def test_training_stops_early_when_nothing_gets_better(drawn, tmp_path, tiny):
    record = train(drawn, tmp_path / "model", quick(epochs=30, learning_rate=5e-3, patience=2, augmentation=STILL))
    assert record["steps"] < 60
    assert record["steps"] == record["best_step"] + 4, "two epochs of two steps without a better one"


@pytest.mark.slow
def test_samplers_mixing_and_the_other_losses_reach_the_training(drawn, tmp_path, tiny):
    found = set()
    for number, option in enumerate(
        ({}, {"sampler": "square-root"}, {"mixup": 1.0}, {"cutmix": 1.0}, {"loss": "js"}, {"drop_path": 0.5})
    ):
        record = train(drawn, tmp_path / str(number), quick(epochs=1, augmentation=STILL, **option))
        found.add(round(losses(record)[0], 6))
    assert len(found) == 6


def test_a_run_starts_from_a_model_of_ours(drawn, trained, tmp_path, tiny, monkeypatch):
    begun = {}

    class Begun(TrainerCallback):
        def on_train_begin(self, args, state, control, model, **_):
            begun.update({name: value.clone() for name, value in model.state_dict().items()})

    class Noting(SoftLabelTrainer):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.add_callback(Begun())

    monkeypatch.setattr(train_module, "SoftLabelTrainer", Noting)
    record = train(drawn, tmp_path / "model", quick(epochs=1, from_pretrained=str(trained)))
    source = load_model(trained).state_dict()
    for name, value in source.items():
        assert torch.equal(begun[name], value) == name.startswith(("stem.", "vit.")), name
    assert record["options"]["from_pretrained"] == "model"
    with pytest.raises(ValueError, match="needs 'affectnet_plus'"):
        (tmp_path / "vit").mkdir()
        (tmp_path / "vit" / "config.json").write_text('{"model_type": "vit"}')
        copyfile(trained / "model.safetensors", tmp_path / "vit" / "model.safetensors")
        train(drawn, tmp_path / "other", quick(from_pretrained=str(tmp_path / "vit")))


@pytest.mark.slow
def test_a_tracker_gets_the_curve(drawn, tmp_path, tiny, monkeypatch):
    trackio = pytest.importorskip("trackio")
    assert trackio.__version__
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "tracked"))
    code = (
        "import sys\nfrom affectnet_plus_modeling.training import options\n"
        f"options.SIZES['tiny'] = {TINY!r}\n"
        "from affectnet_plus_modeling.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    words = ["train", drawn, tmp_path / "model", "--epochs", "1", "--image-size", "48", "--report-to", "trackio"]
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "tracked"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert any(path.is_file() for path in (tmp_path / "tracked").rglob("*.db"))


# ---- stops


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(drawn, tmp_path, tiny, monkeypatch):
    class Broken(SoftLabelTrainer):
        def training_step(self, model, inputs, *args, **kwargs):
            if self.state.global_step == 3:
                inputs["pixel_values"] = inputs["pixel_values"] * float("nan")
            return super().training_step(model, inputs, *args, **kwargs)

    monkeypatch.setattr(train_module, "SoftLabelTrainer", Broken)
    words = "no number any more at step 3 of 6. The last good checkpoint is kept in .*model.training/checkpoint-2"
    with pytest.raises(ValueError, match=words):
        train(drawn, tmp_path / "model", quick(epochs=3))
    assert os.listdir(tmp_path) == ["model.training"]
    kept = load_file(tmp_path / "model.training" / "checkpoint-2" / "model.safetensors")
    assert all(value.isfinite().all() for value in kept.values())
    monkeypatch.undo()
    monkeypatch.setitem(SIZES, "tiny", TINY)
    assert train(drawn, tmp_path / "model", quick(epochs=3), resume=True)["steps"] == 6


def test_an_empty_split_stops(drawn, tmp_path, tiny, monkeypatch):
    read = faces_module.load_prepared
    for split, purpose in (("train", "to train on"), ("validation", "to choose the best checkpoint with")):

        def without(*arguments, split=split):
            splits = read(*arguments)
            splits[split] = splits[split].select([])
            return splits

        monkeypatch.setattr(faces_module, "load_prepared", without)
        with pytest.raises(ValueError, match=f"of the 0 faces {purpose}, none has a soft label"):
            train(drawn, tmp_path / "model", quick())
    assert not os.listdir(tmp_path)


def test_faces_without_any_label_stop_before_a_picture_is_read(prepared_from, tmp_path, tiny, monkeypatch):
    faces = [(picture((20 * row, 90, 9)), annotation(label=row)) for row in range(8)]
    data = prepared_from(faces, faces)
    monkeypatch.setattr(faces_module, "FaceDataset", None)
    with pytest.raises(ValueError, match="of the 8 faces to train on, none has a soft label"):
        train(data, tmp_path / "model", quick())


def test_a_class_without_a_face_stops_unless_it_may_be_empty(prepared_from, tmp_path, tiny):
    faces = [(picture((20 * row, 90, 9)), full_record(row, 0, row)) for row in range(7)]
    data = prepared_from(faces, faces)
    options = {"target": "hard", "epochs": 1, "image_size": 24}
    for sampler in ("natural", "balanced"):
        with pytest.raises(ValueError, match="no hard label of the 7 faces to train on has any contempt"):
            train(data, tmp_path / "model", quick(**options, sampler=sampler))
    assert not (tmp_path / "model.training").exists()
    for number, sampler in enumerate(("natural", "balanced")):
        train(data, tmp_path / str(number), quick(**options, sampler=sampler, allow_empty_classes=True))
