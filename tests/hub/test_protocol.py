"""The loopback Hub against raw requests: what well-behaved clients never send, and the exact refusals."""

import hashlib
import json
from http.client import HTTPConnection

import pytest

from .server import LoopbackHub


def call(hub: LoopbackHub, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict, bytes]:
    """A request; returns status, headers and body."""
    connection = HTTPConnection(hub.url.removeprefix("http://"), timeout=900)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.status, dict(response.headers), response.read()
    connection.close()
    return answer


def create(hub: LoopbackHub, name: str) -> str:
    """Create a model repository; returns the token header for more of them."""
    token = "Bearer hf_loopback"
    status, _, _ = call(hub, "POST", "/api/repos/create", json.dumps({"name": name}).encode(), Authorization=token)
    assert status == 200
    return token


def commit_body(*operations: dict) -> bytes:
    """The body of a commit request."""
    lines = [{"key": "header", "value": {"summary": "change"}}, *operations]
    return "\n".join(json.dumps(line) for line in lines).encode()


def test_large_upload_must_match_its_announcement(hub):
    token = create(hub, "large")
    data = b"the content"
    oid = hashlib.sha256(data).hexdigest()

    def announce(size: int) -> dict:
        body = json.dumps({"objects": [{"oid": oid, "size": size}]}).encode()
        _, _, answer = call(hub, "POST", "/tester/large.git/info/lfs/objects/batch", body, Authorization=token)
        return json.loads(answer)["objects"][0]

    assert call(hub, "PUT", f"/lfs/{oid}", data)[0] == 403, "accepted before it was announced"
    announce(len(data) + 1)
    assert call(hub, "PUT", f"/lfs/{oid}", data)[0] == 400, "accepted another size"
    assert announce(len(data))["actions"]["upload"]["href"] == f"{hub.url}/lfs/{oid}"
    assert call(hub, "PUT", f"/lfs/{oid}", b"another one")[0] == 400, "accepted another sha256"

    pointer = {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": oid, "size": len(data)}}
    commit = "/api/models/tester/large/commit/main"
    assert call(hub, "POST", commit, commit_body(pointer), Authorization=token)[0] == 400, "committed without content"
    assert call(hub, "PUT", f"/lfs/{oid}", data)[0] == 200
    assert call(hub, "PUT", f"/lfs/{oid}", data)[0] == 200, "refused the same again, whose answer may be lost"
    assert call(hub, "POST", commit, commit_body(pointer), Authorization=token)[0] == 200
    assert hub.files("tester/large")["a.bin"] == data
    assert "actions" not in announce(len(data)), "asked again for a file it has"


def test_commits_are_atomic_and_reproducible():
    added = {"key": "file", "value": {"path": "a.txt", "content": "YWJj", "encoding": "base64"}}
    missing = {"key": "deletedFile", "value": {"path": "absent.txt"}}
    broken = {"key": "file", "value": {"path": "README.md", "content": "LS0tCmE6IFsKLS0tCg==", "encoding": "base64"}}
    shas = []
    for _ in range(2):
        with LoopbackHub() as hub:
            token, path = create(hub, "atomic"), "/api/models/tester/atomic/commit/main"
            status, headers, _ = call(hub, "POST", path, commit_body(added, missing), Authorization=token)
            assert (status, headers["X-Error-Code"]) == (404, "EntryNotFound")
            assert call(hub, "POST", path, commit_body(added, broken), Authorization=token)[0] == 400
            assert len(hub.repo("tester/atomic").commits) == 1 and "a.txt" not in hub.files("tester/atomic")
            for _ in range(2):
                assert call(hub, "POST", path, commit_body(added), Authorization=token)[0] == 200
            shas.append([commit.sha for commit in hub.repo("tester/atomic").commits])
    assert shas[0] == shas[1] and len(set(shas[0])) == 3


def test_writing_needs_the_token(hub):
    create(hub, "closed")
    for method, path in [
        ("POST", "/api/repos/create"),
        ("DELETE", "/api/repos/delete"),
        ("PUT", "/api/models/tester/closed/settings"),
        ("POST", "/api/models/tester/closed/preupload/main"),
        ("POST", "/api/models/tester/closed/commit/main"),
        ("POST", "/api/models/tester/closed/branch/x"),
        ("DELETE", "/api/models/tester/closed/branch/main"),
        ("POST", "/api/models/tester/closed/tag/main"),
        ("POST", "/tester/closed.git/info/lfs/objects/batch"),
    ]:
        assert call(hub, method, path, b"{}")[0] == 401, (method, path)
    assert len(hub.repo("tester/closed").commits) == 1


def test_ranges(hub):
    token = create(hub, "ranges")
    added = {"key": "file", "value": {"path": "a.txt", "content": "MDEyMzQ1Njc4OQ==", "encoding": "base64"}}
    call(hub, "POST", "/api/models/tester/ranges/commit/main", commit_body(added), Authorization=token)
    path = "/tester/ranges/resolve/main/a.txt"
    for wanted, content, described in [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ]:
        status, headers, body = call(hub, "GET", path, Range=wanted)
        assert (status, body, headers["Content-Range"]) == (206, content, described)
    assert call(hub, "GET", path, Range="bytes=10-")[0] == 416
    status, headers, body = call(hub, "HEAD", path)
    assert (status, headers["Content-Length"], body) == (200, "10", b"")


@pytest.mark.parametrize(
    "path, code",
    [
        ("/api/models/tester/absent", "RepoNotFound"),
        ("/api/models/unnamespaced", "RepoNotFound"),
        ("/api/datasets/tester/here", "RepoNotFound"),
        ("/api/models/tester/here/revision/v9", "RevisionNotFound"),
        ("/api/models/tester/here/tree/main/absent", "EntryNotFound"),
        ("/api/models/tester/here/tree/main/.gitattributes", "EntryNotFound"),
        ("/api/models/tester/here/discussions", "EntryNotFound"),
        ("/tester/here/resolve/main/absent.json", "EntryNotFound"),
        ("/tester/here/resolve/v9/absent.json", "RevisionNotFound"),
    ],
)
def test_absences_are_told_apart(hub, path, code):
    create(hub, "here")
    status, headers, _ = call(hub, "GET", path)
    assert (status, headers["X-Error-Code"]) == (404, code)
    assert hub.requests[-1] == ("GET", path, 404)
    if path.endswith("main/absent.json"):
        assert headers["X-Repo-Commit"] == hub.repo("tester/here").commits[-1].sha


@pytest.mark.parametrize(
    "card, status, warned",
    [
        ("---\nlicense: mit\n---\n# Card", 200, False),
        ("# Card", 200, True),
        ("---\na: [\n---\n", 400, False),
        ("---\n- a\n---\n", 400, False),
    ],
)
def test_cards_are_validated(hub, card, status, warned):
    body = json.dumps({"content": card, "repoType": "model"}).encode()
    answered, _, answer = call(hub, "POST", "/api/validate-yaml", body)
    answer = json.loads(answer)
    assert (answered, bool(answer["errors"]), bool(answer["warnings"])) == (status, status == 400, warned)
