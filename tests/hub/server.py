"""The server itself: `with LoopbackHub() as hub:` and point the real clients at `hub.environment(home)`."""

import os
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from urllib.parse import urlsplit

# Importing the route modules is what registers their routes.
from . import routes_files, routes_repos  # noqa: F401
from .faults import Fault, claim, corrupted, refusal, silence
from .repository import Repository
from .routing import HubState, Request

# Settings of the developer's own Hub account and caches, which a test must not see.
FOREIGN_SETTINGS = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_")


class LoopbackHub:
    """A Hub with one user, held in memory and served on the loopback interface while the context is open."""

    def __init__(self, user: str = "tester", token: str = "hf_loopback") -> None:
        self.state = HubState(user, token)
        self.requests: list[tuple[str, str, int]] = []  # method, path without the query, status; 0 for none
        self.faults: list[Fault] = []

    def __enter__(self) -> "LoopbackHub":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RequestHandler, self))
        self.state.url = f"http://127.0.0.1:{self._server.server_port}"
        # The default interval would make every shutdown wait up to half a second.
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The endpoint."""
        return self.state.url

    def environment(self, home: Path) -> dict[str, str]:
        """The environment for a child process that signs in here and keeps its caches in `home`."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
        return inherited | {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.state.token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",  # Xet is a second protocol, which this server does not speak
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def repo(self, repo_id: str, repo_type: str = "model") -> Repository:
        """The repository with its settings (`private`, `gated`), `commits`, `branches` and `tags`."""
        return self.state.repository(repo_type, repo_id)

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Content by path at a revision."""
        return self.repo(repo_id, repo_type).resolve(revision).files


class RequestHandler(BaseHTTPRequestHandler):
    """Carries requests and replies between the socket and the routes."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: without this the second waits for an acknowledgement of the first.
    disable_nagle_algorithm = True

    def __init__(self, hub: LoopbackHub, *connection: object) -> None:
        self.hub = hub
        super().__init__(*connection)

    def _serve(self) -> None:
        """Answer one request and log it; logged first, so that the log is complete when the client reads on."""
        path, length = urlsplit(self.path).path, int(self.headers.get("Content-Length", 0))
        fault = claim(self.hub.faults, self.command, path) or Fault("", "")
        if fault.drop == "request":
            self.rfile.read(length // 2)
            self._break_off(path)
            return
        request = Request(self.command, self.path, self.headers, self.rfile.read(length))
        if fault.corrupt:
            request = corrupted(request)
        reply = refusal(fault) if fault.status else self.hub.state.answer(request)
        if fault.drop == "answer":
            self._break_off(path)
            return
        self.hub.requests.append((self.command, path, reply.status))
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(reply.body[: len(reply.body) // 2])
        silence(fault.stall)
        try:
            self.wfile.write(reply.body[len(reply.body) // 2 :])
        except ConnectionError:  # the client had no more patience
            self.close_connection = True

    def _break_off(self, path: str) -> None:
        self.hub.requests.append((self.command, path, 0))
        self.close_connection = True
        self.connection.shutdown(SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Requests are kept in `hub.requests`, not printed."""
