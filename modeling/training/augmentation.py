"""Random changes to a batch of faces that leave the expression what it is."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Augmentation:
    """Callable on (batch, channels, size, size) pictures in [-1, 1]; every face gets its own draw.

    Attributes:
        flip: chance of a left-right mirror image.
        rotation: largest turn either way, in degrees.
        scale: largest zoom in or out, as a share of the size.
        shift: largest move along each axis, as a share of the size.
        contrast: largest change of contrast, as a share.
        brightness: largest change of brightness, as a share of the range.
        erase: chance that a rectangle of the picture is greyed out (random erasing, Zhong et al. 2020).
    """

    flip: float = 0.5
    rotation: float = 15.0
    scale: float = 0.15
    shift: float = 0.08
    contrast: float = 0.3
    brightness: float = 0.15
    erase: float = 0.25

    def __call__(self, pictures: Tensor) -> Tensor:
        return self._erased(self._lit(self._moved(pictures)))

    def _moved(self, pictures: Tensor) -> Tensor:
        turn = _uniform(pictures, math.radians(self.rotation))
        zoom = 1 + _uniform(pictures, self.scale)
        mirror = 1 - 2 * (_chance(pictures) < self.flip).float()
        cosine, sine = turn.cos() / zoom, turn.sin() / zoom
        rows = [
            torch.stack([cosine * mirror, -sine, _uniform(pictures, 2 * self.shift)], dim=1),
            torch.stack([sine * mirror, cosine, _uniform(pictures, 2 * self.shift)], dim=1),
        ]
        grid = nn.functional.affine_grid(torch.stack(rows, dim=1), list(pictures.shape), align_corners=False)
        return nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)

    def _lit(self, pictures: Tensor) -> Tensor:
        contrast = 1 + _uniform(pictures, self.contrast)
        brightness = _uniform(pictures, 2 * self.brightness)
        return (pictures * contrast[:, None, None, None] + brightness[:, None, None, None]).clamp_(-1, 1)

    def _erased(self, pictures: Tensor) -> Tensor:
        """A rectangle of 2 to 15 % of the area, of aspect 1:2 to 2:1, at a random place."""
        size = pictures.shape[-1]
        area = 0.02 + 0.13 * _chance(pictures)
        aspect = 2 ** _uniform(pictures, 1.0)
        half_height, half_width = (area * aspect).sqrt() / 2, (area / aspect).sqrt() / 2
        axis = (torch.arange(size, device=pictures.device) + 0.5) / size
        rows = (axis - _chance(pictures)[:, None]).abs() < half_height[:, None]
        columns = (axis - _chance(pictures)[:, None]).abs() < half_width[:, None]
        chosen = _chance(pictures) < self.erase
        mask = chosen[:, None, None] & rows[:, :, None] & columns[:, None, :]
        return pictures.masked_fill(mask[:, None], 0.0)


def _uniform(pictures: Tensor, largest: float) -> Tensor:
    return (2 * _chance(pictures) - 1) * largest


def _chance(pictures: Tensor) -> Tensor:
    return torch.rand(len(pictures), device=pictures.device)
