"""The losses, pure functions of tensors, each a quotient of sums over faces. Travels with every published model.

The sums of a batch are those of its parts added up, so that training can take the loss of a batch that is split over
several steps and processes. A NaN target is unknown and left out. A NaN prediction makes the loss NaN, even where the
target is unknown, so that a broken model is never hidden.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NO_VARIANCE = 1e-8  # added to the denominator of CCC: a spread well below 1e-4 counts as none


# --- soft labels -----------------------------------------------------------------------------------------------------


def _cross_entropy(target: Tensor, log_q: Tensor) -> Tensor:
    return -(target * log_q).sum(dim=1)


def _kl(target: Tensor, log_q: Tensor) -> Tensor:
    return nn.functional.kl_div(log_q, target, reduction="none").sum(dim=1)


def _js(target: Tensor, log_q: Tensor) -> Tensor:
    log_m = torch.logaddexp(target.log(), log_q) - math.log(2)
    return (torch.xlogy(target, target) - target * log_m + log_q.exp() * (log_q - log_m)).sum(dim=1) / 2


@dataclass(frozen=True)
class Loss:
    """One way to measure how far a prediction is from a soft label.

    Attributes:
        divergence: the target and log q, both (batch, classes), to (batch,) numbers of at least 0; 0 log 0 is 0.
        words: what a card calls it.
        of_one_hot: what a card calls it where the target is a one-hot label, if that has a name of its own.
    """

    divergence: Callable[[Tensor, Tensor], Tensor]
    words: str
    of_one_hot: str | None = None


# The one table of losses, by the name that configurations have. A new one is an entry here; its name is also in
# `training.options.CHOICES`, which is read where torch must not be waited for.
LOSSES = {
    "kl": Loss(_kl, "KL divergence", of_one_hot="cross-entropy"),
    "js": Loss(_js, "Jensen-Shannon divergence"),
    "cross_entropy": Loss(_cross_entropy, "cross-entropy"),
}


def soft_label_loss(
    logits: Tensor,
    soft_labels: Tensor,
    class_weights: Tensor | Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    *,
    kind: str = "kl",
    temperature: float = 1.0,
    sample_weights: Tensor | None = None,
) -> Tensor:
    """Mean divergence, in nats, of the predicted from the true soft label, over the rows whose soft label is known.

    With t the (smoothed) soft label, q = softmax(logits / temperature) and m = (t + q) / 2:
    "kl" is KL(t || q); "cross_entropy" is KL(t || q) + H(t), which has the same gradient; "js" is the Jensen-Shannon
    divergence KL(t || m) / 2 + KL(q || m) / 2 (Lin 1991), at most ln 2, whose gradient vanishes where q is far off.

    A face i weighs w_i = sample_weights_i * sum_k class_weights_k * soft_label_ik, and the mean is
    sum(w_i D_i) / sum(w_i); for a one-hot soft label that is exactly the weighted cross-entropy of torch. The form
    keeps the minimum at q == t, which weighting the terms of one row would not.

    Args:
        logits: (batch, classes), finite. The loss is computed in float32, for float64 logits in float64.
        soft_labels: (batch, classes), rows that sum to 1; a row with a NaN is unknown and is left out.
        class_weights: (classes,), positive, or None.
        label_smoothing: share of the uniform distribution mixed into each target, in [0, 1). Weights are of the
            target before that.
        kind: one of `LOSSES`.
        temperature: positive.
        sample_weights: (batch,), 0 or positive, or None.

    Returns:
        A scalar; 0 with a zero gradient when no row is known, or none weighs anything.

    Raises:
        ValueError: another kind.
    """
    sums = soft_label_sums(
        logits,
        soft_labels,
        class_weights,
        label_smoothing,
        kind=kind,
        temperature=temperature,
        sample_weights=sample_weights,
    )
    return soft_label_loss_of(*sums)


def soft_label_sums(
    logits: Tensor,
    soft_labels: Tensor,
    class_weights: Tensor | Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    *,
    kind: str = "kl",
    temperature: float = 1.0,
    sample_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The sums (w_i D_i, w_i) that `soft_label_loss` is the quotient of; arguments and errors are its own."""
    if kind not in LOSSES:
        *others, last = map(repr, LOSSES)
        raise ValueError(f"the kind of loss is {kind!r}; it must be {', '.join(others)} or {last}")
    divergence = LOSSES[kind].divergence
    log_q = (_precise(logits) / temperature).log_softmax(dim=1)
    soft_labels = soft_labels.to(log_q.dtype)
    weights = soft_label_weights(soft_labels, class_weights, sample_weights)
    target = _known_rows(soft_labels)
    target = (1 - label_smoothing) * target + label_smoothing / target.shape[1]
    return (weights * divergence(target, log_q)).sum(), weights.sum()


def soft_label_weights(
    soft_labels: Tensor,
    class_weights: Tensor | Sequence[float] | None = None,
    sample_weights: Tensor | None = None,
) -> Tensor:
    """What each face weighs in `soft_label_loss`, (batch,); it depends on the targets alone, and is 0 if unknown."""
    soft_labels = _precise(soft_labels)
    weights = (~soft_labels.isnan().any(dim=1)).to(soft_labels.dtype)
    if class_weights is not None:
        per_class = torch.as_tensor(class_weights, dtype=soft_labels.dtype, device=soft_labels.device)
        weights = (_known_rows(soft_labels) * per_class).sum(dim=1)
    return weights if sample_weights is None else weights * sample_weights.to(weights.dtype)


def soft_label_loss_of(total: Tensor, weight: Tensor) -> Tensor:
    """The loss of the sums over all faces; see `soft_label_sums`."""
    return total / weight.clamp(min=torch.finfo(weight.dtype).tiny)


def _known_rows(soft_labels: Tensor) -> Tensor:
    """The soft labels with zeros in the place of the unknown rows."""
    return torch.where(soft_labels.isnan().any(dim=1, keepdim=True), 0.0, soft_labels)


# --- valence and arousal ---------------------------------------------------------------------------------------------


def valence_arousal_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """(1 - CCC) + mean squared error, averaged over valence and arousal, over the known values of the batch.

    CCC is the concordance correlation coefficient 2 cov / (var + var + (mean - mean)^2) (Lin 1989) with population
    variances. With one row, or a constant batch, CCC is 0 and only the squared error pulls.

    Args:
        predicted: (batch, 2) in [-1, 1].
        target: (batch, 2) in [-1, 1]; NaN where unknown.

    Returns:
        A scalar; a dimension with no known value adds 0, and its gradient is 0.
    """
    return valence_arousal_loss_of(affect_moments(predicted, target)).to(_precise(predicted).dtype)


def affect_moments(predicted: Tensor, target: Tensor) -> Tensor:
    """The sums over faces that `valence_arousal_loss` is a function of; arguments are its own.

    Returns:
        (6, 2) float64: of valence and arousal the count of known values, and the sums of p, t, p^2, t^2 and p t. In
        float64 a variance found from them is right to 1e-15, since values lie in [-1, 1].
    """
    known = ~target.isnan()
    p = predicted.double() * known  # not torch.where, which would hide a NaN
    t = torch.where(known, target, 0.0).double()
    return torch.stack([known.double(), p, t, p.square(), t.square(), p * t]).sum(dim=1)


def valence_arousal_loss_of(moments: Tensor) -> Tensor:
    """The loss, a float64 scalar, of the sums over all faces; see `affect_moments`."""
    known = moments[0]
    mean_p, mean_t, mean_pp, mean_tt, mean_pt = moments[1:] / known.clamp(min=1)
    squared_error = mean_pp - 2 * mean_pt + mean_tt
    # var + var + (mean - mean)^2 is the squared error plus twice the covariance.
    covariance = mean_pt - mean_p * mean_t
    concordance = 2 * covariance / (squared_error + 2 * covariance + NO_VARIANCE)
    return ((1 - concordance + squared_error) * (known > 0)).mean()


def _precise(values: Tensor) -> Tensor:
    """In float32, or float64 if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
