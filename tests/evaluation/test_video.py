"""A video: a line for each face and frame; each face keeps its number, and its box and soft label are smoothed."""

import json

import numpy as np
import pytest
from PIL import Image

from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.cli.evaluation import PHOTOS, VIDEOS
from affectnet_plus_modeling.evaluation.predict import predict
from affectnet_plus_modeling.evaluation.video import CAMERAS, predict_video
from affectnet_plus_modeling.exporting.export import export
from affectnet_plus_modeling.vit.faces import installed
from affectnet_plus_modeling.vit.photos import SUFFIXES
from support.photos import group

av = pytest.importorskip("av", reason="av is not installed (the extra video)")
pytestmark = pytest.mark.skipif(not installed(), reason="no detector is installed (the extra faces)")
FRAMES = 12


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two faces that move to the right, and two frames of grey at the end."""
    path = tmp_path_factory.mktemp("video") / "two.mp4"
    photo = group(2, 160)[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 480, 240, "yuv420p", 4_000_000
        for number in range(FRAMES):
            canvas = Image.new("RGB", (480, 240), (90, 110, 120))
            if number < FRAMES - 2:
                canvas.paste(photo, (10 * number, 0))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(canvas), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.slow
def test_each_face_has_a_line_in_each_frame_and_one_number(trained, video):
    lines = list(predict_video(trained, video, batch_size=5))
    faces = [line for line in lines if "face" in line]
    assert [(line["frame"], line["face"]) for line in faces] == [(n, f) for n in range(FRAMES - 2) for f in (0, 1)]
    assert [line["time"] for line in faces[::2]] == pytest.approx([n / 10 for n in range(FRAMES - 2)], abs=0.01)
    for number in (0, 1):
        left = [line["box"][0] for line in faces if line["face"] == number]
        assert 60 < left[-1] - left[0] < 100 and (np.diff(left) >= 0).all()
    for line in faces:
        assert sum(line["smoothed"].values()) == pytest.approx(1) and sum(
            line["soft_label"].values()
        ) == pytest.approx(1)
    assert faces[0]["smoothed"] == faces[0]["soft_label"]
    nothing = {"image": str(video), "note": f"no face found by {installed()}"}
    assert [{k: line[k] for k in nothing} for line in lines[-2:]] == [nothing] * 2


@pytest.mark.slow
def test_the_command_looks_at_videos_and_pictures_in_their_order(trained, video, tmp_path, capsys):
    group(1)[0].save(tmp_path / "a.png")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    paths = [str(path) for path in (video, tmp_path / "a.png", tmp_path / "b.mp4")]
    assert main(["predict", str(trained), *paths, "--every", "4", "--faces"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines if line["image"] == paths[0]] == [0, 0, 4, 4, 8, 8]
    assert [line["image"] for line in lines[6:]] == paths[1:]
    (alone,) = predict(trained, [paths[1]], faces=True)
    assert lines[6] == alone
    assert lines[7]["error"].startswith(f"{paths[2]} cannot be read as a video: ")


@pytest.mark.slow
def test_a_webcam_is_looked_at_until_it_ends_by_an_exported_model_too(trained, video, tmp_path, monkeypatch, capsys):
    export(trained, tmp_path / "exported")
    monkeypatch.setattr("affectnet_plus_modeling.evaluation.video.CAMERAS", dict.fromkeys(CAMERAS, "lavfi"))
    asked = [str(tmp_path / "exported"), "--webcam", f"movie={video}", "--every", "4"]  # FFmpeg's own stand-in for one
    assert main(["predict", *asked]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["predict", str(trained), str(video), "--every", "4"]) == 0
    for line, same in zip(lines, map(json.loads, capsys.readouterr().out.splitlines()), strict=True):
        assert line["image"] == f"movie={video}" and line["box"] == same["box"]
        assert line["soft_label"] == pytest.approx(same["soft_label"], abs=1e-5)
    assert main(["predict", str(trained), "--webcam", "movie=gone.mp4"]) == 1
    assert "movie=gone.mp4 cannot be read as a webcam: " in capsys.readouterr().err


def test_what_is_refused(trained, video, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.mp4 does not exist"):
        next(predict_video(trained, tmp_path / "gone.mp4"))
    with pytest.raises(ValueError, match="every is 0 and batch_size 32; both must be 1 or more"):
        next(predict_video(trained, video, every=0))


def test_the_names_that_the_command_knows_are_those_that_are_read():
    assert PHOTOS == SUFFIXES and not set(PHOTOS) & set(VIDEOS)
