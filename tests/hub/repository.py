"""Hub repositories held in memory: files, commits, branches and tags. Nothing here knows about HTTP."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

# What a fresh repository on the Hub marks as large files; anything above the limit is large whatever its name.
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".onnx", ".npz", ".npy", ".parquet", ".arrow", ".zip", ".tar")
LFS_SIZE_LIMIT = 10 * 1024 * 1024
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


class HubError(Exception):
    """A refusal as the Hub words it; the clients choose the exception class by `status` and `code`."""

    def __init__(self, status: int, code: str | None, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, code, message, headers)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


@dataclass(frozen=True)
class StoredFile:
    """One file of a snapshot; `lfs` tells whether git would hold the content or only a pointer to it."""

    content: bytes
    lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        """The LFS object id."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """The text git stores in place of a large file."""
        lines = "version https://git-lfs.github.com/spec/v1", f"oid sha256:{self.sha256}", f"size {len(self.content)}"
        return "".join(f"{line}\n" for line in lines).encode()

    @cached_property
    def blob_id(self) -> str:
        """The git object id: of the content, or of the pointer for a large file."""
        blob = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0%s" % (len(blob), blob)).hexdigest()

    @property
    def etag(self) -> str:
        """The id a client computes from its local copy to learn whether the two differ."""
        return self.sha256 if self.lfs else self.blob_id


Tree = dict[str, StoredFile]


@dataclass(frozen=True)
class Commit:
    """A snapshot of the whole repository."""

    sha: str
    parent: "Commit | None"
    message: str
    description: str
    tree: Tree = field(repr=False)
    date: datetime

    @property
    def files(self) -> dict[str, bytes]:
        """Content by path."""
        return {path: file.content for path, file in self.tree.items()}

    def history(self) -> list["Commit"]:
        """This commit and its ancestors, newest first."""
        commits = [self]
        while commits[-1].parent is not None:
            commits.append(commits[-1].parent)
        return commits

    def last_change(self, path: str) -> "Commit":
        """The newest commit of the history that changed the file or folder."""
        commit = self
        while commit.parent is not None and subtree(commit.parent.tree, path) == subtree(commit.tree, path):
            commit = commit.parent
        return commit


def subtree(tree: Tree, path: str) -> Tree:
    """The file at `path`, or the files of the folder `path`; the empty path is the root folder."""
    return {name: file for name, file in tree.items() if path in ("", name) or name.startswith(f"{path}/")}


def tree_id(tree: Tree) -> str:
    """A hash of names and contents, standing in for git's tree object id."""
    lines = (f"{path}\0{file.blob_id}\n" for path, file in sorted(tree.items()))
    return hashlib.sha1("".join(lines).encode()).hexdigest()


class Repository:
    """Branches and tags over a list of commits, and the two settings that restrict readers."""

    def __init__(self, repo_id: str, repo_type: str, private: bool) -> None:
        self.repo_id, self.repo_type = repo_id, repo_type
        self.private = private
        self.gated: str | bool = False
        self.commits: list[Commit] = []
        self.branches: dict[str, Commit] = {}
        self.tags: dict[str, Commit] = {}
        # The Hub never leaves a repository without a commit: a fresh one holds its .gitattributes.
        self.add_commit("main", {".gitattributes": StoredFile(GITATTRIBUTES)}, "initial commit")

    def add_commit(self, branch: str, tree: Tree, message: str, description: str = "") -> Commit:
        """Make `tree` the head of `branch`. The sha depends on parent, text and content only, never on the clock."""
        parent = self.branches.get(branch)
        identity = "\0".join([parent.sha if parent else "", message, description, tree_id(tree)])
        sha = hashlib.sha1(identity.encode()).hexdigest()
        commit = Commit(sha, parent, message, description, tree, datetime.now(UTC))
        self.commits.append(commit)
        self.branches[branch] = commit
        return commit

    def head(self, branch: str) -> Commit:
        """The commit a branch points to; only branches can be committed to."""
        if branch not in self.branches:
            raise HubError(404, "RevisionNotFound", f"Invalid branch: {branch}")
        return self.branches[branch]

    def resolve(self, revision: str) -> Commit:
        """The commit named by a branch, a tag or a sha."""
        named = {commit.sha: commit for commit in self.commits} | self.tags | self.branches
        if revision not in named:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return named[revision]
