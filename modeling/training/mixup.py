"""Mixtures of two faces whose targets are mixed alike: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019)."""

import torch
from torch import Tensor


def mix(batch: dict[str, Tensor], mixup: float = 0.0, cutmix: float = 0.0) -> dict[str, Tensor]:
    """Replace every face by a mixture of itself, of a share lambda, and a partner.

    Lambda is drawn from Beta(alpha, alpha) for each face, not for the batch as in the papers, so that no step is
    without mixtures. With both alphas given, a coin decides for each face. Mixup adds the two pictures, lambda to
    1 - lambda. CutMix lays a rectangle of the partner, of the picture's own proportions and 1 - lambda of its area,
    around a random point; the border may cut it, and lambda is then made what is really left of the face.
    The soft labels, valence and arousal of the two are added as lambda to 1 - lambda.

    The partner is the next face of the batch of which the same is known, so that no known target is lost to an
    unknown one. A face that is the only one of its kind stays as it is.

    Args:
        batch: `pixel_values` (batch, channels, height, width) float, and any of `soft_labels` (batch, classes), whose
            row is unknown if it has a NaN, and `valence_arousal` (batch, 2), NaN where unknown. Not written to.
        mixup, cutmix: the alphas, 0 for off. With both off the batch is returned and nothing is drawn.

    Raises:
        ValueError: an alpha is negative, or the batch has something else that does not say how it is to be mixed.
    """
    if mixup < 0 or cutmix < 0:
        raise ValueError(f"mixup is {mixup} and cutmix {cutmix}; each must be 0 or positive")
    if unknown := sorted(batch.keys() - {"pixel_values", *_TARGETS}):
        able = ", ".join(("pixel_values", *_TARGETS))
        raise ValueError(f"the batch has {', '.join(unknown)}; only {able} can be mixed")
    if not (mixup or cutmix):
        return batch
    pictures = batch["pixel_values"]
    targets = {name: batch[name] for name in _TARGETS if name in batch}
    partners = _partners(len(pictures), targets, pictures.device)
    kept = _kept(pictures, mixup, cutmix)
    shares = kept.mean(dim=(1, 2))
    mixed = {"pixel_values": pictures[partners].lerp(pictures, kept[:, None].to(pictures.dtype))}
    for name, values in targets.items():
        mixed[name] = values[partners].lerp(values, shares[:, None].to(values.dtype))
    return mixed


_TARGETS = ("soft_labels", "valence_arousal")


def _partners(count: int, targets: dict[str, Tensor], device: torch.device) -> Tensor:
    """For each face the next one with the same known targets, after the last of them the first."""
    kind = torch.zeros(count, dtype=torch.long, device=device)
    for name, values in targets.items():
        missing = values.isnan().any(dim=1, keepdim=True) if name == "soft_labels" else values.isnan()
        for column in missing.unbind(dim=1):
            kind = 2 * kind + column
    order = kind.argsort(stable=True)
    ranked, places = kind[order], torch.arange(count, device=device)
    following = torch.where(ranked.roll(-1) == ranked, (places + 1) % count, torch.searchsorted(ranked, ranked))
    partners = torch.empty_like(order)
    partners[order] = order[following]
    return partners


def _kept(pictures: Tensor, mixup: float, cutmix: float) -> Tensor:
    """How much of each face is left at each of its pixels: (batch, 1, 1), or with CutMix (batch, height, width)."""
    if not cutmix:
        return _beta(pictures, mixup)[:, None, None]
    uncut = _uncut(pictures, _beta(pictures, cutmix))
    if not mixup:
        return uncut
    return torch.where((_chance(pictures) < 0.5)[:, None, None], _beta(pictures, mixup)[:, None, None], uncut)


def _uncut(pictures: Tensor, share: Tensor) -> Tensor:
    """(batch, height, width): 0 in the rectangle and 1 elsewhere; the box of Yun et al. 2019, appendix A."""
    inside = []
    for side in pictures.shape[2:]:
        length = (side * (1 - share).sqrt()).long()
        start = (side * _chance(pictures)).long() - length // 2
        axis = torch.arange(side, device=pictures.device)
        inside.append((axis >= start[:, None]) & (axis < (start + length)[:, None]))
    rows, columns = inside
    return (~(rows[:, :, None] & columns[:, None, :])).float()


def _beta(pictures: Tensor, alpha: float) -> Tensor:
    alphas = torch.full((len(pictures),), alpha, device=pictures.device)
    return torch.distributions.Beta(alphas, alphas, validate_args=False).sample()


def _chance(pictures: Tensor) -> Tensor:
    return torch.rand(len(pictures), device=pictures.device)
