"""The page is asked what no browser would ask: nothing but uploaded pictures is looked at, and nobody else may ask."""

import json
import os
import shutil
import socket
import time

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from hostile.damage import damaged_json, many, runs

gradio = pytest.importorskip("gradio", reason="gradio is not installed (the extra app)")
httpx = pytest.importorskip("httpx")

META = {"_type": "gradio.FileData"}
WHOLE = "the whole picture"
GONE = "The picture is no longer here: pictures are deleted after 10 minutes. Upload it again"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where uploads go, and beside it what is nobody's business."""
    root = tmp_path_factory.mktemp("page")
    (root / "uploads").mkdir()
    Image.new("RGB", (30, 30), "red").save(root / "private.png")
    os.mkfifo(root / "pipe.png")
    return root


@pytest.fixture(scope="module")
def address(place):
    from affectnet_plus_modeling.app import page as module

    def answer(crops):
        return [
            {"label": "happy", "soft_label": {"happy": 1.0}, "valence": 0.0, "arousal": 0.0, "entropy": 0.0}
            for _ in crops
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
        faces = {"validation": [(np.zeros((9, 9, 3), np.uint8), module.Truth("validation/1"))]}
        page = module.build_page(module.Model("nobody", answer, None), faces)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        found = module.launch(page, server_name="127.0.0.1", server_port=port)
        yield found
        page.close(verbose=False)


@pytest.fixture
def client(address):
    with httpx.Client(base_url=address, timeout=120) as found:
        yield found


SAY, LOOK = 0, 1  # the functions of the page that a photo is given to: for programs, and for the page itself


def ask(client, data, name="session", function=LOOK):
    """What comes of a call of the queue: the status where it is refused, else its last message."""
    body = data if isinstance(data, bytes) else json.dumps({"data": data, "fn_index": function, "session_hash": name})
    joined = client.post("gradio_api/queue/join", content=body, headers={"content-type": "application/json"})
    if joined.status_code != 200 or "event_id" not in joined.text:
        return joined.status_code
    with client.stream("GET", "gradio_api/queue/data", params={"session_hash": name}) as lines:
        for line in lines.iter_lines():
            if "process_completed" in line or "unexpected_error" in line:
                return line.replace(joined.json()["event_id"], "")
    return None


def upload(client, content: bytes) -> str:
    (path,) = client.post("gradio_api/upload", files={"files": ("face.png", content)}).raise_for_status().json()
    return path


def test_an_uploaded_picture_is_answered(client, place):
    path = upload(client, (place / "private.png").read_bytes())
    assert "Most probable" in ask(client, [{"path": path, "meta": META}, WHOLE])
    assert client.get(f"gradio_api/file={path}").content == (place / "private.png").read_bytes()


def test_no_other_file_is(client, place):
    inside = place / "uploads" / "there"
    inside.mkdir()
    (inside / "link.png").symlink_to(place / "private.png")
    os.mkfifo(inside / "pipe.png")
    others = ["private.png", "pipe.png", "missing.png", "uploads", "uploads/there/link.png", "uploads/there/pipe.png"]
    odd = ["/dev/zero", "/etc/passwd/x", "a\0b", "~", "", "../private.png", "http://127.0.0.1:1/x.png"]
    for path in [str(place / other) for other in others] + odd:
        for meta in ({}, {"meta": META}):
            for function in (SAY, LOOK):
                assert GONE in ask(client, [{"path": path, **meta}, WHOLE], function=function)
    shutil.rmtree(inside)
    for other in others[:4]:
        assert client.get(f"gradio_api/file={place / other}").status_code == 403


def test_missing_and_forbidden_are_told_in_the_same_words(client, place):
    (place / "there").mkdir()
    (place / "there" / "x.png").write_bytes((place / "private.png").read_bytes())
    folders = ("missing", "private.png", "uploads", "there")
    answers = {ask(client, [{"path": str(place / folder / "x.png")}, WHOLE]) for folder in folders}
    assert len(answers) == 1 and GONE in answers.pop()


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:7860", "origin": "http://evil.example:7860"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
    ],
)
def test_a_page_elsewhere_may_not_ask(client, headers):
    for method, path in (("GET", ""), ("GET", "config"), ("POST", "gradio_api/queue/join"), ("OPTIONS", "config")):
        asked = headers | {"access-control-request-method": "GET"}
        found = client.request(method, path, headers=asked)
        assert found.status_code == 403 and not found.content
        assert "access-control-allow-origin" not in found.headers


def test_the_page_itself_may(client, address):
    for host in (address.split("/")[2], address.split("/")[2].replace("127.0.0.1", "localhost")):
        found = client.get("config", headers={"host": host, "origin": f"http://{host}"})
        assert found.status_code == 200 and "look" not in found.headers


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/proxy=http://127.0.0.1:1/",
        "gradio_api/file=http://127.0.0.1:1/",
        "gradio_api/run/look",
        "gradio_api/call/look",
        "gradio_api/runs",
        "monitoring",
        "gradio_api/dev/reload",
        "docs",
        "openapi.json",
        "login",
    ],
)
def test_what_the_page_does_not_need_is_not_there(client, path):
    assert {client.get(path).status_code, client.post(path, json={"data": []}).status_code} == {404}


def test_a_request_ends_and_has_bounds(client, address, monkeypatch):
    from affectnet_plus_modeling.app import guard

    assert client.post("gradio_api/queue/join", content=bytes(guard.MOST_BYTES + 1)).status_code == 413
    chunks = (bytes(1 << 20) for _ in range(guard.MOST_BYTES // (1 << 20) + 2))  # a length is not told
    assert client.post("gradio_api/queue/join", content=chunks).status_code in (400, 413)
    monkeypatch.setattr(guard, "REQUEST_SECONDS", 1)
    host, port = address.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        head = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        slow.sendall(f"{head}Content-Length: 99\r\n\r\n".encode())
        began = time.monotonic()
        assert b" 408 " in slow.recv(1000).split(b"\r\n")[0]
        assert time.monotonic() - began < 30


@runs(60, 600)
def test_no_request_leaves_a_traceback(client, place, capfd, count):
    path = upload(client, (place / "private.png").read_bytes())
    data = st.one_of(damaged_json([{"path": path, "meta": META}, WHOLE]), damaged_json(["validation", 1]))
    capfd.readouterr()

    def check(drawn: tuple[bytes, int]):
        found = str(
            ask(client, b'{"data": %b, "fn_index": %d, "session_hash": "fuzz", "trigger_id": 4}' % drawn, "fuzz")
        )
        assert "private" not in found

    many(count, st.tuples(data, st.integers(0, 9)), check)
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed and "object at 0x" not in printed, printed[-3000:]
    assert "Most probable" in ask(client, [{"path": path, "meta": META}, WHOLE]), "the page answers no more"
