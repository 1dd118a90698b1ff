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
from huggingface_hub import ModelCard
from safetensors.torch import save_file

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.evaluate import evaluate
from affectnet_plus_modeling.evaluation.predict import load_model
from affectnet_plus_modeling.publishing.model_card import REPORTED, render_model_card
from affectnet_plus_modeling.publishing.publish import publish, stage
from affectnet_plus_modeling.training.faces import decode, normalise
from affectnet_plus_modeling.training.train import train
from conftest import annotation, picture, quick
from hub.server import LoopbackHub

CODE = ["configuration_affectnet_plus.py", "losses.py", "modeling_affectnet_plus.py"]
NUMBERS = ["confusion.png", "metrics.json", "reliability.png", "training.json"]
PUBLISHED = sorted(["README.md", "config.json", "model.safetensors", "preprocessor_config.json", *CODE, *NUMBERS])


@pytest.fixture
def hub():
    """A running, empty Hub."""
    with LoopbackHub() as running:
        yield running


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
    for name in set(PUBLISHED) - {"README.md"}:
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
    with pytest.raises(ValueError, match="model.safetensors is not a safetensors file"):
        stage(model_copy, tmp_path / "staged")
    save_file({"some.weight": torch.zeros(2)}, weights)
    with pytest.raises(ValueError, match="holds no classifier.weight, so it is not a soft-label model"):
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


# ---- the card


def card_of(folder: Path, repo_id="user/some-model", licence="other") -> ModelCard:
    return ModelCard(render_model_card(folder, repo_id, licence))


def table(text: str) -> dict[str, list[str]]:
    """The rows of every table of a card, by their first cell."""
    rows = (line.replace("\\|", "/").strip("|").split("|") for line in text.splitlines() if line.startswith("| "))
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows}


def test_the_numbers_of_the_card_are_those_of_the_metrics(trained, tmp_path):
    metrics = json.loads((trained / "metrics.json").read_text())
    (tmp_path / "card.md").write_text(render_model_card(trained, "user/some-model"))
    card = ModelCard.load(tmp_path / "card.md")
    assert card.data.model_name == "some-model"
    found = {result.metric_type: result for result in card.data.eval_results}
    assert {name: result.metric_value for name, result in found.items()} == {
        name: round(metrics[name], 4) for name in REPORTED
    }
    assert {(result.dataset_name, result.dataset_split, result.dataset_config) for result in found.values()} == {
        ("drawn", "validation", "default")
    }
    baseline = metrics["baselines"]["mean_soft_label"]
    rows = table(card.text)
    assert rows["KL(soft label // predicted), nats"] == [f"{metrics['kl']:.4f}", f"{baseline['kl']:.4f}"]
    assert rows["accuracy"] == [f"{metrics['accuracy']:.4f}", f"{baseline['accuracy']:.4f}"]
    assert rows["ECE (15 bins)"][0] == f"{metrics['ece']:.4f}"
    assert rows["valence: CCC, RMSE"][0] == f"{metrics['valence']['ccc']:.4f}, {metrics['valence']['rmse']:.4f}"
    for name in EMOTIONS:
        row = metrics["per_class"][name]
        figures = ["-" if row[key] is None else f"{row[key]:.3f}" for key in ("recall", "precision", "f1")]
        assert rows[name] == [*figures, str(row["support"])], name
    record = json.loads((trained / "training.json").read_text())
    assert rows["parameters"] == [f"{record['parameters']:,}"]
    assert rows["steps"] == ["4, batch 16, learning rate 0.001, seed 0"]
    assert rows["kept"][0].startswith(f"step {record['best_step']}, the best on 8 faces of the validation split")


def test_the_head_of_the_card_is_yaml_with_what_the_hub_reads(trained):
    text = render_model_card(trained, "user/some-model", "apache-2.0")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "apache-2.0" and "license_name" not in head
    assert head["library_name"] == "transformers" and head["pipeline_tag"] == "image-classification"
    assert "custom_code" in head["tags"]
    other = yaml.safe_load(render_model_card(trained, "user/some-model").split("---\n")[1])
    assert other["license"] == "other" and other["license_name"] == "see-card"


def test_the_card_names_the_repository_the_labels_and_the_pictures(trained):
    text = render_model_card(trained, "user/some-model")
    assert 'pipeline("image-classification", "user/some-model", trust_remote_code=True, top_k=8)' in text
    assert ", ".join(f"{index} {name}" for index, name in enumerate(EMOTIONS)) + "." in text
    assert "48x48 pixels" in text
    assert "![confusion.png](confusion.png)" in text and "faces.png" not in text
    assert "{{" not in text and "{%" not in text and "Undefined" not in text


def test_the_examples_of_the_card_work(trained, tmp_path):
    folder = stage(trained, tmp_path / "staged", repo_id=".")
    picture_path = folder / "face.jpg"
    picture_path.write_bytes(picture())
    blocks = [block.split("```")[0] for block in (folder / "README.md").read_text().split("```python\n")[1:]]
    assert len(blocks) == 2
    child = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert child.returncode == 0, child.stderr
    assert "'label'" in child.stdout and "tensor" in child.stdout


def test_without_metrics_the_card_says_so(model_copy):
    (model_copy / "metrics.json").unlink()
    card = card_of(model_copy)
    assert "This model was not evaluated" in card.text and "| accuracy |" not in card.text
    assert card.data.eval_results is None
    (model_copy / "training.json").unlink()
    assert "Not recorded: there is no training.json" in card_of(model_copy).text


def test_numbers_that_could_not_be_computed_are_dashes(prepared_from, tmp_path, tiny):
    """Labels only, and one valence: no KL, and no concordance of a single row."""
    faces = [(picture((20 * row, 9, 9)), annotation(label=row, valence=0.5 if row == 0 else None)) for row in range(8)]
    data = prepared_from(faces, faces)
    train(data, tmp_path / "model", quick(target="hard", image_size=24, epochs=1))
    metrics = evaluate(tmp_path / "model", data, tmp_path / "model")
    assert metrics["kl"] is None and metrics["valence"]["ccc"] is None and metrics["valence"]["rows"] == 1
    card = card_of(tmp_path / "model")
    rows = table(card.text)
    assert rows["KL(soft label // predicted), nats"] == ["-", "-"]
    assert rows["accuracy"][0] == f"{metrics['accuracy']:.4f}"
    assert rows["valence: CCC, RMSE"][0] == f"-, {metrics['valence']['rmse']:.4f}" and "arousal: CCC, RMSE" not in rows
    assert "kl" not in {result.metric_type for result in card.data.eval_results}
    assert rows["target"] == ["one-hot label, cross-entropy"]


def test_a_model_without_valence_and_arousal_says_so(model_copy):
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps(config | {"valence_arousal_weight": 0.0}))
    text = card_of(model_copy).text
    assert "its `valence_arousal` output means nothing" in text and "output.valence_arousal" not in text


# ---- over HTTP and back


def affectnet_plus(hub: LoopbackHub, home: Path, *arguments) -> subprocess.CompletedProcess:
    """The command line in a process of its own, with the real client, signed in to the loopback Hub."""
    return subprocess.run(
        [sys.executable, "-m", "affectnet_plus_modeling.cli", *map(str, arguments)],
        env=hub.environment(home), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


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


def test_a_published_model_is_loaded_back_without_this_package(hub, trained, drawn_tree, tmp_path):
    face = drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"
    pushed = affectnet_plus(hub, tmp_path / "writer", "publish", trained, "tester/faces")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.splitlines()[-1] == f"{hub.url}/tester/faces"
    child = subprocess.run(
        [sys.executable, "-c", LOAD_BACK, "tester/faces", str(face)],
        env=hub.environment(tmp_path / "reader"), cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
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


def test_one_commit_holds_everything_and_the_same_again_makes_none(hub, model_copy, tmp_path):
    for _ in range(2):
        pushed = affectnet_plus(hub, tmp_path / "home", "publish", model_copy, "tester/faces", "--license", "mit")
        assert pushed.returncode == 0, pushed.stderr
    repo = hub.repo("tester/faces")
    assert [commit.message for commit in repo.commits] == ["initial commit", "Publish model"]
    files = hub.files("tester/faces")
    assert sorted(files) == [".gitattributes", *PUBLISHED]
    staged = stage(model_copy, tmp_path / "staged", "mit", repo_id="tester/faces")
    assert {name: (staged / name).read_bytes() for name in PUBLISHED} == {name: files[name] for name in PUBLISHED}
    assert b"license: mit" in files["README.md"] and repo.private is False
    assert repo.resolve("main").tree["model.safetensors"].lfs


def test_the_numbers_of_an_earlier_model_do_not_stay(hub, model_copy, tmp_path):
    assert affectnet_plus(hub, tmp_path / "home", "publish", model_copy, "tester/faces").returncode == 0
    (model_copy / "metrics.json").unlink()
    (model_copy / "confusion.png").unlink()
    assert affectnet_plus(hub, tmp_path / "home", "publish", model_copy, "tester/faces").returncode == 0
    assert set(PUBLISHED) - set(hub.files("tester/faces")) == {"metrics.json", "confusion.png"}
    assert len(hub.repo("tester/faces").commits) == 3


def test_private_means_private_in_old_and_new_repositories(hub, trained, tmp_path):
    assert affectnet_plus(hub, tmp_path / "home", "publish", trained, "tester/new", "--private").returncode == 0
    assert hub.repo("tester/new").private is True
    assert affectnet_plus(hub, tmp_path / "home", "publish", trained, "tester/old").returncode == 0
    assert hub.repo("tester/old").private is False
    assert affectnet_plus(hub, tmp_path / "home", "publish", trained, "tester/old", "--private").returncode == 0
    assert hub.repo("tester/old").private is True


def test_a_refusal_of_the_hub_is_one_line(hub, trained, tmp_path):
    refused = affectnet_plus(hub, tmp_path / "home", "publish", trained, "somebody-else/faces")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("affectnet-plus publish: ")


def test_nothing_is_asked_of_the_hub_for_a_folder_that_is_no_model(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda *_, **__: pytest.fail("a repository was made"))
    with pytest.raises(FileNotFoundError, match="give the folder that train wrote"):
        publish(tmp_path, "user/some-model")
