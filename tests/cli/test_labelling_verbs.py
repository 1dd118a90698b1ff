"""The verbs that make soft labels, one after the other, as a person gives them."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data.dataset import load_prepared
from affectnet_plus_modeling.labelling.ensemble import train as module
from affectnet_plus_modeling.labelling.fit_labelled import fit_labelled
from affectnet_plus_modeling.labelling.fusion import Fusion, normalised

SMALL = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Faces drawn and prepared, an ensemble trained on them, and the faces labelled by it; read-only."""
    place = tmp_path_factory.mktemp("verbs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(module, "RESNET", SMALL)
        for words in (
            "draw raw -n 160 --seed 3",
            "prepare raw prepared",
            "train-ensemble prepared ebc --backbone resnet --folds 2 --image-size 24 --trunk-epochs 1 --epochs 1 "
            "--fewest-positives 20 --batch-size 32",
            "label prepared labelled --ensemble ebc --action-units raw/action_units.csv --tree",
        ):
            assert main(words.split()) == 0
    return place


@pytest.mark.slow
def test_labelled_faces_are_prepared_as_they_are(work, tmp_path):
    assert main(["prepare", str(work / "labelled"), str(tmp_path / "again"), "--strict"]) == 0
    for split in ("train", "validation"):
        rows, before = (load_prepared(folder, "default", split) for folder in (tmp_path / "again", work / "prepared"))
        known = dict(zip(before["image_id"], before["soft_label"], strict=True))
        assert set(rows["image_id"]) == set(known)
        labels = dict(zip(before["image_id"], before["label"], strict=True))
        assert dict(zip(rows["image_id"], rows["label"], strict=True)) == labels
        assert all(row != known[name] for name, row in zip(rows["image_id"], rows["soft_label"], strict=True))


@pytest.mark.slow
def test_a_fusion_that_was_fitted_is_nearer_to_the_truth(work, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(work)
    fusion = tmp_path / "fusion.json"
    assert main(["fit-fusion", "labelled", "prepared", str(fusion), "--method", "stacking", "--human-label"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 128 and report["rows_without_fusion"] == 0
    assert Fusion.from_dict(json.loads(fusion.read_text())).method == "stacking"
    words = ["label", "prepared", str(tmp_path / "fused"), "--ensemble", "ebc", "--fusion", str(fusion)]
    assert main([*words, "--action-units", "raw/action_units.csv", "--human-label", "--tree"]) == 0
    truth = load_prepared("prepared", "default", "train")
    true = dict(zip(truth["image_id"], truth["soft_label"], strict=True))
    error = {}
    for name, folder in (("default", work / "labelled"), ("fitted", tmp_path / "fused")):
        table = pq.read_table(folder / "labels.parquet").to_pylist()
        known = [(row["soft_label"], true[row["image_id"]]) for row in table if row["image_id"] in true]
        found, target = (normalised(np.array(values)) for values in zip(*known, strict=True))
        error[name] = np.abs(found - target).mean()
    assert error["fitted"] < 0.7 * error["default"]


@pytest.mark.slow
def test_without_its_human_label_a_fusion_is_of_the_branches(work, tmp_path):
    report = fit_labelled(work / "labelled", work / "prepared", tmp_path / "mean.json", "mean", folds=4)
    assert len(report["candidates"]) == 21 and report["folds"] == 4
    assert json.loads((tmp_path / "mean.json").read_text())["emotions"] == list(EMOTIONS)


@pytest.mark.slow
def test_what_cannot_be_fitted_is_said(work, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(work)
    assert main(["fit-fusion", "prepared", "prepared", "out.json"]) == 1
    assert "prepared holds no labelling.json; give the folder that label wrote" in capsys.readouterr().err
    assert main(["draw", str(tmp_path / "raw"), "-n", "4", "--no-human", "3"]) == 0
    assert main(["prepare", str(tmp_path / "raw"), str(tmp_path / "others")]) == 0
    with pytest.raises(ValueError, match="none in both"):
        fit_labelled(work / "labelled", tmp_path / "others", tmp_path / "out.json", "mean", view="no_human")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, complaint",
    [
        ("label raw out --ensemble ebc --metadata landmarks", "the model that finds it None"),
        ("label raw out --ensemble ebc --metadata age --landmark-model x.task", "metadata age is not known"),
        ("label raw out --ensemble ebc --metadata pose --landmark-model x.task", "x.task"),
        ("label raw s3://faces/out --ensemble ebc --tree", "leave --tree out"),
        ("label raw out --ensemble raw", "no config.json"),
        ("train-ensemble prepared out --folds 0", "needs a backbone, a seed and a fold"),
        ("train-au prepared raw/source.json out", "source.json"),
    ],
)
def test_unusable_words_end_in_one_sentence(work, monkeypatch, capsys, words, complaint):
    monkeypatch.chdir(work)
    assert main(words.split()) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"affectnet-plus {words.split()[0]}: ") and complaint in error
    assert not (work / "out").exists()


@pytest.mark.slow
def test_a_network_of_action_units_is_trained_and_used(work, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(work)
    assert (
        main(
            [
                "train-au",
                "prepared",
                "raw/action_units.csv",
                str(tmp_path / "au"),
                "--epochs",
                "0.5",
                "--image-size",
                "24",
            ]
        )
        == 0
    )
    assert "17 units" in capsys.readouterr().out
    words = ["label", "raw", str(tmp_path / "out"), "--ensemble", "ebc", "--au-model", str(tmp_path / "au")]
    assert main(words) == 0
    assert "ensemble + action_units 160" in capsys.readouterr().out
