"""The two losses, each a pure function on float32 tensors. Travels with every published model."""

import torch
from torch import Tensor, nn


def soft_label_loss(
    logits: Tensor, soft_labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean KL(soft label || softmax(logits)) in nats over the rows whose soft label is known.

    A face i weighs w_i = sum_k class_weights_k * soft_label_ik, and the mean is sum(w_i KL_i) / sum(w_i); for a
    one-hot soft label that is exactly the weighted cross-entropy of torch. The form keeps the minimum at
    softmax(logits) == soft label, which weighting the terms of one row would not.

    Args:
        logits: (batch, classes).
        soft_labels: (batch, classes), rows that sum to 1; a row with a NaN is unknown and is left out.
        class_weights: (classes,), positive, or None.
        label_smoothing: share of the uniform distribution mixed into each target, in [0, 1).

    Returns:
        A scalar; 0 with a zero gradient when no row is known.
    """
    known = ~soft_labels.isnan().any(dim=1)
    target = torch.where(known[:, None], soft_labels, 0.0).float()
    weight = known.float() if class_weights is None else known * (target * class_weights).sum(dim=1)
    target = (1 - label_smoothing) * target + label_smoothing / target.shape[1]
    divergence = nn.functional.kl_div(logits.float().log_softmax(dim=1), target, reduction="none").sum(dim=1)
    return (weight * divergence).sum() / weight.sum().clamp(min=torch.finfo(torch.float32).tiny)


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
    known = ~target.isnan()
    count = known.sum(dim=0).clamp(min=1)
    predicted = torch.where(known, predicted.float(), 0.0)
    target = torch.where(known, target.float(), 0.0)
    mean_p, mean_t = predicted.sum(dim=0) / count, target.sum(dim=0) / count
    centred_p, centred_t = torch.where(known, predicted - mean_p, 0.0), torch.where(known, target - mean_t, 0.0)
    covariance = (centred_p * centred_t).sum(dim=0) / count
    spread = (centred_p.square().sum(dim=0) + centred_t.square().sum(dim=0)) / count
    concordance = 2 * covariance / (spread + (mean_p - mean_t).square() + 1e-8)
    squared_error = (predicted - target).square().sum(dim=0) / count
    return torch.where(known.any(dim=0), 1 - concordance + squared_error, 0.0).mean()
