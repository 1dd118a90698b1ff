"""The mirror image of a face, with all that is known of where its parts are."""

from typing import NamedTuple

import torch
from torch import Tensor

# MIRROR_68[i] is the iBUG point (Sagonas et al. 2013) whose mirror image is point i: jaw, brows, ridge of the nose,
# nostrils, the eye at the image's left, the eye at its right, outer lips, inner lips.
MIRROR_68 = (
    16,
    15,
    14,
    13,
    12,
    11,
    10,
    9,
    8,
    7,
    6,
    5,
    4,
    3,
    2,
    1,
    0,
    26,
    25,
    24,
    23,
    22,
    21,
    20,
    19,
    18,
    17,
    27,
    28,
    29,
    30,
    35,
    34,
    33,
    32,
    31,
    45,
    44,
    43,
    42,
    47,
    46,
    39,
    38,
    37,
    36,
    41,
    40,
    54,
    53,
    52,
    51,
    50,
    49,
    48,
    59,
    58,
    57,
    56,
    55,
    64,
    63,
    62,
    61,
    60,
    67,
    66,
    65,
)


class Mirrored(NamedTuple):
    """What `mirror` was given, mirrored; None for what it was not."""

    pictures: Tensor
    landmarks_68: Tensor | None
    pose: Tensor | None


def mirror(
    pictures: Tensor,
    landmarks_68: Tensor | None = None,
    pose: Tensor | None = None,
    landmarks_29: Tensor | None = None,
) -> Mirrored:
    """Left becomes right in every picture, and in what is known of it. Twice is the identity.

    Expression, valence and arousal stay what they are. Where the outer corner of the eye at the image's left was is
    now that of the eye at its right: each point changes its x and its number.

    Args:
        pictures: (..., height, width).
        landmarks_68: (..., 68, 2) pixels, iBUG order, the centre of the first pixel at 0 (see `images`), so that x
            becomes width - 1 - x. NaN stays NaN.
        pose: (..., 3) yaw, pitch and roll: yaw and roll change their sign. That holds for every unit and sign, as long
            as 0 is a face that looks straight ahead; AffectNet+ does not say whether its own does.
        landmarks_29: must be None.

    Raises:
        ValueError: a shape is another, or there are 29 landmarks: their order is not documented, so nobody knows
            which of them is the mirror image of which.
    """
    if landmarks_29 is not None:
        raise ValueError(
            "landmarks_29 cannot be mirrored: AffectNet+ does not document their order, so which point is the mirror "
            "image of which is not known. Mirror without them"
        )
    if landmarks_68 is not None and (landmarks_68.ndim < 2 or landmarks_68.shape[-2:] != (68, 2)):
        raise ValueError(f"landmarks_68 have the shape {tuple(landmarks_68.shape)}, expected (..., 68, 2)")
    if pose is not None and (pose.ndim < 1 or pose.shape[-1] != 3):
        raise ValueError(f"pose has the shape {tuple(pose.shape)}, expected (..., 3): yaw, pitch and roll")
    return Mirrored(
        pictures.flip(-1),
        None if landmarks_68 is None else _mirrored_points(landmarks_68, pictures.shape[-1]),
        None if pose is None else pose * pose.new_tensor([-1, 1, -1]),
    )


def _mirrored_points(points: Tensor, width: int) -> Tensor:
    x, y = points[..., list(MIRROR_68), :].unbind(dim=-1)
    return torch.stack([width - 1 - x, y], dim=-1)
