"""Routes that move content: what to upload, large files, commits and downloads."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from . import views
from .repository import LFS_SIZE_LIMIT, LFS_SUFFIXES, HubError, Repository, StoredFile, Tree, subtree
from .routing import REPO, WEB_REPO, HubState, Reply, Request, route


@route("POST", f"/api/{REPO}/preupload/(?P<revision>[^/]+)", token=True)
def preupload(hub: HubState, request: Request, repo: Repository, revision: str) -> Reply:
    """Say which files are large and the ids of those that exist, so that clients skip unchanged ones."""
    current = repo.resolve(revision).tree
    return Reply.json(
        {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_large(file["path"], file["size"]) else "regular",
                    "shouldIgnore": False,
                    "oid": current[file["path"]].etag if file["path"] in current else None,
                }
                for file in request.json()["files"]
            ]
        }
    )


def is_large(path: str, size: int) -> bool:
    """Whether a file goes to the store of large files."""
    return path.endswith(LFS_SUFFIXES) or size > LFS_SIZE_LIMIT


@route("POST", rf"/{WEB_REPO}\.git/info/lfs/objects/batch", token=True)
def large_file_batch(hub: HubState, request: Request, repo: Repository) -> Reply:
    """Hand out upload addresses for the large files that are not in the store yet."""
    objects = request.json()["objects"]
    missing = {item["oid"]: item["size"] for item in objects if item["oid"] not in hub.large_files}
    hub.expected_uploads |= missing
    return Reply.json(
        {
            "transfer": "basic",
            "objects": [
                {"oid": item["oid"], "size": item["size"]}
                | ({"actions": {"upload": {"href": f"{hub.url}/lfs/{item['oid']}"}}} if item["oid"] in missing else {})
                for item in objects
            ],
        }
    )


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def upload_large_file(hub: HubState, request: Request, oid: str) -> Reply:
    """Store a large file. Having been announced stands in for the token, which clients do not send here."""
    if oid in hub.large_files:  # sent again, because the answer got lost
        return Reply(b"")
    if oid not in hub.expected_uploads:
        raise HubError(403, None, "No such upload was announced")
    if len(request.body) != hub.expected_uploads[oid] or hashlib.sha256(request.body).hexdigest() != oid:
        raise HubError(400, None, "The content does not match the announced size and sha256")
    hub.large_files[oid] = request.body
    del hub.expected_uploads[oid]
    return Reply(b"")


@route("POST", f"/api/{REPO}/commit/(?P<branch>[^/]+)", token=True)
def commit(hub: HubState, request: Request, repo: Repository, branch: str) -> Reply:
    """Apply all operations to a copy of the branch's head and make it the new head, or change nothing."""
    if request.flag("create_pr"):
        raise HubError(400, None, "Pull requests are not supported")
    head = repo.head(branch)
    header, *operations = [json.loads(line) for line in request.body.splitlines()]
    expected_parent = header["value"].get("parentCommit", head.sha)
    if not head.sha.startswith(expected_parent):
        raise HubError(412, None, "A commit has happened since. Please refresh and try again.")
    tree = dict(head.tree)
    for operation in operations:
        OPERATIONS[operation["key"]](hub, tree, operation["value"])
    check_card(tree)
    made = repo.add_commit(branch, tree, header["value"]["summary"], header["value"].get("description", ""))
    url = f"{hub.repository_url(repo)}/commit/{made.sha}"
    return Reply.json({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})


def add_file(hub: HubState, tree: Tree, value: dict[str, Any]) -> None:
    """Write a small file, whose content travels in the commit."""
    tree[value["path"]] = StoredFile(base64.b64decode(value["content"], validate=True))


def add_large_file(hub: HubState, tree: Tree, value: dict[str, Any]) -> None:
    """Write a large file, which must have been uploaded before."""
    content = hub.large_files.get(value["oid"])
    if content is None or len(content) != value.get("size", len(content)):
        raise HubError(400, None, f"Your push was rejected because an LFS pointer has no object: {value['path']}")
    tree[value["path"]] = StoredFile(content, lfs=True)


def delete_file(hub: HubState, tree: Tree, value: dict[str, Any]) -> None:
    """Remove a file that exists."""
    if value["path"] not in tree:
        raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {value['path']}")
    del tree[value["path"]]


def delete_folder(hub: HubState, tree: Tree, value: dict[str, Any]) -> None:
    """Remove a folder that exists."""
    folder = value["path"].rstrip("/")
    below = subtree(tree, folder)
    if folder in tree or not below:
        raise HubError(404, "EntryNotFound", f"A folder with this name doesn't exist: {folder}")
    for path in below:
        del tree[path]


OPERATIONS: dict[str, Callable[[HubState, Tree, dict[str, Any]], None]] = {
    "file": add_file,
    "lfsFile": add_large_file,
    "deletedFile": delete_file,
    "deletedFolder": delete_folder,
}


def check_card(tree: Tree) -> None:
    """Refuse a README whose metadata cannot be read."""
    if "README.md" not in tree:
        return
    try:
        views.front_matter(tree["README.md"].content.decode())
    except ValueError as error:
        raise HubError(400, None, f"Invalid metadata in README.md: {error}".splitlines()[0]) from error


@route("GET", f"/{WEB_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def download(hub: HubState, request: Request, repo: Repository, revision: str, path: str) -> Reply:
    """The content of a file or a range of it. The commit is named on errors too: clients cache absences by it."""
    snapshot = repo.resolve(revision)
    headers = {"X-Repo-Commit": snapshot.sha, "Accept-Ranges": "bytes"}
    if repo.gated and not hub.signed_in(request):
        raise HubError(401, "GatedRepo", f"Access to {repo.repo_type} {repo.repo_id} is restricted.", headers)
    if path not in snapshot.tree:
        raise HubError(404, "EntryNotFound", "Entry not found", headers)
    file = snapshot.tree[path]
    headers["ETag"] = f'"{file.etag}"'
    if file.lfs:
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(len(file.content))}
    if "Range" not in request.headers:
        return Reply(file.content, headers=headers)
    span = requested_span(request.headers["Range"], len(file.content))
    headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{len(file.content)}"
    return Reply(file.content[span.start : span.stop], 206, headers)


def requested_span(header: str, size: int) -> range:
    """The bytes a Range header asks for: `first-last`, `first-` or `-count`."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if match is None or match[0] == "bytes=-":
        raise HubError(400, None, f"Unsupported range: {header}")
    first, last = match.groups()
    span = range(max(size - int(last), 0), size) if not first else range(int(first), min(int(last or size) + 1, size))
    if not span:
        raise HubError(416, None, "Range not satisfiable", {"Content-Range": f"bytes */{size}"})
    return span
