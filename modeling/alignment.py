"""Faces turned, scaled and moved so that eyes, nose and mouth are where a template has them.

A similarity transform keeps angles: one rotation, one scale, one shift, and never a reflection. Points are (x, y) in
pixels of the upright picture; (0, 0) is the centre of the pixel in the upper left corner (`images`).
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .images import decode

# Right eye (at the left of the picture), left eye, tip of the nose, corners of the mouth, in a picture of 112 x 112:
# `arcface_dst` of insightface/utils/face_align.py, after Deng et al., ArcFace, CVPR 2019.
ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_DEGENERATE = 1e-9  # of the size of the coordinates: points that are no further apart count as one


def five_points(landmarks_68: np.ndarray) -> np.ndarray:
    """(..., 68, 2) points in iBUG order as (..., 5, 2): centres of the eyes, tip of the nose, corners of the mouth.

    The centre of an eye is the mean of its six points, 36 to 41 and 42 to 47; the nose is 30, the mouth 48 and 54.

    Raises:
        ValueError: there are not 68 points.
    """
    points = np.asarray(landmarks_68, dtype=float)
    if points.shape[-2:] != (68, 2):
        raise ValueError(f"landmarks have the shape {points.shape}, expected (..., 68, 2)")
    eyes = [points[..., start : start + 6, :].mean(axis=-2) for start in (36, 42)]
    return np.stack([*eyes, *(points[..., index, :] for index in (30, 48, 54))], axis=-2)


def five_point_template(size: int, margin: float = 0.0) -> np.ndarray:
    """Where the five points are in an aligned picture of `size` pixels a side, (5, 2).

    Args:
        margin: how much is seen beyond ArcFace's close crop on each side, as a share of that crop's side.
    """
    centred = (ARCFACE_112 + 0.5) / 112 - 0.5
    return (centred / (1 + 2 * margin) + 0.5) * size - 0.5


def similarity(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """For each face the matrix [cR | t] that takes its points to the template with the least sum of squares.

    Umeyama, Least-squares estimation of transformation parameters between two point patterns, IEEE TPAMI 13(4), 1991,
    equations (40) to (42), with det R = 1. In the plane, with points p and targets q as complex numbers about their
    means, they come to cR = sum(conj(p) q) / sum(|p|^2) as a complex factor, for mirrored points too.

    Args:
        points: (N, K, 2), K >= 2.
        template: (K, 2).

    Returns:
        (N, 2, 3) float64. NaN for a face without an answer: a point is not finite, all points are the same, or they
        are such that no rotation is better than another.

    Raises:
        ValueError: the shapes are not these.
    """
    points, template = np.asarray(points, dtype=float), np.asarray(template, dtype=float)
    if points.ndim != 3 or template.ndim != 2 or points.shape[1:] != template.shape or template.shape[1] != 2:
        raise ValueError(f"points {points.shape} and template {template.shape}, expected (N, K, 2) and (K, 2)")
    source, target = points[..., 0] + 1j * points[..., 1], template[..., 0] + 1j * template[..., 1]
    middle, goal = source.mean(axis=1), target.mean()
    source, target = source - middle[:, None], target - goal
    spread, product = (np.abs(source) ** 2).sum(axis=1), (source.conj() * target).sum(axis=1)
    known = np.sqrt(spread) > _DEGENERATE * np.abs(points).max(axis=(1, 2), initial=0)
    known &= np.abs(product) > _DEGENERATE * np.sqrt(spread * (np.abs(target) ** 2).sum())
    factor = np.where(known, product, np.nan) / np.where(known, spread, 1)
    shift = goal - factor * middle
    rows = [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    return np.moveaxis(np.array(rows), -1, 0)


def transform(points: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """(N, K, 2) points under (N, 2, 3) matrices."""
    return np.einsum("nij,nkj->nki", matrices[:, :, :2], points) + matrices[:, None, :, 2]


def invert(matrices: np.ndarray) -> np.ndarray:
    """The (N, 2, 3) matrices that undo those; NaN stays NaN."""
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], axis=2)


def align(
    pictures: np.ndarray | Sequence[np.ndarray | Image.Image],
    landmarks: np.ndarray,
    size: int = 112,
    margin: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Faces cut out so that their five points are at `five_point_template(size, margin)`, as nearly as can be.

    What lies outside a picture is black. Nothing is sampled more coarsely than it is: a picture that shrinks is
    averaged in whole blocks of pixels first, then sampled (bilinear) on a grid of twice the size, and averaged again.

    Args:
        pictures: N pictures, of different sizes and kinds as they come: uint8 arrays (H, W, 3), or (H, W) of grey; PIL
            images, which become RGB as `images.decode` makes them.
        landmarks: (N, 5, 2) in the order of the template, or (N, 68, 2) in iBUG order.
        size: side of the aligned pictures in pixels.
        margin: see `five_point_template`.

    Returns:
        (N, size, size, 3) uint8, and all landmarks in them, (N, 5 or 68, 2) float64.

    Raises:
        ValueError: a face has no transform (see `similarity`), or the shapes or types are not these.
    """
    points = np.asarray(landmarks, dtype=float)
    if points.ndim != 3 or points.shape[1:] not in ((5, 2), (68, 2)) or len(points) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures and landmarks {points.shape}, expected (N, 5 or 68, 2)")
    five = points if points.shape[1] == 5 else five_points(points)
    matrices = similarity(five, five_point_template(size, margin))
    if (unknown := np.flatnonzero(np.isnan(matrices).any(axis=(1, 2)))).size:
        raise ValueError(f"faces {unknown[:5].tolist()} have points that are NaN or all in one place; leave them out")
    aligned = np.empty((len(pictures), size, size, 3), dtype=np.uint8)
    for number, (picture, matrix, out) in enumerate(zip(pictures, matrices, aligned, strict=True)):
        out[...] = np.asarray(_sample(_rgb(picture, number), matrix, size))
    return aligned, transform(points, matrices)


def _rgb(picture: np.ndarray | Image.Image, number: int) -> Image.Image:
    if isinstance(picture, np.ndarray) and picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    if isinstance(picture, np.ndarray) and (picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3):
        found = f"picture {number} is {picture.dtype} of shape {picture.shape}"
        raise ValueError(f"{found}, expected uint8 (height, width, 3) or (height, width); give others as PIL images")
    return Image.fromarray(decode(picture))


def _sample(picture: Image.Image, matrix: np.ndarray, size: int) -> Image.Image:
    shrinking = 1 / np.hypot(*matrix[:, 0])
    block = int(np.clip(shrinking, 1, max(picture.size)))
    finer = 2 if shrinking > 1.01 else 1  # a picture of the right size stays as it is, whatever rounding says
    # Pillow counts from the corner of a picture, half a pixel from the centre of the first.
    linear = np.linalg.inv(matrix[:, :2])
    origin = 0.5 - linear @ (matrix[:, 2] + 0.5)
    coefficients = np.column_stack([linear / finer, origin]) / block
    found = picture.reduce(block) if block > 1 else picture
    found = found.transform(
        (size * finer, size * finer), Image.Transform.AFFINE, coefficients.ravel().tolist(), Image.Resampling.BILINEAR
    )
    return found.reduce(finer) if finer > 1 else found
