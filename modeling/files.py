"""Writing so that nothing half-written is ever seen: write beside, then rename."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise FileExistsError if `out` exists and `overwrite` is false."""
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists. Name another folder, or pass --overwrite to replace it")


@contextmanager
def fresh_folder(out, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `out` that takes its name when the block ends without an error.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
    """
    out = Path(out)
    refuse_existing(out, overwrite)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_json(path, value) -> None:
    """Write indented JSON in one step; NaN and infinity are refused (ValueError)."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
    partial.replace(path)
