"""Adapters over landmark models, each with its real model where it is at hand, and what is said of a face or none."""

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from affectnet_plus_modeling.faces.annotate import annotate, open_landmarker
from affectnet_plus_modeling.faces.blendshapes import UNITS, action_units
from affectnet_plus_modeling.faces.landmarker import FoundFace, framed
from affectnet_plus_modeling.images import decode
from affectnet_plus_modeling.sources.synthetic import draw_face
from support.parts import HINT, model_file

MODELS = {  # what must be installed, and the environment variables that name the model files
    "mediapipe": ["AFFECTNET_PLUS_FACE_LANDMARKER"],
    "onnxruntime": ["AFFECTNET_PLUS_LANDMARK_ONNX", "AFFECTNET_PLUS_DETECTOR_ONNX"],
    "dlib": ["AFFECTNET_PLUS_DLIB_68"],
}
FAIRFACE = Path(__file__).parents[3] / "shared" / "fairface" / "faces.tar"


class Pencil:
    """Says that the face of a drawing is where it was drawn, and that every other picture has none."""

    name = "the pencil"

    def __init__(self, face):
        self.face = face

    def find(self, picture):
        return FoundFace(self.face.landmarks_68) if np.array_equal(picture, np.asarray(self.face.image)) else None


@pytest.fixture(scope="module")
def face():
    return draw_face(3, 1)


# ---- what is said of a picture


def test_a_face_has_landmarks_and_a_pose_near_the_true_one(face):
    said = annotate(np.asarray(face.image), Pencil(face))
    assert said["landmarks_68"] is face.landmarks_68 and said["reason"] is None and said["blendshapes"] is None
    assert list(said["pose"]) == ["yaw", "pitch", "roll"]
    assert [float(value) for value in said["pose"].values()] == pytest.approx(face.pose, abs=0.25)


def test_no_face_is_null_with_the_reason():
    said = annotate(np.zeros((224, 224, 3), np.uint8), Pencil(draw_face(3, 1)))
    assert said == {
        "landmarks_68": None,
        "pose": None,
        "blendshapes": None,
        "reason": "no face found by the pencil",
    }


def test_what_is_not_wanted_is_null(face):
    picture = np.asarray(face.image)
    assert annotate(picture, Pencil(face), ["pose"])["landmarks_68"] is None
    assert annotate(picture, Pencil(face), ["landmarks"])["pose"] is None
    with pytest.raises(ValueError, match="age is wanted, expected some of landmarks, pose"):
        annotate(picture, Pencil(face), ["age"])


def test_a_frame_is_black_a_quarter_wide_and_moves_the_picture():
    picture = np.random.default_rng(0).integers(1, 256, (40, 30, 3), dtype=np.uint8)
    whole, width = framed(picture)
    assert width == 10 and whole.shape == (60, 50, 3) and whole.flags.c_contiguous
    assert np.array_equal(whole[10:50, 10:40], picture) and np.count_nonzero(whole) == picture.size


# ---- opening a model


def open_and_close(*paths):
    with open_landmarker(*paths):
        pass


def test_a_file_of_another_kind_or_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="face.pkl is no model with landmarks: expected a file .task, .onnx, .dat"):
        open_and_close("face.pkl")
    with pytest.raises(FileNotFoundError, match="there is no model .*face.task"):
        open_and_close(tmp_path / "face.task")
    (tmp_path / "points.onnx").touch()
    with pytest.raises(ValueError, match="a .onnx needs a detector, and the others have their own"):
        open_and_close(tmp_path / "points.onnx")
    with pytest.raises(ValueError, match="the others have their own"):
        open_and_close(tmp_path / "face.task", tmp_path / "points.onnx")
    with pytest.raises(FileNotFoundError, match="there is no model .*boxes.onnx"):
        open_and_close(tmp_path / "points.onnx", tmp_path / "boxes.onnx")


@pytest.mark.parametrize(
    "package, names", [("mediapipe", ["a.task"]), ("onnxruntime", ["a.onnx", "b.onnx"]), ("dlib", ["a.dat"])]
)
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, package, names):
    monkeypatch.setitem(sys.modules, package, None)  # what Python takes for "not installed"
    for module in ("mediapipe_face", "onnx_landmarks", "dlib_landmarks"):
        monkeypatch.delitem(sys.modules, f"affectnet_plus_modeling.faces.{module}", raising=False)
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.touch()
    with pytest.raises(ImportError, match=f"{names[0]} needs a package that is not here: pip install {package}"):
        open_and_close(*paths)


@pytest.mark.parametrize(
    "package, names, message",
    [
        ("mediapipe", ["a.task"], "is no model of MediaPipe's Face Landmarker"),
        ("onnxruntime", ["a.onnx", "b.onnx"], "is no ONNX model"),
        ("dlib", ["a.dat"], "is no shape predictor of dlib"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, package, names, message):
    pytest.importorskip(package, reason=f"{package} is not installed ({HINT})")
    for name in names:
        (tmp_path / name).write_bytes(b"not a model" * 100)
    with pytest.raises(ValueError, match=f"{names[0]} {message}"):
        open_and_close(*(tmp_path / name for name in names))


# ---- with real models


@pytest.fixture(scope="module", params=list(MODELS))
def landmarker(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed ({HINT})")
    paths = [model_file(variable) for variable in MODELS[request.param]]
    if None in paths:
        pytest.skip(f"{' and '.join(MODELS[request.param])} do not say where the model is ({HINT})")
    with open_landmarker(*paths) as model:
        yield model


@pytest.fixture(scope="module")
def real_faces():
    if not FAIRFACE.is_file():
        pytest.skip("the FairFace sample is not at hand")
    with tarfile.open(FAIRFACE) as archive:
        members = [member for member in archive if member.isfile()][:40]
        return [decode(archive.extractfile(member).read()) for member in members]


def outer_corners(points):
    return np.linalg.norm(points[36] - points[45])


def test_a_picture_without_a_face_has_none(landmarker):
    for picture in (np.zeros((224, 224, 3), np.uint8), np.tile(np.arange(224, dtype=np.uint8), (224, 1))[..., None]):
        picture = np.broadcast_to(picture, (224, 224, 3))
        assert annotate(picture, landmarker)["reason"] == f"no face found by {landmarker.name}"


def test_most_real_faces_are_found_and_their_parts_are_where_they_belong(landmarker, real_faces):
    said = [annotate(picture, landmarker) for picture in real_faces]
    points = np.array([one["landmarks_68"] for one in said if one["reason"] is None])
    assert len(points) > 0.6 * len(real_faces) and points.shape[1:] == (68, 2)
    eyes, mouth = points[:, 36:48].mean(axis=1), points[:, 48:68].mean(axis=1)
    right, left = points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)
    upright = np.median([right[:, 0] < left[:, 0], eyes[:, 1] < mouth[:, 1], mouth[:, 1] < points[:, 8, 1]], axis=1)
    assert upright.all()
    assert np.abs(np.median(points, axis=0)[27, 0] - 111.5) < 20 and ((points > -60) & (points < 284)).all()


def test_the_mirror_image_has_mirrored_points(landmarker, real_faces):
    pairs = [*((i, 16 - i) for i in range(17)), (36, 45), (39, 42), (48, 54), (30, 30), (31, 35)]
    apart, middle = [], []
    for picture in real_faces:
        one, other = landmarker.find(picture), landmarker.find(np.ascontiguousarray(picture[:, ::-1]))
        if one is None or other is None:
            continue
        here, there = np.array(pairs).T
        mirrored = other.landmarks_68[there] * [-1, 1] + [picture.shape[1] - 1, 0]
        difference = one.landmarks_68[here] - mirrored
        apart.append(np.linalg.norm(difference, axis=1).mean() / outer_corners(one.landmarks_68))
        middle.append(difference[:, 0].mean())
    assert np.median(apart) < 0.08
    assert np.median(middle) == pytest.approx(0, abs=1), "(0, 0) is the centre of the upper left pixel"


def test_a_smaller_picture_has_the_points_where_they_are_in_the_large_one(landmarker, real_faces):
    found = []
    for picture in real_faces:
        small = picture.reshape(112, 2, 112, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
        one, other = landmarker.find(picture), landmarker.find(small)
        if one is not None and other is not None:
            expected = (one.landmarks_68 + 0.5) / 2 - 0.5
            error = np.linalg.norm(other.landmarks_68 - expected, axis=1).mean()
            found.append(error / outer_corners(expected))
    assert len(found) > 0.5 * len(real_faces) and np.median(found) < 0.06


def test_blendshapes_of_a_smile_are_those_of_the_mouth(landmarker, real_faces):
    found = [said for said in map(landmarker.find, real_faces) if said is not None]
    if found[0].blendshapes is None:
        pytest.skip(f"{landmarker.name} has no blendshapes")
    units = action_units([said.blendshapes for said in found])
    widths = [np.linalg.norm(s.landmarks_68[48] - s.landmarks_68[54]) / outer_corners(s.landmarks_68) for s in found]
    smile = units[:, UNITS.index("AU12")]
    assert ((units >= 0) & (units <= 1)).all() and np.corrcoef(smile, widths)[0, 1] > 0.5
    gap = [np.linalg.norm(s.landmarks_68[62] - s.landmarks_68[66]) / outer_corners(s.landmarks_68) for s in found]
    assert np.corrcoef(units[:, UNITS.index("AU26")], gap)[0, 1] > 0.5
