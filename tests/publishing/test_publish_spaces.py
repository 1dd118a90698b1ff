"""Spaces: metrics as `evaluate` loads them from the Hub, and the page to try a model."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi

from affectnet_plus_modeling import metrics
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.evaluation.predict import predict
from affectnet_plus_modeling.publishing.hub import HubOptions
from affectnet_plus_modeling.publishing.publish import publish
from affectnet_plus_modeling.publishing.space_files import space_files
from hub.client import signed_in

FOLDER = Path(metrics.__file__).parent
NAMES = ["affect_dimensions", "calibration", "soft_label"]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with signed_in(monkeypatch, tmp_path / "home") as running:
        yield running


# --- metrics ---------------------------------------------------------------------------------------------------------

# Run where this package cannot be imported: everything must come from the Hub, or from the folders.
LOAD_BACK = """
import json, sys
sys.modules["affectnet_plus_modeling"] = None
import evaluate

rows = {"predictions": [[0.5, 0.25, 0.25], [0.1, 0.7, 0.2]], "references": [[0.5, 0.5, 0.0], [0.1, 0.6, 0.3]]}
affect = {"predictions": [[0.1, 0.2], [0.3, -0.5], [-0.9, 0.0]], "references": [[0.0, 0.2], [0.5, -0.5], [-0.7, 0.3]]}
print(json.dumps([
    {
        "soft_label": evaluate.load(place + "/soft_label").compute(**rows),
        "affect_dimensions": evaluate.load(place + "/affect_dimensions").compute(**affect),
        "calibration": evaluate.load(place + "/calibration", "soft").compute(**rows),
    }
    for place in sys.argv[1:]
], default=float))
"""


@pytest.mark.slow
def test_published_metrics_are_loaded_back_by_evaluate_without_this_package(hub, tmp_path):
    for name in NAMES:
        assert main(["publish", str(FOLDER / name), f"tester/{name}"]) == 0
        assert hub.repo(f"tester/{name}", "space").private is False
    quiet = {"USE_TORCH": "0", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    hub.requests.clear()
    child = subprocess.run(
        [sys.executable, "-c", LOAD_BACK, "tester", str(FOLDER)],
        env=hub.environment(tmp_path / "reader") | quiet,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr
    published, local = json.loads(child.stdout.splitlines()[-1])
    assert published == local and published["soft_label"]["rows"] == 2
    assert {path for _, path, status in hub.requests if status == 200} == {
        f"/spaces/tester/{name}/resolve/main/{file}.py" for name in NAMES for file in (name, "formulas", "inputs")
    }


def test_code_card_and_a_page_are_published_and_nothing_else(hub, tmp_path):
    folder = Path(shutil.copytree(FOLDER / "soft_label", tmp_path / "soft_label"))
    (folder / "notes.txt").write_text("mine")
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "older.py").touch()
    for _ in range(2):
        assert main(["publish", str(folder), "tester/soft_label"]) == 0
        (folder / "older.py").unlink(missing_ok=True)
    files = hub.files("tester/soft_label", "space")
    code = ["__init__.py", "formulas.py", "inputs.py", "soft_label.py"]
    assert sorted(files) == sorted([".gitattributes", "README.md", "index.html", *code])
    card = files["README.md"].decode()
    assert yaml.safe_load(card.split("---\n")[1])["sdk"] == "static"
    assert 'evaluate.load("tester/soft_label")' in card and "modeling/" not in card
    assert b"# soft_label" in files["index.html"] and b"<script" not in files["index.html"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["tester/other"], "call it soft_label, as the metric is"),
        (["tester/soft_label", "--gated"], "Spaces have no gate"),
        (["tester/soft_label", "--license", "mit"], "--license means nothing"),
    ],
)
def test_a_metric_that_could_not_be_loaded_is_refused(hub, capsys, arguments, message):
    assert main(["publish", str(FOLDER / "soft_label"), *arguments]) == 1
    assert message in capsys.readouterr().err and not hub.requests


# --- the page --------------------------------------------------------------------------------------------------------


def make_model(hub, **settings) -> None:
    HfApi().create_repo("tester/faces")
    if settings:
        HfApi().update_repo_settings("tester/faces", **settings)


def test_the_page_of_an_open_model_is_open_and_loads_it(hub, tmp_path):
    make_model(hub)
    for _ in range(2):
        assert main(["publish", "--space", "tester/faces", "tester/faces-page"]) == 0
    repo = hub.repo("tester/faces-page", "space")
    assert repo.private is False and len(repo.commits) == 2
    files = hub.files("tester/faces-page", "space")
    head = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert head["sdk"] == "gradio" and head["models"] == ["tester/faces"]
    assert b"not a felt emotion" in files["README.md"] and b"Prohibited" in files["README.md"]
    assert b"gradio" in files["requirements.txt"] and b"'tester/faces'" in files["app.py"]
    assert space_files("tester/faces", "tester/faces-page") == {
        name: content for name, content in files.items() if name != ".gitattributes"
    }
    assert main(["publish", "--space", "tester/faces", str(tmp_path / "page"), "--to-folder"]) == 0
    assert (tmp_path / "page" / "app.py").read_bytes() == files["app.py"]


@pytest.mark.parametrize("settings", [{"private": True}, {"gated": "manual"}, {"gated": "auto"}], ids=str)
def test_the_page_of_a_closed_model_is_private(hub, capsys, settings):
    make_model(hub, **settings)
    assert main(["publish", "--space", "tester/faces", "tester/page", "--public"]) == 1
    assert "its page cannot be public" in capsys.readouterr().err and len(hub.state.repositories) == 1
    assert main(["publish", "--space", "tester/faces", "tester/page"]) == 0
    assert "needs a secret HF_TOKEN" in capsys.readouterr().out
    assert hub.repo("tester/page", "space").private is True


def test_a_model_that_is_not_there_has_no_page(hub, capsys):
    assert main(["publish", "--space", "tester/faces", "tester/page"]) == 1
    said = capsys.readouterr().err
    assert "404" in said and "tester/faces has to be on the Hub before its Space" in said
    assert not hub.state.repositories


# Nothing of this package can be imported but what the Space brings along.
COLD = """
import runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path.insert(0, ".")
sys.argv = ["app.py"]
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.mark.slow
def test_a_space_starts_cold_from_its_repository_alone_and_programs_ask_it(hub, trained, drawn_tree, tmp_path):
    client = pytest.importorskip("gradio_client", reason="gradio is not installed (the extra app)")
    publish(trained, "tester/faces", HubOptions(), lambda text: None)
    assert main(["publish", "--space", "tester/faces", "tester/page"]) == 0
    for name, content in hub.files("tester/page", "space").items():
        (tmp_path / "space" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / name).write_bytes(content)
    (tmp_path / "uploads").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    environment = hub.environment(tmp_path / "fresh") | {"GRADIO_SERVER_PORT": port, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", COLD],
        env=environment | {"GRADIO_TEMP_DIR": str(tmp_path / "uploads")},
        cwd=tmp_path / "space",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("open "):
                    break
            assert lines and lines[-1].startswith("open "), "".join(lines)
            page = client.Client(lines[-1].split()[1], verbose=False)
            assert set(page.view_api(return_format="dict")["named_endpoints"]) == {"/look"}
            faces = [drawn_tree / "human_annotated/validation_set/images/0.jpg", tmp_path / "space/example-happy.png"]
            for face, expected in zip(faces, predict(trained, faces), strict=True):
                (answer,) = page.predict(client.handle_file(face), "the whole picture", api_name="/look")
                assert answer.pop("box") is None and answer["label"] == expected["label"]
                assert answer["soft_label"] == pytest.approx(expected["soft_label"], abs=1e-6)
            (tmp_path / "notes.png").write_text("these are notes")
            with pytest.raises(Exception, match="notes.png cannot be read"):
                page.predict(client.handle_file(tmp_path / "notes.png"), "the whole picture", api_name="/look")
        finally:
            process.kill()
