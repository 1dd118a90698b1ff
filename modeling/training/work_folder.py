"""The folder of a training that goes on: held by one run, begun once for all its processes, with its checkpoints."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerState

from ..files import refuse_existing
from ..unfinished import begin, begun_with, demand, differing, held
from .arguments import bf16_is_faster
from .options import TrainingOptions
from .pretrain_options import PretrainingOptions

# Raise it when a checkpoint that was written before would be gone on with to other weights than a whole run gives, or
# cannot be read.
CHECKPOINT_FORMAT = 2

Options = TypeVar("Options", TrainingOptions, PretrainingOptions)


@contextmanager
def claimed(
    out: Path, work: Path, options: Options, data: dict, resume: bool, overwrite: bool, processes: PartialState
) -> Iterator[Options]:
    """Yield the options of the run, when its place is free or holds the beginning of the very same run.

    Whether bfloat16 is the faster is measured once, by the first process: a measurement may come out differently the
    next time, and a run must go on in the numbers that it began in.

    Args:
        data: what the run learns from, as `begin` takes it.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false, another process is at work, or `work` is not ours.
        FileNotFoundError: there is no run to resume.
        ValueError: the interrupted run had other options or data, see `begin`.
    """
    if processes.is_main_process:
        refuse_existing(out, overwrite)
        demand(work, resume)  # before `held` makes the folder
    with held(work) if processes.is_main_process else nullcontext():
        found: list[bool | None] = [None]
        if processes.is_main_process:
            options = replace(options, bf16=_bf16(work, options, data, anew=overwrite and not resume))
            begin(work, _identity(options, data), resume, overwrite)
            found = [options.bf16]
        yield replace(options, bf16=broadcast_object_list(found)[0])


def _identity(options: TrainingOptions | PretrainingOptions, data: dict) -> dict:
    return {"options": asdict(options), "data": data, "checkpoint format": CHECKPOINT_FORMAT}


def _bf16(work: Path, options: TrainingOptions | PretrainingOptions, data: dict, anew: bool) -> bool:
    """What is asked for; else what the run began in that is gone on with; else what is faster."""
    if options.bf16 is not None:
        return options.bf16
    if before := begun_with(work):
        bf16 = before["options"]["bf16"] if isinstance(before.get("options"), dict) else None
        same = not anew or not differing(before, _identity(replace(options, bf16=bf16), data))
        if isinstance(bf16, bool) and same:
            return bf16
    return bf16_is_faster()


def gone_on_from(work: Path, say: Callable[[str], None]) -> str | None:
    """`newest_checkpoint`, after `say` was told its step: who gives a command again is to know that it does not begin
    anew."""
    newest = newest_checkpoint(work)
    if newest is not None:
        say(f"going on with an interrupted run, from step {_step(newest):,}")
    return newest


def _step(checkpoint: str | Path) -> int:
    return int(Path(checkpoint).name.rpartition("-")[2])


def newest_checkpoint(work: Path) -> str | None:
    """The newest whole checkpoint, for its state is written last; None at the very beginning of a run.

    Raises:
        ValueError: its state is damaged.
    """
    whole = [state.parent for state in work.glob("checkpoint-*/trainer_state.json")]
    if not whole:
        return None
    newest = max(whole, key=_step)
    try:
        TrainerState.load_from_json(str(newest / "trainer_state.json"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{newest}/trainer_state.json is damaged ({error}). Remove {newest} to go on from the checkpoint before it"
        ) from error
    return str(newest)
