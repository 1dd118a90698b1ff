"""The status of `predict` where pictures fail, and what it says of them."""

import json

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
