"""One commit to a repository on the Hub: closed before it is opened, whole or not at all, none without a change."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from .connection import listening, patiently
from .guard import Contents, check_contents
from .options import HubOptions, check_repo_id

_NOTHING_HALF = "Everything goes in one commit, so nothing half is there; publish again, and it goes on where it was"
_MADE = "The new repository {name} stays there{private}. "
_TRIES = 3  # at a branch that moves meanwhile


@dataclass(frozen=True)
class Repository:
    """Where something goes.

    Args:
        kind: "model", "dataset" or "space".
        sdk: of a Space: "static" or "gradio".
        closed: it must never be open to everybody, who would read what is not free.
        reason: why it is closed, in words; None where it is not, or where whoever publishes said so.
        no_licence: that no licence is chosen for it, in words; None where it has one.
        ours: names of files that an earlier push may have left, and that go where they are not pushed again.
    """

    name: str
    kind: str
    closed: bool
    ours: re.Pattern[str]
    sdk: str | None = None
    reason: str | None = None
    no_licence: str | None = None

    def __post_init__(self):
        """Raises ValueError: it is no name of a repository with its owner."""
        check_repo_id(self.name)


def push(contents: Contents, to: Repository, options: HubOptions, message: str, say: Callable[[str], None]) -> str:
    """Bring the repository to hold `contents`, by one commit or none; returns its address.

    What is closed is uploaded only where the owner chose the readers: the Hub is asked before the first byte is sent.
    A new repository for it is private; a gate opens when everything is there and was compared with what was sent.

    Args:
        say: is told what was done, in a line.

    Raises:
        ValueError: as `guard.check_contents`; the revision is a tag; the tag is there and names another commit.
        PermissionError: the repository is open and what is pushed must not be; the token may not write.
        OSError: the Hub cannot be reached, refuses, or holds something else than was sent.
    """
    check_contents(contents)
    api = HfApi()
    with listening(_NOTHING_HALF):
        before = _settings(api, to)
        if to.closed and before is not None and not _readers_are_chosen(before):
            raise PermissionError(
                f"{to.name} is there and open to everybody, or to everybody who fills in a form, and this is not free "
                "to pass on. Make it private, or gated with approval by hand, in its settings on the Hub, or name "
                "another"
            )
        private = options.private or options.public or to.closed  # what is to be public is opened last
        address = patiently(
            api.create_repo, to.name, repo_type=to.kind, private=private, space_sdk=to.sdk, exist_ok=True
        )
    made = "" if before else _MADE.format(name=to.name, private=", private" * private)
    with listening(made + _NOTHING_HALF):
        _close(api, to, options)
        commit, changed = _commit(api, to, options, contents, message)
    with listening(f"The commit {commit[:8]} is whole and there, but its tag or its readers are not yet as you asked"):
        if options.tag:
            _tag(api, to, options.tag, commit)
        readers = _open(api, to, options)
    done = f"{changed} files in commit" if changed else "nothing changed since commit"
    say(f"{done} {commit[:8]} of {options.revision}{f', tag {options.tag}' * bool(options.tag)}; {readers}")
    return str(address)


# --- who may read ----------------------------------------------------------------------------------------------------

Settings = tuple[bool, str | bool | None]


def _settings(api: HfApi, to: Repository) -> Settings | None:
    """Whether the repository is private, and its gate ("auto", "manual" or none), as the Hub has them now."""
    try:
        info = patiently(api.repo_info, to.name, repo_type=to.kind)
    except RepositoryNotFoundError:
        return None
    return bool(info.private), info.gated


def _readers_are_chosen(settings: Settings | None) -> bool:
    """Whether the owner let every reader in. An automatic gate does not count: it opens to whoever fills in a form."""
    return settings is not None and (settings[0] or settings[1] == "manual")


def _close(api: HfApi, to: Repository, options: HubOptions) -> None:
    """Bring the gate and the privacy that are asked for about, before anything is there to be read."""
    if options.gated:
        patiently(api.update_repo_settings, to.name, repo_type=to.kind, gated="manual")
    if options.private:
        patiently(api.update_repo_settings, to.name, repo_type=to.kind, private=True)
    if to.closed and not _readers_are_chosen(_settings(api, to)):
        raise PermissionError(f"{to.name} did not become private or gated. Nothing was uploaded")


def _open(api: HfApi, to: Repository, options: HubOptions) -> str:
    """Let in whom the options let in, and say who that is. An earlier try may have ended anywhere before this."""
    private, gate = _settings(api, to) or (True, None)
    if options.public and (private or gate):
        patiently(api.update_repo_settings, to.name, repo_type=to.kind, private=False, gated=False if gate else None)
        private, gate = _settings(api, to) or (True, None)
    elif private and options.gated and not options.private:
        if gate != "manual":
            raise PermissionError(f"{to.name} is whole but has no gate with approval by hand, so it was left private")
        patiently(api.update_repo_settings, to.name, repo_type=to.kind, private=False)
        private, gate = _settings(api, to) or (True, None)
    return "only you read it" if private else f"readers pass a gate ({gate})" if gate else "everybody reads it"


# --- what is there ---------------------------------------------------------------------------------------------------


def _commit(api: HfApi, to: Repository, options: HubOptions, contents: Contents, message: str) -> tuple[str, int]:
    """The commit that holds `contents`, and how many files it changed; 0 where they were there already."""
    _prepare_branch(api, to, options)
    changed = 0
    for _ in range(_TRIES):
        head = patiently(api.repo_info, to.name, repo_type=to.kind, revision=options.revision).sha
        operations = _changes(api, to, head, contents)
        if not operations:
            return head, changed
        changed = len(operations)
        if options.tag and options.tag in _references(api, to)[1]:
            raise ValueError(f"the tag {options.tag} is there, and a tag does not move; name another")
        additions = [operation for operation in operations if isinstance(operation, CommitOperationAdd)]
        api.preupload_lfs_files(to.name, additions, repo_type=to.kind, revision=options.revision, free_memory=False)
        try:
            made = patiently(
                api.create_commit,
                to.name,
                operations,
                commit_message=message,
                repo_type=to.kind,
                revision=options.revision,
                parent_commit=head,
            )
        except HfHubHTTPError as error:
            # Somebody else committed, or this commit was made and only the answer to it was lost: look again.
            if error.response.status_code != 412:
                raise
            continue
        if differing := _changes(api, to, made.oid, contents):
            names = ", ".join(operation.path_in_repo for operation in differing)
            raise OSError(f"the Hub holds something else than was sent in {names}. Publish again")
        return made.oid, changed
    raise OSError(f"{options.revision} of {to.name} moved at every try: others commit to it. Publish again later")


def _changes(api: HfApi, to: Repository, revision: str, contents: Contents) -> list:
    """What has to be done to a commit so that it holds `contents`, and nothing else of ours."""
    entries = patiently(
        lambda: list(api.list_repo_tree(to.name, repo_type=to.kind, revision=revision, recursive=True))
    )
    there = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    additions = [CommitOperationAdd(name, content) for name, content in contents.items()]
    gone = [name for name in there if to.ours.fullmatch(name) and name not in contents]
    return [
        *(addition for addition in additions if not _is_there(addition, there.get(addition.path_in_repo))),
        *(CommitOperationDelete(name, is_folder=False) for name in gone),
    ]


def _is_there(addition: CommitOperationAdd, entry: RepoFile | None) -> bool:
    if entry is None or entry.size != addition.upload_info.size:
        return False
    if entry.lfs is not None:
        return entry.lfs.sha256 == addition.upload_info.sha256.hex()
    with addition.as_file() as file:
        return entry.blob_id == git_hash(file.read())


# --- branches and tags -----------------------------------------------------------------------------------------------


def _references(api: HfApi, to: Repository) -> tuple[set[str], dict[str, str]]:
    """The branches, and the tags with their commits."""
    found = patiently(api.list_repo_refs, to.name, repo_type=to.kind)
    return {branch.name for branch in found.branches}, {tag.name: tag.target_commit for tag in found.tags}


def _prepare_branch(api: HfApi, to: Repository, options: HubOptions) -> None:
    """Make the branch if there is none, and refuse names that mean something else already."""
    branches, tags = _references(api, to)
    if options.revision in tags:
        raise ValueError(f"{options.revision} is a tag of {to.name}, and a tag does not move; name a branch")
    if options.tag in branches:
        raise ValueError(f"{options.tag} is a branch of {to.name}; name the tag otherwise")
    if options.revision not in branches:
        # From the empty first commit: were it from the newest, another model would be found there after a failure.
        first = patiently(api.list_repo_commits, to.name, repo_type=to.kind)[-1].commit_id
        patiently(
            api.create_branch, to.name, branch=options.revision, revision=first, repo_type=to.kind, exist_ok=True
        )


def _tag(api: HfApi, to: Repository, tag: str, commit: str) -> None:
    patiently(api.create_tag, to.name, tag=tag, revision=commit, repo_type=to.kind, exist_ok=True)
    named = _references(api, to)[1].get(tag)
    if named != commit:
        raise ValueError(f"the tag {tag} is there and names the commit {named}; name another")
