"""What is published and nothing else, the card's numbers, and the way over HTTP and back without this package."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import HfApi
from safetensors.torch import save_file

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data.dataset import decode, normalise
from affectnet_plus_modeling.evaluation.predict import load_model
from affectnet_plus_modeling.publishing.hub import HubOptions
from affectnet_plus_modeling.publishing.publish import plan, publish, stage
from affectnet_plus_modeling.publishing.publish_model import Model
from hub.client import signed_in
from support.models import CODE, LOADED

PICTURES = ["circumplex.png", "confusion.png", "groups.png", "reliability.png", "subsets.png"]
NUMBERS = [*PICTURES, "metrics.json", "training.json"]
EXAMPLES = [*(f"example-{name}.png" for name in ("anger", "happy", "sad", "surprise")), "examples.png"]
PUBLISHED = sorted(["README.md", *LOADED, *CODE, *NUMBERS, *EXAMPLES])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with signed_in(monkeypatch, tmp_path / "home") as running:
        yield running


def learnt_from(folder: Path, origin: str | None, **options) -> Path:
    """The folder of a model, changed as if it had been trained on faces of that origin, with these options."""
    file = folder / "training.json"
    record = json.loads(file.read_text())
    record["data"]["origin"] = origin
    record["options"] |= options
    file.write_text(json.dumps(record))
    return folder


# ---- what is staged


def test_exactly_the_files_of_a_model_are_staged(model_copy, tmp_path):
    (model_copy / "optimizer.pt").write_bytes(pickle.dumps({"a": 1}))
    (model_copy / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    (model_copy / "notes.py").write_text("TOKEN = 'mine'")
    (model_copy / ".env").write_text("TOKEN=mine")
    (model_copy / "README.md").write_text("not this one")
    shutil.copytree(model_copy, model_copy / "checkpoint-1")
    assert (model_copy / "faces.png").is_file(), "premise: there is a picture of faces"
    out = stage(model_copy, tmp_path / "staged")
    assert sorted(os.listdir(out)) == PUBLISHED
    for name in set(PUBLISHED) - {"README.md", *EXAMPLES}:
        assert (out / name).read_bytes() == (model_copy / name).read_bytes(), name
    assert (out / "README.md").read_text().startswith("---\n")


def test_no_file_tells_of_the_machine(trained, tmp_path):
    out = stage(trained, tmp_path / "staged")
    for path in out.iterdir():
        content = path.read_bytes()
        assert str(trained.parent).encode() not in content, path.name


def test_a_model_that_was_not_evaluated_is_staged_without_numbers(model_copy, tmp_path):
    for name in [*NUMBERS, "faces.png"]:
        (model_copy / name).unlink()
    assert sorted(os.listdir(stage(model_copy, tmp_path / "staged"))) == sorted(set(PUBLISHED) - set(NUMBERS))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json", *CODE])
def test_a_missing_part_is_refused(model_copy, tmp_path, name):
    (model_copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"model holds no {name}; give the folder that train wrote"):
        stage(model_copy, tmp_path / "staged")
    assert not (tmp_path / "staged").exists()


def test_pickled_weights_are_refused(model_copy, tmp_path):
    weights = model_copy / "model.safetensors"
    torch.save({"classifier.weight": torch.zeros(2)}, model_copy / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="holds no model.safetensors"):
        stage(model_copy, tmp_path / "staged")
    shutil.copyfile(model_copy / "pytorch_model.bin", weights)
    with pytest.raises(ValueError, match="model.safetensors is no whole safetensors file"):
        stage(model_copy, tmp_path / "staged")
    save_file({"some.weight": torch.zeros(2)}, weights)
    with pytest.raises(ValueError, match="says num_hidden_layers 2, and model.safetensors holds 1 tensors"):
        stage(model_copy, tmp_path / "staged")
    assert not (tmp_path / "staged").exists()


def test_a_folder_that_is_there_is_replaced_only_when_asked(trained, tmp_path):
    out = tmp_path / "staged"
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="--overwrite"):
        stage(trained, out)
    assert os.listdir(out) == ["mine.txt"]
    assert sorted(os.listdir(stage(trained, out, overwrite=True))) == PUBLISHED


# ---- what would be sent


def test_a_plan_lists_what_would_be_sent_and_asks_nobody(hub, model_copy, tmp_path):
    staged = stage(Model(model_copy, dataset_id="tester/data"), tmp_path / "staged", repo_id="tester/faces")
    found = plan(Model(model_copy, dataset_id="tester/data"), "tester/faces", HubOptions())
    files = [path for path in staged.rglob("*") if path.is_file()]
    assert found.files == {str(path.relative_to(staged)): path.stat().st_size for path in files}
    assert (found.repository, found.kind, found.readers) == ("tester/faces", "model", "everybody reads it")
    assert found.reason is None and not hub.requests
    said = str(found).splitlines()
    assert len(said) == len(files) + 4
    assert said[-3:] == [
        "to the model repository tester/faces, branch main: everybody reads it",
        "no licence is chosen, as the card says, so readers may only read: --license chooses one",
        "nothing was sent to tester/faces",
    ]


@pytest.mark.parametrize(
    "wish, readers, closed",
    [
        ({}, "only you read it", True),
        ({"gated": True}, "readers pass a gate (manual)", True),
        ({"public": True}, "everybody reads it", False),
    ],
)
def test_a_plan_says_who_would_read_and_why(hub, model_copy, wish, readers, closed):
    learnt_from(model_copy, "AffectNet+")
    found = plan(model_copy, "tester/faces", HubOptions(**wish))
    assert found.no_licence is None, "it is that of the faces"
    assert found.readers == readers and ("so they stay closed" in str(found.reason)) is closed
    with pytest.raises(ValueError, match="so they cannot be given out as mit"):
        plan(Model(model_copy, "mit"), "tester/faces", HubOptions(**wish))
    (model_copy / "training.json").write_text("{'not': JSON}")
    with pytest.raises(ValueError):
        plan(model_copy, "tester/faces", HubOptions(**wish))
    assert not hub.requests


def test_the_model_of_the_package_is_published_by_its_name(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["publish", "ferplus", "tester/faces", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "  model.safetensors\n" in said and "nothing was sent to tester/faces" in said and "licence" not in said
    assert plan("ferplus", "tester/faces", HubOptions()).readers == "only you read it"
    (tmp_path / "ferplus").mkdir()
    assert main(["publish", "ferplus", "tester/faces", "--dry-run"]) == 1
    assert "ferplus holds no config.json" in capsys.readouterr().err, "a folder of yours goes first"


# ---- over HTTP and back


# Run where this package cannot be imported: everything must come from the Hub.
LOAD_BACK = """
import json, sys
from importlib.abc import MetaPathFinder

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("affectnet_plus", "affectnet_plus_modeling", "affectnet_plus_cards"):
            raise ModuleNotFoundError(f"{name} is hidden")

sys.meta_path.insert(0, Hidden())
for name in ("affectnet_plus", "affectnet_plus_modeling", "affectnet_plus_cards"):
    try:
        __import__(name)
        raise SystemExit(f"{name} is not hidden")
    except ModuleNotFoundError:
        pass

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline

torch.set_num_threads(1)
repo, face = sys.argv[1:]
inputs = AutoImageProcessor.from_pretrained(repo)(Image.open(face).convert("RGB"), return_tensors="pt")
said = {}
for kind in (AutoModel, AutoModelForImageClassification):
    model = kind.from_pretrained(repo, trust_remote_code=True)
    with torch.no_grad():
        output = model(**inputs)
    said[kind.__name__] = [output.logits[0].tolist(), output.valence_arousal[0].tolist()]
said["class"] = [type(model).__module__.split(".")[0], type(model).__name__]
said["pixels"] = inputs["pixel_values"].flatten().tolist()
said["scores"] = pipeline("image-classification", repo, trust_remote_code=True, top_k=8)(face)
print(json.dumps(said))
"""


@pytest.mark.slow
def test_a_published_model_is_loaded_back_without_this_package(hub, trained, drawn_tree, tmp_path):
    face = drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"
    assert publish(trained, "tester/faces", HubOptions()) == f"{hub.url}/tester/faces"
    child = subprocess.run(
        [sys.executable, "-c", LOAD_BACK, "tester/faces", str(face)],
        env=hub.environment(tmp_path / "reader"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said["class"] == ["transformers_modules", "AffectNetPlusForSoftLabels"]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pixels = torch.tensor(said["pixels"]).view(1, 3, 48, 48)
    with torch.no_grad():
        here = load_model(trained)(pixels)
    torch.set_num_threads(threads)
    expected = [here.logits[0].tolist(), here.valence_arousal[0].tolist()]
    assert said["AutoModel"] == said["AutoModelForImageClassification"] == expected, "not the identical numbers"
    assert (pixels[0] - normalise(decode(face, 48))).abs().max() < 1e-6

    scores = {score["label"]: score["score"] for score in said["scores"]}
    assert len(said["scores"]) == 8 and set(scores) == set(EMOTIONS)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-6)
    probabilities = here.logits[0].softmax(dim=0).tolist()
    assert [scores[name] for name in EMOTIONS] == pytest.approx(probabilities, abs=1e-6)


def test_one_commit_holds_everything_and_the_same_again_makes_none(hub, model_copy, tmp_path, capsys):
    for said in ("files in commit", "nothing changed since commit"):
        assert main(["publish", str(model_copy), "tester/faces", "--license", "mit"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert said in lines[0] and lines[0].endswith("of main; everybody reads it")
        assert lines[1:] == [f"{hub.url}/tester/faces"]
    repo = hub.repo("tester/faces")
    assert [commit.message for commit in repo.commits] == ["initial commit", "Publish model"]
    assert len([path for method, path, _ in hub.requests if path.startswith("/lfs/")]) == 1
    files = hub.files("tester/faces")
    assert sorted(files) == [".gitattributes", *PUBLISHED]
    staged = stage(Model(model_copy, "mit"), tmp_path / "staged", repo_id="tester/faces")
    assert {name: (staged / name).read_bytes() for name in PUBLISHED} == {name: files[name] for name in PUBLISHED}
    assert b"license: mit" in files["README.md"] and repo.private is False
    assert repo.resolve("main").tree["model.safetensors"].lfs


def test_the_numbers_of_an_earlier_model_do_not_stay(hub, model_copy):
    assert main(["publish", str(model_copy), "tester/faces"]) == 0
    HfApi().upload_file(path_or_fileobj=b"by hand", path_in_repo="notes.txt", repo_id="tester/faces")
    (model_copy / "metrics.json").unlink()
    (model_copy / "confusion.png").unlink()
    assert main(["publish", str(model_copy), "tester/faces"]) == 0
    assert set(PUBLISHED) - set(hub.files("tester/faces")) == {"metrics.json", "confusion.png"}
    assert "notes.txt" in hub.files("tester/faces"), "what somebody added stays"
    assert len(hub.repo("tester/faces").commits) == 4


def test_the_results_are_a_file_of_their_own_where_the_data_is_on_the_hub(hub, trained):
    assert main(["publish", str(trained), "tester/faces", "--dataset", "tester/data"]) == 0
    results = yaml.safe_load(hub.files("tester/faces")[".eval_results/affectnet-plus.yaml"])
    metrics = json.loads((trained / "metrics.json").read_text())
    found = {entry["dataset"]["task_id"]: entry["value"] for entry in results}
    assert found["accuracy"] == round(metrics["accuracy"], 4) and results[0]["dataset"]["id"] == "tester/data"


# ---- who may read


@pytest.mark.parametrize(
    "wishes, state",
    [
        ([], (False, False)),
        (["--private"], (True, False)),
        (["--gated"], (False, "manual")),
        (["--public"], (False, False)),
    ],
)
def test_weights_of_drawn_faces_are_open_unless_told(hub, trained, wishes, state, capsys):
    assert main(["publish", str(trained), "tester/faces", *wishes]) == 0
    assert (hub.repo("tester/faces").private, hub.repo("tester/faces").gated) == state
    assert capsys.readouterr().out.startswith("no licence is chosen")


def test_private_holds_for_a_repository_that_is_there_and_public_opens_it_again(hub, trained):
    for wish, private in (("--public", False), ("--private", True), ("--public", False)):
        assert main(["publish", str(trained), "tester/old", wish]) == 0
        assert hub.repo("tester/old").private is private


@pytest.mark.parametrize(
    "origin, options",
    [
        ("AffectNet+", {}),
        ("FER+", {}),
        (None, {}),
        ("somewhere else", {}),
        ("drawn", {"from_pretrained": "older"}),
    ],
)
def test_weights_of_faces_that_are_not_free_are_private_unless_told(hub, model_copy, capsys, origin, options):
    learnt_from(model_copy, origin, **options)
    assert main(["publish", str(model_copy), "tester/faces"]) == 0
    said = capsys.readouterr().out
    assert "so they stay closed; --public or --gated opens them" in said and "only you read it" in said
    assert hub.repo("tester/faces").private is True
    assert main(["publish", str(model_copy), "tester/asked", "--gated"]) == 0
    assert (hub.repo("tester/asked").private, hub.repo("tester/asked").gated) == (False, "manual")


def test_weights_without_any_record_are_private(hub, model_copy):
    (model_copy / "training.json").unlink()
    assert main(["publish", str(model_copy), "tester/faces"]) == 0
    assert hub.repo("tester/faces").private is True


def test_weights_for_research_are_opened_last_and_under_no_licence_but_that_of_their_faces(hub, model_copy, capsys):
    learnt_from(model_copy, "AffectNet+")
    assert main(["publish", str(model_copy), "tester/faces", "--public", "--license", "mit"]) == 1
    assert "whose terms go with them, so they cannot be given out as mit" in capsys.readouterr().err
    assert not hub.requests
    assert main(["publish", str(model_copy), "tester/faces", "--public"]) == 0
    steps = [path.rpartition("/")[2] for method, path, _ in hub.requests if method in ("POST", "PUT")]
    assert steps.index("create") < steps.index("main") < steps.index("settings")
    card = hub.files("tester/faces")["README.md"]
    assert b"license_name: affectnet-academic" in card and hub.repo("tester/faces").private is False


def test_weights_of_unknown_faces_are_opened_only_under_a_licence(hub, model_copy, capsys):
    learnt_from(model_copy, None)
    assert main(["publish", str(model_copy), "tester/faces", "--public"]) == 1
    assert "say under which terms with --license" in capsys.readouterr().err and not hub.requests
    assert main(["publish", str(model_copy), "tester/faces", "--public", "--license", "cc-by-4.0"]) == 0
    assert hub.repo("tester/faces").private is False


def test_closed_weights_do_not_go_into_an_open_repository(hub, model_copy, capsys):
    HfApi().create_repo("tester/faces")
    learnt_from(model_copy, "AffectNet+")
    assert main(["publish", str(model_copy), "tester/faces"]) == 1
    assert "open to everybody" in capsys.readouterr().err and len(hub.repo("tester/faces").commits) == 1
    assert not hub.state.large_files, "something was uploaded"


# ---- branches and tags


def test_a_branch_holds_its_own_model_and_leaves_main_as_it_was(hub, model_copy):
    publish(model_copy, "tester/faces", HubOptions(tag="v1.0"))
    first = hub.files("tester/faces")
    (model_copy / "confusion.png").unlink()
    publish(model_copy, "tester/faces", HubOptions(revision="v2.0"))
    publish(model_copy, "tester/faces", HubOptions(revision="v2.0", tag="try"))
    repo = hub.repo("tester/faces")
    assert hub.files("tester/faces") == hub.files("tester/faces", revision="v1.0") == first
    assert set(first) - set(hub.files("tester/faces", revision="v2.0")) == {"confusion.png"}
    assert repo.tags["try"] == repo.branches["v2.0"] and len(repo.commits) == 3


@pytest.mark.parametrize(
    "wish, message",
    [
        ({"tag": "v1.0"}, "the tag v1.0 is there, and a tag does not move"),
        ({"revision": "v1.0"}, "v1.0 is a tag of tester/faces"),
        ({"tag": "main", "revision": "dev"}, "main is a branch of tester/faces"),
    ],
)
def test_names_that_mean_something_else_are_refused_before_a_commit(hub, model_copy, wish, message):
    publish(model_copy, "tester/faces", HubOptions(tag="v1.0"))
    publish(model_copy, "tester/faces", HubOptions(tag="v1.0"), say=lambda text: None)  # the very same: no change
    (model_copy / "metrics.json").unlink()
    with pytest.raises(ValueError, match=message):
        publish(model_copy, "tester/faces", HubOptions(**wish))
    repo = hub.repo("tester/faces")
    assert len(repo.commits) == 2 and list(repo.branches) == ["main"] and list(repo.tags) == ["v1.0"]


def test_wishes_that_contradict_each_other_are_refused():
    for wish in ({"public": True, "private": True}, {"public": True, "gated": True}, {"tag": "a", "revision": "a"}):
        with pytest.raises(ValueError):
            HubOptions(**wish)


# ---- refusals


@pytest.mark.parametrize("name", ["faces", "a/b/c", "tester/", "/faces", "tester/..", ""])
def test_a_name_without_its_owner_makes_nothing(hub, trained, capsys, name):
    with pytest.raises(ValueError, match="is no repository of the Hub, expected you/name$"):
        publish(trained, name, HubOptions())
    with pytest.raises(ValueError, match="expected you/name"):
        plan(trained, name, HubOptions())
    assert main(["publish", str(trained), name]) == 1
    assert "expected you/name; to write a folder, add --to-folder" in capsys.readouterr().err
    assert not hub.requests and not hub.state.repositories


def test_a_refusal_of_the_hub_is_one_line(hub, trained, capsys):
    assert main(["publish", str(trained), "somebody-else/faces"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("affectnet-plus publish: this token may not write there (403")


@pytest.mark.parametrize("flag", ["--with-seen", "--i-may-share-licensed-faces"])
def test_a_flag_of_another_kind_is_refused(hub, trained, capsys, flag):
    assert main(["publish", str(trained), "tester/faces", flag]) == 1
    assert f"{flag} means nothing for" in capsys.readouterr().err and not hub.requests


def test_nothing_is_asked_of_the_hub_for_a_folder_that_is_no_model(hub, tmp_path):
    with pytest.raises(FileNotFoundError, match="give the folder that train wrote"):
        publish(tmp_path, "user/some-model", HubOptions())
    assert not hub.requests
