"""A run that goes on after it was interrupted: the folder of its work, what it was begun with, and who may write.

One policy for every verb that works for long. The same command goes on by itself. Another one, of other options, other
data or another format, is refused, and what differs is named. `overwrite` begins anew, unless the interrupted run was
begun with it too: that is the same command again, and several processes may be giving it at once. `resume` demands
that there is something to go on with.
"""

import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import xxhash
from filelock import FileLock, Timeout

from .files import read_json, write_json, written_whole

RUN = "run.json"  # in the folder of the work: what the run was begun with
OCCUPIED = "{} is needed for unfinished work, and holds something else. Move it away"
NOTHING_TO_RESUME = "{} holds no unfinished run, so there is no run to resume. Leave --resume out"


class Begun(TypedDict):
    """What `RUN` holds."""

    overwrite: bool
    identity: dict[str, Any]


def begin(work: Path, identity: dict, resume: bool = False, overwrite: bool = False) -> bool:
    """Make `work` the folder of the run that `identity` describes, and say whether an interrupted one left it there.

    Where several processes share the work, each calls this while it is `alone`.

    Args:
        identity: what decides about the result, as far as JSON can say it: options, digests of the source, number of
            the format. Dictionaries in it may be nested; their innermost names are what a refusal says.

    Raises:
        FileExistsError: the folder holds something that no run of ours began.
        FileNotFoundError: `resume`, and no run was begun there.
        ValueError: the run there was begun with another identity, and it is to be resumed, or `overwrite` is false.
    """
    try:
        before = _read(work)
    except ValueError:
        if resume or not overwrite:
            raise ValueError(_another(work, [f"its {RUN} is damaged"])) from None
        _empty(work)
        before = None
    if before is None:
        if work.is_dir() and any(not path.name.startswith(".") for path in work.iterdir()):
            raise FileExistsError(OCCUPIED.format(work))
        demand(work, resume)
    elif goes_on(work, before, identity, resume, overwrite):
        return True
    else:
        _empty(work)
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / RUN, {"overwrite": overwrite, "identity": identity})
    return False


def goes_on(work: Path | str, before: Begun, identity: dict, resume: bool, overwrite: bool) -> bool:
    """Whether the run that was begun in `work` is gone on with; or else begun anew.

    Raises:
        ValueError: as `begin`.
    """
    found = differing(before["identity"], identity)
    if not found and (resume or not overwrite or before["overwrite"]):
        return True
    if resume or not overwrite:
        raise ValueError(_another(work, found))
    return False


def _another(work: Path | str, found: list[str]) -> str:
    return (
        f"{work} holds an unfinished run of another command: {'; '.join(found)}. Give the command that it was begun "
        "with, or --overwrite without --resume to begin anew"
    )


def demand(work: Path, resume: bool) -> None:
    """Raise FileNotFoundError where a run is to be resumed, and none was begun in `work`."""
    if resume and not (work / RUN).is_file():
        raise FileNotFoundError(NOTHING_TO_RESUME.format(work))


def begun_with(work: Path) -> dict | None:
    """The identity of the run that was begun in `work`; None where there is none."""
    begun = _read(work)
    return None if begun is None else begun["identity"]


def differing(before: dict, now: dict) -> list[str]:
    """What differs between two identities, in words: a name, with both values where they are short."""
    old, new = _flat(before), _flat(now)
    return [_said(path[-1], old.get(path), new.get(path)) for path in old | new if old.get(path) != new.get(path)]


def digest(identity: dict) -> str:
    """16 hexadecimal digits that are others for every other identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _read(work: Path) -> Begun | None:
    file = work / RUN
    return read_json(file, Begun, f"remove {work} to begin anew") if file.is_file() else None


def _flat(identity: dict, *above: str) -> dict[tuple[str, ...], Any]:
    """Values by the names that lead to them, as JSON gives them back."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in json.loads(json.dumps(identity)).items():
        found |= _flat(value, *above, name) if isinstance(value, dict) and value else {(*above, name): value}
    return found


def _said(name: str, before, now) -> str:
    # The values of digests and of whole tables tell nobody anything.
    if re.fullmatch("[0-9a-f]{16,}", str(before)) or len(f"{before}{now}") > 60:
        return f"{name} is another"
    return f"{name} was {before} and is {now}"


# --- the files of the work -------------------------------------------------------------------------------------------

HEAD_BYTES = 64  # before the content of a work file: so many bytes leave it as Arrow wants to have it in memory
_HEAD = "work file 1 {}\n"


def keep(path: Path, content) -> None:
    """Write a work file: bytes, or what may be read as such, behind a line that they can be held against.

    It is on the disk before it has its name, and there whole or not at all.
    """
    with written_whole(path) as partial, open(partial, "wb") as file:
        file.write(_head(content))
        file.write(content)


def is_kept(path: Path) -> bool:
    """Whether a work file is there, and is what was written; one that is not is removed, to be made again."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return False
    if found[:HEAD_BYTES] == _head(memoryview(found)[HEAD_BYTES:]):
        return True
    path.unlink(missing_ok=True)  # the machine stopped before the disk had all of it
    return False


def kept(path: Path) -> bytes:
    """The content of a work file, which `is_kept` has looked at."""
    return path.read_bytes()[HEAD_BYTES:]


def _head(content) -> bytes:
    return _HEAD.format(xxhash.xxh3_128_hexdigest(content)).encode().ljust(HEAD_BYTES, b"\n")


# --- who may write, and what goes ------------------------------------------------------------------------------------


@contextmanager
def alone(out: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep every other process that wants to write `out` waiting until the block ends.

    The system lets go of the lock when a process dies, however it dies. The empty file `.<name>.lock` beside `out`
    stays: removing it while another process waits for it would let a third one in.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is writing {out}; waiting until it has finished")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def held(work: Path) -> Iterator[None]:
    """Refuse every other process that wants to work in the folder `work` until the block ends.

    For work that cannot be shared and takes too long to wait for. The lock lies in the folder and goes with it.

    Raises:
        FileExistsError: another process holds it.
    """
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FileExistsError(f"another process is at work in {work}. Wait for it, or name another folder") from error
    try:
        yield
    finally:
        lock.release()


def _empty(work: Path) -> None:
    """Remove all but the lock of who holds the folder; what says whose it is goes last."""
    for path in sorted(work.iterdir(), key=lambda path: path.name == RUN):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink(missing_ok=True)


def leftovers(work: Path) -> list[Path]:
    """The folder of the work, and what a process left of it that was killed while it removed it."""
    gone = [Path(path) for path in glob.glob(f"{glob.escape(str(work.with_name(f'.{work.name}.old-')))}*")]
    return [work, *gone] if work.exists() else gone


def remove(work: Path) -> None:
    """Remove the folder at once: a process that is storing something in it finds that it is gone.

    Only who is `alone`, or holds it, may.
    """
    if work.exists():
        gone = work.with_name(f".{work.name}.old-{os.getpid()}")
        shutil.rmtree(gone, ignore_errors=True)  # of a killed process that had the same number
        work.rename(gone)
    for path in leftovers(work):
        shutil.rmtree(path, ignore_errors=True)
