"""The folder of a run that goes on: whose it is, what it was begun with, and its newest whole checkpoint."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from ..files import refuse_existing, write_json
from .arguments import bf16_is_faster
from .options import TrainingOptions
from .pretrain_options import PretrainingOptions

OPTIONS = "options.json"  # of an interrupted run, beside its checkpoints

Options = TypeVar("Options", TrainingOptions, PretrainingOptions)


def claimed(
    out: Path, work: Path, options: Options, resume: bool, overwrite: bool, processes: PartialState
) -> Options:
    """The options of the run, when its place is free or holds the beginning of the very same run.

    Whether bfloat16 is the faster is measured once, by the first process: a measurement may come out differently the
    next time, and a run must go on in the numbers that it began in.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false, or an interrupted run is there and neither `resume`
            nor `overwrite` is given.
        FileNotFoundError: there is no run to resume.
        ValueError: the interrupted run had other options.
    """
    found: list[bool | None] = [None]
    if processes.is_main_process:
        refuse_existing(out, overwrite)
        if work.exists() and not resume:
            if newest_checkpoint(work) and not overwrite:
                advice = "Pass --resume to go on, or --overwrite to begin anew"
                raise FileExistsError(f"{work} holds an interrupted run. {advice}")
            shutil.rmtree(work)
        if resume and not work.exists():
            raise FileNotFoundError(f"{work} does not exist, so there is no run to resume. Start without --resume")
        found = [_same_options(work, options) if resume else _begun(work, options)]
    return replace(options, bf16=broadcast_object_list(found)[0])


def _begun(work: Path, options: TrainingOptions | PretrainingOptions) -> bool:
    work.mkdir(parents=True, exist_ok=True)
    bf16 = bf16_is_faster() if options.bf16 is None else options.bf16
    write_json(work / OPTIONS, asdict(replace(options, bf16=bf16)))
    return bf16


def _same_options(work: Path, options: TrainingOptions | PretrainingOptions) -> bool:
    if not (work / OPTIONS).is_file():  # killed before anything began
        return _begun(work, options)
    before = json.loads((work / OPTIONS).read_text())
    now = json.loads(json.dumps(asdict(options)))
    changed = [name for name, value in now.items() if value != before[name] and (name, value) != ("bf16", None)]
    if changed:
        said = ", ".join(f"{name} was {before[name]} and is {now[name]}" for name in changed)
        raise ValueError(f"{work} holds a run with other options: {said}. Resume it with its own, or --overwrite it")
    return before["bf16"]


def newest_checkpoint(work: Path) -> str | None:
    """The newest whole checkpoint, for its state is written last; None at the very beginning of a run."""
    whole = [state.parent for state in work.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]))) if whole else None
