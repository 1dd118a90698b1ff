"""The folder of an unfinished labelling, here or in an object store: begun, gone on with, found finished."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from ..data.stores import Store
from ..files import read_json
from ..unfinished import NOTHING_TO_RESUME, OCCUPIED, RUN, begin, goes_on, remove

ACCOUNT = "labelling.json"


class Account(TypedDict):
    """What `label` returns and labelling.json holds."""

    options: dict[str, Any]  # those that were given
    plan: dict[str, Any]
    pose_unit: str
    action_units: dict[str, Any] | None  # the table that was given
    demographics: dict[str, Any] | None
    counts: dict[str, Any]


def finished(out: Store, plan: dict, say: Callable[[str], None]) -> Account | None:
    """The account of `out`, if it is what this plan gives."""
    try:
        if out.local:
            record = read_json(Path(out.where) / ACCOUNT, Account, "label again")
        else:
            record = msgspec.convert(json.loads(out.read(ACCOUNT)), Account)
    except (OSError, ValueError, RecursionError):  # no such folder, or not one of ours
        return None
    if record["plan"] != plan:
        return None
    say(f"{out.where} is there: the same pictures, models and options have been labelled")
    return record


def begin_in(work: Store, plan: dict, resume: bool, overwrite: bool) -> None:
    """As `unfinished.begin`, in an object store too, where nothing keeps two commands from the same folder.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: as `unfinished.begin`.
    """
    if work.local:
        begin(Path(work.where), plan, resume, overwrite)
        return
    if work.exists(RUN):
        if goes_on(work.where, json.loads(work.read(RUN)), plan, resume, overwrite):
            return
        work.empty()
    elif work.names(deep=True):
        raise FileExistsError(OCCUPIED.format(work.where))
    elif resume:
        raise FileNotFoundError(NOTHING_TO_RESUME.format(work.where))
    work.write(RUN, json.dumps({"overwrite": overwrite, "identity": plan}).encode())


def remove_work(work: Store) -> None:
    """Remove the folder with all that is in it."""
    if work.local:
        remove(Path(work.where))
    else:
        work.empty()
