"""Training in two processes: the same curve as in one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.synthetic import draw_tree
from support.models import TINY

# With PAUSE set, every process waits to be killed in the middle of the second epoch.
SCRIPT = """
import os, sys, time
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.training import options, train
options.SIZES["tiny"] = TINY

class Waiting(train.SoftLabelTrainer):
    def training_step(self, *arguments, **more):
        if self.state.global_step == 5 and "PAUSE" in os.environ:
            time.sleep(100)
        return super().training_step(*arguments, **more)

train.SoftLabelTrainer = Waiting
sys.exit(main(sys.argv[1:]))
"""
OPTIONS = ["--image-size", "48", "--augmentation", "0", "--flip", "0", "--bf16", "no", "--epochs", "3"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """46 drawn faces, 35 for training and 11 for validation: neither fills two processes evenly."""
    root = tmp_path_factory.mktemp("odd")
    draw_tree(root / "raw", 46, 0, 11 / 46)
    prepare(root / "raw", root / "odd")
    return root / "odd"


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("TINY", repr(TINY)))
    return path


def words(data, out, batch_size: int, *more) -> list[str]:
    return ["train", str(data), str(out), "--batch-size", str(batch_size), *OPTIONS, *more]


def in_two(script: Path, *arguments) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
        *arguments,
    ]


# One thread each: sums of several threads come out in another order.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)


def curve(record: dict, key: str) -> list[float]:
    return [entry[key] for entry in record["log"] if key in entry]


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(odd, script, tmp_path):
    """Loss, CCC and all, and figures of an odd number of faces, of which none counts twice."""
    mixed = ["--accumulation", "2"]
    one = run([sys.executable, str(script), *words(odd, tmp_path / "one", 8, *mixed)])
    two = run(in_two(script, *words(odd, tmp_path / "two", 4, *mixed)))
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert two.stdout.count("parameters") == 1, "the first process alone speaks"
    alone, together = (json.loads((tmp_path / name / "training.json").read_text()) for name in ("one", "two"))
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert alone["steps"] == together["steps"] == 6
    for key in ("loss", "grad_norm", "eval_objective", "eval_kl", "eval_top_label"):
        assert len(curve(alone, key)) == 3
        assert curve(together, key) == pytest.approx(curve(alone, key), rel=1e-4), key
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name in first:
        assert torch.allclose(first[name], second[name], atol=2e-4), name


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on(odd, script, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "model"
    options = ["--average", "0.9", "--sampler", "square-root"]
    assert run(in_two(script, *words(odd, whole, 4, *options))).returncode == 0
    command = in_two(script, *words(odd, out, 4, *options))
    job = subprocess.Popen(
        command, env=ENVIRONMENT | {"PAUSE": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoints = out.with_name("model.training")
    while job.poll() is None and not list(checkpoints.glob("checkpoint-*/trainer_state.json")):
        time.sleep(0.02)
    for process in [*psutil.Process(job.pid).children(recursive=True), job]:
        process.send_signal(signal.SIGKILL)
    job.wait()
    assert checkpoints.exists() and not out.exists(), "premise: it was killed in the middle"
    done = run(in_two(script, *words(odd, out, 4, *options, "--resume")))
    assert done.returncode == 0, done.stderr
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, out))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_more_processes_than_faces_for_them_are_refused(odd, script, tmp_path):
    done = run(in_two(script, *words(odd, tmp_path / "model", 32)))
    assert done.returncode != 0
    assert "2 processes take 64 faces at once, and there are 35. Lower --batch-size" in done.stderr
