"""Prepared folders on the Hub: what is pushed, who could ever read it, and the way back through `load_dataset`."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import HfApi

from affectnet_plus_modeling.files import size_and_digest
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.manifest import verify
from affectnet_plus_modeling.publishing import publish_data as module
from affectnet_plus_modeling.publishing.hub import HubOptions
from affectnet_plus_modeling.publishing.publish import publish, stage
from affectnet_plus_modeling.sources.tree import writing_tree
from affectnet_plus_modeling.terms import UNKNOWN
from hub.client import signed_in
from hub.server import LoopbackHub
from support.prepared_cards import GENERATED, rewrite
from support.trees import full_record, picture

REPO = "tester/faces"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub to which this process is signed in. `hub.exposed` gathers what anybody could read."""
    with signed_in(monkeypatch, tmp_path / "home") as running:
        answer, running.exposed = running.state.answer, []

        def watched(request):
            """Answer a request, and look at what lies open before and after it."""
            reply = answer(request)
            for repo in running.state.repositories.values():
                data = running.state.large_files or any(path.startswith("data/") for path in repo.head("main").tree)
                if data and not repo.private and repo.gated != "manual":
                    running.exposed.append(f"{request.method} {request.path}")
            return reply

        running.state.answer = watched
        yield running


def publish_data(folder, repo_id, may_share=False, **options):
    return publish(module.PreparedData(folder, may_share), repo_id, HubOptions(**options), say=lambda text: None)


def sealed(folder: Path, origin: str) -> Path:
    """The prepared folder with its card, Croissant metadata and manifest, as of an origin."""
    rewrite(folder, origin)
    return folder


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Path:
    """8 easy faces for training and 2 challenging ones for validation, with their pictures in 2 files; read-only."""
    folder = tmp_path_factory.mktemp("publish")
    with writing_tree(folder / "raw") as tree:
        for stem in range(10):
            split, label, subset = ("train", stem, 0) if stem < 8 else ("validation", stem - 8, 1)
            tree.add(split, stem, picture((20 * stem, 90, 40)), full_record(label, subset, seed=stem))
    prepare(folder / "raw", folder / "embedded", embed=True)
    return folder / "embedded"


@pytest.fixture
def drawn_data(embedded, tmp_path) -> Path:
    return sealed(Path(shutil.copytree(embedded, tmp_path / "drawn_data")), "drawn")


@pytest.fixture(scope="module")
def licensed(embedded) -> Path:
    """Read-only."""
    return sealed(Path(shutil.copytree(embedded, embedded.with_name("licensed"))), "AffectNet+")


def repo_of(hub: LoopbackHub):
    return hub.repo(REPO, "dataset")


def asked(hub: LoopbackHub) -> list[str]:
    """The requests that change something."""
    return [f"{method} {path}" for method, path, _ in hub.requests if method not in ("GET", "HEAD")]


# --- what is pushed --------------------------------------------------------------------------------------------------


def test_exactly_the_data_the_card_the_metadata_and_the_manifest_are_pushed(hub, drawn_data):
    (drawn_data / "notes.txt").write_text("mine")
    (drawn_data / "data" / "notes.txt").write_text("mine")
    assert publish_data(drawn_data, REPO) == f"{hub.url}/datasets/{REPO}"
    files = hub.files(REPO, "dataset")
    listed = json.loads((drawn_data / "manifest.json").read_text())["files"]
    assert sorted(files) == sorted([".gitattributes", "README.md", "croissant.json", "manifest.json", *listed])
    for name in [*listed, "croissant.json"]:
        assert files[name] == (drawn_data / name).read_bytes(), name
    repo = repo_of(hub)
    assert [commit.message for commit in repo.commits] == ["initial commit", "Publish data"]
    assert repo.private is False and repo.gated is False
    assert all(repo.resolve("main").tree[name].lfs for name in listed)


def test_the_card_names_the_repository(hub, drawn_data):
    publish_data(drawn_data, REPO)
    card = hub.files(REPO, "dataset")["README.md"].decode()
    assert f'load_dataset("{REPO}", "default", split="train")' in card and "<this folder>" not in card


def test_nothing_pushed_tells_of_the_machine(hub, drawn_data, raw_tree):
    (drawn_data / "quarantine.jsonl").write_text(json.dumps({"image_id": "train/7", "reason": f"{raw_tree}/7.jpg"}))
    manifest = rewrite(drawn_data)
    manifest["source"]["path"] = str(raw_tree / "gone")
    (drawn_data / "manifest.json").write_text(json.dumps(manifest))
    publish_data(drawn_data, REPO)
    files = hub.files(REPO, "dataset")
    for name, content in files.items():
        for secret in (str(raw_tree), str(drawn_data.parent), os.path.expanduser("~/")):
            assert secret.encode() not in content, name
        if name.endswith(".parquet"):
            pictures = pq.read_table(BytesIO(content))["image"].to_pylist()
            assert pictures and all(os.sep not in picture["path"] for picture in pictures), name
    pushed = json.loads(files["manifest.json"])
    assert pushed["source"] == manifest["source"] | {"path": None} and pushed["files"] == manifest["files"]


def test_the_same_again_makes_no_commit(hub, drawn_data):
    publish_data(drawn_data, REPO)
    publish_data(drawn_data, REPO)
    assert len(repo_of(hub).commits) == 2


def test_files_of_an_earlier_push_do_not_stay(hub, drawn_data):
    publish_data(drawn_data, REPO)
    HfApi().upload_file(path_or_fileobj=b"by hand", path_in_repo="notes.txt", repo_id=REPO, repo_type="dataset")
    (drawn_data / "data" / "validation-00000.parquet").unlink()
    sealed(drawn_data, "drawn")
    publish_data(drawn_data, REPO)
    files = hub.files(REPO, "dataset")
    assert not any(name.startswith("data/validation") for name in files)
    assert "notes.txt" in files, "what somebody added stays"


def test_staging_writes_what_would_be_pushed(hub, licensed, tmp_path):
    out = stage(licensed, tmp_path / "staged", repo_id=REPO)
    assert not hub.requests, "staging asks nobody"
    publish_data(licensed, REPO, private=True, may_share=True)
    files = {name: content for name, content in hub.files(REPO, "dataset").items() if name != ".gitattributes"}
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == files
    assert [finding for finding in verify(out) if finding.level != "note"] == [], "its own manifest denies it"
    with pytest.raises(FileExistsError, match="--overwrite"):
        stage(licensed, out)
    assert stage(licensed, out, overwrite=True) == out
    assert 'load_dataset("staged"' in (out / "README.md").read_text()


# --- what cannot be pushed -------------------------------------------------------------------------------------------


def test_an_index_of_paths_is_refused(hub, prepared, tmp_path):
    folder = sealed(Path(shutil.copytree(prepared, tmp_path / "index")), "drawn")
    with pytest.raises(ValueError, match=r"rows hold the path of their picture .* Prepare again with --embed"):
        publish_data(folder, REPO)
    assert not hub.requests


def test_one_row_without_its_picture_is_refused(hub, drawn_data):
    """Whatever the manifest says: a card of an index with the flag of an embedded folder, or a file joined by hand."""
    path = drawn_data / "data" / "train-00000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[3]["image"]["bytes"] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    rewrite(drawn_data)
    with pytest.raises(ValueError, match="train-00000.parquet: 1 rows hold the path"):
        publish_data(drawn_data, REPO)
    pq.write_table(table, path, write_statistics=False)
    rewrite(drawn_data)
    with pytest.raises(ValueError, match="not written by prepare"):
        publish_data(drawn_data, REPO)
    assert not hub.requests


def damage_row(folder: Path) -> None:
    path = next((folder / "data").iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def reach(name: str):
    """A manifest that lists a file which is there, and true to its checksum, but is no part of the data."""

    def edit(folder: Path) -> None:
        (folder / name).write_text("my secret")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"][name] = size_and_digest(folder / name) | {"rows": 1}
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return edit


def link_away(folder: Path) -> None:
    path = next((folder / "data").iterdir())
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")


@pytest.mark.parametrize(
    "damage, message",
    [
        (damage_row, "has another checksum; prepare again"),
        (lambda folder: next((folder / "data").iterdir()).unlink(), "is missing; prepare again"),
        (link_away, "is a link: put the file itself in its place"),
        (
            lambda folder: (folder / "manifest.json").unlink(),
            "holds no manifest.json; give the folder that prepare wrote",
        ),
        (lambda folder: (folder / "README.md").unlink(), "README.md is missing"),
        (lambda folder: (folder / "croissant.json").unlink(), "croissant.json is missing"),
        (lambda folder: (folder / "data" / "other.parquet").touch(), "other.parquet is not listed in the manifest"),
        (reach("../secret.parquet"), "manifest.json is missing or damaged"),
        (reach("data/../../secret.parquet"), "manifest.json is missing or damaged"),
        (reach("data/.env"), "manifest.json is missing or damaged"),
    ],
)
def test_a_damaged_folder_is_refused_before_the_hub_is_asked(hub, drawn_data, damage, message):
    damage(drawn_data)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        publish_data(drawn_data, REPO)
    assert not hub.requests


# --- who may read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["AffectNet+", "AffectNet", "FER+", UNKNOWN, "somewhere else"])
def test_faces_that_are_not_free_need_the_flag_and_are_private_unless_told(hub, embedded, tmp_path, origin):
    folder = sealed(Path(shutil.copytree(embedded, tmp_path / "data")), origin)
    with pytest.raises(PermissionError, match=r"not free to pass on.*--i-may-share-licensed-faces"):
        publish_data(folder, REPO, private=True)
    assert not hub.requests
    with pytest.raises(PermissionError, match="never public: pass --gated"):
        publish_data(folder, REPO, public=True, may_share=True)
    assert not hub.requests
    publish_data(folder, REPO, may_share=True)
    assert repo_of(hub).private is True and len(repo_of(hub).commits) == 2 and not hub.exposed


@pytest.mark.parametrize("origin", ["drawn", "FER+"])
def test_generated_soft_labels_change_nothing_of_who_may_read(hub, tmp_path, origin):
    with writing_tree(tmp_path / "raw", origin=origin, soft_labels=GENERATED) as tree:
        tree.add("train", 1, picture(), full_record(1, 0))
    prepare(tmp_path / "raw", tmp_path / "data", embed=True)
    if origin == "FER+":
        with pytest.raises(PermissionError, match="not free to pass on"):
            publish_data(tmp_path / "data", REPO, private=True)
        assert not hub.requests
    publish_data(tmp_path / "data", REPO, private=origin == "FER+", may_share=origin == "FER+")
    assert repo_of(hub).private is (origin == "FER+") and not (hub.exposed and origin == "FER+")
    files = hub.files(REPO, "dataset")
    assert json.loads(files["manifest.json"])["source"]["soft_labels"] == asdict(GENERATED)
    assert b"The soft labels were generated, by" in files["README.md"]


def make(private: bool, gated) -> None:
    HfApi().create_repo(REPO, repo_type="dataset", private=private)
    HfApi().update_repo_settings(REPO, repo_type="dataset", gated=gated)


@pytest.mark.parametrize("wish", [{}, {"private": True}, {"gated": True}], ids=["none", "private", "gated"])
@pytest.mark.parametrize(
    "private, gated, allowed",
    [
        (True, False, True),
        (True, "auto", True),
        (False, "manual", True),
        (False, False, False),
        (False, "auto", False),
    ],
)
def test_what_an_existing_repository_is_decides_and_not_what_is_wished(hub, licensed, private, gated, allowed, wish):
    make(private, gated)
    hub.requests.clear()
    if allowed:
        publish_data(licensed, REPO, may_share=True, **wish)
        assert len(repo_of(hub).commits) == 2
        opened = "gated" in wish  # to who asks and is let in by hand
        assert repo_of(hub).private is ((private and not opened) or "private" in wish), "nobody asked to open it"
        assert repo_of(hub).gated == ("manual" if "gated" in wish else gated)
    else:
        with pytest.raises(PermissionError, match="open to everybody.* or name another"):
            publish_data(licensed, REPO, may_share=True, **wish)
        assert not asked(hub), "nothing was changed and nothing uploaded"
    assert not hub.exposed


def test_a_gated_repository_opens_only_when_everything_is_in_it(hub, licensed):
    publish_data(licensed, REPO, gated=True, may_share=True)
    repo = repo_of(hub)
    assert (repo.private, repo.gated) == (False, "manual") and not hub.exposed
    steps = [step for step in asked(hub) if "/settings" in step or "/commit/" in step or step.endswith("/create")]
    assert [step.rpartition("/")[2] for step in steps] == ["create", "settings", "main", "settings"]


def test_private_and_gated_stays_private(hub, licensed):
    publish_data(licensed, REPO, private=True, gated=True, may_share=True)
    assert (repo_of(hub).private, repo_of(hub).gated) == (True, "manual")


@pytest.mark.parametrize("ignored", ["private", "gated", "both"])
def test_a_hub_that_does_not_do_as_told_gets_nothing_or_stays_closed(hub, licensed, ignored):
    """A plan without private repositories, an organisation's rule, another program in between."""
    answer = hub.state.answer

    def deaf(request):
        if ignored in ("gated", "both") and request.path.endswith("/settings"):
            payload = json.loads(request.body)
            payload.pop("gated", None)
            request.body = json.dumps(payload).encode()
        reply = answer(request)
        if ignored in ("private", "both") and request.path == "/api/repos/create":
            hub.state.repositories["dataset", REPO].private = False
        return reply

    hub.state.answer = deaf
    if ignored == "private":  # the gate holds
        publish_data(licensed, REPO, gated=True, may_share=True)
        assert repo_of(hub).gated == "manual"
    else:
        message = "was left private" if ignored == "gated" else "Nothing was uploaded"
        with pytest.raises(PermissionError, match=message):
            publish_data(licensed, REPO, gated=True, may_share=True)
        assert repo_of(hub).private is (ignored == "gated")
        assert len(repo_of(hub).commits) == (2 if ignored == "gated" else 1)
    assert not hub.exposed


@pytest.mark.parametrize(
    "wish, state",
    [
        ({}, (False, False)),
        ({"private": True}, (True, False)),
        ({"gated": True}, (False, "manual")),
    ],
)
def test_drawn_faces_may_be_public(hub, drawn_data, wish, state):
    publish_data(drawn_data, REPO, **wish)
    assert (repo_of(hub).private, repo_of(hub).gated) == state
    publish_data(drawn_data, REPO, private=True)
    assert repo_of(hub).private is True, "private holds for a repository that is there already"


def test_the_card_of_licensed_faces_asks_readers_before_the_gate(hub, licensed, drawn_data):
    publish_data(licensed, REPO, gated=True, may_share=True)
    head = yaml.safe_load(hub.files(REPO, "dataset")["README.md"].decode().split("---\n")[1])
    assert "third parties" in head["extra_gated_prompt"] and "checkbox" in head["extra_gated_fields"].values()


# --- and back --------------------------------------------------------------------------------------------------------

LOAD_BACK = """
import json, sys
from datasets import load_dataset

said = []
for repo in sys.argv[1:]:
    for streaming in (False, True):
        try:
            rows = load_dataset(repo, "easy", split="train", streaming=streaming)
        except Exception as error:
            said.append(type(error).__name__)
            continue
        names = ("image_id", "label", "soft_label")
        said.append([{name: row[name] for name in names} | {"size": row["image"].size} for row in rows])
print(json.dumps(said))
"""


def load_back(hub: LoopbackHub, home: Path, *repos: str, **environment) -> list:
    child = subprocess.run(
        [sys.executable, "-c", LOAD_BACK, *repos],
        env=hub.environment(home) | {"USE_TORCH": "0"} | environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


def test_published_data_is_loaded_back_whole_and_streaming(hub, licensed, tmp_path):
    publish_data(licensed, REPO, gated=True, may_share=True)
    whole, streamed = load_back(hub, tmp_path / "reader", REPO)
    rows = pq.read_table(licensed / "data" / "train-00000.parquet").to_pylist()
    names = ("image_id", "label", "soft_label")
    assert whole == streamed == [{name: row[name] for name in names} | {"size": [24, 24]} for row in rows]
    assert len(whole) == 8


def test_a_stranger_can_load_neither_private_nor_gated_data(hub, licensed, tmp_path):
    publish_data(licensed, REPO, gated=True, may_share=True)
    publish_data(licensed, "tester/private", private=True, may_share=True)
    said = load_back(hub, tmp_path / "stranger", REPO, "tester/private", HF_TOKEN="")
    assert said == ["DatasetNotFoundError"] * 4
