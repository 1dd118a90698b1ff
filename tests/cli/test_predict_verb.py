"""The status of `predict` where pictures fail, and what `publish --dry-run` says."""

import json
import shutil

from affectnet_plus_modeling.cli import main


def test_predict_goes_on_past_what_fails_and_counts_it(trained, drawn_tree, tmp_path, capsys):
    good = sorted((drawn_tree / "human_annotated/validation_set/images").iterdir())[0]
    (tmp_path / "broken.jpg").write_text("no picture")
    names = [str(tmp_path / "gone.jpg"), str(good), str(tmp_path / "broken.jpg")]
    assert main(["predict", str(trained), *names]) == 1
    said = capsys.readouterr()
    lines = {line["image"]: line for line in map(json.loads, said.out.splitlines())}
    assert [name for name in names if "error" in lines[name]] == [names[0], names[2]]
    assert "soft_label" in lines[names[1]]
    assert said.err.splitlines()[-1].startswith("affectnet-plus predict: 2 of 3 pictures failed")
    assert main(["predict", str(trained), str(good)]) == 0


def test_a_dry_run_lists_what_would_be_sent_and_sends_nothing(hub, trained, tmp_path, capsys):
    model = shutil.copytree(trained, tmp_path / "model")
    assert main(["publish", str(model), "tester/faces", "--dry-run", "--tag", "v1.0"]) == 0
    said = capsys.readouterr().out
    for name in ("config.json", "model.safetensors", "README.md"):
        assert f"  {name}\n" in said
    assert "tag v1.0" in said and "nothing was sent to tester/faces" in said
    assert main(["publish", "--space", "tester/faces", "tester/page", "--dry-run"]) == 0
    assert "app.py" in capsys.readouterr().out
    assert not hub.requests
