"""The stock `Trainer`, with augmentation on the device and the weights of a checkpoint really restored."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import Trainer


class SoftLabelTrainer(Trainer):
    """`Trainer` loads a checkpoint's file name by name, but models are saved under the key names of transformers 4.

    So the encoder of the best checkpoint, and of a resumed run, would silently stay what it was. Here both go
    through `from_pretrained`, which knows the names, and every tensor must be found.
    """

    def __init__(self, augment: Callable[[Tensor], Tensor], **options):
        super().__init__(**options)
        self._augment = augment

    def training_step(self, model, inputs, *args, **kwargs) -> Tensor:
        inputs = self._prepare_inputs(inputs)
        inputs["pixel_values"] = self._augment(inputs["pixel_values"])
        return super().training_step(model, inputs, *args, **kwargs)

    def _restore(self, checkpoint: str) -> None:
        model = self.accelerator.unwrap_model(self.model)
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32)
        model.load_state_dict(saved.state_dict(), strict=True)

    def _load_best_model(self) -> None:
        self._restore(self.state.best_model_checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        self._restore(resume_from_checkpoint)
