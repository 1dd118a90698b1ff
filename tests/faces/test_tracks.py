"""Faces keep their numbers from frame to frame, and their boxes tremble less than what is seen."""

import numpy as np
import pytest

from affectnet_plus_modeling.faces.tracks import FORGOTTEN, Tracks
from affectnet_plus_modeling.vit.faces import Face


def at(left: float, top: float = 0.0, side: float = 100.0) -> Face:
    return Face(tuple(round(edge) for edge in (left, top, left + side, top + side)), 1.0)


def test_two_faces_that_pass_beside_each_other_keep_their_numbers():
    tracks = Tracks()
    for frame in range(30):
        here, there = at(10 * frame), at(300 - 10 * frame, 120)
        faces = sorted([here, there])
        numbers = {face: track.number for face, track in zip(faces, tracks.follow(faces, frame), strict=True)}
        assert numbers == {here: 0, there: 1}


def test_a_face_that_is_out_of_sight_for_a_moment_comes_back_and_later_is_another():
    tracks = Tracks()
    assert [track.number for track in tracks.follow([at(0)], 0)] == [0]
    assert tracks.follow([], 1) == []
    assert [track.number for track in tracks.follow([at(5)], FORGOTTEN)] == [0]
    assert [track.number for track in tracks.follow([at(5), at(500)], 2 * FORGOTTEN + 1)] == [1, 2]


def test_boxes_and_soft_labels_are_smoothed_and_go_where_the_face_goes():
    random = np.random.default_rng(0)
    tracks, seen, smooth = Tracks(), [], []
    for frame in range(60):
        face = at(50 + random.normal(0, 6))
        (track,) = tracks.follow([face], frame)
        seen.append(face.box[0])
        smooth.append(track.box[0])
    assert np.std(np.diff(smooth)) < 0.5 * np.std(np.diff(seen))
    for frame in range(60, 70):
        (track,) = tracks.follow([at(80)], frame)
    assert track.box[0] == pytest.approx(80, abs=0.5)
    assert track.hears({"happy": 1.0, "sad": 0.0}) == {"happy": 1.0, "sad": 0.0}
    assert track.hears({"happy": 0.0, "sad": 1.0}) == pytest.approx({"happy": 0.6, "sad": 0.4})
