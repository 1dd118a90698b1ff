"""A prepared folder to the Hub, in one commit. Faces that are not free never lie where everybody can read them."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from ..files import fresh_folder
from ..preparing.card import THIS_FOLDER
from ..preparing.manifest import MANIFEST, verify
from ..preparing.terms import terms_of

MAY_SHARE = "--i-may-share-licensed-faces"
_DATA_FILE = re.compile(r"data/[\w-]+\.parquet")


def stage_data(folder, out, overwrite: bool = False, repo_id: str | None = None) -> Path:
    """Write to the folder `out` exactly what `publish_data` would push.

    Args:
        repo_id: the name that the card's example loads; None names the folder itself.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
        FileNotFoundError, ValueError: as for `publish_data`.
    """
    out = Path(out)
    _, contents = _contents(Path(folder), repo_id or out.name)
    with fresh_folder(out, overwrite) as staged:
        (staged / "data").mkdir()
        for name, content in contents.items():
            if isinstance(content, Path):
                shutil.copyfile(content, staged / name)
            else:
                (staged / name).write_bytes(content)
    return out


def publish_data(folder, repo_id: str, private: bool = False, gated: bool = False, may_share: bool = False) -> str:
    """Push the prepared folder to the dataset repository `repo_id`, which is made if need be; returns its address.

    One commit holds everything, and takes away the Parquet files of an earlier push. Drawn faces may be public. All
    others need `may_share`, and a repository that is private or whose owner approves every reader by hand: the Hub is
    asked what it is before the first byte is sent, and a new one stays private until everything is in it.

    Args:
        private: only the owner reads; holds for a repository that is there already too.
        gated: readers ask, and the owner approves each by hand.
        may_share: you say that the licensor lets you put these faces on the Hub.

    Raises:
        FileNotFoundError: it is no prepared folder.
        ValueError: a picture is not in the files, or a file is missing or not what the manifest says.
        PermissionError: the faces are not free and this way of sharing them is not allowed.
    """
    origin, contents = _contents(Path(folder), repo_id)
    terms = terms_of(origin)
    if not terms.free and not may_share:
        raise PermissionError(
            f"these faces ({terms.name}) are not free to pass on. {terms.conditions} If the licensor lets you put "
            f"them on the Hub, say so with {MAY_SHARE}"
        )
    api = HfApi()
    before = _settings(api, repo_id)
    if not terms.free:
        _refuse_open(repo_id, before, private or gated)
    # Closed first, opened last: what is not free is never uploaded to an open repository, not for a moment.
    address = api.create_repo(repo_id, repo_type="dataset", private=private or not terms.free, exist_ok=True)
    if gated:
        api.update_repo_settings(repo_id, repo_type="dataset", gated="manual")
    if private:
        api.update_repo_settings(repo_id, repo_type="dataset", private=True)
    if not terms.free and not _readers_are_chosen(_settings(api, repo_id)):
        raise PermissionError(f"{repo_id} did not become private or gated. Nothing was uploaded")
    _commit(api, repo_id, contents)
    if not terms.free and before is None and not private:
        _open_to_approved(api, repo_id)
    return str(address)


# --- who may read ----------------------------------------------------------------------------------------------------


def _settings(api: HfApi, repo_id: str) -> tuple[bool, str | bool | None] | None:
    """Whether the repository is private, and its gate ("auto", "manual" or none), as the Hub has them now."""
    try:
        info = api.repo_info(repo_id, repo_type="dataset")
    except RepositoryNotFoundError:
        return None
    return bool(info.private), info.gated


def _readers_are_chosen(settings: tuple[bool, str | bool | None] | None) -> bool:
    """Whether the owner let every reader in. An automatic gate does not count: it opens to whoever fills in a form."""
    return settings is not None and (settings[0] or settings[1] == "manual")


def _refuse_open(repo_id: str, settings: tuple[bool, str | bool | None] | None, wished: bool) -> None:
    if settings is None and not wished:
        raise PermissionError("these faces are not free to pass on: pass --private, or --gated to approve readers")
    if settings is not None and not _readers_are_chosen(settings):
        raise PermissionError(
            f"{repo_id} is there and open to everybody, or to everybody who fills in a form. Make it private, or "
            "gated with approval by hand, in its settings on the Hub, or name another"
        )


def _open_to_approved(api: HfApi, repo_id: str) -> None:
    settings = _settings(api, repo_id)
    if settings is None or settings[1] != "manual":
        raise PermissionError(f"{repo_id} has the data but no gate with approval by hand, so it was left private")
    api.update_repo_settings(repo_id, repo_type="dataset", private=False)


# --- what is pushed --------------------------------------------------------------------------------------------------


def _contents(folder: Path, repo_id: str) -> tuple[str, dict[str, bytes | Path]]:
    """The origin of the faces, and what is pushed: name in the repository -> content, or the file that holds it.

    report.json and quarantine.jsonl stay here: they name files and paths of this machine and faces that are not part
    of the data, and the card has their counts. The manifest goes without the place of the source.
    """
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"{folder} holds no {MANIFEST}; give the folder that prepare wrote")
    manifest = _checked_manifest(folder)
    card = (folder / "README.md").read_text(encoding="utf-8").replace(f'"{THIS_FOLDER}"', f'"{repo_id}"')
    documents = {"README.md": card.encode(), "croissant.json": (folder / "croissant.json").read_bytes()}
    manifest["source"]["path"] = None
    manifest["documents"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in documents.items()
    }
    contents: dict[str, bytes | Path] = {**documents, MANIFEST: json.dumps(manifest, indent=2).encode() + b"\n"}
    return manifest["source"]["origin"], contents | {name: folder / name for name in manifest["files"]}


def _checked_manifest(folder: Path) -> dict:
    """The manifest, where the files are those that prepare wrote, and hold their pictures."""
    if errors := [finding for finding in verify(folder) if finding.level == "error"]:
        raise ValueError(f"{folder} cannot be published: {'; '.join(finding.message for finding in errors)}")
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name in manifest["files"]:
        path = folder / name
        if not _DATA_FILE.fullmatch(name) or path.is_symlink():
            raise ValueError(f"{folder}/{MANIFEST} lists {name!r}, expected data/<name>.parquet, and no link")
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


def _commit(api: HfApi, repo_id: str, contents: dict[str, bytes | Path]) -> None:
    there = api.list_repo_files(repo_id, repo_type="dataset")
    old = [name for name in there if _DATA_FILE.fullmatch(name) and name not in contents]
    api.create_commit(
        repo_id,
        [CommitOperationAdd(name, content) for name, content in contents.items()]
        + [CommitOperationDelete(name) for name in old],
        repo_type="dataset",
        commit_message="Publish data",
    )
