"""What is noted of a run for its card: by a real Trainer, and by an nvidia-smi that answers like the real one."""

import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch import nn

from affectnet_plus_modeling.training.card_callback import (
    CardCallback,
    cpu_power,
    energy_estimate,
    gpu_power,
    hardware,
)


class Slope(nn.Module):
    """The smallest network that a Trainer trains."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return {"loss": ((self.weight * x - 1) ** 2).mean()}


def test_a_real_run_fills_in_the_facts(tmp_path):
    card = CardCallback()
    arguments = transformers.TrainingArguments(str(tmp_path), max_steps=2, use_cpu=True, save_strategy="no")
    rows = [{"x": torch.tensor(1.0)}] * 4
    before = datetime.now(UTC).date().isoformat()
    transformers.Trainer(Slope(), arguments, train_dataset=rows, callbacks=[card]).train()
    facts = card.facts(7200.04)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert before <= facts["finished"] <= datetime.now(UTC).date().isoformat()
    assert (facts["seconds"], facts["processes"], facts["hardware"]) == (7200.0, 1, hardware(True))
    assert facts["versions"]["torch"] == torch.__version__ and set(facts["versions"]) >= {"python", "affectnet-plus"}
    threads = torch.get_num_threads()
    assert facts["energy"]["watts"] == [3.0 * threads, 15.0 * threads]
    assert facts["energy"]["kilowatt_hours"] == pytest.approx([0.006 * threads, 0.03 * threads], rel=0.01)


def test_energy_is_watts_times_hours_times_processes():
    """300 W for half an hour in each of 4 processes are 600 Wh; a worked value."""
    assert energy_estimate((100.0, 300.0, "said"), 1800, 4) == {
        "watts": [400, 1200],
        "kilowatt_hours": [0.2, 0.6],
        "assumption": "said",
    }
    assert energy_estimate((1.0, 7.0, "said"), 1.0, 1)["kilowatt_hours"] == [2.78e-07, 1.94e-06], "three digits"
    assert energy_estimate(None, 1800, 4) is None


def test_the_power_of_a_processor_goes_with_its_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert cpu_power() == (12.0, 60.0, "3 to 15 W for each CPU thread")
    assert hardware(True).startswith("4 ") and hardware(True).endswith(" CPU threads")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert hardware(True).endswith(" CPU thread")


@pytest.mark.parametrize(
    "answer, expected",
    [
        ("echo 700.00", (175.0, 700.0, "from 25% of the GPU's power limit of 700 W to all of it")),
        ("echo '[N/A]'", None),
        ("echo 'No devices were found'; exit 6", None),
    ],
)
def test_the_power_of_a_gpu_is_its_limit_where_nvidia_smi_knows_it(tmp_path, monkeypatch, answer, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" > "$(dirname "$0")/asked"\n{answer}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"abc-{device}"))
    assert gpu_power() == expected
    assert (tmp_path / "asked").read_text().startswith("--id=GPU-abc-1 --query-gpu=power.limit ")


def test_without_nvidia_smi_the_power_of_a_gpu_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))
    assert gpu_power() is None
