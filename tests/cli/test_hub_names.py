"""Every verb takes `you/name` of the Hub in place of a folder; a mistyped path is refused at once, asking nobody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from safetensors.torch import load_file

from affectnet_plus_modeling import cli
from affectnet_plus_modeling.app import serve
from affectnet_plus_modeling.data.dataset import about_faces
from affectnet_plus_modeling.evaluation.predict import load_model, predict
from affectnet_plus_modeling.exporting import export
from affectnet_plus_modeling.hub_names import HubName, fetched, on_hub
from affectnet_plus_modeling.labelling.ensemble.train import _backbone
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.publishing.hub import HubOptions
from affectnet_plus_modeling.publishing.publish import publish
from affectnet_plus_modeling.training.options import SIZES
from affectnet_plus_modeling.training.saving import save_processor
from hub.client import signed_in
from support.ensembles import SIZE, make_ensemble
from support.models import TINY

QUICK = "--epochs 1 --batch-size 16 --image-size 48 --bf16 no --size tiny".split()
MODEL, DATA, ENSEMBLE = "tester/model", "tester/data", "tester/ebc"


@pytest.fixture(scope="module")
def hub(trained, drawn_tree, tmp_path_factory):
    """A Hub with a model (its tag v1, and a newer one without numbers), data with their pictures, and an ensemble."""
    work = tmp_path_factory.mktemp("hub names")
    with pytest.MonkeyPatch.context() as patch, signed_in(patch, work) as running:
        publish(trained, MODEL, HubOptions(tag="v1"), lambda text: None)
        HfApi().delete_file("metrics.json", MODEL)
        prepare(drawn_tree, work / "embedded", embed=True)
        publish(work / "embedded", DATA, HubOptions(), lambda text: None)
        ensemble = make_ensemble(work / "ebc", folds=(0, 1))
        save_processor(SIZE, ensemble)
        record = {
            "options": {"backbones": ["resnet"], "folds": 2, "seeds": 1, "image_size": SIZE},
            "faces": [2] * 8,
            "members": 2,
            "networks": 16,
            "calibration": {"kind": "platt", "split": "train", "faces": 16},
            "data": {"name": "data", "origin": "drawn"},
        }
        (ensemble / "training.json").write_text(json.dumps(record))
        publish(ensemble, ENSEMBLE, HubOptions(), lambda text: None)
        patch.setitem(SIZES, "tiny", TINY)
        yield running


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def run(*arguments) -> int:
    return cli.main([str(argument) for argument in arguments])


def refused(capsys, *arguments) -> str:
    """The sentence that the command line refuses with; what was shown before, such as bars, does not count."""
    capsys.readouterr()
    assert run(*arguments) == 1
    said = capsys.readouterr()
    assert said.out == "" and "Traceback" not in said.err
    return said.err.splitlines()[-1]


# --- what is a name of the Hub ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, expected",
    [
        ("you/name", ("you/name", None)),
        ("you/name@v1.0", ("you/name", "v1.0")),
        ("you/name@refs/pr/1", ("you/name", "refs/pr/1")),
        ("hf://here/name@dev", ("here/name", "dev")),
        ("you/vit-v1.5", ("you/vit-v1.5", None)),
    ],
)
def test_these_are_names(tmp_path, given, expected):
    (tmp_path / "here").mkdir()
    assert on_hub(given, "model") == HubName(*expected, "model")
    address = given.replace("hf://", "hf://datasets/")
    assert on_hub(address, "dataset") == HubName(*expected, "dataset")


@pytest.mark.parametrize(
    "given",
    ["name", "./you/name", "/you/name", "~/name", "a/b/c", "here/name", "you/face.JPG", "you/", "/", "", "you/.."],
)
def test_these_are_paths(tmp_path, given):
    (tmp_path / "here").mkdir()
    assert on_hub(given, "model") is None and on_hub(Path("you/name"), "model") is None
    assert fetched(given) == Path(given)


def test_an_address_that_goes_on_as_none_is_refused():
    with pytest.raises(
        ValueError, match="hf://datasets/name is no data set of the Hub, expected hf://datasets/you/name"
    ):
        on_hub("hf://datasets/name", "dataset")


# --- every verb ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_and_data_of_the_hub_are_evaluated_and_named(hub, capsys, trained):
    assert "say with --out in which folder" in refused(capsys, "evaluate", MODEL, DATA)
    assert run("evaluate", MODEL, DATA, "--out", "found", "--compare", f"{MODEL}@v1", "--resamples", "20") == 0
    metrics = json.loads(Path("found/metrics.json").read_text())
    here = json.loads((trained / "metrics.json").read_text())
    assert metrics["kl"] == pytest.approx(here["kl"]) and metrics["comparison"]["model"] == MODEL
    assert metrics["baselines"]["mean_soft_label"]["prior_from"] == "training rows"
    assert (metrics["model"], metrics["data"]["name"], metrics["data"]["origin"]) == (MODEL, DATA, "drawn")
    assert (
        metrics["command"].startswith(f"affectnet-plus evaluate {MODEL} {DATA} --view")
        and "/" not in (metrics["crop"])
    )


def test_pictures_and_data_of_the_hub_are_answered(hub, capsys, drawn_tree):
    face = drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"
    assert run("predict", MODEL, face, "nowhere.jpg", DATA) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"image": "nowhere.jpg", "error": "nowhere.jpg does not exist"}
    answers = {line["image"]: line["soft_label"] for line in lines[1:]}
    assert len(answers) == 41
    assert answers[str(face)] == pytest.approx(answers[f"{DATA}/validation/0"], abs=1e-6)


@pytest.mark.slow
def test_training_starts_from_the_hub_on_data_of_the_hub(hub):
    assert run("train", DATA, "out", *QUICK, "--from-pretrained", f"{MODEL}@v1", "--teachers", MODEL) == 0
    record = json.loads(Path("out/training.json").read_text())
    assert record["data"]["name"] == DATA and record["data"]["origin"] == "drawn"
    assert (record["options"]["from_pretrained"], record["options"]["teachers"]) == (f"{MODEL}@v1", [MODEL])
    assert run("publish", "out", "card", "--to-folder") == 0
    assert f"\nbase_model: {MODEL}\n" in Path("card/README.md").read_text()
    assert run("pretrain", DATA, "encoder", *QUICK) == 0
    assert _backbone(MODEL, 48)["hidden_size"] == TINY["hidden_size"]


@pytest.mark.slow
def test_data_of_the_hub_are_streamed_as_from_the_folder(hub):
    """To the same weights; the pictures are asked for in parts, and no file of them is kept."""
    before = len(hub.requests)
    assert run("train", f"hf://datasets/{DATA}", "there", *QUICK, "--streaming") == 0
    asked = hub.requests[before:]
    assert run("train", fetched(DATA), "here", *QUICK, "--streaming") == 0
    there, here = (load_file(f"{name}/model.safetensors") for name in ("there", "here"))
    assert all(there[name].equal(here[name]) for name in here)
    record = json.loads(Path("there/training.json").read_text())
    assert record["data"]["name"] == f"hf://datasets/{DATA}" and record["data"]["origin"] == "drawn"
    assert any(path.endswith(".parquet") and status == 206 for _, path, status in asked)
    assert not any(path.endswith(".parquet") and status == 200 for verb, path, status in asked if verb == "GET")


def test_faces_of_the_hub_are_labelled_by_an_ensemble_of_the_hub(hub, capsys, drawn_tree):
    table = drawn_tree / "action_units.csv"
    assert run("label", DATA, "labelled", "--ensemble", ENSEMBLE, "--action-units", table) == 0
    record = json.loads(Path("labelled/labelling.json").read_text())
    assert record["options"]["ensemble"] == "ebc" and "40 " in capsys.readouterr().out
    assert run("fit-fusion", "labelled", DATA, "fusion.json", "--method", "mean") == 0


@pytest.mark.slow
def test_what_examines_exports_and_shows_takes_names_too(hub, capsys, monkeypatch):
    assert run("doctor", DATA, "--no-near-duplicates", "--json") == 0
    assert json.loads(capsys.readouterr().out)["counts"]["train"]["rows"] == 32
    assert "8 faces of tester/data have a label" in refused(capsys, "doctor", MODEL, DATA)
    assert (
        export._name_faces([DATA], "default", "train", 0, 9)
        == "tester/data (train split, default view), at most 9 of each"
    )
    seen = []

    def noted(model, data, *other):
        seen.append((load_model(model).name_or_path, data, other))
        raise OSError("it got this far")

    monkeypatch.setattr(export, "export", noted)
    assert refused(capsys, "export", MODEL, "exported", "--images", DATA).endswith("it got this far")
    monkeypatch.setattr(serve, "serve", noted)
    assert refused(capsys, "app", MODEL, "--data", DATA).endswith("it got this far")
    assert seen[0][2][0] == (DATA,) and about_faces(seen[1][1])["name"] == DATA
    said = refused(capsys, "calibrate", MODEL, DATA)
    assert "is no folder; what is fitted is written into a model folder of yours: hf download tester/model" in said


def test_a_revision_is_of_the_one_name_that_is_given(hub, capsys, drawn, drawn_tree):
    assert (fetched(f"{MODEL}@v1", "model") / "metrics.json").is_file()
    assert not (fetched(MODEL, "model") / "metrics.json").exists()
    face = drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"
    before = len(hub.requests)
    assert run("predict", MODEL, face, "--revision", "v1") == 0
    assert {path for _, path, _ in hub.requests[before:]} == {f"/api/models/{MODEL}/revision/v1"}
    assert "tester/model has no revision v2: give a branch, a tag or a commit" in refused(
        capsys, "predict", MODEL, face, "--revision", "v2"
    )
    for arguments in ([drawn, drawn], [MODEL, DATA], [f"{MODEL}@v1", drawn]):
        said = refused(capsys, "evaluate", *arguments, "--out", "found", "--revision", "v1")
        assert "--revision is of one name of the Hub" in said and "you/name@REVISION" in said


# --- what is said where it does not come -----------------------------------------------------------------------------


def test_what_is_not_there_or_not_given_says_what_to_do(hub, capsys, drawn, monkeypatch):
    said = refused(capsys, "evaluate", "tester/modle", drawn, "--out", "found")
    assert "tester/modle is nothing here, and no model of the Hub that you may read: check the name" in said
    said = refused(capsys, "train", "tester/dta", "out")
    assert "tester/dta is nothing here, and no data set of the Hub that you may read" in said
    HfApi().create_repo("tester/gated")
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="tester/gated")
    said = refused(capsys, "evaluate", "tester/gated", drawn, "--out", "found")
    assert "tester/gated holds no model.safetensors; give the folder that train wrote, or you/name" in said
    hub.repo("tester/gated").gated = "manual"
    HfApi().upload_file(path_or_fileobj=b"{ }", path_in_repo="config.json", repo_id="tester/gated")
    monkeypatch.delenv("HF_TOKEN")
    said = refused(capsys, "evaluate", "tester/gated", drawn, "--out", "found")
    assert "tester/gated is gated: ask for access on its page on the Hub, then sign in with hf auth login" in said


def test_without_a_network_what_was_fetched_serves_and_else_it_is_said(hub, capsys, monkeypatch, drawn_tree):
    face = drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"
    expected = list(predict(MODEL, [face]))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert list(predict(MODEL, [face])) == expected
    said = refused(capsys, "predict", "tester/other", face)
    assert "tester/other is nothing here, and the Hub cannot be asked for it" in said and "http" not in said


QUICKLY = """
import sys, time
from affectnet_plus_modeling import cli
for arguments in (
    "predict photos/facee.jpg", "predict ./modle face.jpg", "evaluate a/b/c prepared", "train prepard out",
    "train here/prepard out", "doctor nothing", "export here/modle out", "app ~/modle", "pretrain photoz encoder",
    "label photoz out --ensemble x", "calibrate modle prepared", "train-ensemble ../prepared out",
):
    assert cli.main(arguments.split()) == 1, arguments
print(time.process_time(), sorted({"torch", "huggingface_hub", "httpx2", "socket"} & set(sys.modules)))
"""


def test_a_mistyped_path_is_refused_at_once_and_asked_of_nobody(tmp_path):
    """Twelve of them within the half second that one may take."""
    (tmp_path / "here").mkdir()
    child = subprocess.run([sys.executable, "-c", QUICKLY], cwd=tmp_path, capture_output=True, text=True, check=True)
    seconds, modules = child.stdout.split(maxsplit=1)
    assert modules.strip() == "[]" and float(seconds) < 0.5
    assert len(child.stderr.splitlines()) == 12
