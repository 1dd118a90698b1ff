"""Writing so that nothing half-written is ever seen: write beside, then rename."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise FileExistsError if `out` is no folder, or exists and `overwrite` is false."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file, expected a folder to write. Name another one")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists. Name another folder, or pass --overwrite to replace it")


@contextmanager
def fresh_folder(out, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `out` that takes its name when the block ends without an error.

    What a killed process left of its own attempt at the same `out` is removed, or put back if it was the old folder.

    Raises:
        FileExistsError: `out` is a file, or exists and `overwrite` is false.
    """
    out = Path(out)
    _clear_leftovers(out)
    refuse_existing(out, overwrite)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        replace_folder(partial, out, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_folder(new: Path, out: Path, old: Path) -> None:
    """Let the folder `new` take the name `out`; what is there goes, by way of the name `old`."""
    put_on_disk(new)
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    finally:
        put_back(old, out)


def put_back(old: Path, out: Path) -> None:
    """Finish a replacement that ended half-way: `old` becomes `out` again, or goes if there is a new `out`."""
    if old.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _clear_leftovers(out: Path) -> None:
    name = re.compile(rf"\.{re.escape(out.name)}\.(partial|old)-([0-9]+)")
    for path in sorted(out.parent.iterdir()) if out.parent.is_dir() else ():
        found = name.fullmatch(path.name)
        if found is None or _runs(int(found[2])):
            continue
        if found[1] == "old":
            put_back(path, out)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; not a number of a process
        return True
    return True


@contextmanager
def written_whole(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Yield a name to write to, in the folder `beside` or in that of `path`; it becomes `path` when the block ends."""
    partial = (beside or path.parent) / f".{path.name}.partial-{os.getpid()}"
    try:
        yield partial
        put_on_disk(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


FEW = 32  # files that are faster written out one by one than with all that the system has in memory


def put_on_disk(path: Path) -> None:
    """Return when a file, or a folder with all that is in it, would outlive a power cut.

    A system may write the new name of a file before what it holds: the file is then there, and empty or cut.
    """
    found = [path, *path.rglob("*")] if path.is_dir() else [path]
    if len(found) > FEW:
        os.sync()
        return
    for one in found:
        number = os.open(one, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_json(path, value) -> None:
    """Write indented JSON in one step; NaN and infinity are refused (ValueError)."""
    with written_whole(Path(path)) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def size_and_digest(path: Path) -> dict:
    """{"bytes", "sha256"} of a file."""
    with open(path, "rb") as file:
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
