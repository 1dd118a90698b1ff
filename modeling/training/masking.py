"""Which squares of a picture are hidden, and hiding them."""

import torch
from torch import Tensor


def draw_masks(pictures: int, side: int, ratio: float, unit: int = 1, device=None) -> Tensor:
    """For each picture its own draw of hidden squares, (pictures, side^2) bool, row by row; true is hidden.

    Of the (side / unit)^2 squares of unit x unit patches, the same number is hidden in every picture: `ratio` of them,
    rounded.

    Args:
        side: patches along a side of the picture.
        unit: patches along a side of a square; it must divide `side`.

    Raises:
        ValueError: rounded, no square or every square would be hidden.
    """
    squares = (side // unit) ** 2
    hidden = round(ratio * squares)
    if not 0 < hidden < squares:
        raise ValueError(
            f"a mask_ratio of {ratio} hides {hidden} of the {squares} squares of a picture; some must be hidden and "
            "some must be seen. Choose another ratio, or a smaller mask_size"
        )
    ranks = torch.rand(pictures, squares, device=device).argsort(dim=1)  # each row a random order of 0, 1, 2, ...
    masks = (ranks < hidden).view(pictures, side // unit, side // unit)
    return masks.repeat_interleave(unit, dim=1).repeat_interleave(unit, dim=2).flatten(1)


def pixel_masks(masks: Tensor, patch_size: int) -> Tensor:
    """(pictures, 1, height, width) bool of (pictures, patches) masks of square pictures; true is hidden."""
    side = round(masks.shape[1] ** 0.5)
    squares = masks.view(-1, 1, side, side)
    return squares.repeat_interleave(patch_size, dim=2).repeat_interleave(patch_size, dim=3)


def hide(pixel_values: Tensor, hidden: Tensor) -> Tensor:
    """The normalised pictures with grey, which is 0, in the place of the pixels that are `hidden` (`pixel_masks`)."""
    return pixel_values.masked_fill(hidden, 0.0)
