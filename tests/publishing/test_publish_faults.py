"""A bad line to the Hub, and a bad Hub: what passes is waited out, and what does not leaves nothing half there."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import torch
from huggingface_hub import HfApi, get_session
from safetensors.torch import save

from affectnet_plus_modeling.publishing import connection
from affectnet_plus_modeling.publishing.hub import HubOptions, Repository, push
from hub.client import signed_in
from hub.faults import Fault

REPO = "tester/faces"
LARGE = save({"weight": torch.arange(600.0)})
CARD = b"---\nlicense: mit\n---\n# Faces\n"
CONTENTS = {"README.md": CARD, "small.txt": b"a small file", "large.safetensors": LARGE}
ALWAYS = 99


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub to which this process is signed in. Nobody really waits: `hub.waits` holds the seconds."""
    with signed_in(monkeypatch, tmp_path / "home") as running:
        running.waits = []
        monkeypatch.setattr("time.sleep", running.waits.append)
        monkeypatch.setattr(connection, "SILENCE", 0.3)
        yield running


def publish(contents=CONTENTS, closed=False, **options) -> list[str]:
    """Push to REPO; returns what was said."""
    said: list[str] = []
    to = Repository(REPO, "model", closed, re.compile("old.txt"))
    push(contents, to, HubOptions(**options), "Publish", said.append)
    return said


def there(hub, revision="main") -> dict[str, bytes]:
    files = dict(hub.files(REPO, revision=revision))
    del files[".gitattributes"]
    return files


def sent(hub, part: str, method="PUT") -> list[int]:
    """The statuses of the requests of a method whose path holds a part."""
    return [status for name, path, status in hub.requests if name == method and part in path]


def commits(hub) -> int:
    return len(hub.repo(REPO).commits) - 1


# --- what passes -----------------------------------------------------------------------------------------------------

STEPS = [
    ("GET", "/api/models/"),
    ("POST", "/api/repos/create"),
    ("GET", "/refs"),
    ("GET", "/tree/"),
    ("POST", "/preupload/"),
    ("POST", "/objects/batch"),
    ("PUT", "/lfs/"),
    ("POST", "/validate-yaml"),
    ("POST", "/commit/"),
    ("POST", "/tag/"),
    ("PUT", "/settings"),
]
ONCE = [Fault(*step, **fault) for step in STEPS for fault in ({"status": 500, "times": 2}, {"drop": "answer"})] + [
    Fault(*step, **fault)
    for step in (("GET", "/tree/"), ("PUT", "/lfs/"), ("POST", "/commit/"))
    for fault in ({"status": 429, "headers": {"Retry-After": "7"}}, {"drop": "request"}, {"stall": 0.4})
]


@pytest.mark.parametrize(
    "fault", ONCE, ids=lambda fault: f"{fault.method} {fault.part} {fault.status or fault.drop or 'stall'}"
)
def test_a_step_that_fails_once_is_tried_again_and_everything_comes_there_in_one_commit(hub, fault):
    hub.faults.append(replace(fault))
    said = publish(tag="v1", public=True)
    assert there(hub) == there(hub, "v1") == CONTENTS and commits(hub) == 1
    assert len(said) == 1 and "3 files in commit" in said[0] and said[0].endswith("tag v1; everybody reads it")
    assert hub.waits, "premise: the fault happened"
    if fault.status == 429:
        assert hub.waits in ([7], [8]), "the library waits a second longer"


def test_a_wish_to_wait_until_a_date_is_understood(hub):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    hub.faults.append(Fault("POST", "/commit/", status=503, headers={"Retry-After": later}))
    hub.faults.append(Fault("POST", "/tag/", status=503, headers={"Retry-After": "soon"}))
    publish(tag="v1")
    assert hub.waits == [pytest.approx(30, abs=5), 1]


def test_a_wish_to_wait_an_hour_is_handed_on(hub):
    hub.faults.append(Fault("POST", "/commit/", status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ConnectionError, match="the Hub asks for patience"):
        publish()
    assert hub.waits == []


# --- what does not ---------------------------------------------------------------------------------------------------


FOR_GOOD = [
    (Fault("POST", "/commit/", ALWAYS, status=500), ConnectionError, "the Hub had an error of its own"),
    (Fault("PUT", "/lfs/", ALWAYS, status=503), ConnectionError, "'large.safetensors' .* had an error of its own"),
    (Fault("POST", "/commit/", ALWAYS, status=429, headers={"Retry-After": "9"}), OSError, "asks for patience"),
    (Fault("POST", "/preupload/", ALWAYS, drop="request"), ConnectionError, "the connection to the Hub broke"),
    (Fault("PUT", "/lfs/", ALWAYS, drop="request"), ConnectionError, "'large.safetensors' .* connection .* broke"),
    (Fault("POST", "/objects/batch", ALWAYS, stall=0.4), TimeoutError, "the Hub was silent for 0.3 seconds"),
    (Fault("PUT", "/lfs/", ALWAYS, corrupt=True), OSError, "'large.safetensors' .* does not match the announced size"),
    (
        Fault("POST", "/commit/", ALWAYS, status=401, message="Token expired"),
        PermissionError,
        r"does not accept the token, or there is none \(401: Token expired\); run: hf auth login",
    ),
    (Fault("POST", "/commit/", status=403, message="Read only"), PermissionError, "may not write .*403.*Read only"),
    (Fault("POST", "/commit/", status=413, message="Too much"), OSError, "the Hub refused .413: Too much."),
]


@pytest.mark.slow
@pytest.mark.parametrize("fault, kind, message", FOR_GOOD, ids=lambda value: getattr(value, "part", ""))
def test_what_fails_for_good_leaves_nothing_to_see_and_is_gone_on_with_later(hub, fault, kind, message):
    hub.faults.append(replace(fault))
    with pytest.raises(kind, match=message) as failed:
        publish(tag="v1", closed=True, gated=True)
    assert "\n" not in str(failed.value) and "http" not in str(failed.value)
    assert str(failed.value).endswith("publish again, and it goes on where it was")
    assert there(hub) == {} and commits(hub) == 0 and not hub.repo(REPO).tags
    assert hub.repo(REPO).private is True, "the gate was opened"
    hub.faults.clear()
    arrived = sent(hub, "/lfs/").count(200)
    publish(tag="v1", closed=True, gated=True)
    assert there(hub, "v1") == CONTENTS and commits(hub) == 1 and hub.repo(REPO).gated == "manual"
    assert sent(hub, "/lfs/").count(200) == 1 and arrived == ("/commit/" in fault.part), "a large file was sent twice"


AFTER_IT_WAS_MADE = [
    Fault(*step, ALWAYS, **fault)
    for step in STEPS[1:]
    for fault in ({"status": 500}, {"drop": "request"}, {"drop": "answer"})
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", AFTER_IT_WAS_MADE, ids=lambda fault: f"{fault.part} {fault.status or fault.drop}")
def test_given_again_it_ends_as_was_asked_for(hub, fault):
    hub.faults.append(replace(fault))
    with pytest.raises(OSError) as failed:
        publish(tag="v1", closed=True, gated=True)
    told = fault.part not in ("/api/repos/create", "/tag/")
    assert ("The new repository tester/faces stays there, private. " in str(failed.value)) == told
    hub.faults.clear()
    assert publish(tag="v1", closed=True, gated=True)[0].endswith("tag v1; readers pass a gate (manual)")
    assert there(hub) == there(hub, "v1") == CONTENTS and commits(hub) == 1
    assert (hub.repo(REPO).private, hub.repo(REPO).gated) == (False, "manual")


def test_a_private_and_gated_repository_stays_private(hub):
    publish(closed=True, gated=True, private=True)
    publish(closed=True)
    assert (hub.repo(REPO).private, hub.repo(REPO).gated) == (True, "manual")


def test_large_files_that_arrived_before_the_line_broke_are_not_sent_again(hub):
    second = save({"weight": torch.arange(700.0)})
    oid = hashlib.sha256(second).hexdigest()
    hub.faults.append(Fault("PUT", oid, ALWAYS, drop="request"))
    contents = CONTENTS | {"second.safetensors": second}
    with pytest.raises(ConnectionError, match="'second.safetensors' .* connection to the Hub broke"):
        publish(contents)
    hub.faults.clear()
    publish(contents)
    assert there(hub) == contents and commits(hub) == 1
    assert sent(hub, "/lfs/").count(200) == 2 and set(sent(hub, oid)) == {0, 200}


def test_a_token_that_is_not_accepted_is_not_tried_again(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(PermissionError, match="401.*run: hf auth login"):
        publish()
    assert hub.waits == [] and not hub.state.repositories


def test_a_hub_that_keeps_something_else_than_was_sent_is_found_out_before_tag_and_gate(hub):
    answer = hub.state.answer

    def forge(request):
        if "/commit/" in request.path:
            lines = [json.loads(line) for line in request.body.splitlines()]
            for line in lines:
                if line["value"].get("path") == "small.txt":
                    line["value"]["content"] = "YW4gb3RoZXIgb25l"
            request.body = b"\n".join(json.dumps(line).encode() for line in lines)
        return answer(request)

    hub.state.answer = forge
    with pytest.raises(OSError, match="the Hub holds something else than was sent in small.txt"):
        publish(tag="v1", closed=True, gated=True)
    assert hub.repo(REPO).private is True and not hub.repo(REPO).tags


def test_a_new_branch_that_was_not_finished_shows_no_other_model(hub):
    publish()
    hub.faults.append(Fault("POST", "/commit/", ALWAYS, status=500))
    with pytest.raises(ConnectionError):
        publish(CONTENTS | {"small.txt": b"newer"}, revision="v2")
    assert there(hub, "v2") == {} and there(hub) == CONTENTS


def test_a_tag_or_a_gate_that_fails_is_told_apart_from_the_commit(hub):
    hub.faults.append(Fault("POST", "/tag/", ALWAYS, status=500))
    with pytest.raises(ConnectionError, match="is whole and there, but its tag or its readers are not yet"):
        publish(tag="v1", closed=True, gated=True)
    assert there(hub) == CONTENTS and hub.repo(REPO).private is True
    hub.faults.clear()
    assert "nothing changed since commit" in publish(tag="v1", closed=True)[0]
    assert there(hub, "v1") == CONTENTS


# --- others at work --------------------------------------------------------------------------------------------------


def test_a_commit_of_somebody_else_meanwhile_is_kept(hub):
    publish()
    answer, others = hub.state.answer, []

    def meanwhile(request):
        if "/commit/" in request.path and not others:
            others.append("notes.txt")
            HfApi().upload_file(path_or_fileobj=b"theirs", path_in_repo="notes.txt", repo_id=REPO)
        return answer(request)

    hub.state.answer = meanwhile
    publish(CONTENTS | {"small.txt": b"newer"})
    assert there(hub) == CONTENTS | {"small.txt": b"newer", "notes.txt": b"theirs"} and commits(hub) == 3


def test_only_what_changed_is_sent(hub):
    publish(CONTENTS | {"old.txt": b"of an earlier push"})
    before = len(hub.requests)
    said = publish(CONTENTS | {"small.txt": b"newer"})
    assert "2 files in commit" in said[0] and there(hub) == CONTENTS | {"small.txt": b"newer"}
    assert not [path for _, path, _ in hub.requests[before:] if "/lfs" in path]
    before = len(hub.requests)
    assert "nothing changed since commit" in publish(CONTENTS | {"small.txt": b"newer"})[0]
    assert not [path for method, path, _ in hub.requests[before:] if method != "GET" and "create" not in path]


def test_the_client_of_the_library_is_as_it_was_afterwards(hub):
    hooks = len(get_session().event_hooks["request"])
    publish()
    assert len(get_session().event_hooks["request"]) == hooks
