"""Does a model answer as well about the crops that we cut as about the ones it was trained on?

    python benchmarks/face_crops.py FERPLUS [--model ferplus] [--faces 600] [--sheet PNG]

FERPLUS holds FER2013Valid.tar and fer2013new.csv. Each of the faces (48 x 48, grey, protocol A: the label with most
votes) is enlarged to 144 pixels and laid somewhere on a texture of 640 x 480, which is what is looked at: the right
crop is known, and beyond it there is nothing to see that the given crop has not. Accuracy, and the KL of the votes
from the answer, on the given crops, on the crops of the faces that were found, and on crops that are closer or wider
by SCALES. FER2013Train gave the geometry of the crop, FER2013Valid has no part in it. Figures go to
benchmarks/results/face-crops-<date>-<commit>.csv.
"""

import argparse
import csv
import datetime
import io
import os
import sys
import tarfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read on import

import numpy as np  # noqa: E402
import torch  # noqa: E402
from detectors import photograph  # noqa: E402
from measuring import RESULTS, commit, hardware, write_csv  # noqa: E402
from PIL import Image  # noqa: E402

from affectnet_plus import EMOTIONS  # noqa: E402
from affectnet_plus_modeling.evaluation.predict import forward, load_model  # noqa: E402
from affectnet_plus_modeling.images import resize  # noqa: E402
from affectnet_plus_modeling.vit.faces import Face, cut_out, find_faces, installed, overlap  # noqa: E402

COLUMNS = ("crop", "faces", "accuracy", "kl", "same_label", "detector", "hardware", "commit", "command")
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
OURS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
TILE = 144
SCALES = (0.85, 0.93, 1.0, 1.08, 1.2, 1.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ferplus", type=Path)
    parser.add_argument("--model", default="ferplus")
    parser.add_argument("--faces", type=int, default=600)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.model)
    assert [model.config.id2label[index] for index in range(8)] == list(EMOTIONS)
    faces = read_faces(options.ferplus, options.faces)
    scenes = [lay(face, seed) for seed, (face, _) in enumerate(faces)]
    found = [nearest(find_faces(scene), box) for scene, box in scenes]
    votes = np.stack([vote for _, vote in faces])
    there = [place for place, one in enumerate(found) if one is not None]
    given = ask(model, [face for face, _ in faces])
    common = {
        "detector": installed(),
        "hardware": hardware(),
        "commit": commit(),
        "command": " ".join(Path(word).name for word in sys.argv),
    }
    rows = [{"crop": "given, of all faces"} | judge(given, votes, given)]
    rows.append({"crop": "given, of those found"} | judge(given[there], votes[there], given[there]))
    for scale in SCALES:
        crops = [cut_out(scenes[place][0], scaled(found[place], scale)) for place in there]
        name = "found" if scale == 1 else f"found, {scale} as wide"
        rows.append({"crop": name} | judge(ask(model, crops), votes[there], given[there]))
    for row in rows:
        print(row)
    if options.sheet:
        draw_sheet(
            [faces[place][0] for place in there], [cut_out(scenes[place][0], found[place]) for place in there]
        ).save(options.sheet)
    write_csv(
        RESULTS / f"face-crops-{datetime.date.today()}-{common['commit'].rstrip('+')}.csv",
        COLUMNS,
        [row | common for row in rows],
    )


def read_faces(folder: Path, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures, and the shares of the eight emotions in their votes, in our order; of protocol A."""
    with open(folder / "fer2013new.csv", newline="") as file:
        rows = {row["Image name"]: row for row in csv.DictReader(file) if row["Image name"]}
    found = []
    with tarfile.open(folder / "FER2013Valid.tar") as tar:
        for member in tar:
            name = member.name.rpartition("/")[2]
            if name not in rows or not member.isfile():
                continue
            votes = {vote: float(rows[name][vote]) for vote in VOTES}
            if max(votes, key=lambda vote: votes[vote]) in VOTES[:8]:  # the first wins on ties
                shares = np.array([votes[vote] for vote in OURS])
                content = io.BytesIO(tar.extractfile(member).read())  # type: ignore[union-attr]
                found.append((np.asarray(Image.open(content).convert("RGB")), shares / shares.sum()))
    return found[:: max(len(found) // count, 1)][:count]


def lay(face: np.ndarray, seed: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    random = np.random.default_rng(seed)
    ground = photograph(("grass", "gravel", "brick", "coffee", "moon")[seed % 5])
    scene = Image.fromarray(ground).resize((640, 480)).convert("L").convert("RGB")
    left, top = int(random.integers(0, 640 - TILE)), int(random.integers(0, 480 - TILE))
    scene.paste(Image.fromarray(face).resize((TILE, TILE), Image.Resampling.BICUBIC), (left, top))
    return np.asarray(scene), (left, top, left + TILE, top + TILE)


def nearest(found: list[Face], box) -> Face | None:
    best = max(found, key=lambda face: overlap(face.box, box), default=None)
    return best if best is not None and overlap(best.box, box) > 0.25 else None


def scaled(face: Face, scale: float) -> Face:
    left, top, right, bottom = face.box
    more = round((scale - 1) * (right - left) / 2)
    return Face((left - more, top - more, right + more, bottom + more), face.score)


@torch.inference_mode()
def ask(model, crops: list[np.ndarray]) -> np.ndarray:
    side = model.config.image_size
    pixels = torch.from_numpy(np.stack([resize(crop, side, side) for crop in crops])).permute(0, 3, 1, 2)
    return torch.cat([forward(model, part)[0].double().softmax(1) for part in pixels.split(64)]).numpy()


def judge(answers: np.ndarray, votes: np.ndarray, given: np.ndarray) -> dict:
    smoothed = 0.999 * answers + 0.001 / 8
    kl = np.where(votes > 0, votes * np.log(np.where(votes > 0, votes, 1) / smoothed), 0).sum(axis=1)
    label = answers.argmax(axis=1)
    return {
        "faces": len(votes),
        "accuracy": float((label == votes.argmax(axis=1)).mean()),
        "kl": float(kl.mean()),
        "same_label": float((label == given.argmax(axis=1)).mean()),
    }


def draw_sheet(given: list[np.ndarray], found: list[np.ndarray], count: int = 12) -> Image.Image:
    sheet = Image.new("RGB", (count * 96, 192))
    for place, pair in enumerate(list(zip(given, found, strict=True))[:count]):
        for row, picture in enumerate(pair):
            sheet.paste(Image.fromarray(picture).resize((96, 96)), (place * 96, row * 96))
    return sheet


if __name__ == "__main__":
    main()
