"""The stock `Trainer`, fed with uint8 faces, with changes on the device and the weights of a checkpoint restored."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState

from ..data.dataset import collate, normalise
from .training_state import load_optimizer, load_random, save_optimizer, save_random


class FaceTrainer(Trainer):
    """Batches come as `pixels` (batch, 3, size, size) uint8, a quarter of the bytes of floats; the device makes
    `pixel_values` of them, and in training changes them by `augment`.

    `Trainer` loads a checkpoint's file name by name, but models are saved under the key names of transformers 4. Our
    own know them (`vit.modeling_affectnet_plus`), but of a stock ViT, as a member of the ensemble may be, all but the
    head would silently stay what it was. So here every checkpoint goes through `from_pretrained`, and every tensor
    must be found.

    A checkpoint holds safetensors and JSON, and of those alone a run goes on: `training_state`.
    """

    def __init__(self, augment: Callable[[Tensor], Tensor], **options):
        super().__init__(data_collator=collate, **options)
        self._augment = augment
        self.add_callback(Clock())

    @property
    def seconds(self) -> float:
        """Of training, with those before an interruption; the Trainer makes a new clock when it goes on."""
        return self.clock.seconds

    @property
    def clock(self) -> "Clock":
        return next(found for found in self.callback_handler.callbacks if isinstance(found, Clock))

    def _prepare_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        inputs = super()._prepare_inputs(inputs)
        if "pixels" not in inputs:
            return inputs
        values = normalise(inputs["pixels"])
        return {"pixel_values": values} | {name: value for name, value in inputs.items() if name != "pixels"}

    def get_batch_samples(self, epoch_iterator, num_batches: int, device):
        with self._numbers_kept():
            batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        return [self._changed(self._prepare_inputs(batch)) for batch in batches], count

    def evaluate(self, *arguments, **options) -> dict[str, float]:
        with self._numbers_kept():
            return super().evaluate(*arguments, **options)

    def _numbers_kept(self):
        """Workers draw a number when they are started, which a run that goes on does once more than a whole one."""
        return torch.random.fork_rng(devices=[], enabled=self.args.dataloader_num_workers > 0)

    def _changed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return batch | {"pixel_values": self._augment(batch["pixel_values"])}

    def _restore(self, checkpoint: str) -> None:
        model = self.accelerator.unwrap_model(self.model)
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32, use_safetensors=True)
        model.load_state_dict(saved.state_dict(), strict=True)

    def _load_best_model(self) -> None:
        self._restore(self.state.best_model_checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        self._restore(resume_from_checkpoint)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            save_optimizer(Path(output_dir), self.optimizer, self.lr_scheduler)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _save_rng_state(self, output_dir: str) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)  # before the first process has written the model there
        save_random(self._random_file(output_dir))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random(self._random_file(checkpoint))

    def _random_file(self, checkpoint: str) -> Path:
        return Path(checkpoint, f"random-{self.args.process_index}.safetensors")

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Nothing is scaled in float32 and bfloat16, and the stock way would load a pickle."""


class Clock(TrainerCallback, ExportableState):
    """Seconds of training, those before an interruption counted up to the checkpoint that it went on from.

    `parts` are those of each part of a run that was interrupted, in order.
    """

    def __init__(self, before: Sequence[float] = ()):
        self._before, self._began = list(before), time.monotonic()

    @property
    def parts(self) -> list[float]:
        return [*self._before, time.monotonic() - self._began]

    @property
    def seconds(self) -> float:
        return sum(self.parts)

    def state(self) -> dict:
        return {"args": {"before": self.parts}, "attributes": {}}


def facts_of_the_run(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log of the Trainer without what the clock says; the same for a run that was interrupted.

    The Trainer takes the mean loss of all steps over those since it went on: here it is over all of them.
    """
    lines = [{name: value for name, value in line.items() if not _CLOCK.search(name)} for line in log]
    steps = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    before = [0, *(step for step, _ in steps)]
    total = sum(loss * (step - last) for (step, loss), last in zip(steps, before))
    for line in lines:
        if "train_loss" in line and steps:
            line["train_loss"] = total / steps[-1][0]
    return lines


def facts_of_the_clock(clock: Clock, log: list[dict[str, Any]]) -> dict[str, Any]:
    """`parts`: seconds of each part of the run, which add up to its seconds; `log`: how long each evaluation took.

    What the Trainer says of the whole training is of its last part alone, and is left out.
    """
    lines = [{name: value for name, value in line.items() if name == "step" or _CLOCK.search(name)} for line in log]
    evaluations = [line for line in lines if "eval_runtime" in line]
    return {"parts": [round(part, 3) for part in clock.parts], "log": evaluations}


_CLOCK = re.compile("_runtime$|_per_second$")
