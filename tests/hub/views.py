"""What the Hub tells about a repository: the JSON objects of its answers."""

import re
from datetime import datetime
from typing import Any

import yaml

from .repository import Commit, Repository, StoredFile, subtree, tree_id

# A model card starts with its YAML between two lines of dashes.
FRONT_MATTER = re.compile(r"\A\s*---[\r\n]+(.*?)[\r\n]+---(?:[\r\n]|\Z)", re.DOTALL)


def front_matter(card: str) -> dict[str, Any] | None:
    """The metadata of a card, None if it has none; raises ValueError if it is not a YAML mapping."""
    block = FRONT_MATTER.match(card)
    if block is None:
        return None
    try:
        metadata = yaml.safe_load(block[1])
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(metadata, dict):
        raise ValueError("metadata is not a mapping")
    return metadata


def timestamp(date: datetime) -> str:
    """A date as the Hub writes it."""
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def repository(repo: Repository, commit: Commit, blobs: bool) -> dict[str, Any]:
    """The answer of model_info and dataset_info; `blobs` adds sizes and ids of the files."""
    readme = commit.files.get("README.md", b"")
    card = front_matter(readme.decode()) or {}
    return {
        "id": repo.repo_id,
        "author": repo.repo_id.split("/")[0],
        "sha": commit.sha,
        "createdAt": timestamp(repo.commits[0].date),
        "lastModified": timestamp(commit.date),
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags", []),
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        "cardData": card,
        "siblings": [sibling(path, file, blobs) for path, file in sorted(commit.tree.items())],
    }


def sibling(path: str, file: StoredFile, blobs: bool) -> dict[str, Any]:
    """One file in the answer of model_info and dataset_info."""
    entry: dict[str, Any] = {"rfilename": path}
    if blobs:
        entry |= {"size": len(file.content), "blobId": file.blob_id}
    if blobs and file.lfs:
        entry["lfs"] = {"sha256": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    return entry


def file_entry(commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    """One file in a listing."""
    file = commit.tree[path]
    entry: dict[str, Any] = {"type": "file", "path": path, "oid": file.blob_id, "size": len(file.content)}
    if file.lfs:
        entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    return entry | last_commit(commit, path, expand)


def folder_entry(commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    """One folder in a listing."""
    entry = {"type": "directory", "path": path, "oid": tree_id(subtree(commit.tree, path)), "size": 0}
    return entry | last_commit(commit, path, expand)


def last_commit(commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    """What `expand` adds to a listing entry."""
    if not expand:
        return {}
    changed = commit.last_change(path)
    return {"lastCommit": {"id": changed.sha, "title": changed.message, "date": timestamp(changed.date)}}


def listing(commit: Commit, folder: str, recursive: bool, expand: bool) -> list[dict[str, Any]]:
    """The entries below `folder`, folders first: all of them or only the direct children."""
    depth = len(folder.split("/")) if folder else 0
    files, folders = set(), set()
    for path in subtree(commit.tree, folder):
        parts = path.split("/")
        above = {"/".join(parts[:count]) for count in range(depth + 1, len(parts))}
        folders |= above if recursive else {name for name in above if name.count("/") == depth}
        if recursive or len(parts) == depth + 1:
            files.add(path)
    entries = [folder_entry(commit, path, expand) for path in sorted(folders)]
    return entries + [file_entry(commit, path, expand) for path in sorted(files)]


def history(commit: Commit, user: str) -> list[dict[str, Any]]:
    """The answer of list_repo_commits."""
    return [
        {
            "id": entry.sha,
            "title": entry.message,
            "message": entry.description,
            "authors": [{"user": user}],
            "date": timestamp(entry.date),
        }
        for entry in commit.history()
    ]


def references(repo: Repository) -> dict[str, Any]:
    """The answer of list_repo_refs."""

    def entries(kind: str, named: dict[str, Commit]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit.sha} for name, commit in named.items()
        ]

    return {
        "branches": entries("heads", repo.branches),
        "tags": entries("tags", repo.tags),
        "converts": [],
        "pullRequests": [],
    }
