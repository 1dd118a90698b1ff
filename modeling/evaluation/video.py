"""What a model says of the faces of a video or a webcam, frame by frame. Needs `av` (PyAV), the extra `video`."""

import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch

from ..faces.tracks import Track, Tracks
from ..images import resize
from ..vit import AffectNetPlusForSoftLabels
from ..vit.answers import answers
from ..vit.faces import Face, cut_out, find_faces, installed
from .exported import ExportedModel
from .predict import Answer, forward, open_model

CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}  # what FFmpeg calls them


class FrameAnswer(Answer, total=False):
    """An `Answer` of a face in a frame. `box` and `smoothed`, a soft label, are means over the frames of the face."""

    frame: int  # counted from 0, those that are not looked at too
    time: float  # seconds from the start
    face: int  # the same face has the same number for as long as it is followed
    smoothed: dict[str, float]


class _Seen(NamedTuple):
    line: FrameAnswer
    track: Track | None
    crop: np.ndarray | None


def predict_video(
    model, path: str | Path, every: int = 1, batch_size: int = 32, webcam: bool = False
) -> Iterator[FrameAnswer]:
    """One line per face and frame, faces from the left to the right; of a frame without a face one with a `note`.

    A face is cut out at its smoothed box, which trembles less than what the detector says, and asked about by itself;
    `soft_label` is of this frame, `smoothed` of the frames so far.

    Args:
        model: what `open_model` takes.
        path: a file, or with `webcam` what FFmpeg calls one: /dev/video0 on Linux, 0 on macOS, video=NAME on Windows.
        every: look at every N-th frame only.
        batch_size: faces that go through the network together; of a webcam one, so that no answer waits.
        webcam: it has no end: ask until you have seen enough.

    Raises:
        ImportError: `av`, or a detector of faces, is not installed; the message says what to install.
        FileNotFoundError, OSError: there is no such file, or it is no video that can be read.
        ValueError: `every` or `batch_size` is below 1.
    """
    if min(every, batch_size) < 1:
        raise ValueError(f"every is {every} and batch_size {batch_size}; both must be 1 or more")
    frames = _frames(path, every, webcam)
    first = next(frames, None)
    if first is None:
        raise OSError(f"{path} has no frame that can be read")
    network = open_model(model)
    tracks = Tracks()
    seen = (one for frame in chain([first], frames) for one in _look(str(path), frame, tracks, every))
    while batch := list(islice(seen, 1 if webcam else batch_size)):
        yield from _answered(network, batch)


def _frames(path: str | Path, every: int, webcam: bool) -> Iterator[tuple[int, float, np.ndarray]]:
    """(number, seconds, upright pixels) of every N-th frame."""
    if not webcam and not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        import av
    except ModuleNotFoundError as error:
        raise ImportError(f"{path}: a video needs a package that is not here: pip install av") from error
    try:
        with av.open(str(path), format=CAMERAS.get(sys.platform, "v4l2") if webcam else None) as container:
            if not container.streams.video:
                raise OSError(f"{path} has no pictures in it")
            for number, frame in enumerate(container.decode(video=0)):
                if number % every == 0:
                    pixels = frame.to_ndarray(format="rgb24")
                    upright = np.rot90(pixels, frame.rotation // 90)  # phones write how they were held
                    yield number, float(frame.time or 0), np.ascontiguousarray(upright)
    except av.FFmpegError as error:
        what = "webcam" if webcam else "video"
        raise OSError(f"{path} cannot be read as a {what}: {error.strerror}") from error


def _look(name: str, frame: tuple[int, float, np.ndarray], tracks: Tracks, every: int) -> list[_Seen]:
    number, seconds, pixels = frame
    line: FrameAnswer = {"image": name, "frame": number, "time": round(seconds, 3)}
    faces = find_faces(pixels)
    found = []
    for face, track in zip(faces, tracks.follow(faces, number // every), strict=True):
        left, top, right, bottom = (round(edge) for edge in track.box)
        where = Face((left, top, right, bottom), face.score)
        about = line | {"face": track.number, "box": [*where.box], "score": face.score}
        found.append(_Seen(cast(FrameAnswer, about), track, cut_out(pixels, where)))
    return found or [_Seen(line | {"note": f"no face found by {installed()}"}, None, None)]


def _answered(network: AffectNetPlusForSoftLabels | ExportedModel, batch: list[_Seen]) -> list[FrameAnswer]:
    side = network.config.image_size
    faces = [one for one in batch if one.track is not None and one.crop is not None]
    if faces:
        crops = np.stack([resize(cast(np.ndarray, one.crop), side, side) for one in faces])
        said = answers(network.config, *forward(network, torch.from_numpy(crops).permute(0, 3, 1, 2)))
        for one, answer in zip(faces, said, strict=True):
            one.line.update(cast(FrameAnswer, answer))
            one.line["smoothed"] = cast(Track, one.track).hears(answer["soft_label"])
    return [one.line for one in batch]
