"""A prepared folder to the Hub, in one commit. Faces that are not free never lie where everybody can read them."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from ..files import MANIFEST
from ..preparing.card import THIS_FOLDER
from ..preparing.manifest import read_manifest, verify
from ..sentences import lacks
from ..terms import terms_of
from .guard import Contents
from .hub import HubOptions, Repository

MAY_SHARE = "--i-may-share-licensed-faces"
_DATA_FILE = re.compile(r"data/[\w-]+\.parquet")


@dataclass(frozen=True)
class PreparedData:
    """The folder that `prepare` wrote with its pictures in the files; publishing takes away older Parquet files.

    Drawn faces may be public. All others need `may_share`, and a repository that is private, as a new one is, or whose
    owner approves every reader by hand: the Hub is asked what it is before the first byte is sent, and its gate opens
    when everything is in it.

    Args:
        may_share: you say that the licensor lets you put these faces on the Hub.
    """

    folder: str | Path
    may_share: bool = False
    message = "Publish data"

    def contents(self, repo_id: str) -> Contents:
        """What is published as `repo_id`, the name that the example of the card loads.

        Raises:
            FileNotFoundError: it is no prepared folder.
            ValueError: a picture is not in the files, or a file is missing or not what the manifest says.
        """
        return _contents(Path(self.folder), repo_id)

    def repository(self, repo_id: str, options: HubOptions) -> Repository:
        """Raises PermissionError: the faces are not free and this way of sharing them is not allowed."""
        manifest = read_manifest(self.folder)
        terms = terms_of(manifest["source"]["origin"])
        if not terms.free and not self.may_share:
            raise PermissionError(
                f"these faces ({terms.name}) are not free to pass on. {terms.conditions} If the licensor lets you put "
                f"them on the Hub, say so with {MAY_SHARE}"
            )
        if not terms.free and options.public:
            raise PermissionError(
                f"these faces ({terms.name}) are never public: pass --gated to approve readers, or none"
            )
        return Repository(repo_id, "dataset", closed=not terms.free, ours=_DATA_FILE)


# --- what is pushed --------------------------------------------------------------------------------------------------


def _contents(folder: Path, repo_id: str) -> Contents:
    """What is pushed: name in the repository -> content, or the file that holds it.

    report.json and quarantine.jsonl stay here: they name files and paths of this machine and faces that are not part
    of the data, and the card has their counts. The manifest goes without the place of the source.
    """
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"{lacks(folder, [MANIFEST])}; give the folder that prepare wrote")
    manifest = _checked_manifest(folder)
    card = (folder / "README.md").read_text(encoding="utf-8").replace(f'"{THIS_FOLDER}"', f'"{repo_id}"')
    documents = {"README.md": card.encode(), "croissant.json": (folder / "croissant.json").read_bytes()}
    manifest["source"]["path"] = None
    manifest["documents"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in documents.items()
    }
    contents: Contents = {**documents, MANIFEST: json.dumps(manifest, indent=2).encode() + b"\n"}
    return contents | {name: folder / name for name in manifest["files"]}


def _checked_manifest(folder: Path) -> dict:
    """The manifest, where the files are those that prepare wrote, and hold their pictures."""
    if errors := [finding for finding in verify(folder) if finding.level == "error"]:
        raise ValueError(f"{folder} cannot be published: {'; '.join(finding.message for finding in errors)}")
    manifest = read_manifest(folder)
    for name in manifest["files"]:
        path = folder / name
        if path.is_symlink():
            raise ValueError(f"{folder}/{MANIFEST} lists {name!r}, which is a link: put the file itself in its place")
        if missing := _pictures_missing(path):
            raise ValueError(
                f"{path}: {missing} rows hold the path of their picture on this machine and not the picture. Prepare "
                "again with --embed, then publish"
            )
    return manifest


def _pictures_missing(path: Path) -> int:
    """How many rows of a Parquet file hold the path of their picture and not the picture itself."""
    found = pq.read_metadata(path)
    column = [found.schema.column(index).path for index in range(found.num_columns)].index("image.bytes")
    chunks = [found.row_group(group).column(column) for group in range(found.num_row_groups)]
    if any(chunk.statistics is None or not chunk.statistics.has_null_count for chunk in chunks):
        raise ValueError(f"{path} has no statistics of its columns, so it was not written by prepare")
    return sum(chunk.statistics.null_count for chunk in chunks)
