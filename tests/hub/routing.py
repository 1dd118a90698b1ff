"""Requests, replies, and the way from a request to the function that serves it."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .repository import HubError, Repository

REPO = r"(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
# Outside /api, models carry no prefix.
WEB_REPO = r"(?:(?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)"
WEB_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}


@dataclass
class Request:
    """One HTTP request; `target` is the path and query as sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path, still percent-encoded: a slash inside a revision is not a separator."""
        return urlsplit(self.target).path

    def flag(self, name: str) -> bool:
        """A boolean of the query string."""
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0].lower() in ("1", "true")

    def json(self) -> Any:
        """The body of a JSON request."""
        return json.loads(self.body)


@dataclass
class Reply:
    """One HTTP response."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Reply":
        """A JSON response; `default=str` because YAML metadata may hold dates."""
        body = json.dumps(value, default=str).encode()
        return cls(body, status, {"Content-Type": "application/json", **(headers or {})})

    @classmethod
    def refusal(cls, error: HubError) -> "Reply":
        """An error as the clients parse it."""
        # Header text is ASCII, while messages may quote a path.
        headers = {"X-Error-Message": error.message.encode("ascii", "replace").decode(), **error.headers}
        if error.code:
            headers["X-Error-Code"] = error.code
        return cls.json({"error": error.message}, error.status, headers)


@dataclass(frozen=True)
class Route:
    """A method and path with the function that serves them; `token` routes are closed to anonymous readers."""

    method: str
    pattern: re.Pattern[str]
    serve: Callable[..., Reply]
    token: bool


ROUTES: list[Route] = []


def route(method: str, pattern: str, token: bool = False) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    """Register a function for the requests whose whole path matches the pattern."""

    def register(serve: Callable[..., Reply]) -> Callable[..., Reply]:
        ROUTES.append(Route(method, re.compile(pattern), serve, token))
        return serve

    return register


@dataclass
class HubState:
    """The state behind the routes: one user, the repositories and the store of large files."""

    user: str
    token: str
    url: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    expected_uploads: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply:
        """Serve one request; the lock makes every request atomic."""
        with self.lock:
            try:
                return self._dispatch(request)
            except HubError as error:
                return Reply.refusal(error)

    def _dispatch(self, request: Request) -> Reply:
        signed_in = self.signed_in(request)
        for candidate in ROUTES:
            match = candidate.pattern.fullmatch(request.path)
            if match is None or candidate.method != request.method.replace("HEAD", "GET"):
                continue
            if candidate.token and not signed_in:
                raise HubError(401, None, "Invalid username or password.")
            return candidate.serve(self, request, **self._parameters(match, signed_in))
        # A repository's unsupported endpoint is a missing entry, everything else a missing repository.
        match = re.match(f"/api/{REPO}", request.path)
        if match is None:
            raise HubError(404, "RepoNotFound", "Repository not found")
        self._parameters(match, signed_in)
        raise HubError(404, "EntryNotFound", f"No such endpoint: {request.path}")

    def _parameters(self, match: re.Match[str], signed_in: bool) -> dict[str, Any]:
        """The groups of a path, decoded, with the repository in place of its name."""
        groups = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
        if "repo_id" not in groups:
            return groups
        repo_type = groups.pop("kind", "models").removesuffix("s")
        return groups | {"repo": self.repository(repo_type, groups.pop("repo_id"), signed_in)}

    def signed_in(self, request: Request) -> bool:
        """Whether the request carries the token; a wrong one is refused even where none is needed."""
        authorization = request.headers.get("Authorization")
        if authorization not in (None, f"Bearer {self.token}"):
            raise HubError(401, None, "Invalid credentials in Authorization header")
        return authorization is not None

    def repository(self, repo_type: str, repo_id: str, signed_in: bool = True) -> Repository:
        """A repository the reader may see; a private one looks like a missing one to everybody else."""
        repo = self.repositories.get((repo_type, repo_id))
        if repo is None or (repo.private and not signed_in):
            raise HubError(404, "RepoNotFound", "Repository not found")
        return repo

    def repository_url(self, repo: Repository) -> str:
        """The address of the repository's page."""
        return f"{self.url}/{WEB_PREFIX[repo.repo_type]}{repo.repo_id}"
