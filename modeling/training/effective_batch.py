"""The loss of one optimizer step over all of its faces, however many batches and processes they are split over.

The mean of the losses of the parts is not the loss of the whole: a part with few known soft labels would count as much
as another, and CCC over 8 faces is another thing than CCC over 1024. But both losses are functions of sums over faces
(`vit.losses`), so a part needs its own sums with a gradient, and those of the whole without:

- Soft labels: the weight of the whole depends on the targets alone.
- Valence and arousal: the moments of the whole depend on the predictions. With one batch a process, the processes add
  theirs up during the step. With several, a first pass over all of them without a gradient finds the moments, for a
  third of a step more time, as in GradCache (Gao et al. 2021); the state of the random numbers is then put back, so
  that the second pass draws the same dropout and drop path, compiled or not. The loss of a part is that of the moments
  of the whole, whose gradient goes through its own: by the chain rule those gradients add up to that of the whole.

Scale: the Trainer divides a loss by the number of batches of the step, and DistributedDataParallel takes the mean of
the gradients over processes. So a part's gradient is times the number of parts, and the mean over parts of the values
is the loss of the whole.

In a subclass of `transformers.Trainer` (one that augments before the first pass: both must see the same pictures):

    get_batch_samples:  batches = [prepare and augment each]
    first training_step of these batches, before its forward pass:  whole = whole_of(model, config, batches)
    compute_loss in training:  part_loss(config, model(pixel_values=inputs["pixel_values"]), inputs, whole)

Nothing else may draw random numbers between `whole_of` and the last forward pass. Both are called outside of any
autocast context but that of the model's own forward pass (accelerate's): it would keep weights without a gradient.
Each process must have the same number of batches, as the Trainer sees to; their sizes may differ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from ..vit import AffectNetPlusConfig, AffectNetPlusOutput
from ..vit.losses import (
    affect_moments,
    soft_label_loss_of,
    soft_label_sums,
    soft_label_weights,
    valence_arousal_loss_of,
)


class Whole(NamedTuple):
    """What the parts of one optimizer step must know of the whole.

    Attributes:
        parts: number of batches of all processes together.
        weight: scalar, of all faces whose soft label is known.
        moments: (6, 2), see `affect_moments`; None where the processes add them up during the step.
    """

    parts: int
    weight: Tensor
    moments: Tensor | None


def whole_of(model: nn.Module, config: AffectNetPlusConfig, batches: list[dict[str, Tensor]]) -> Whole:
    """What is known of the whole before the first forward pass with a gradient. Every process must call it.

    Args:
        model: an `AffectNetPlusForSoftLabels`, compiled or wrapped as the step will call it. It is put into training
            mode, and called only if there are several batches and the loss of valence and arousal has a weight.
        config: of that model.
        batches: of this process, at least one, on the model's device: `pixel_values`, `soft_labels`,
            `valence_arousal`, and `sample_weights` if faces have any; see `AffectNetPlusForSoftLabels.forward`.
    """
    weights = [
        soft_label_weights(batch["soft_labels"], config.class_weights, batch.get("sample_weights")).sum()
        for batch in batches
    ]
    two_passes = len(batches) > 1 and config.valence_arousal_weight > 0
    return Whole(
        parts=len(batches) * _processes(),
        weight=_over_processes(torch.stack(weights).sum()),
        moments=_over_processes(_first_pass(model, batches)) if two_passes else None,
    )


def part_loss(
    config: AffectNetPlusConfig, output: AffectNetPlusOutput, batch: dict[str, Tensor], whole: Whole
) -> Tensor:
    """The loss of one batch, to be divided by the number of batches of the process and averaged over processes.

    With one batch and one process it is the loss of the model. Every process must call it for each of its batches.

    Args:
        config: of the model.
        output: of the model, in training mode, for the `pixel_values` of the batch.
        batch: one of those that `whole` is of.

    Returns:
        A scalar. Its mean over all parts is the loss of the whole, and its gradient's mean over all parts the gradient
        of that.
    """
    total, _ = soft_label_sums(
        output.logits,  # type: ignore[arg-type]
        batch["soft_labels"],
        config.class_weights,
        config.label_smoothing,
        kind=config.loss,
        sample_weights=batch.get("sample_weights"),
    )
    loss = whole.parts * soft_label_loss_of(total, whole.weight)
    if not config.valence_arousal_weight:
        return loss
    own = affect_moments(output.valence_arousal, batch["valence_arousal"])  # type: ignore[arg-type]
    moments = _over_processes(own.detach()) if whole.moments is None else whole.moments
    affect = valence_arousal_loss_of(moments + (own - own.detach()))
    affect = affect.detach() + whole.parts * (affect - affect.detach())
    return loss + config.valence_arousal_weight * affect.to(loss.dtype)


@torch.no_grad()
def _first_pass(model: nn.Module, batches: list[dict[str, Tensor]]) -> Tensor:
    """The moments of this process's faces, as the second pass will find them.

    The random state is put back, and batch norm's running statistics are left to the second pass.
    """
    model.train()
    device = batches[0]["pixel_values"].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _statistics_kept(model):
        moments = [
            affect_moments(model(pixel_values=batch["pixel_values"]).valence_arousal, batch["valence_arousal"])
            for batch in batches
        ]
    return torch.stack(moments).sum(dim=0)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _processes() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _over_processes(sums: Tensor) -> Tensor:
    """The sums of all processes added up."""
    if _processes() > 1:
        sums = sums.clone()
        distributed.all_reduce(sums)
    return sums
