"""Head pose by PnP: exact where the face is the model, against OpenCV, and right in sign on drawn faces."""

import itertools

import numpy as np
import pytest

from affectnet_plus_modeling.faces.pose import FACE, FOCAL, POINTS, head_pose
from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.sources.synthetic.shape import rotation
from support.parts import HINT

SIZE = (224, 200)


def photographed(angles, distance=900.0, shift=(4.0, -7.0), size=SIZE, scale=1.0):
    """68 points as the camera of `pose` sees the model; those that are not of the model lie anywhere."""
    turned = scale * FACE @ rotation(*angles).T
    points = np.full((68, 2), 1e4)
    focal = FOCAL * max(size)
    points[list(POINTS)] = focal * (turned[:, :2] + shift) / (distance - turned[:, 2:]) + (np.array(size) - 1) / 2
    return points


@pytest.fixture(scope="module")
def drawn():
    faces = [draw_face(3, index) for index in range(40)]
    poses = np.array([head_pose(face.landmarks_68, face.image.size) for face in faces])
    return np.degrees(poses), np.degrees([face.pose for face in faces])


def test_known_angles_are_recovered_exactly():
    for angles in itertools.product((-1.2, -0.5, 0, 0.6, 1.2), (-0.7, 0, 0.4), (-2.5, -0.3, 0, 1.0)):
        np.testing.assert_allclose(head_pose(photographed(angles), SIZE), angles, atol=1e-5)


@pytest.mark.parametrize("distance, shift, size", [(400, (0, 0), (224, 224)), (5000, (300, 80), (48, 48))])
def test_distance_place_and_size_of_the_picture_do_not_matter(distance, shift, size):
    angles = (0.4, -0.2, 0.1)
    np.testing.assert_allclose(head_pose(photographed(angles, distance, shift, size), size), angles, atol=1e-5)


def test_a_larger_head_from_further_away_is_the_same_picture():
    angles = (0.4, -0.2, 0.1)
    twice = photographed(angles, 1800, (8, -14), scale=2.0)
    np.testing.assert_allclose(head_pose(twice, SIZE), angles, atol=1e-5)


def test_only_the_points_that_no_expression_moves_count():
    points = photographed((0.4, -0.2, 0.1))
    moved = points + np.random.default_rng(0).normal(0, 9, (68, 2)) * ~np.isin(np.arange(68), POINTS)[:, None]
    assert head_pose(moved, SIZE) == head_pose(points, SIZE)


def test_with_noise_the_answer_is_that_of_opencv():
    cv2 = pytest.importorskip("cv2", reason=f"OpenCV is not installed: no second opinion ({HINT})")
    focal, middle = FOCAL * max(SIZE), (np.array(SIZE) - 1) / 2
    camera = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    away = np.array([1.0, 1.0, -1.0])  # OpenCV's z goes away from the viewer
    rng = np.random.default_rng(0)
    for angles in ((0.5, -0.2, 0.1), (-0.8, 0.3, -0.4), (0, 0, 0)):
        points = photographed(angles) + rng.normal(0, 1, (68, 2))
        turn = cv2.Rodrigues(np.diag(away) @ rotation(*angles) @ np.diag(away))[0]
        place = np.array([[4.0], [-7.0], [900.0]])
        _, turn, _ = cv2.solvePnP(FACE * away, points[list(POINTS)], camera, None, turn, place, useExtrinsicGuess=True)
        theirs = np.diag(away) @ cv2.Rodrigues(turn)[0] @ np.diag(away)
        np.testing.assert_allclose(rotation(*head_pose(points, SIZE)), theirs, atol=2e-3)


def test_on_drawn_faces_each_angle_has_the_right_sign_and_follows_the_truth(drawn):
    found, true = drawn
    for angle, least in enumerate((0.98, 0.8, 0.97)):
        assert np.corrcoef(found[:, angle], true[:, angle])[0, 1] > least
    turned = np.abs(true[:, 0]) > 8
    assert turned.sum() > 10 and (np.sign(found) == np.sign(true))[turned, 0].all()
    assert np.abs(found - true).mean(axis=0) == pytest.approx([2, 6, 1], abs=2)


def test_a_mirrored_face_has_the_opposite_yaw_and_roll():
    mirrored = photographed((0.4, -0.2, 0.1))
    mirrored[:, 0] = SIZE[0] - 1 - mirrored[:, 0]
    for left, right in ((31, 35), (32, 34), (36, 45), (39, 42)):
        mirrored[[left, right]] = mirrored[[right, left]]
    np.testing.assert_allclose(head_pose(mirrored, SIZE), (-0.4, -0.2, -0.1), atol=1e-5)


def test_points_without_a_pose_are_refused():
    good = photographed((0, 0, 0))
    lacking = np.where(np.arange(68)[:, None] == 30, np.nan, good)
    for bad in (np.zeros((68, 2)), np.arange(136.0).reshape(68, 2), lacking):
        with pytest.raises(ValueError, match="not finite or lie in one line"):
            head_pose(bad, SIZE)
    with pytest.raises(ValueError, match=r"shape \(67, 2\), expected \(68, 2\)"):
        head_pose(good[:67], SIZE)
