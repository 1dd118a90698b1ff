"""The real clients against the loopback Hub, each in a child process that gets its environment before it starts."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from .server import LoopbackHub

# Every script prints one JSON object as its last line; sys.argv[1] is a folder of its own.
FILES = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, snapshot_download

folder, api = Path(sys.argv[1]), HfApi()
seen = {"user": api.whoami()["name"], "url": str(api.create_repo("tester/files"))}
seen["uploads"] = [
    api.upload_folder(repo_id="tester/files", folder_path=folder, commit_message=message).oid
    for message in ("Add the folder", "Add the same folder")
]

snapshot = Path(snapshot_download("tester/files"))
seen["snapshot"] = {
    path.relative_to(snapshot).as_posix(): path.read_bytes().hex()
    for path in snapshot.rglob("*") if path.is_file()
}
seen["mismatches"] = api.verify_repo_checksums("tester/files").mismatches
seen["top"] = [entry.path for entry in api.list_repo_tree("tester/files")]
seen["all"] = [entry.path for entry in api.list_repo_tree("tester/files", recursive=True)]
seen["below"] = {
    entry.path: entry.last_commit.title for entry in api.list_repo_tree("tester/files", "notes", expand=True)
}
asked = ["notes", "absent", "weights.safetensors"]
seen["paths"] = [entry.path for entry in api.get_paths_info("tester/files", asked)]
info = api.model_info("tester/files")
seen["card"] = [info.tags, info.pipeline_tag, info.library_name, info.card_data.license]
seen["sizes"] = {file.rfilename: file.size for file in api.model_info("tester/files", files_metadata=True).siblings}

api.delete_file("weights.safetensors", repo_id="tester/files")
api.delete_folder("notes", repo_id="tester/files")
seen["titles"] = [commit.title for commit in api.list_repo_commits("tester/files")]
print(json.dumps(seen))
"""

REFERENCES = """
import json
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

api, repo = HfApi(), "tester/references"

def upload(text, **where):
    api.upload_file(repo_id=repo, path_or_fileobj=text.encode(), path_in_repo="a.txt", **where)

def read(revision):
    return open(hf_hub_download(repo, "a.txt", revision=revision)).read()

def refused(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code]

api.create_repo(repo)
upload("first")
api.create_tag(repo, tag="v1")
api.create_branch(repo, branch="try/out")
upload("branch", revision="try/out")
upload("second")
api.create_branch(repo, branch="old", revision="v1")
seen = {name: read(name) for name in ("main", "v1", "try/out", "old")}
refs = api.list_repo_refs(repo)
seen["branches"] = sorted(branch.name for branch in refs.branches)
seen["tags"] = [tag.name for tag in refs.tags]
seen["repeated"] = [
    refused(api.create_repo, repo),
    refused(api.create_tag, repo, tag="v1"),
    refused(api.create_branch, repo, branch="try/out"),
]
api.create_repo(repo, exist_ok=True)
api.delete_branch(repo, branch="try/out")
api.delete_tag(repo, tag="v1")
seen["gone"] = refused(api.model_info, repo, revision="v1")
seen["default branch"] = refused(api.delete_branch, repo, branch="main")
seen["to a sha"] = refused(upload, "x", revision=refs.branches[0].target_commit)
seen["stale parent"] = refused(upload, "x", parent_commit=refs.tags[0].target_commit)
seen["pull request"] = refused(upload, "x", create_pr=True)
api.delete_repo(repo)
seen["deleted"] = refused(api.model_info, repo)
print(json.dumps(seen))
"""

ACCESS = """
import json
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

def outcome(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code]
    return "ok"

owner, stranger = HfApi(), HfApi(token=False)
owner.create_repo("tester/access", private=True)
owner.upload_file(repo_id="tester/access", path_or_fileobj=b"x", path_in_repo="a.txt")
seen = {
    "private, owner": outcome(owner.model_info, "tester/access"),
    "private, stranger": outcome(stranger.model_info, "tester/access"),
    "private, file": outcome(hf_hub_download, "tester/access", "a.txt", token=False),
    "bad token": outcome(HfApi(token="hf_wrong").whoami),
    "bad token, read": outcome(HfApi(token="hf_wrong").model_info, "tester/access"),
    "foreign namespace": outcome(owner.create_repo, "somebody/else"),
}
owner.update_repo_settings("tester/access", private=False, gated="manual")
seen["gated"] = owner.model_info("tester/access").gated
seen["gated, stranger's info"] = outcome(stranger.model_info, "tester/access")
seen["gated, stranger's file"] = outcome(hf_hub_download, "tester/access", "a.txt", token=False)
seen["gated, owner's file"] = outcome(hf_hub_download, "tester/access", "a.txt")
owner.update_repo_settings("tester/access", gated=False)
seen["open, stranger's file"] = outcome(hf_hub_download, "tester/access", "a.txt", token=False, force_download=True)
print(json.dumps(seen))
"""

DATASET = """
import json
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset

features = Features({"id": Value("int32"), "label": ClassLabel(names=["calm", "angry"])})
rows = {"id": list(range(100)), "label": [number % 2 for number in range(100)]}
DatasetDict({"train": Dataset.from_dict(rows, features)}).push_to_hub("tester/faces", "small")

loaded = load_dataset("tester/faces", "small", split="train")
stream = load_dataset("tester/faces", "small", split="train", streaming=True)
print(json.dumps({
    "features kept": loaded.features == features == stream.features,
    "rows kept": loaded.to_dict() == rows and list(stream) == list(loaded),
}))
"""

PUSH_MODEL = """
import json, sys, torch
from pathlib import Path

code = Path(sys.argv[1]) / "tinycode"
code.mkdir()
(code / "__init__.py").touch()
(code / "modeling_tiny.py").write_text('''
import torch
from transformers import PretrainedConfig, PreTrainedModel

class TinyConfig(PretrainedConfig):
    model_type = "tiny-loopback"

class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Linear(2, 3)
        self.post_init()
''')
sys.path.insert(0, sys.argv[1])
from transformers import ViTConfig, ViTModel
from tinycode.modeling_tiny import TinyConfig, TinyModel

def digest(model):
    return {name: tensor.flatten().tolist() for name, tensor in model.state_dict().items()}

config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                   image_size=4, patch_size=2)
vit = ViTModel(config)
vit.push_to_hub("tester/vit")
TinyConfig.register_for_auto_class()
TinyModel.register_for_auto_class("AutoModel")
tiny = TinyModel(TinyConfig())
tiny.push_to_hub("tester/tiny")
print(json.dumps({"vit": digest(vit), "tiny": digest(tiny)}))
"""

LOAD_MODEL = """
import json
from transformers import AutoModel, ViTModel

def digest(model):
    return {name: tensor.flatten().tolist() for name, tensor in model.state_dict().items()}

vit = ViTModel.from_pretrained("tester/vit")
tiny = AutoModel.from_pretrained("tester/tiny", trust_remote_code=True)
print(json.dumps({"vit": digest(vit), "tiny": digest(tiny)}))
"""


def run_child(script: str, hub: LoopbackHub, folder: Path) -> dict:
    """Run a script as the hub's user, with fresh caches and `folder` as its argument; returns what it printed."""
    home = tempfile.mkdtemp(prefix="home", dir=folder.parent)
    child = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=hub.environment(Path(home)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a child, with room beside it for caches."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


def test_folder_survives_the_round_trip(hub, folder):
    content = {
        "README.md": (
            b"---\nlicense: mit\ntags: [faces, tiny]\n"
            b"pipeline_tag: image-classification\nlibrary_name: transformers\n---\n# Card\n"
        ),
        "notes/a #1 é.txt": b"small text\r\n",
        "notes/deep/er.txt": b"",
        "notes.txt": b"not in the folder of that name",
        "weights.safetensors": bytes(range(256)) * 8,
        "long.txt": b"0123456789abcdef" * (11 << 16),
    }
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    seen = run_child(FILES, hub, folder)

    first, second = seen["uploads"]
    uploaded = hub.files("tester/files", revision=first)
    attributes = uploaded.pop(".gitattributes")
    assert uploaded == content
    assert seen["snapshot"] == {name: data.hex() for name, data in (content | {".gitattributes": attributes}).items()}
    assert second == first, "an unchanged folder made a commit"
    assert seen["mismatches"] == []
    assert seen["user"] == "tester" and seen["url"] == f"{hub.url}/tester/files"
    assert seen["top"] == ["notes", ".gitattributes", "README.md", "long.txt", "notes.txt", "weights.safetensors"]
    assert set(seen["all"]) == {"notes", "notes/deep", *content, ".gitattributes"}
    assert seen["below"] == {"notes/deep": "Add the folder", "notes/a #1 é.txt": "Add the folder"}
    assert sorted(seen["paths"]) == ["notes", "weights.safetensors"]
    assert seen["card"] == [["faces", "tiny"], "image-classification", "transformers", "mit"]
    assert seen["sizes"]["long.txt"] == len(content["long.txt"])
    tree = hub.repo("tester/files").resolve(first).tree
    assert {path for path, file in tree.items() if file.lfs} == {"weights.safetensors", "long.txt"}
    assert set(hub.files("tester/files")) == {".gitattributes", "README.md", "long.txt", "notes.txt"}
    assert seen["titles"] == [commit.message for commit in reversed(hub.repo("tester/files").commits)]
    assert len(seen["titles"]) == 4


def test_branches_tags_and_conflicts(hub, folder):
    seen = run_child(REFERENCES, hub, folder)
    assert (seen["main"], seen["v1"], seen["try/out"], seen["old"]) == ("second", "first", "branch", "first")
    assert seen["branches"] == ["main", "old", "try/out"] and seen["tags"] == ["v1"]
    assert seen["repeated"] == [["HfHubHTTPError", 409]] * 3
    assert seen["gone"] == seen["to a sha"] == ["RevisionNotFoundError", 404]
    assert seen["default branch"] == ["HfHubHTTPError", 403]
    assert seen["stale parent"] == ["HfHubHTTPError", 412]
    assert seen["pull request"] == ["BadRequestError", 400]
    assert seen["deleted"] == ["RepositoryNotFoundError", 404]


def test_who_may_read(hub, folder):
    assert run_child(ACCESS, hub, folder) == {
        "private, owner": "ok",
        "private, stranger": ["RepositoryNotFoundError", 404],
        "private, file": ["RepositoryNotFoundError", 404],
        "bad token": ["HfHubHTTPError", 401],
        "bad token, read": ["HfHubHTTPError", 401],
        "foreign namespace": ["HfHubHTTPError", 403],
        "gated": "manual",
        "gated, stranger's info": "ok",
        "gated, stranger's file": ["GatedRepoError", 401],
        "gated, owner's file": "ok",
        "open, stranger's file": "ok",
    }
    repo = hub.repo("tester/access")
    assert repo.private is False and repo.gated is False


@pytest.mark.slow
def test_datasets_loads_and_streams(hub, folder):
    assert run_child(DATASET, hub, folder) == {"features kept": True, "rows kept": True}
    parquet = [path for path in hub.files("tester/faces", "dataset") if path.endswith(".parquet")]
    assert parquet == ["small/train-00000-of-00001.parquet"]
    assert any(path.endswith(".parquet") and status == 206 for _, path, status in hub.requests), "streamed no range"


@pytest.mark.slow
def test_transformers_loads_what_was_pushed(hub, folder):
    pushed = run_child(PUSH_MODEL, hub, folder)
    assert {"config.json", "model.safetensors"} <= set(hub.files("tester/vit"))
    assert {"config.json", "model.safetensors", "modeling_tiny.py"} <= set(hub.files("tester/tiny"))
    # A folder without the model's module: the code can only come from the hub.
    loaded = run_child(LOAD_MODEL, hub, folder)
    assert set(pushed["vit"]) == set(loaded["vit"]) and len(pushed["vit"]) > 10
    assert loaded == pushed


def test_environment_hides_the_developers_own_hub(hub, tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE", "UNRELATED"):
        monkeypatch.setenv(name, "own")
    environment = hub.environment(tmp_path)
    assert [name for name, value in environment.items() if value == "own"] == ["UNRELATED"]
    assert environment["HF_ENDPOINT"] == hub.url and environment["HF_HOME"] == str(tmp_path)
