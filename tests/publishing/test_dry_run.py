"""`publish --dry-run` lists what would be sent, and sends nothing."""

import shutil

import pytest
from huggingface_hub import HfApi

from affectnet_plus_modeling.cli import main
from hub.client import signed_in


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with signed_in(monkeypatch, tmp_path / "home") as running:
        yield running


def test_a_dry_run_lists_what_would_be_sent_and_sends_nothing(hub, trained, tmp_path, capsys):
    model = shutil.copytree(trained, tmp_path / "model")
    assert main(["publish", str(model), "tester/faces", "--dry-run", "--tag", "v1.0"]) == 0
    said = capsys.readouterr().out
    for name in ("config.json", "model.safetensors", "README.md"):
        assert f"  {name}\n" in said
    assert "tag v1.0" in said and "nothing was sent to tester/faces" in said
    assert not hub.requests
    HfApi().create_repo("tester/faces")
    hub.requests.clear()
    assert main(["publish", "--space", "tester/faces", "tester/page", "--dry-run"]) == 0
    assert "app.py" in capsys.readouterr().out
    assert {method for method, _, _ in hub.requests} == {"GET"}, "who may read the model is asked, nothing is sent"
