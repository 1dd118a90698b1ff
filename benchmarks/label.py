"""How fast pictures get soft labels, beside the bare forward pass of the same networks on tensors that lie ready.

    python benchmarks/label.py WORK [--images 512] [--repeats 5] [--folds 2]

WORK keeps drawn faces of 48 x 48 pixels, as pictures in a folder and as an AffectNet+ tree, and an ensemble of the
default backbones with random weights; what is there already is not made again. No face was trained on, so that all
networks answer for each.

Labelling is timed from its first picture to the finished folder: reading, decoding, networks, calibration, chunks,
annotations and table; not the loading of the ensemble, which does not depend on the number of pictures. The bare pass
has the same batches as float32 tensors on the device, normalised already, and does nothing with the answers. All run
once to warm up, and then take turns, --repeats times, starting with another one each time; medians are reported.
The figures go to benchmarks/results/label-<date>-<commit>.csv.
"""

import argparse
import datetime
import shutil
import statistics
import time
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from measuring import RESULTS, commit, hardware, write_csv
from PIL import Image

from affectnet_plus_modeling import images
from affectnet_plus_modeling.data.dataset import normalise
from affectnet_plus_modeling.labelling.ensemble.model import BinaryEnsemble, BinaryEnsembleConfig, load_ensemble
from affectnet_plus_modeling.labelling.ensemble.options import RESNET
from affectnet_plus_modeling.labelling.ensemble.seen import write_seen
from affectnet_plus_modeling.labelling.label import label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.sources.synthetic.draw import record
from affectnet_plus_modeling.sources.tree import writing_tree
from affectnet_plus_modeling.training.options import SIZES
from affectnet_plus_modeling.vit import AffectNetPlusConfig

SIZE, GOAL = 48, 0.9
BARE = "bare forward pass"
COLUMNS = (
    "what",
    "images",
    "batch_size",
    "networks",
    "seconds",
    "all_seconds",
    "images_per_second",
    "times_bare",
    "repeats",
    "threads",
    "device",
    "hardware",
    "versions",
    "commit",
    "command",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folds", type=int, default=2)
    options = parser.parse_args()
    folder = make_faces(options.work / f"drawn-{options.images}", options.images)
    ensemble = make_ensemble(options.work / f"ensemble-{options.folds}", options.folds)
    ways = {BARE: bare(ensemble, folder / "pictures")}
    for kind in ("pictures", "tree"):
        ways[f"label, {kind}"] = partial(labelling, ensemble, folder / kind, options.work / "out")
    seconds = measure(ways, options.repeats)
    device = load_ensemble(ensemble).device.type
    common = {
        "images": options.images,
        "batch_size": LabelOptions.batch_size,
        "networks": 2 * options.folds * 8,
        "repeats": options.repeats,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "pillow")),
        "commit": commit(),
        "command": f"label.py WORK --images {options.images} --repeats {options.repeats} --folds {options.folds}",
    }
    rows = [common | row for row in table(seconds, options.images)]
    write_csv(RESULTS / f"label-{datetime.date.today().isoformat()}-{commit()}.csv", COLUMNS, rows)
    for row in rows[1:]:
        ratio = row["times_bare"]
        print(f"{'reached' if ratio >= GOAL else 'MISSED'}: {row['what']}: {ratio:.3f} of the bare pass, goal {GOAL}")


# --- what is labelled, and by what -----------------------------------------------------------------------------------


def make_faces(folder: Path, count: int) -> Path:
    """The folders pictures/ and tree/ of the same faces."""
    if not folder.exists():
        with writing_tree(folder / "tree", origin="drawn") as tree:
            for index in range(count):
                face, file = draw_face(0, index), BytesIO()
                face.image.resize((SIZE, SIZE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=90)
                tree.add("train", index, file.getvalue(), record(face, labelled=True))
        shutil.copytree(folder / "tree" / "human_annotated" / "train_set" / "images", folder / "pictures")
    return folder


def make_ensemble(folder: Path, folds: int) -> Path:
    """An ensemble of the default backbones, one seed and so many folds."""
    if not folder.exists():
        vit = AffectNetPlusConfig(**SIZES["mini"], image_size=SIZE, patch_size=8, num_labels=2).to_dict()
        members = [{"backbone": backbone, "seed": 0, "fold": fold} for backbone in range(2) for fold in range(folds)]
        torch.manual_seed(0)
        config = BinaryEnsembleConfig(image_size=SIZE, backbones=[RESNET, vit], members=members)
        BinaryEnsemble(config).save_pretrained(folder)
        write_seen(folder / "seen.parquet", np.empty(0, np.uint64), np.empty(0, int))
    return folder


# --- the ways --------------------------------------------------------------------------------------------------------


def bare(ensemble: Path, pictures: Path):
    """What times the networks alone, on every picture of a folder."""
    model = load_ensemble(ensemble)
    pixels = np.stack([images.decode(path) for path in sorted(pictures.iterdir())])
    batches = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2)).to(model.device).split(LabelOptions.batch_size)

    @torch.inference_mode()
    def run() -> float:
        start = time.perf_counter()
        for batch in batches:
            model(batch)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return run


def labelling(ensemble: Path, faces: Path, out: Path) -> float:
    """Seconds from the first picture to the finished folder."""
    shutil.rmtree(out, ignore_errors=True)
    began = []

    def progress(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("label", 0):
            began.append(time.perf_counter())

    label(faces, out, LabelOptions(str(ensemble)), progress=progress, say=lambda text: None)
    return time.perf_counter() - began[0]


def measure(ways: dict, repeats: int) -> dict[str, list[float]]:
    """Seconds of every repeat of every way."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        first = repeat % len(ways)
        for name in [*ways][first:] + [*ways][:first]:
            seconds[name].append(ways[name]())
        print(f"{repeat + 1} of {repeats} repeats done", flush=True)
    return seconds


def table(seconds: dict[str, list[float]], count: int) -> list[dict]:
    """The rows of the figures, the bare pass first."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        {
            "what": name,
            "seconds": median,
            "all_seconds": " ".join(f"{value:.3f}" for value in seconds[name]),
            "images_per_second": count / median,
            "times_bare": medians[BARE] / median,
        }
        for name, median in medians.items()
    ]


if __name__ == "__main__":
    main()
