"""Moving average of the weights: what is measured and saved may be steadier than the last step."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback


class WeightAverage(TrainerCallback):
    """Exponential moving average of every parameter, brought up to date after each step of the optimizer.

    The running statistics of batch norm are averaged alike: those of the last step belong to other weights.

    average <- d * average + (1 - d) * weights, with d = min(decay, (1 + step) / (10 + step)), so that the random
    weights of the beginning are soon forgotten (Polyak & Juditsky 1992; the warm-up is that of TensorFlow's
    ExponentialMovingAverage).

    Args:
        model: whose parameters are averaged; not wrapped for several devices.
        decay: in (0, 1), such as .999 for some thousands of steps.
    """

    def __init__(self, model: nn.Module, decay: float):
        buffers = {name: value for name, value in model.named_buffers() if value.is_floating_point()}
        self._parameters = dict(model.named_parameters()) | buffers
        self._decay = decay
        self._values: dict[str, Tensor] = {}

    def on_train_begin(self, args, state, control, **_):
        if not self._values:  # else a checkpoint has been loaded
            self._values = {name: value.detach().clone() for name, value in self._parameters.items()}

    def on_step_end(self, args, state, control, **_):
        decay = min(self._decay, (1 + state.global_step) / (10 + state.global_step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self._values.values()), [self._parameters[name] for name in self._values], 1 - decay
            )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average for its weights inside, and its own again afterwards."""
        own = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._write(self._values)
        try:
            yield
        finally:
            self._write(own)

    def keep(self) -> None:
        """Give the model the average for good."""
        self._write(self._values)

    def save(self, file: Path) -> None:
        save_file({name: value.cpu().contiguous() for name, value in self._values.items()}, file)

    def load(self, file: Path) -> None:
        """Go on with a saved average.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is of other parameters.
        """
        loaded = load_file(file)
        if loaded.keys() != self._parameters.keys():
            raise ValueError(f"{file} holds {len(loaded)} tensors, expected the {len(self._parameters)} of the model")
        self._values = {name: loaded[name].to(value.device) for name, value in self._parameters.items()}

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._parameters[name].copy_(value)
