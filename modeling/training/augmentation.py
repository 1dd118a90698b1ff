"""Random changes to a batch of faces that leave the expression what it is."""

import math

import torch
from torch import Tensor, nn

from .options import Augmentation
from .randaugment import random_operations


def augment(pictures: Tensor, strength: Augmentation) -> Tensor:
    """Change (batch, 3, size, size) pictures in [-1, 1]; every face gets its own draw. They are not written to.

    First place, then light, then the random operations, if any, and last the erased rectangle. What has no strength
    is not done, and draws nothing.
    """
    if any((strength.flip, strength.rotation, strength.scale, strength.aspect, strength.shear, strength.shift)):
        pictures = _moved(pictures, strength)
    if strength.contrast or strength.brightness or strength.gamma:
        pictures = _lit(pictures, strength)
    pictures = random_operations(pictures, strength.random_operations, strength.magnitude)
    return _erased(pictures, strength) if strength.erase else pictures


def _moved(pictures: Tensor, strength: Augmentation) -> Tensor:
    turn = _uniform(pictures, math.radians(strength.rotation))
    zoom = 1 + _uniform(pictures, strength.scale)
    mirror = 1 - 2 * (_chance(pictures) < strength.flip).float()
    shifts = [_uniform(pictures, 2 * strength.shift) for _ in range(2)]
    stretch = (1 + (_uniform(pictures, strength.aspect) if strength.aspect else 0.0 * zoom)).sqrt()
    slant = _uniform(pictures, strength.shear) if strength.shear else 0.0 * zoom
    # Where a point of the new picture lies in the old one: mirrored, stretched, slanted, turned, and moved.
    cosine, sine, across, along = turn.cos() / zoom, turn.sin() / zoom, mirror / stretch, stretch
    rows = [
        torch.stack([cosine * across, (cosine * slant - sine) * along, shifts[0]], dim=1),
        torch.stack([sine * across, (sine * slant + cosine) * along, shifts[1]], dim=1),
    ]
    grid = nn.functional.affine_grid(torch.stack(rows, dim=1), list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _lit(pictures: Tensor, strength: Augmentation) -> Tensor:
    contrast = 1 + _uniform(pictures, strength.contrast)
    brightness = _uniform(pictures, 2 * strength.brightness)
    pictures = (pictures * contrast[:, None, None, None] + brightness[:, None, None, None]).clamp_(-1, 1)
    if not strength.gamma:
        return pictures
    power = _uniform(pictures, strength.gamma).exp2()[:, None, None, None]
    return 2 * ((pictures + 1) / 2).pow(power) - 1


def _erased(pictures: Tensor, strength: Augmentation) -> Tensor:
    """A rectangle of 2 to 15 % of the area, of aspect 1:2 to 2:1, around a random point; the picture may cut it."""
    size = pictures.shape[-1]
    area = 0.02 + 0.13 * _chance(pictures)
    aspect = 2 ** _uniform(pictures, 1.0)
    half_height, half_width = (area * aspect).sqrt() / 2, (area / aspect).sqrt() / 2
    axis = (torch.arange(size, device=pictures.device) + 0.5) / size
    rows = (axis - _chance(pictures)[:, None]).abs() < half_height[:, None]
    columns = (axis - _chance(pictures)[:, None]).abs() < half_width[:, None]
    chosen = _chance(pictures) < strength.erase
    mask = chosen[:, None, None] & rows[:, :, None] & columns[:, None, :]
    return pictures.masked_fill(mask[:, None], 0.0)


def _uniform(pictures: Tensor, largest: float) -> Tensor:
    return (2 * _chance(pictures) - 1) * largest


def _chance(pictures: Tensor) -> Tensor:
    return torch.rand(len(pictures), device=pictures.device)
