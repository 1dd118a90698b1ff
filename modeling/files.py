"""Writing so that nothing half-written is ever seen: write beside, then rename."""

import ctypes
import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from .sentences import first_line

logger = logging.getLogger(__name__)

Kind = TypeVar("Kind")
_HERE, _EXCHANGE = -100, 2  # of renameat2: AT_FDCWD, RENAME_EXCHANGE
MANIFEST = "manifest.json"  # of a folder that prepare wrote, or a copy of what was published
MOST_JSON = 200_000_000  # bytes; a training's record has some kB, a manifest of 420,299 faces 4 kB


def is_prepared(folder) -> bool:
    """Whether `prepare` wrote this folder, or it is a copy of what was published: it holds the manifest."""
    return (Path(folder) / MANIFEST).is_file()


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise FileExistsError if nothing may be written at `out`.

    It is no folder, or a link that leads to none; it exists, and `overwrite` is false; or it is to be replaced, and
    holds the home or the working folder of whoever says so.
    """
    if os.path.islink(out) and not os.path.exists(out):
        raise FileExistsError(f"{out} is a link that leads nowhere ({os.readlink(out)}). Name another folder")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file, expected a folder to write. Name another one")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists. Name another folder, or pass --overwrite to replace it")
    if out.exists() and any(place.is_relative_to(os.path.realpath(out)) for place in (Path.home(), Path.cwd())):
        raise FileExistsError(f"{out} holds your home or the folder that you are in. Name another one")


def led_to(out) -> Path:
    """The folder that is written where `out` is given: of a link what it leads to, on whatever disk that is.

    Raises:
        FileExistsError: it is a link that leads nowhere.
    """
    out = Path(os.path.abspath(out))
    if os.path.islink(out) and not os.path.exists(out):
        refuse_existing(out, True)
    return Path(os.path.realpath(out)) if os.path.islink(out) else out


@contextmanager
def fresh_folder(out, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `out` that takes its name when the block ends without an error.

    Where `out` is a link, it is what it leads to. What a killed process left of its own attempt at the same `out` is
    removed, or put back if it was the old folder.

    Raises:
        FileExistsError: as `refuse_existing`.
    """
    out = led_to(out)
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
    """Let the folder `new` take the name `out`; what is there goes, by way of the name `old`.

    There is a folder `out` at every moment, where the system can exchange two names; else there is none between the
    two renames, and `put_back` mends it.
    """
    put_on_disk(new)
    if not out.exists():
        new.rename(out)
        return
    try:
        new.rename(old)
        if not _exchanged(old, out):
            logger.info("this system cannot exchange two names: there is no %s for a moment", out)
            old.rename(new)
            out.rename(old)
            new.rename(out)
    finally:
        put_back(old, out)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names by renameat2, which Linux has, on file systems that can; False elsewhere."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        exchange = library.renameat2
    except AttributeError:
        return False
    names = (os.fsencode(path) for path in (one, other))
    return exchange(_HERE, next(names), _HERE, next(names), _EXCHANGE) == 0


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


def read_json(path, kind: type[Kind], advice: str) -> Kind:
    """What a JSON file holds, checked to be a `kind`, such as a TypedDict; what a TypedDict does not name stays.

    Args:
        advice: what to do about a file that is something else.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no file, no JSON, or holds something else; the message says where, and the advice.
    """
    try:
        found = msgspec.json.decode(_whole(Path(path)))
        msgspec.convert(found, kind)
        return found
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # those of msgspec are ValueErrors
        raise ValueError(
            f"{path} cannot be read: {first_line(error).rstrip('.')}. {advice[:1].upper()}{advice[1:]}"
        ) from error


def _whole(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_JSON:
            raise ValueError(f"it is no file of at most {MOST_JSON} bytes")
        return file.read(found.st_size + 1)


def size_and_digest(path: Path) -> dict:
    """{"bytes", "sha256"} of a file."""
    with open(path, "rb") as file:
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
