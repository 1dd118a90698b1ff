"""The status of `predict` where pictures fail, and what it says of them."""

import json

from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.vit import faces


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


def test_predict_says_once_that_nothing_looks_for_faces(trained, drawn_tree, capsys, monkeypatch):
    pictures = sorted((drawn_tree / "human_annotated/validation_set/images").iterdir())[:2]
    monkeypatch.setattr(faces, "installed", lambda: None)
    assert main(["predict", str(trained), *map(str, pictures)]) == 0
    said = capsys.readouterr().err
    assert said.count("nothing says whether a picture is a face crop: pip install ") == 1
