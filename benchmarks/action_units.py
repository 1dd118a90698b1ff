"""Whether a network that learnt action units from drawn faces says anything of real ones.

    python benchmarks/action_units.py AU_MODEL FACES.tar --model face_landmarker.task [--faces 400]

AU_MODEL is a folder of `train-au` on drawn faces; FACES.tar holds pictures of one face each (FairFace). Of --faces of
them, drawn with seed 0, MediaPipe finds landmarks and blendshapes, which modeling/faces/blendshapes.py turns into
action units; the network sees each face twice: the whole picture, and cut out so that eyes, nose and mouth are about
where drawn faces have them (`align` with a margin of .1). Needs the extra `mediapipe`.

The rule, made before anything was measured: the network ships with the package if, on the cut-out faces, the median of
the units' correlations with MediaPipe's has a 95 % interval whose lower end is above .3. Units are those that both
know and that MediaPipe moves (standard deviation above .01). Intervals are bootstrap ones over faces, 2,000 samples.
MediaPipe is no truth either: it is the only other one who can be asked.

Figures go to benchmarks/results/action-units-<date>-<commit>.csv.
"""

import argparse
import datetime
import io
import tarfile

import numpy as np
import torch
from measuring import RESULTS, commit, hardware, write_csv
from PIL import Image

from affectnet_plus_modeling.alignment import align
from affectnet_plus_modeling.faces import action_units, annotate, open_landmarker
from affectnet_plus_modeling.faces.blendshapes import UNITS
from affectnet_plus_modeling.labelling.action_units.model import load_action_unit_model, predict_action_units

MARGIN, ENOUGH, MOVES, SAMPLES = 0.1, 0.3, 0.01, 2000
COLUMNS = ("unit", "faces", "crop", "correlation", "low", "high", "spread_theirs", "spread_ours", "hardware", "commit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("faces_tar")
    parser.add_argument("--model", required=True, help="face_landmarker.task of MediaPipe")
    parser.add_argument("--faces", type=int, default=400)
    options = parser.parse_args()
    network = load_action_unit_model(options.network)
    pictures, landmarks, theirs = looked_at(options.faces_tar, options.model, options.faces)
    print(f"MediaPipe found {len(pictures)} of {options.faces} faces")
    side, rows = network.image_size, []
    for crop, faces in (("cut out", align(pictures, landmarks, side, MARGIN)[0]), ("whole", resized(pictures, side))):
        pixels = torch.from_numpy(faces).permute(0, 3, 1, 2).contiguous()
        ours = predict_action_units(network, pixels)
        shared = [unit for unit in network.units if unit in UNITS and theirs[:, UNITS.index(unit)].std() > MOVES]
        first, second = theirs[:, [UNITS.index(u) for u in shared]], ours[:, [network.units.index(u) for u in shared]]
        found, low, high, median = correlations(first, second)
        common = {"faces": len(pictures), "crop": crop, "hardware": hardware(), "commit": commit()}
        rows += [
            dict(zip(COLUMNS, (unit, 0, "", found[k], low[k], high[k], first[:, k].std(), second[:, k].std())))
            | common
            for k, unit in enumerate(shared)
        ]
        rows.append(common | dict(zip(("unit", "correlation", "low", "high"), ("median", *median))))
        if crop == "cut out":
            print(f"{'ships' if median[1] > ENOUGH else 'does not ship'}: median {median}")
    write_csv(RESULTS / f"action-units-{datetime.date.today().isoformat()}-{commit()}.csv", COLUMNS, rows)


def looked_at(path: str, model: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (n, H, W, 3), landmarks (n, 68, 2) and action units (n, units) of the faces that MediaPipe finds."""
    pictures, landmarks, shapes = [], [], []
    with tarfile.open(path) as tar, open_landmarker(model) as landmarker:
        names = sorted(member.name for member in tar if member.name.endswith(".jpg"))
        for name in np.random.default_rng(0).permutation(names)[:count]:
            picture = np.asarray(Image.open(io.BytesIO(tar.extractfile(str(name)).read())).convert("RGB"))  # type: ignore[union-attr]
            found = annotate(picture, landmarker, ("landmarks",))
            if found["landmarks_68"] is not None:
                pictures.append(picture)
                landmarks.append(found["landmarks_68"])
                shapes.append(found["blendshapes"])
    return np.stack(pictures), np.stack(landmarks), action_units(shapes)


def resized(pictures: np.ndarray, side: int) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR)) for one in pictures]
    )


def correlations(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """Of two (faces, units): each unit's correlation with its interval, and (median, low, high) over the units."""
    rows = np.random.default_rng(0).integers(len(first), size=(SAMPLES, len(first)))
    sampled = np.stack([pearson(first[some], second[some]) for some in rows])
    low, high = np.quantile(sampled, (0.025, 0.975), axis=0)
    found, medians = pearson(first, second), np.median(sampled, axis=1)
    return found, low, high, (float(np.median(found)), *np.quantile(medians, (0.025, 0.975)).tolist())


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(units,) of (faces, units) twice; 0 where one does not vary."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    spread = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return np.where(spread > 0, (first * second).sum(axis=0) / np.where(spread > 0, spread, 1), 0)


if __name__ == "__main__":
    main()
