"""What may leave this machine: files of a few kinds that are what their names say, without pickles and secrets."""

import json
import re
import shutil
from collections.abc import Callable
from os import SEEK_END
from pathlib import Path

from ..files import fresh_folder

Contents = dict[str, bytes | Path]  # name in the repository -> what is there, or the file that holds it

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5")
SECRETS = {
    "a token of the Hugging Face Hub": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"),
    "an access key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a secret key of AWS": re.compile(r"(?i)aws_?secret_?access_?key\W{1,5}[A-Za-z0-9/+]{40}"),
    "a token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60})"),
}


def check_contents(contents: Contents) -> None:
    """Refuse what must not be published, before anything is sent.

    Every file must be of a kind in `_KINDS` and be in truth what its name says, so that a pickle under another name is
    refused too; files of text are searched for `SECRETS`, which are named and never shown.

    Raises:
        ValueError: a name or a file that is refused.
    """
    for name, content in contents.items():
        _check_name(name)
        wrong = _KINDS[Path(name).suffix](content)
        if wrong:
            raise ValueError(f"{name} {wrong}, so it is not published. Write it anew, or take it away")


def write_contents(contents: Contents, out, overwrite: bool = False) -> Path:
    """Write to the folder `out` what would be pushed.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
        ValueError: as `check_contents`.
    """
    check_contents(contents)
    with fresh_folder(out, overwrite) as folder:
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, path)
            else:
                path.write_bytes(content)
    return Path(out)


# --- names -----------------------------------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    suffix = Path(name).suffix
    if suffix in PICKLES:
        raise ValueError(f"{name} may hold a pickle, which runs code when it is loaded; publish .safetensors instead")
    hidden = any(part.startswith(".") for part in name.split("/")) and not name.startswith(".eval_results/")
    if suffix not in _KINDS or hidden:
        raise ValueError(f"{name} is no file to publish; those are {', '.join(_KINDS)}, and none that is hidden")


# --- contents; each says what is wrong, or nothing -------------------------------------------------------------------


def _tensors(content: bytes | Path) -> str | None:
    head, size = _ends(content)[0], len(content) if isinstance(content, bytes) else content.stat().st_size
    header = int.from_bytes(head[:8], "little")
    return None if head[8:9] == b"{" and header + 8 <= size else "is no safetensors file"


def _parquet(content: bytes | Path) -> str | None:
    head, tail = _ends(content)
    return None if head[:4] == tail[-4:] == b"PAR1" else "is no Parquet file"


def _onnx(content: bytes | Path) -> str | None:
    """A protobuf whose first field is the version of its format, a small number."""
    head = _ends(content)[0]
    return None if head[:1] == b"\x08" and b"\x03" <= head[1:2] < b"\x40" else "is no ONNX file"


def _png(content: bytes | Path) -> str | None:
    return None if _ends(content)[0].startswith(b"\x89PNG\r\n\x1a\n") else "is no PNG picture"


def _ends(content: bytes | Path) -> tuple[bytes, bytes]:
    """The first and the last bytes, 16 of each where there are so many."""
    if isinstance(content, bytes):
        return content[:16], content[-16:]
    with open(content, "rb") as file:
        head = file.read(16)
        file.seek(-len(head), SEEK_END)
        return head, file.read()


def _text(content: bytes | Path) -> str | None:
    return _read(content)[1]


def _json(content: bytes | Path) -> str | None:
    text, wrong = _read(content)
    try:
        json.loads(text)
    except ValueError:
        return wrong or "is no JSON"
    return wrong


def _python(content: bytes | Path) -> str | None:
    text, wrong = _read(content)
    try:
        compile(text, "published", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return wrong or "is no Python"
    return wrong


def _read(content: bytes | Path) -> tuple[str, str | None]:
    """The text, and what is wrong with it as a text that anybody may read."""
    try:
        text = (content if isinstance(content, bytes) else content.read_bytes()).decode("utf-8")
    except UnicodeDecodeError:
        return "", "is no UTF-8 text"
    found = [kind for kind, pattern in SECRETS.items() if pattern.search(text)]
    return text, f"holds {' and '.join(found)}" if found else None


_KINDS: dict[str, Callable[[bytes | Path], str | None]] = {
    ".safetensors": _tensors,
    ".parquet": _parquet,
    ".onnx": _onnx,
    ".png": _png,
    ".json": _json,
    ".py": _python,
    ".md": _text,
    ".txt": _text,
    ".yaml": _text,
    ".html": _text,
}
