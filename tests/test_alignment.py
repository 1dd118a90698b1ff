"""Alignment: the transform against independent references, and that faces are where the template says."""

import datasets
import numpy as np
import pytest
from PIL import Image

from affectnet_plus_modeling.alignment import (
    ARCFACE_112,
    align,
    five_point_template,
    five_points,
    invert,
    similarity,
    transform,
)
from affectnet_plus_modeling.sources.synthetic import draw_expression, draw_face


def rng_points(count=20, points=5, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-50, 300, (count, points, 2))


def umeyama(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Umeyama's own way for one face: singular values, and the smallest one's sign turned against reflections."""
    middle, goal = points.mean(axis=0), template.mean(axis=0)
    covariance = (template - goal).T @ (points - middle) / len(points)
    left, values, right = np.linalg.svd(covariance)
    signs = np.array([1, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    scale = (values * signs).sum() / ((points - middle) ** 2).sum(axis=1).mean()
    return np.column_stack([scale * rotation, goal - scale * rotation @ middle])


def least_squares(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """x' = a x - b y + c and y' = b x + a y + d as a linear system."""
    x, y, one, zero = points[:, 0], points[:, 1], np.ones(len(points)), np.zeros(len(points))
    system = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    (a, b, c, d), *_ = np.linalg.lstsq(system, template.T.ravel(), rcond=None)
    return np.array([[a, -b, c], [b, a, d]])


def turn(degrees: float, scale: float = 1.0, shift=(0.0, 0.0)) -> np.ndarray:
    angle = np.radians(degrees)
    rotation = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return np.column_stack([scale * np.array(rotation), shift])


# ---- the transform


@pytest.mark.parametrize("reference", [umeyama, least_squares])
@pytest.mark.parametrize("count", [2, 3, 5, 68])
def test_the_transform_is_that_of_independent_references(reference, count):
    points, template = rng_points(30, count), rng_points(1, count, seed=1)[0]
    expected = [reference(face, template) for face in points]
    np.testing.assert_allclose(similarity(points, template), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reference", [umeyama, least_squares])
def test_a_mirrored_face_gets_the_best_rotation_and_no_reflection(reference):
    faces = ARCFACE_112 * [-1, 1] + np.random.default_rng(0).normal(0, 3, (10, 5, 2))
    matrices = similarity(faces, ARCFACE_112)
    np.testing.assert_allclose(matrices, [reference(face, ARCFACE_112) for face in faces], rtol=1e-8, atol=1e-8)
    assert (np.linalg.det(matrices[:, :, :2]) > 0).all()


def test_a_worked_transform():
    """A quarter turn takes (1, 0) to (0, 1); twice the size; (10, 20) further."""
    template = np.array([[10, 20], [10, 22], [8, 20]])
    found = similarity(np.array([[[0, 0], [1, 0], [0, 1]]]), template)
    np.testing.assert_allclose(found, [[[0, -2, 10], [2, 0, 20]]], atol=1e-12)


def test_every_rotation_is_found_exactly():
    matrices = np.stack([turn(degrees, 0.1 + degrees / 90, (degrees, -7)) for degrees in range(0, 360, 5)])
    points = transform(np.broadcast_to(ARCFACE_112, (len(matrices), 5, 2)), invert(matrices))
    np.testing.assert_allclose(similarity(points, ARCFACE_112), matrices, rtol=1e-9, atol=1e-9)


def test_a_batch_gives_what_each_face_gives_alone_and_none_gives_none():
    points = rng_points()
    together = similarity(points, ARCFACE_112)
    assert together.shape == (20, 2, 3) and together.dtype == np.float64
    for face, matrix in zip(points, together, strict=True):
        assert np.array_equal(similarity(face[None], ARCFACE_112)[0], matrix)
    assert similarity(np.empty((0, 5, 2)), ARCFACE_112).shape == (0, 2, 3)


def test_the_inverse_undoes_the_transform():
    points = rng_points()
    matrices = similarity(points, ARCFACE_112)
    np.testing.assert_allclose(transform(transform(points, matrices), invert(matrices)), points, atol=1e-9)


def test_a_face_without_an_answer_is_nan_and_leaves_the_others_alone():
    points = rng_points(8)
    expected = similarity(points, ARCFACE_112)
    points[1] = 17.3  # all in one place
    points[2] = [1234.567, 0.1]
    points[3, 4, 1] = np.nan
    points[4, 0, 0] = np.inf
    points[5] = 0
    points[6] = ARCFACE_112.mean(axis=0) + 1e-12 * ARCFACE_112
    with np.errstate(all="raise", invalid="ignore"):
        found = similarity(points, ARCFACE_112)
    assert np.isnan(found).all(axis=(1, 2)).tolist() == [False, True, True, True, True, True, True, False]
    assert np.array_equal(found[[0, 7]], expected[[0, 7]])
    assert np.isnan(invert(found[1:2])).all() and np.isnan(transform(points[1:2], found[1:2])).all()


def test_where_no_rotation_is_best_the_answer_is_nan():
    """An equilateral triangle and its mirror image: every rotation leaves the same sum of squares."""
    angles = np.radians([0, 120, 240])
    triangle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert np.isnan(similarity(triangle[None] * [1, -1], triangle)).all()
    assert np.isnan(similarity(triangle[None], np.ones((3, 2)))).all(), "a template that is one point"


@pytest.mark.parametrize("points, template", [((5, 2), (5, 2)), ((1, 5, 2), (4, 2)), ((1, 5, 3), (5, 3))])
def test_shapes_that_do_not_fit_are_refused(points, template):
    with pytest.raises(ValueError, match=r"expected \(N, K, 2\) and \(K, 2\)"):
        similarity(np.ones(points), np.ones(template))


# ---- points and template


def test_the_five_points_are_eyes_nose_and_mouth_of_the_68():
    points = np.zeros((2, 68, 2))
    points[:, 36:42] = [[10, 20], [12, 18], [16, 18], [18, 20], [16, 22], [12, 22]]
    points[:, 42:48] = [[30, 20], [32, 18], [36, 18], [38, 20], [36, 22], [32, 28]]
    points[:, 30], points[:, 48], points[:, 54] = [24, 33], [15, 44], [34, 45]
    points[1] += 100
    expected = np.array([[14, 20], [34, 21], [24, 33], [15, 44], [34, 45]])
    np.testing.assert_allclose(five_points(points), [expected, expected + 100])
    with pytest.raises(ValueError, match="expected .*68, 2"):
        five_points(points[:, :67])


def test_the_template_keeps_its_place_at_every_size_and_margin():
    np.testing.assert_allclose(five_point_template(112), ARCFACE_112)
    centred = (ARCFACE_112 + 0.5) / 112 - 0.5
    for size in (48, 224, 225):
        np.testing.assert_allclose((five_point_template(size) + 0.5) / size - 0.5, centred)
        np.testing.assert_allclose((five_point_template(size, margin=0.5) + 0.5) / size - 0.5, centred / 2)


# ---- pictures


@pytest.fixture(scope="module")
def faces():
    return [draw_face(5, index) for index in range(12)]


def roll(face, degrees, scale, side=300):
    """A drawn face turned about its centre in a picture of another size, with its landmarks."""
    matrix = turn(degrees, scale)
    matrix[:, 2] = (side - 1) / 2 - matrix[:, :2] @ [111.5, 111.5]
    linear = np.linalg.inv(matrix[:, :2])
    origin = 0.5 - linear @ (matrix[:, 2] + 0.5)
    coefficients = np.column_stack([linear, origin]).ravel().tolist()
    picture = face.image.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(picture), transform(face.landmarks_68[None], matrix[None])[0]


def test_drawn_faces_that_look_ahead_have_level_eyes():
    ahead = [draw_expression([1, 0.3, 0, 0.3, 0, 0, 0, 0], 5, index, (0, 0, 0.1 * index - 0.5)) for index in range(10)]
    turned = [roll(face, 36 * index, 0.6 + 0.05 * index) for index, face in enumerate(ahead)]
    aligned, points = align([picture for picture, _ in turned], np.stack([points for _, points in turned]), 112)
    assert aligned.shape == (10, 112, 112, 3) and aligned.dtype == np.uint8 and points.shape == (10, 68, 2)
    five = five_points(points)
    assert np.abs(five[:, 0, 1] - five[:, 1, 1]).max() < 1
    assert np.abs(five - ARCFACE_112).mean() < 2.5, "drawn faces have other proportions, but not that much"


def test_a_drawn_face_is_aligned_to_the_same_picture_whatever_its_roll_and_size(faces):
    turned = [roll(face, 30 * index, 0.6 + 0.05 * index) for index, face in enumerate(faces)]
    aligned, points = align([picture for picture, _ in turned], np.stack([points for _, points in turned]))
    upright, expected = align([np.asarray(face.image) for face in faces], np.stack([f.landmarks_68 for f in faces]))
    np.testing.assert_allclose(points, expected, atol=1e-9)
    five = five_points(points)
    assert (five[:, 0, 0] < five[:, 1, 0]).all() and (five[:, 3:, 1].min(axis=1) > five[:, 2, 1]).all()
    inside = np.s_[:, 36:84, 28:84]
    assert np.abs(aligned[inside].astype(int) - upright[inside]).mean() < 4


@pytest.mark.parametrize("degrees, scale", [(0, 1), (37, 2.2), (140, 1), (250, 0.5), (300, 6)])
def test_a_dot_at_each_landmark_is_at_the_landmark_that_is_returned(degrees, scale):
    matrix = turn(degrees, scale)
    spots = transform(ARCFACE_112[None], matrix[None])[0]
    spots += 30 - spots.min(axis=0)
    width, height = np.ceil(spots.max(axis=0) + 30).astype(int)
    rows, columns = np.mgrid[:height, :width]
    light = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (1.5 * max(scale, 1)) ** 2)) for x, y in spots)
    picture = np.repeat((255 * light.clip(0, 1)).astype(np.uint8)[:, :, None], 3, axis=2)
    aligned, points = align(picture[None], spots[None], 112)
    np.testing.assert_allclose(points[0], ARCFACE_112, atol=1e-6)
    rows, columns = np.mgrid[:112, :112]
    for x, y in points[0]:
        part = np.where((abs(columns - x) < 7) & (abs(rows - y) < 7), aligned[0, :, :, 0].astype(float), 0)
        centre = (part * columns).sum() / part.sum(), (part * rows).sum() / part.sum()
        assert centre == pytest.approx((x, y), abs=0.1)


def test_a_face_that_is_aligned_already_is_not_touched_and_what_lies_outside_is_black():
    picture = np.random.default_rng(0).integers(1, 256, (112, 112, 3), dtype=np.uint8)
    aligned, _ = align(picture[None], ARCFACE_112[None], 112)
    assert np.abs(aligned[0].astype(int) - picture).max() <= 1, "Pillow cuts fractions off"
    moved, points = align(picture[None], ARCFACE_112[None] - [10, 0], 112)
    assert np.abs(moved[0, :, 10:].astype(int) - picture[:, :-10]).max() <= 1 and not moved[0, :, :10].any()
    np.testing.assert_allclose(points[0], ARCFACE_112, atol=1e-9)


@pytest.mark.parametrize("shrinking", [1.3, 2.0, 3.7, 9.3])
def test_a_fine_pattern_becomes_grey_and_no_coarse_one(shrinking):
    """A chessboard of single pixels: what remains of it in a smaller picture is an alias."""
    side = int(150 * shrinking)
    board = np.repeat((255 * (np.indices((side, side)).sum(axis=0) % 2)).astype(np.uint8)[:, :, None], 3, axis=2)
    points = transform(ARCFACE_112[None], turn(20, shrinking, (0.45 * shrinking * 60, 0))[None])
    aligned, _ = align(board[None], points, 112)
    middle = aligned[0, 40:70, 40:70].astype(float)
    matrix = invert(similarity(points, five_point_template(112)))[0]
    whole, way = Image.fromarray(board), Image.Transform.AFFINE
    naive = whole.transform((112, 112), way, matrix.ravel().tolist(), Image.Resampling.BILINEAR)
    assert middle.mean() == pytest.approx(127.5, abs=2)
    assert middle.std() < 12 < 25 < np.asarray(naive)[40:70, 40:70].std()


def test_one_picture_may_have_another_size_than_the_next(faces):
    turned = [roll(face, 10, 1, side) for face, side in zip(faces, (300, 251, 224), strict=False)]
    together, points = align([picture for picture, _ in turned], np.stack([points for _, points in turned]), 64, 0.2)
    for place, (picture, landmarks) in enumerate(turned):
        alone, there = align(picture[None], landmarks[None], 64, 0.2)
        assert np.array_equal(alone[0], together[place]) and np.allclose(there[0], points[place])
    five, _ = align([picture for picture, _ in turned], five_points(np.stack([p for _, p in turned])), 64, 0.2)
    assert np.array_equal(five, together)


def test_a_face_far_larger_than_its_picture_is_aligned_too():
    picture = np.full((20, 30, 3), 200, dtype=np.uint8)
    aligned, points = align(picture[None], 1000 * ARCFACE_112[None] - 60000, 112)
    assert aligned.shape == (1, 112, 112, 3) and np.allclose(points[0], ARCFACE_112)


def test_faces_without_a_transform_are_named(faces):
    pictures = np.stack([np.asarray(face.image) for face in faces[:3]])
    points = np.stack([face.landmarks_68 for face in faces[:3]])
    points[1] = np.nan
    with pytest.raises(ValueError, match=r"faces \[1\] have points that are NaN or all in one place"):
        align(pictures, points)
    for wrong in (points[:2], points[:, :29], points[0]):
        with pytest.raises(ValueError, match=r"3 pictures and landmarks .*expected \(N, 5 or 68, 2\)"):
            align(pictures, wrong)
    nothing, none = align(np.empty((0, 50, 50, 3), dtype=np.uint8), np.empty((0, 68, 2)))
    assert nothing.shape == (0, 112, 112, 3) and none.shape == (0, 68, 2)


def test_grey_cmyk_and_mixed_pictures_are_aligned_as_their_rgb(tmp_path):
    face = draw_face(3, 1)
    modes = ("RGB", "L", "CMYK", "RGBA", "P")
    paths = [tmp_path / f"{mode}.tif" for mode in modes]
    for mode, path in zip(modes, paths, strict=True):
        face.image.convert(mode).save(path)
    rows = datasets.Dataset.from_dict({"image": list(map(str, paths))}).cast_column("image", datasets.Image())
    points = np.stack([face.landmarks_68] * len(modes))
    aligned, _ = align(rows[:]["image"], points)
    for one, mode in zip(aligned, modes, strict=True):
        rgb = np.asarray(face.image.convert(mode).convert("RGB"))
        np.testing.assert_array_equal(one, align([rgb], points[:1])[0][0])
    grey = np.asarray(face.image.convert("L"))
    np.testing.assert_array_equal(align([grey], points[:1])[0][0], aligned[1])
    for odd in (np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))):
        with pytest.raises(ValueError, match=r"picture 1 is .*expected uint8 \(height, width, 3\).* PIL images"):
            align([grey, odd], points[:2])
