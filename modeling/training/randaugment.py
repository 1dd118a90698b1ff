"""Random operations on a batch of faces: RandAugment (Cubuk et al. 2020) with what leaves an expression readable.

Left out of the paper's list are those that make another picture of a face: invert, solarise, a cut-out, and its large
shears and turns. Added are gamma and noise. Each operation takes n pictures (n, 3, size, size) in [-1, 1] and n levels
in [-1, 1], 0 for no change, and returns new pictures, which `random_operations` puts back into the range.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow makes grey of colours


def random_operations(pictures: Tensor, count: int, magnitude: float) -> Tensor:
    """Change each face by `count` operations, drawn with replacement, each at a level up to `magnitude` either way.

    The paper takes one level for all and finds that random levels up to it do as well; these are uniform. The draws
    are torch's on the CPU, so that a GPU need not be waited for to know how many faces an operation is for; only the
    noise comes from the pictures' device.

    Args:
        pictures: (batch, 3, size, size) in [-1, 1]; not written to.
        count: 0 draws nothing and returns the pictures.
        magnitude: in [0, 1].
    """
    if not count:
        return pictures
    chosen = torch.randint(len(OPERATIONS), (count, len(pictures)))
    order = chosen.argsort(dim=1, stable=True)
    levels = magnitude * (2 * torch.rand(count, len(pictures)) - 1)
    places, levels = order.to(pictures.device), levels.to(pictures.device)
    for row in range(count):
        sizes = chosen[row].bincount(minlength=len(OPERATIONS)).tolist()
        pictures = _each(pictures, places[row].split(sizes), levels[row].split(sizes))
    return pictures


def _each(pictures: Tensor, places: tuple[Tensor, ...], levels: tuple[Tensor, ...]) -> Tensor:
    """Operation k on the faces at places[k], which are all faces together."""
    changed = torch.empty_like(pictures, memory_format=torch.contiguous_format)
    for operation, rows, level in zip(OPERATIONS, places, levels, strict=True):
        if len(rows):
            changed[rows] = operation(pictures[rows], level[:, None, None, None]).clamp_(-1, 1)
    return changed


# --- light and colour ------------------------------------------------------------------------------------------------


def brightness(pictures: Tensor, level: Tensor) -> Tensor:
    """Light times 1/2 to 3/2."""
    return (pictures + 1) * (1 + level / 2) - 1


def contrast(pictures: Tensor, level: Tensor) -> Tensor:
    """Distance from the mean grey of the face times .4 to 1.6."""
    middle = _grey(pictures).mean(dim=(2, 3), keepdim=True)
    return middle + (pictures - middle) * (1 + 0.6 * level)


def saturation(pictures: Tensor, level: Tensor) -> Tensor:
    """Distance from grey times 0, a grey picture, to 2."""
    grey = _grey(pictures)
    return grey + (pictures - grey) * (1 + level)


def gamma(pictures: Tensor, level: Tensor) -> Tensor:
    """Light, from 0 to 1, to the power of 1/2 to 2."""
    return 2 * ((pictures + 1) / 2).pow(level.exp2()) - 1


def posterise(pictures: Tensor, level: Tensor) -> Tensor:
    """The nearest of 256 shades, at the largest level of 16."""
    steps = (8 - 4 * level.abs()).exp2() - 1
    return 2 * ((pictures + 1) / 2 * steps).round() / steps - 1


def autocontrast(pictures: Tensor, level: Tensor) -> Tensor:
    """Each channel stretched over the whole range, mixed in by a share of 0 to 1; a channel of one shade stays."""
    low, high = pictures.amin(dim=(2, 3), keepdim=True), pictures.amax(dim=(2, 3), keepdim=True)
    spread = high - low
    stretched = 2 * (pictures - low) / spread.clamp(min=torch.finfo(pictures.dtype).tiny) - 1
    return pictures.lerp(torch.where(spread > 0, stretched, pictures), level.abs())


def equalise(pictures: Tensor, level: Tensor) -> Tensor:
    """Each channel with all of 256 shades as frequent as can be, mixed in by a share of 0 to 1.

    A shade becomes (c - c0) / (n - c0) of the range, where c of the n pixels are of it or darker, and c0 of the
    darkest; a channel of one shade stays.
    """
    rows = ((pictures + 1) * 127.5).round().long().flatten(2)
    number = rows.shape[2]
    counts = torch.zeros(*rows.shape[:2], 256, dtype=torch.long, device=rows.device)
    cumulated = counts.scatter_add_(2, rows, torch.ones_like(rows)).cumsum(dim=2)
    darkest = cumulated.gather(2, rows.amin(dim=2, keepdim=True))
    shades = (cumulated - darkest) / (number - darkest).clamp(min=1)
    equal = (2 * shades.gather(2, rows) - 1).to(pictures.dtype).view_as(pictures)
    return pictures.lerp(torch.where((darkest < number)[..., None], equal, pictures), level.abs())


def _grey(pictures: Tensor) -> Tensor:
    red, green, blue = pictures.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


# --- detail ---------------------------------------------------------------------------------------------------------


def sharpness(pictures: Tensor, level: Tensor) -> Tensor:
    """Distance from the blurred picture times 0, which blurs, to 2, which sharpens.

    Blurred is the mean of a square of about a 30th of the side, with the border's pixels repeated beyond it.
    """
    reach = max(1, round(pictures.shape[-1] / 80))
    blurred = nn.functional.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    for axis in (2, 3):  # sums of shifted copies: a few times faster on a CPU than pooling
        side, shifts = pictures.shape[axis], range(2 * reach + 1)
        blurred = torch.stack([blurred.narrow(axis, shift, side) for shift in shifts]).mean(dim=0)
    return blurred + (pictures - blurred) * (1 + level)


def noise(pictures: Tensor, level: Tensor) -> Tensor:
    """Independent normal noise on every pixel, grey, with a deviation of up to 8 % of the range."""
    return pictures + 0.16 * level.abs() * torch.randn_like(pictures[:, :1])


# --- place ----------------------------------------------------------------------------------------------------------


def shear_x(pictures: Tensor, level: Tensor) -> Tensor:
    """Rows moved against each other by up to .2 of the distance between them."""
    return _moved(pictures, {(0, 1): 0.2 * level})


def shear_y(pictures: Tensor, level: Tensor) -> Tensor:
    """Columns moved against each other by up to .2 of the distance between them."""
    return _moved(pictures, {(1, 0): 0.2 * level})


def rotate(pictures: Tensor, level: Tensor) -> Tensor:
    """Turned by up to 15 degrees."""
    turn = math.radians(15) * level
    cosine, sine = turn.cos() - 1, turn.sin()
    return _moved(pictures, {(0, 0): cosine, (0, 1): -sine, (1, 0): sine, (1, 1): cosine})


def translate_x(pictures: Tensor, level: Tensor) -> Tensor:
    """Moved sideways by up to a tenth of the side."""
    return _moved(pictures, {(0, 2): 0.2 * level})


def translate_y(pictures: Tensor, level: Tensor) -> Tensor:
    """Moved up or down by up to a tenth of the side."""
    return _moved(pictures, {(1, 2): 0.2 * level})


def _moved(pictures: Tensor, changes: dict[tuple[int, int], Tensor]) -> Tensor:
    """Sampled at the places that the unit matrix with these changes gives, in units of half the side."""
    matrices = torch.eye(2, 3, dtype=pictures.dtype, device=pictures.device).repeat(len(pictures), 1, 1)
    for (row, column), change in changes.items():
        matrices[:, row, column] += change.flatten()
    grid = nn.functional.affine_grid(matrices, list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    brightness,
    contrast,
    saturation,
    gamma,
    posterise,
    autocontrast,
    equalise,
    sharpness,
    noise,
    shear_x,
    shear_y,
    rotate,
    translate_x,
    translate_y,
)
