"""Which detector of faces? Those whose weights come from a package registry, on the same pictures, in one process.

    python benchmarks/detectors.py FAIRFACE.tar [--faces 400] [--models FOLDER] [--only NAME...]

Recall: FairFace faces as they are (224 x 224, close crops, with a black frame of a quarter), the same as tiles of 48
to 256 pixels on scenes of 1280 x 960, and faces that `draw` draws, which count as faces: every part of this package is
tried on them. False alarms: pictures without a face, which are textures and photographs of scikit-image's wheel, noise
with the spectrum of natural pictures, FairFace mosaics with their phases or their blocks of 16 pixels shuffled, and
drawings (shapes, letters, charts). Time: processor seconds of one thread for a megapixel of such a scene. Detectors
that are not installed are left out. FOLDER holds models that other registries have: `fr_detect.onnx` and
`face_detector.tflite` (a member of `face_landmarker.task`) as `make parts` brings them. Figures go to
benchmarks/results/detectors-<date>-<commit>.csv.
"""

import argparse
import datetime
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read on import

import numpy as np  # noqa: E402
import skimage.data  # noqa: E402
from detector_candidates import CANDIDATES  # noqa: E402
from measuring import RESULTS, commit, hardware, write_csv  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from affectnet_plus_modeling.faces.landmarker import framed  # noqa: E402
from affectnet_plus_modeling.images import decode  # noqa: E402
from affectnet_plus_modeling.sources.synthetic import draw_face  # noqa: E402

COLUMNS = (
    "detector",
    "pictures",
    "count",
    "found",
    "share",
    "false_alarms",
    "seconds",
    "hardware",
    "commit",
    "command",
)
TILES = (48, 64, 96, 128, 192, 256)
SCENE = 1280, 960
PHOTOGRAPHS = (
    "brick cell chelsea chessboard_GRAY clock_motion coffee coins grass gravel hubble_deep_field.jpg ihc logo moon"
    " motorcycle_left page phantom retina.jpg rocket.jpg text"
).split()

Box = tuple[float, float, float, float]
Find = Callable[[np.ndarray], list]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fairface", type=Path)
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--models", type=Path, default=Path(sys.prefix, "parts"))
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES))
    options = parser.parse_args()
    faces = read_faces(options.fairface, options.faces)
    scenes = list(make_scenes(faces))
    common = {"hardware": hardware(), "commit": commit(), "command": " ".join(Path(word).name for word in sys.argv)}
    rows = []
    for name in options.only:
        try:
            find = CANDIDATES[name](options.models)
        except (ImportError, FileNotFoundError) as error:
            print(f"{name} is left out: {error}")
            continue
        for row in measure(find, faces, scenes):
            rows.append({"detector": name} | row | common)
            print({key: value for key, value in rows[-1].items() if key not in common}, flush=True)
    write_csv(RESULTS / f"detectors-{datetime.date.today()}-{common['commit']}.csv", COLUMNS, rows)


def read_faces(path: Path, count: int) -> list[np.ndarray]:
    """Evenly over the whole tar."""
    with tarfile.open(path) as tar:
        members = [member for member in tar if member.isfile()]
        chosen = members[:: len(members) // count][:count]
        return [decode(tar.extractfile(member).read()) for member in chosen]  # type: ignore[union-attr]


def measure(find: Find, faces: list[np.ndarray], scenes: list) -> Iterator[dict]:
    yield recall("close crops", find, ((framed(face)[0], [inner(face)]) for face in faces))
    yield from in_scenes(find, scenes)
    drawn = (np.asarray(draw_face(seed, seed % 8).image) for seed in range(40))
    yield recall("drawn faces", find, ((framed(face)[0], [inner(face)]) for face in drawn))
    for kind, pictures in without_faces(faces).items():
        yield recall(kind, find, ((picture, []) for picture in pictures))
    yield seconds(find, scenes[0][0])


def inner(face: np.ndarray) -> Box:
    """Where the picture lies in its frame."""
    _, width = framed(face)
    return width, width, width + face.shape[1], width + face.shape[0]


def recall(kind: str, find: Find, pictures) -> dict:
    """How many of the faces in the boxes are found, and how many boxes are none of them."""
    count = found = alarms = looked = 0
    for picture, boxes in pictures:
        looked += 1
        said = find(picture)
        count, found = count + len(boxes), found + sum(any(is_hit(one, box) for one in said) for box in boxes)
        alarms += sum(not any(is_hit(one, box) for box in boxes) for one in said)
    share = found / count if count else None
    return {"pictures": kind, "count": count or looked, "found": found, "share": share, "false_alarms": alarms}


def in_scenes(find: Find, scenes: list) -> Iterator[dict]:
    """The same by size of the tile; what is none of them is counted over all sizes together."""
    answers = [find(picture) for picture, _ in scenes]
    for side in TILES:
        hits = [
            any(is_hit(one, box) for one in said)
            for said, (_, tiles) in zip(answers, scenes, strict=True)
            for box, tile in tiles
            if tile == side
        ]
        yield {"pictures": f"tiles of {side}", "count": len(hits), "found": sum(hits), "share": float(np.mean(hits))}
    boxes = [[box for box, _ in tiles] for _, tiles in scenes]
    wrong = [
        one
        for said, there in zip(answers, boxes, strict=True)
        for one in said
        if not any(is_hit(one, box) for box in there)
    ]
    yield {"pictures": "scenes, beside the tiles", "count": len(scenes), "false_alarms": len(wrong)}


def is_hit(one, box: Box) -> bool:
    """Its centre lies in the tile, and its side is from a quarter of the tile's to half more."""
    left, top, right, bottom = one[:4]
    x, y, side = (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)
    return box[0] <= x <= box[2] and box[1] <= y <= box[3] and 0.25 <= side / (box[2] - box[0]) <= 1.5


def seconds(find: Find, scene: np.ndarray) -> dict:
    picture = np.asarray(Image.fromarray(scene).resize((1152, 868)))  # a megapixel
    taken = []
    for _ in range(3):
        start = time.process_time()
        find(picture)
        taken.append(time.process_time() - start)
    return {"pictures": "one megapixel", "count": 3, "seconds": float(np.median(taken))}


# ---- pictures


def make_scenes(faces: list[np.ndarray], count: int = 24) -> Iterator[tuple[np.ndarray, list]]:
    """Six faces, one of each size, on a texture, in a grid of three by two."""
    random = np.random.default_rng(0)
    grounds = [photograph(name) for name in ("grass", "gravel", "brick", "coffee", "moon")]
    for number in range(count):
        scene = Image.fromarray(grounds[number % len(grounds)]).resize(SCENE).convert("RGB")
        tiles = []
        for place, side in enumerate(random.permutation(TILES).tolist()):
            face = Image.fromarray(faces[(number * 6 + place) % len(faces)])
            left = place % 3 * 426 + int(random.integers(0, 426 - side))
            top = place // 3 * 480 + int(random.integers(0, 480 - side))
            scene.paste(face.resize((side, side), Image.Resampling.BICUBIC), (left, top))
            tiles.append(((left, top, left + side, top + side), side))
        yield np.asarray(scene), tiles


def without_faces(faces: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    photographs = [photograph(name) for name in PHOTOGRAPHS]
    scaled = [np.asarray(Image.fromarray(one).reduce(2)) for one in photographs]
    mosaics = [
        np.concatenate([np.concatenate(faces[start + 4 * row :][:4], 1) for row in range(3)])
        for start in range(0, 120, 12)
    ]
    return {
        "photographs and textures": photographs + scaled,
        "noise": [noise(seed) for seed in range(15)],
        "mosaics, phases shuffled": [with_random_phases(one, seed) for seed, one in enumerate(mosaics)],
        "mosaics, blocks shuffled": [with_shuffled_blocks(one, seed) for seed, one in enumerate(mosaics)],
        "drawings": [drawing(seed) for seed in range(20)] + charts(),
    }


def photograph(name: str) -> np.ndarray:
    path = Path(skimage.data.__file__).with_name(name if "." in name else f"{name}.png")
    return np.array(Image.open(path).convert("RGB"))


def charts() -> list[np.ndarray]:
    return [np.array(Image.open(RESULTS / "recovery.png").convert("RGB"))]


def noise(seed: int, side: int = 640) -> np.ndarray:
    """Of a spectrum that falls with the frequency, as that of natural pictures does."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = 1
    planes = [np.fft.ifft2(np.fft.fft2(random.normal(size=(side, side))) / frequency).real for _ in range(3)]
    return as_picture(np.stack(planes, axis=2))


def with_random_phases(picture: np.ndarray, seed: int) -> np.ndarray:
    phases = np.fft.fft2(np.random.default_rng(seed).normal(size=picture.shape[:2]))
    turned = np.fft.fft2(picture.astype(float), axes=(0, 1)) * np.exp(1j * np.angle(phases))[:, :, None]
    return np.fft.ifft2(turned, axes=(0, 1)).real.clip(0, 255).astype(np.uint8)


def with_shuffled_blocks(picture: np.ndarray, seed: int, side: int = 16) -> np.ndarray:
    high, wide = picture.shape[0] // side, picture.shape[1] // side
    blocks = picture.reshape(high, side, wide, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    blocks = np.random.default_rng(seed).permutation(blocks).reshape(high, wide, side, side, 3)
    return np.ascontiguousarray(blocks.swapaxes(1, 2).reshape(high * side, wide * side, 3))


def as_picture(values: np.ndarray) -> np.ndarray:
    values = values - values.mean(axis=(0, 1))
    return (128 + 48 * values / values.std(axis=(0, 1))).clip(0, 255).astype(np.uint8)


def drawing(seed: int) -> np.ndarray:
    """Ellipses, boxes, lines and letters that are no face."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (640, 480), tuple(random.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = random.integers(0, (640, 480)).tolist()
        w, h = random.integers(8, 160, 2).tolist()
        colour = tuple(random.integers(0, 256, 3).tolist())
        kind = random.integers(4)
        if kind == 0:
            pen.ellipse((x, y, x + w, y + h), fill=colour)
        elif kind == 1:
            pen.rectangle((x, y, x + w, y + h), outline=colour, width=3)
        elif kind == 2:
            pen.line((x, y, x + w, y + h), fill=colour, width=4)
        else:
            pen.text((x, y), "faces " * 3, fill=colour, font_size=12 + w // 4)
    return np.asarray(picture)


if __name__ == "__main__":
    main()
