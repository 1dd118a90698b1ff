"""Routes about repositories: accounts, settings, descriptions, listings, branches and tags."""

from typing import Any
from urllib.parse import parse_qs

from . import views
from .repository import Commit, HubError, Repository, subtree
from .routing import REPO, HubState, Reply, Request, route


def requested_privacy(payload: dict[str, Any]) -> bool | None:
    """The privacy a client asks for, None if it does not say; clients before 2.0 send a flag."""
    if "visibility" in payload:
        return payload["visibility"] == "private"
    return payload.get("private")


def named_repository(hub: HubState, payload: dict[str, Any]) -> tuple[str, str]:
    """Type and id in the body of a create or delete request."""
    return payload.get("type") or "model", f"{payload.get('organization') or hub.user}/{payload['name']}"


@route("GET", "/api/whoami-v2", token=True)
def whoami(hub: HubState, request: Request) -> Reply:
    """The account of the token."""
    access = {"type": "access_token", "accessToken": {"displayName": "loopback", "role": "write"}}
    return Reply.json({"type": "user", "id": hub.user, "name": hub.user, "orgs": [], "auth": access})


@route("POST", "/api/validate-yaml")
def validate_yaml(hub: HubState, request: Request) -> Reply:
    """Check the metadata of a card before the client commits it."""
    try:
        metadata = views.front_matter(request.json()["content"])
    except ValueError as error:
        return Reply.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
    empty = [{"message": "empty or missing yaml metadata in repo card"}]
    return Reply.json({"errors": [], "warnings": [] if metadata else empty})


@route("POST", "/api/repos/create", token=True)
def create_repository(hub: HubState, request: Request) -> Reply:
    """Create a repository of the user; a conflict names the address too, for `exist_ok`."""
    payload = request.json()
    repo_type, repo_id = named_repository(hub, payload)
    if not repo_id.startswith(f"{hub.user}/"):
        raise HubError(403, None, f"You don't have the rights to create a {repo_type} under this namespace")
    exists = (repo_type, repo_id) in hub.repositories
    if not exists:
        private = bool(requested_privacy(payload))
        hub.repositories[repo_type, repo_id] = Repository(repo_id, repo_type, private)
    answer = {"url": hub.repository_url(hub.repository(repo_type, repo_id)), "name": repo_id}
    if exists:
        return Reply.json(answer | {"error": f"You already created this {repo_type} repo"}, 409)
    return Reply.json(answer)


@route("DELETE", "/api/repos/delete", token=True)
def delete_repository(hub: HubState, request: Request) -> Reply:
    """Forget a repository."""
    key = named_repository(hub, request.json())
    hub.repository(*key)
    del hub.repositories[key]
    return Reply(b"OK")


@route("PUT", f"/api/{REPO}/settings", token=True)
def update_settings(hub: HubState, request: Request, repo: Repository) -> Reply:
    """Change who may read."""
    payload = request.json()
    gated, private = payload.get("gated", repo.gated), requested_privacy(payload)
    if gated not in ("auto", "manual", False):
        raise HubError(400, None, "gated must be auto, manual or false")
    repo.gated = gated
    repo.private = repo.private if private is None else private
    return Reply.json({"gated": repo.gated, "private": repo.private})


@route("GET", f"/api/{REPO}(?:/revision/(?P<revision>[^/]+))?")
def information(hub: HubState, request: Request, repo: Repository, revision: str = "main") -> Reply:
    """model_info and dataset_info."""
    return Reply.json(views.repository(repo, repo.resolve(revision), request.flag("blobs")))


@route("GET", f"/api/{REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def tree(hub: HubState, request: Request, repo: Repository, revision: str, folder: str = "") -> Reply:
    """list_repo_tree. An empty list for a missing folder would break clients that expect the error."""
    commit = repo.resolve(revision)
    if folder in commit.tree or (folder and not subtree(commit.tree, folder)):
        raise HubError(404, "EntryNotFound", f"{folder} does not exist on {revision}")
    return Reply.json(views.listing(commit, folder, request.flag("recursive"), request.flag("expand")))


@route("POST", f"/api/{REPO}/paths-info/(?P<revision>[^/]+)")
def paths_info(hub: HubState, request: Request, repo: Repository, revision: str) -> Reply:
    """get_paths_info: the entries that exist among the paths of a form."""
    commit, form = repo.resolve(revision), parse_qs(request.body.decode())
    expand = form.get("expand", ["false"])[0].lower() == "true"
    existing = [path for path in form.get("paths", []) if subtree(commit.tree, path)]
    describe = {path: views.file_entry if path in commit.tree else views.folder_entry for path in existing}
    return Reply.json([describe[path](commit, path, expand) for path in existing])


@route("GET", f"/api/{REPO}/commits/(?P<revision>[^/]+)")
def commits(hub: HubState, request: Request, repo: Repository, revision: str) -> Reply:
    """list_repo_commits."""
    return Reply.json(views.history(repo.resolve(revision), hub.user))


@route("GET", f"/api/{REPO}/refs")
def references(hub: HubState, request: Request, repo: Repository) -> Reply:
    """list_repo_refs."""
    return Reply.json(views.references(repo))


@route("POST", f"/api/{REPO}/branch/(?P<name>[^/]+)", token=True)
def create_branch(hub: HubState, request: Request, repo: Repository, name: str) -> Reply:
    """Start a branch at a revision."""
    return add_reference(repo.branches, name, repo.resolve(request.json().get("startingPoint", "main")))


@route("POST", f"/api/{REPO}/tag/(?P<revision>[^/]+)", token=True)
def create_tag(hub: HubState, request: Request, repo: Repository, revision: str) -> Reply:
    """Name a revision."""
    return add_reference(repo.tags, request.json()["tag"], repo.resolve(revision))


@route("DELETE", f"/api/{REPO}/branch/(?P<name>[^/]+)", token=True)
def delete_branch(hub: HubState, request: Request, repo: Repository, name: str) -> Reply:
    """Forget a branch other than the default one."""
    if name == "main":
        raise HubError(403, None, "Cannot delete the main branch")
    return remove_reference(repo.branches, name)


@route("DELETE", f"/api/{REPO}/tag/(?P<name>[^/]+)", token=True)
def delete_tag(hub: HubState, request: Request, repo: Repository, name: str) -> Reply:
    """Forget a tag."""
    return remove_reference(repo.tags, name)


def add_reference(references: dict[str, Commit], name: str, commit: Commit) -> Reply:
    """Add a branch or tag that does not exist yet."""
    if name in references:
        raise HubError(409, None, f"Reference already exists: {name}")
    references[name] = commit
    return Reply(b"")


def remove_reference(references: dict[str, Commit], name: str) -> Reply:
    """Remove a branch or tag that exists."""
    if name not in references:
        raise HubError(404, "RevisionNotFound", f"Invalid reference: {name}")
    del references[name]
    return Reply(b"")
