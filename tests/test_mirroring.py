"""Mirrored faces against the drawer's own symmetry, its pixels, and the pose that is read from their points."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from affectnet_plus_modeling.metadata.pose import head_pose
from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.sources.synthetic.expressions import ACTION_UNITS
from affectnet_plus_modeling.sources.synthetic.person import random_person
from affectnet_plus_modeling.sources.synthetic.posed import SIZE, PosedFace
from affectnet_plus_modeling.sources.synthetic.shape import REST
from affectnet_plus_modeling.training.mirroring import MIRROR_68, mirror

NAN = float("nan")


@pytest.fixture(scope="module")
def faces():
    return [draw_face(3, index) for index in range(6)]


def pictures_of(faces) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(face.image)).permute(2, 0, 1) for face in faces])


def points_of(faces) -> torch.Tensor:
    return torch.stack([torch.from_numpy(face.landmarks_68) for face in faces])


def pose_of(faces) -> torch.Tensor:
    return torch.tensor([face.pose for face in faces], dtype=torch.float64)


def test_the_table_pairs_the_points_of_a_face_at_rest():
    rest = REST[:68]
    distance = np.linalg.norm(rest[:, None] - rest[None] * (-1, 1, 1), axis=2)
    assert list(MIRROR_68) == distance.argmin(axis=1).tolist() and distance.min(axis=1).max() == 0


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_same_person_drawn_the_other_way_round(seed):
    """One-sided action units and the pose change sides, and the drawer knows nothing of `mirror`."""
    rng = np.random.default_rng(seed)
    person, active = random_person(rng), rng.uniform(0, 1, (2, len(ACTION_UNITS)))
    pose = tuple(rng.uniform(-0.3, 0.3, 3))
    across, down = person.centre
    drawn = PosedFace(person, active, pose).points[:68]
    found = mirror(torch.zeros(SIZE, SIZE), torch.from_numpy(drawn), torch.tensor(pose, dtype=torch.float64))
    turned = PosedFace(replace(person, centre=(SIZE - 1 - across, down)), active[::-1], tuple(found.pose.tolist()))
    np.testing.assert_allclose(found.landmarks_68.numpy(), turned.points[:68], atol=1e-9)
    assert np.abs(turned.points[:68] - drawn).max() > 3, "a face that is its own mirror image shows nothing"


def test_every_point_stays_on_its_pixels(faces):
    """Interpolated at the points: a mirror half a pixel off would give other colours."""
    found = mirror(pictures_of(faces).double(), points_of(faces))
    for before, points, after, moved in zip(
        pictures_of(faces).double(), points_of(faces), found.pictures, found.landmarks_68, strict=True
    ):
        for old, new in zip(before.numpy(), after.numpy()):
            expected = map_coordinates(old, points.numpy().T[::-1], order=1)[list(MIRROR_68)]
            np.testing.assert_allclose(map_coordinates(new, moved.numpy().T[::-1], order=1), expected, atol=1e-6)


def test_the_points_are_still_those_of_a_face_in_ibugs_order(faces):
    points = mirror(pictures_of(faces), points_of(faces)).landmarks_68
    for left, right in ((0, 16), (17, 26), (31, 35), (36, 45), (39, 42), (48, 54), (60, 64)):
        assert (points[:, left, 0] < points[:, right, 0]).all()
    assert (points[:, 37, 1] < points[:, 41, 1]).all() and (points[:, 51, 1] < points[:, 57, 1]).all()


def test_the_pose_is_the_one_that_the_mirrored_points_show(faces):
    found = mirror(pictures_of(faces), points_of(faces), pose_of(faces))
    for face, points, pose in zip(faces, found.landmarks_68, found.pose, strict=True):
        yaw, pitch, roll = head_pose(face.landmarks_68, (SIZE, SIZE))
        assert head_pose(points.numpy(), (SIZE, SIZE)) == pytest.approx((-yaw, pitch, -roll), abs=1e-4)
        assert pose.tolist() == [-face.pose[0], face.pose[1], -face.pose[2]]


def test_twice_is_the_identity(faces):
    given = pictures_of(faces), points_of(faces), pose_of(faces)
    once = mirror(*given)
    twice = mirror(*once)
    assert torch.equal(twice.pictures, given[0]) and torch.equal(twice.pose, given[2])
    torch.testing.assert_close(twice.landmarks_68, given[1])
    assert not torch.equal(once.pictures, given[0]) and not torch.equal(once.landmarks_68, given[1])


def test_the_width_counts_and_not_the_height():
    points = torch.zeros(68, 2)
    points[:, 0], points[:, 1] = 30.0, 4.0
    found = mirror(torch.zeros(3, 20, 50), points).landmarks_68
    assert found[:, 0].unique().tolist() == [19.0] and found[:, 1].unique().tolist() == [4.0]


def test_unknown_points_stay_unknown():
    points = torch.zeros(2, 68, 2)
    points[0] = NAN
    found = mirror(torch.zeros(2, 3, 8, 8), points, torch.tensor([[NAN, NAN, NAN], [0.1, 0.2, 0.3]]))
    assert found.landmarks_68[0].isnan().all() and not found.landmarks_68[1].isnan().any()
    assert found.pose[0].isnan().all()


def test_what_is_not_given_is_none():
    assert mirror(torch.zeros(1, 3, 4, 4))[1:] == (None, None)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"landmarks_29": torch.zeros(29, 2)}, "landmarks_29 cannot be mirrored: .* not document"),
        ({"landmarks_68": torch.zeros(2, 29, 2)}, r"shape \(2, 29, 2\), expected \(..., 68, 2\)"),
        ({"landmarks_68": torch.zeros(136)}, r"shape \(136,\)"),
        ({"pose": torch.zeros(2, 4)}, r"pose has the shape \(2, 4\)"),
        ({"pose": torch.tensor(0.0)}, r"pose has the shape \(\)"),
    ],
)
def test_what_cannot_be_mirrored_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        mirror(torch.zeros(2, 3, 8, 8), **options)
