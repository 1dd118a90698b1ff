"""The training of a soft-label model: order, mixing, exact losses, moving average, layer-wise rates, and its stops."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from transformers import EarlyStoppingCallback

from ..data.stream import StreamLoader, StreamState
from ..files import read_json, write_json
from ..vit import AffectNetPlusForSoftLabels
from .augmentation import augment
from .effective_batch import Whole, part_loss, whole_of
from .ema import WeightAverage
from .layer_decay import parameter_groups
from .mixup import mix
from .options import TrainingOptions
from .samplers import EpochSampler
from .teachers import Teachers
from .trainer import FaceTrainer
from .work_folder import newest_checkpoint

AVERAGE = "average.safetensors"
FINITE_EVERY = 50  # steps after which a GPU is asked whether the loss is finite, since asking makes it wait


class WholeSteps(torch.utils.data.Sampler):
    """The faces of an epoch but for the last ones, which would not fill a step of `step` faces."""

    def __init__(self, order: EpochSampler, step: int):
        self._order, self._step = order, step
        self.never_drawn = order.never_drawn

    def __len__(self) -> int:
        return len(self._order) // self._step * self._step

    def __iter__(self) -> Iterator[int]:
        return islice(self._order, len(self))

    def set_epoch(self, epoch: int) -> None:
        self._order.set_epoch(epoch)


class SoftLabelTrainer(FaceTrainer):
    """`FaceTrainer` with the rest of `TrainingOptions`.

    Args:
        model: an `AffectNetPlusForSoftLabels`.
        options: of the run.
        sampler: gives the order of the training faces; None where they are a `StreamLoader`, which has its own.
        **others: of `transformers.Trainer`.

    Raises:
        ValueError: from `train`, when the loss is no number any more. No checkpoint is written of that epoch.
    """

    def __init__(
        self, model: AffectNetPlusForSoftLabels, options: TrainingOptions, sampler: WholeSteps | None, **others
    ):
        super().__init__(partial(augment, strength=options.augmentation), model=model, **others)
        self._options, self._sampler = options, sampler
        self._teachers: Teachers | None = None
        if options.teachers:
            device, bf16 = self.args.device, self.args.bf16
            self._teachers = Teachers(options.teachers, options.teaching, model.config, device, bf16)
        self._average = WeightAverage(model, options.average) if options.average else None
        if self._average:
            self.add_callback(self._average)
        if options.patience:
            self.add_callback(EarlyStoppingCallback(options.patience))
        self._batches: list[dict[str, Tensor]] = []  # of the step that is going on, with what is known of all of them
        self._whole: Whole | None = None
        self._finite = torch.tensor(True, device=self.args.device)

    def _get_train_sampler(self, train_dataset=None) -> WholeSteps | None:
        return self._sampler

    # --- a stream --------------------------------------------------------------------------------------------------

    def get_train_dataloader(self):
        """A stream is divided among the processes already, so that accelerate has nothing to do with it."""
        return self.train_dataset if isinstance(self.train_dataset, StreamLoader) else super().get_train_dataloader()

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if isinstance(self.train_dataset, StreamLoader):
            write_json(self._stream_file(output_dir), self.train_dataset.state_dict())

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None and isinstance(self.train_dataset, StreamLoader):
            again = "the checkpoint is not whole. Begin anew with --overwrite"
            self.train_dataset.load_state_dict(read_json(self._stream_file(checkpoint), StreamState, again))

    def _stream_file(self, checkpoint: str) -> Path:
        return Path(checkpoint, f"stream-{self.args.process_index}.json")

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        kind, arguments = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        options, decays = self._options, set(self.get_decay_parameter_names(self.model))
        groups = parameter_groups(self.model, decays, options.learning_rate, options.weight_decay, options.layer_decay)
        self.optimizer = kind(groups, **arguments)
        return self.optimizer

    # --- a step ----------------------------------------------------------------------------------------------------

    def _changed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        batch = mix(super()._changed(batch), self._options.mixup, self._options.cutmix)
        return self._teachers.taught(batch) if self._teachers else batch

    def get_batch_samples(self, epoch_iterator, num_batches: int, device):
        self._batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._whole = None
        return self._batches, count

    def compute_loss(self, model, inputs, return_outputs: bool = False, num_items_in_batch=None):
        if not model.training:
            batch = {"labels" if name == "soft_labels" else name: values for name, values in inputs.items()}
            return super().compute_loss(model, batch, return_outputs, num_items_in_batch)
        output = model(pixel_values=inputs["pixel_values"])
        loss = part_loss(self.model.config, output, inputs, self._whole)  # type: ignore[arg-type]
        return (loss, output) if return_outputs else loss

    def training_step(self, model, inputs, num_items_in_batch=None) -> Tensor:
        if self._whole is None:
            self._whole = whole_of(model, self.model.config, self._batches)
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._finite &= loss.isfinite()
        if self.args.use_cpu or self.state.global_step % FINITE_EVERY == 0:
            self._stop_unless_finite()
        return loss

    def _stop_unless_finite(self) -> None:
        if not self._finite:
            newest = newest_checkpoint(Path(self.args.output_dir))
            kept = f"The last good checkpoint is kept in {newest}" if newest else "None is kept"
            raise ValueError(
                f"the loss is no number any more at step {self.state.global_step} of {self.state.max_steps}. {kept}. "
                "Begin anew with a lower --learning-rate, or with --bf16 no"
            )

    def _maybe_log_save_evaluate(self, *arguments, **options) -> None:
        if self.control.should_save or self.control.should_evaluate:
            self._stop_unless_finite()
        super()._maybe_log_save_evaluate(*arguments, **options)

    # --- the average of the weights ---------------------------------------------------------------------------------

    def evaluate(self, *arguments, **options) -> dict[str, float]:
        with self._average.in_place() if self._average else nullcontext():
            return super().evaluate(*arguments, **options)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        if self._average and self.args.should_save:
            self._average.save(Path(str(output_dir), AVERAGE))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self._average:
            self._average.load(Path(resume_from_checkpoint, AVERAGE))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self._average:
            self._average.load(Path(str(self.state.best_model_checkpoint), AVERAGE))
            self._average.keep()
