"""The one way from what is published to the Hub, to a folder, or to a list of what would be sent.

Each kind (`Model`, `Exported`, `Ensemble`, `PreparedData`, `Metric`, `Space`) gives files and repository; all else is
here.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..checkpoints import read_config
from ..shipped import exported_file, local_folder
from .guard import Contents, check_contents, write_contents
from .hub import HubOptions, Repository, push


class Publication(Protocol):
    """A kind of publication; `message` is that of its commit."""

    @property
    def message(self) -> str: ...

    @property
    def folder(self) -> str | Path | None:
        """Where the files lie; None where they lie nowhere."""

    def contents(self, repo_id: str) -> Contents:
        """The files, by their names in the repository, whose name stands in the examples of the card."""

    def repository(self, repo_id: str, options: HubOptions) -> Repository:
        """Where they go, and whether it must stay closed; raises PermissionError where they may not go there so.

        Asked after `contents`, which has told that the files are what they should be.
        """


def publish(
    what: Publication | str | Path, repo_id: str, options: HubOptions, say: Callable[[str], None] = print
) -> str:
    """Push to the Hub repository `repo_id`, which is made if need be; returns its address.

    One commit holds everything, so something half-published is never seen; nothing is pushed when nothing changed.

    Args:
        what: one of the kinds, or a folder, whose kind its files tell, or the name of a model of the package.
        say: is told what was done, why it stays closed where it does, and whether it has no licence.

    Raises:
        FileNotFoundError, ValueError, PermissionError: as the kind's own `contents` and `repository`, and `hub.push`.
        OSError: as for `hub.push`.
    """
    what = _publication(what)
    contents, to = _contents(what, repo_id), what.repository(repo_id, options)
    for told in filter(None, (to.reason, to.no_licence)):
        say(told)
    return push(contents, to, options, what.message, say)


def stage(what: Publication | str | Path, out, overwrite: bool = False, repo_id: str | None = None) -> Path:
    """Write to the folder `out` exactly what `publish` would push.

    Args:
        what: as for `publish`.
        repo_id: the name that the examples of the card load; None names the folder itself.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
        FileNotFoundError, ValueError: as the kind's own `contents`; a file is not what its name says, or holds a
            secret.
    """
    return write_contents(_contents(_publication(what), repo_id or Path(out).name), out, overwrite)


@dataclass(frozen=True)
class Plan:
    """What `publish` would send.

    Attributes:
        files: bytes of each file, by its name in the repository.
        repository: its name.
        commit: to which branch, and under which tag.
        kind: "model", "dataset" or "space".
        readers: who could read it, if it is made now; one that is there and open keeps its readers, unless it must
            be closed: then nothing is sent.
        reason: why it is closed, None where it need not be, or whoever publishes said so.
        no_licence: that no licence is chosen, and what chooses one; None where there is one.
    """

    files: dict[str, int]
    repository: str
    kind: str
    commit: str
    readers: str
    reason: str | None
    no_licence: str | None

    def __str__(self):
        lines = [f"{size:>14,}  {name}" for name, size in self.files.items()]
        whole = f"{sum(self.files.values()):>14,}  bytes in {len(self.files)} files"
        to = f"to the {self.kind} repository {self.repository}, {self.commit}: {self.readers}"
        told = filter(None, (self.reason, self.no_licence))
        return "\n".join([*lines, whole, to, *told, f"nothing was sent to {self.repository}"])


def plan(what: Publication | str | Path, repo_id: str, options: HubOptions) -> Plan:
    """What `publish` would send, checked as it would be; nothing is sent, and no token is needed.

    Only a `Space` asks the Hub, who may read its model.

    Raises:
        as `publish`, but for what the Hub alone can tell.
    """
    what = _publication(what)
    contents, to = _contents(what, repo_id), what.repository(repo_id, options)
    check_contents(contents)
    sizes = {
        name: content.stat().st_size if isinstance(content, Path) else len(content)
        for name, content in contents.items()
    }
    commit = f"branch {options.revision}{f', tag {options.tag}' * bool(options.tag)}"
    readers = _readers(to, options)
    return Plan(dict(sorted(sizes.items())), repo_id, to.kind, commit, readers, to.reason, to.no_licence)


def _contents(what: Publication, repo_id: str) -> Contents:
    """The files, none of which is a link out of the folder: what it leads to was never meant to be published."""
    contents = what.contents(repo_id)
    if what.folder is not None:
        inside = os.path.realpath(what.folder)
        for name in contents:
            if not Path(os.path.realpath(Path(what.folder, name))).is_relative_to(inside):
                raise ValueError(
                    f"{Path(what.folder, name)} is a link that leaves {what.folder}: put the file itself in its place"
                )
    return contents


def _readers(to: Repository, options: HubOptions) -> str:
    if options.private or (to.closed and not options.gated):
        return "only you read it"
    return "readers pass a gate (manual)" if options.gated else "everybody reads it"


def _publication(what: Publication | str | Path) -> Publication:
    if not isinstance(what, str | Path):
        return what
    folder = local_folder(what)
    return kind_of(folder)(folder)


def kind_of(folder) -> Callable[..., Publication]:
    """The kind of what is in a folder, which is told by its files: its class, to be called with the folder.

    What is nothing else is taken for a `Model`, which says what is missing. A `Space` has no folder.
    """
    folder = Path(folder)
    if (folder / "manifest.json").is_file():
        from .publish_data import PreparedData

        return PreparedData
    if exported_file(folder) is not None:
        from .publish_exported import Exported

        return Exported
    config = folder / "config.json"
    if config.is_file() and read_config(folder)["model_type"] == "affectnet_plus_ensemble":
        from .publish_ensemble import Ensemble

        return Ensemble
    if not config.is_file() and (folder / f"{folder.resolve().name}.py").is_file():
        from .publish_metric import Metric

        return Metric
    from .publish_model import Model

    return Model
