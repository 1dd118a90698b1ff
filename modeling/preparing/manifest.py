"""What a prepared folder says about itself, so that it can be told whether it still is what it was made to be."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from affectnet_plus import LayoutError, is_system_file

from ..checking.findings import EXAMPLES, Finding
from ..files import MANIFEST, read_json, size_and_digest, write_json
from ..sources.delivered import Source, open_source
from ..terms import SoftLabels

# Raise it when the same tree becomes other rows or other files: folders that were prepared before are then told to be
# old. tests/preparing/test_row_format.py fails when it has to be.
ROW_FORMAT = 3
DOCUMENTS = ("quarantine.jsonl", "report.json", "README.md", "croissant.json")


Count = Annotated[int, Meta(ge=0)]


class ManifestSource(TypedDict):
    """What a folder was prepared from; `path` is None in one that was published, or that `label` wrote."""

    path: str | None
    kind: str
    origin: str | None
    fingerprint: str
    follow_links: NotRequired[bool]
    soft_labels: NotRequired[SoftLabels]  # where the source says that these were generated


Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class FileFacts(TypedDict):
    """How a file was written."""

    bytes: Count
    sha256: Digest


class DataFacts(FileFacts):
    """How a Parquet file was written."""

    rows: Count


class Manifest(TypedDict):
    """What manifest.json holds. No name in it leads out of the folder."""

    version: str
    source: ManifestSource
    embedded: bool
    format: NotRequired[int]
    counts: dict[str, Count]
    files: dict[Annotated[str, Meta(pattern=r"^data/[\w-]+\.parquet$")], DataFacts]
    documents: dict[Annotated[str, Meta(pattern=r"^[\w-]+\.(json|jsonl|md)$")], FileFacts]


def read_manifest(folder) -> Any:
    """The manifest of a prepared folder: a `Manifest`, as JSON has it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not one that prepare wrote; the message says what is wrong.
    """
    return read_json(Path(folder) / MANIFEST, Manifest, "it is not as prepare wrote it; prepare again")


def plan_of(source: Source, embed: bool) -> dict:
    """What decides about the rows of a prepared folder: the source as it is now, the options, and `ROW_FORMAT`."""
    return {
        "source": {
            "path": str(source.root),
            "kind": type(source).__name__,
            "origin": source.origin,
            "fingerprint": source.fingerprint(),
        }
        | ({"follow_links": True} if source.follow_links else {}),
        "embedded": embed,
        "format": ROW_FORMAT,
    }


def write_manifest(folder: Path, manifest: dict, names: tuple[str, ...] = DOCUMENTS) -> None:
    """Write the manifest, with the checksums of the documents of these names, which lie in the folder by now."""
    documents = {name: size_and_digest(folder / name) for name in names}
    write_json(folder / MANIFEST, {"version": version("affectnet-plus"), **manifest, "documents": documents})


class About(TypedDict):
    """What a record says of the faces that it is of: names, and no path."""

    name: str
    origin: str | None
    fingerprint: str | None
    soft_labels: NotRequired[dict[str, Any]]  # where the source says that these were generated


def about(folder) -> About:
    """What the faces of a prepared folder are: its `name`, and `origin` and `fingerprint` of its source.

    The last two are None where it has no manifest. `soft_labels` is there where the source says that these were
    generated. A record that is published holds this and no path.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST
    source = read_manifest(folder)["source"] if manifest.is_file() else {}
    known: About = {
        "name": folder.resolve().name,
        "origin": source.get("origin"),
        "fingerprint": source.get("fingerprint"),
    }
    return {**known, "soft_labels": source["soft_labels"]} if "soft_labels" in source else known


def differences(folder: Path, plan: dict) -> list[str]:
    """What keeps a prepared folder from being what `plan` would give again; sizes of files are looked at only."""
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError):
        return [f"its {MANIFEST} cannot be read"]
    found = []
    if manifest["source"]["path"] != plan["source"]["path"] or manifest["source"]["kind"] != plan["source"]["kind"]:
        found.append(f"it was made from {manifest['source']['path']}")
    elif manifest["source"]["fingerprint"] != plan["source"]["fingerprint"]:
        found.append("the source has changed since")
    if manifest["embedded"] != plan["embedded"]:
        found.append("it holds the images themselves" if manifest["embedded"] else "it holds paths and no images")
    if manifest.get("format") != plan["format"]:
        found.append(f"it was written by other code (version {manifest['version']})")
    return found + [f"{name} {problem}" for name, problem in _damaged(folder, manifest, thorough=False)]


def verify(folder) -> list[Finding]:
    """Whether a prepared folder is what its manifest says: its files byte by byte, its source, the code.

    An error: a file is missing, damaged or not listed, or the source has changed since. A warning: the source is not
    there any more, or the code is another.
    """
    folder = Path(folder)
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError) as error:
        return [Finding("error", "manifest", f"{folder / MANIFEST} is missing or damaged; prepare again ({error})")]
    findings = []
    if damaged := _damaged(folder, manifest, thorough=True):
        said = "; ".join(f"{name} {problem}" for name, problem in damaged[:EXAMPLES])
        findings.append(
            Finding(
                "error",
                "files",
                f"{len(damaged)} are not as they were written: {said}; prepare again",
                len(damaged),
                [name for name, _ in damaged[:EXAMPLES]],
            )
        )
    findings += _source_findings(manifest)
    if not findings:
        count = len(manifest["files"]) + len(manifest["documents"])
        findings.append(Finding("note", "files", f"all {count} are as they were written, and the source too", count))
    return findings


def _source_findings(manifest: dict) -> list[Finding]:
    path = manifest["source"]["path"]
    if path is None:
        return [Finding("note", "source", "is not known: the folder was published, or label wrote it")]
    try:
        fingerprint = open_source(path, manifest["source"].get("follow_links", False)).fingerprint()
    except (LayoutError, OSError):
        if not Path(path).exists():
            return [Finding("warning", "source", f"{path} is not there any more")]
        fingerprint = "none of a source"
    findings = []
    if fingerprint != manifest["source"]["fingerprint"]:
        findings.append(Finding("error", "source", f"{path} has changed since; prepare again"))
    if manifest.get("format") != ROW_FORMAT:
        text = f"another version than now has written the folder ({manifest['version']}); prepare again to be sure"
        findings.append(Finding("warning", "code", text))
    return findings


def _damaged(folder: Path, manifest: dict, thorough: bool) -> list[tuple[str, str]]:
    """Names of files, and what is wrong with them."""
    found = []
    for name, expected in (manifest["files"] | manifest["documents"]).items():
        path = folder / name
        if not path.is_file():
            found.append((name, "is missing"))
        elif (size := path.stat().st_size) != expected["bytes"]:
            found.append((name, f"has {size} bytes, expected {expected['bytes']}"))
        elif thorough and size_and_digest(path)["sha256"] != expected["sha256"]:
            found.append((name, "has another checksum"))
    there = {f"data/{path.name}" for path in (folder / "data").glob("*.parquet") if not is_system_file(path.name)}
    return found + [(name, "is not listed in the manifest") for name in sorted(there - manifest["files"].keys())]
