"""How fast `predict` answers for a folder of pictures, beside the stock pipeline of transformers and ONNX Runtime.

    python benchmarks/predict.py WORK [--images 512] [--repeats 5] [--only mini|small] [--cold]
        [--model MODEL --data PREPARED]

WORK keeps drawn faces as JPEGs of the model's size, models with random weights ("mini" at 48 pixels, "small" at 224,
which gets an eighth of the faces) and their ONNX files; what is there already is not made again. MODEL, a trained one,
is timed too, and what each way costs is measured on the validation split of PREPARED.

Timed is a folder from its first picture to the last answer, not the loading of the model:
  stock pipeline     pipeline("image-classification", MODEL, top_k=8)(paths, batch_size=...), in float32
  predict            predict_pictures(model, paths, batch_size), and the same in bfloat16
  predict, exported  the same of the folder that affectnet-plus export wrote, in float32 and in int8
  bare forward pass  the model on normalised tensors of the batch size that lie ready: what no way in PyTorch with
                     these batches falls below, unless it runs the network in another way
  bare session       the exported file on ready tensors, shared out over threads as `predict` does: the floor of
                     "predict, exported"; in int8 too
All run once to warm up, being compared with the stock pipeline then (`predict` to 1e-5, the exported model to 1e-4),
and take turns, --repeats times, starting with another one each time; medians are reported. `times_stock` and
`times_bare` are ratios of pictures per second; `cpu_times_stock` is that of the processor time of all threads, which
is steadier where others work too. The machine should be idle: threads that share a layer, as those of the stock
pipeline do, wait for each other for very long on a busy one, which flatters `predict`. Cold starts (--cold) are
whole processes, from their start to their end: the system's file cache is warm.
The figures go to benchmarks/results/predict-<date>-<commit>.csv.
"""

import argparse
import datetime
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from measuring import RESULTS, commit, hardware, write_csv
from PIL import Image
from transformers import ViTImageProcessor, pipeline
from transformers.utils import logging

from affectnet_plus_modeling import images
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared, normalise
from affectnet_plus_modeling.evaluation.exported import ExportedModel
from affectnet_plus_modeling.evaluation.predict import (
    TOKENS_AT_ONCE,
    load_model,
    open_model,
    predict_faces,
    predict_pictures,
)
from affectnet_plus_modeling.metrics.soft_label.formulas import kl_divergence
from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.training.options import SIZES
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels

STOCK, OURS, BARE = "stock pipeline", "predict", "bare forward pass"
EXPORTED = {"fp32": "predict, exported", "int8": "predict, exported, int8"}
FLOOR = {"fp32": "bare session", "int8": "bare session, int8"}
FILES = {"fp32": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}
BATCH_SIZES, GOALS = (1, 8, 32), {"fp32": 3.0, "int8": 4.0}
TOLERANCE = {OURS: 1e-5, EXPORTED["fp32"]: 1e-4}
COLUMNS = (
    "what",
    "model",
    "image_size",
    "images",
    "batch_size",
    "seconds",
    "all_seconds",
    "images_per_second",
    "times_stock",
    "times_bare",
    "cpu_seconds",
    "cpu_times_stock",
    "accuracy",
    "kl",
    "label_flips",
    "largest_difference",
    "repeats",
    "threads",
    "hardware",
    "versions",
    "commit",
    "command",
)
STOCK_PROCESS = """
import sys
from transformers import pipeline
pipe = pipeline("image-classification", sys.argv[1], trust_remote_code=True, device="cpu", top_k=8)
print(pipe(sys.argv[2]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path, help="a trained model folder")
    parser.add_argument("--data", type=Path, help="prepared faces to measure what speed costs MODEL")
    parser.add_argument("--cold", action="store_true", help="time cold starts too")
    parser.add_argument("--only", choices=("mini", "small"), help="of the two models with random weights")
    options = parser.parse_args()
    if (options.model is None) != (options.data is None):
        parser.error("--model and --data go together")
    logging.disable_progress_bar()
    models = {
        name: (make_model(options.work / name, name, side, patch), options.images // share)
        for name, side, patch, share in (("mini", 48, 8, 1), ("small", 224, 16, 8))
        if options.only in (None, name)
    }
    if options.model:
        models["trained"] = (options.model, options.images)
    rows = []
    for name, (folder, count) in models.items():
        exported = make_export(folder, options.work, name)
        costs = measure_costs(folder, exported, options.data) if name == "trained" else {}
        for row in measure_folder(folder, exported, options.work, count, options.repeats):
            rows.append({"model": name} | row | costs.get(row["what"], {}))
    if options.cold:
        rows += measure_cold_starts(next(iter(models.values()))[0], options.work, options.repeats)
    trained = " --model MODEL --data PREPARED" if options.model else ""
    only = f" --only {options.only}" if options.only else ""
    common = {
        "repeats": options.repeats,
        "threads": torch.get_num_threads(),
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "onnxruntime")),
        "commit": commit(),
        "command": f"predict.py WORK --images {options.images} --repeats {options.repeats}{only}{trained}",
    }
    path = RESULTS / f"predict-{datetime.date.today().isoformat()}-{commit()}.csv"
    write_csv(path, COLUMNS, [row | common for row in rows])
    found = {
        (row["what"], row["model"], row["batch_size"]): row["times_stock"] for row in rows if "times_stock" in row
    }
    for kind, goal in GOALS.items():
        for (what, model, batch_size), times in found.items():
            if what == EXPORTED[kind]:
                said = "reached" if times >= goal else "MISSED"
                floor = f"the bare session {found[FLOOR[kind], model, batch_size]:.2f} x"
                print(f"{said}: {model}, {kind}, batches of {batch_size}: {times:.2f} x, goal {goal}; {floor}")


# --- what is asked, and about what -----------------------------------------------------------------------------------


def make_faces(folder: Path, count: int, size: int) -> list[str]:
    """The paths of so many drawn faces."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for index in range(count):
            face = draw_face(0, index).image.resize((size, size), Image.Resampling.BILINEAR)
            face.save(folder / f"{index:05}.jpg", quality=90)
    return [str(path) for path in sorted(folder.iterdir())]


def make_model(folder: Path, size: str, image_size: int, patch_size: int) -> Path:
    """A model folder with random weights, as training would write it."""
    if not folder.exists():
        torch.manual_seed(0)
        config = AffectNetPlusConfig(**SIZES[size], image_size=image_size, patch_size=patch_size)
        AffectNetPlusForSoftLabels(config).save_pretrained(folder)
        half = [0.5, 0.5, 0.5]
        sides = {"height": image_size, "width": image_size}
        ViTImageProcessor(size=sides, image_mean=half, image_std=half).save_pretrained(folder)
    return folder


def make_export(model: Path, work: Path, name: str) -> Path:
    """The folder with its ONNX files, which export compares on a few faces."""
    out, few = work / f"{name}-onnx", work / "few-faces"
    if not out.exists():
        make_faces(few, 8, 224)
        words: list = [command(), "export", model, out, "--images", few]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return out


def command() -> str:
    """The command line of this installation."""
    return str(Path(sys.executable).with_name("affectnet-plus"))


# --- the ways --------------------------------------------------------------------------------------------------------


def measure_folder(folder: Path, exported: Path, work: Path, count: int, repeats: int) -> list[dict]:
    """The rows of one model, for all batch sizes."""
    model = load_model(folder).cpu()
    rounded = load_model(folder).cpu().to(torch.bfloat16)
    size = model.config.image_size
    paths = make_faces(work / f"faces-{size}-{count}", count, size)
    stock = pipeline("image-classification", str(folder), trust_remote_code=True, device="cpu", top_k=8)
    rows = []
    for batch_size in BATCH_SIZES:
        ways: dict[str, Callable] = {
            STOCK: partial(stock, paths, batch_size=batch_size),
            OURS: lambda size=batch_size: list(predict_pictures(model, paths, size)),
            f"{OURS}, bf16": lambda size=batch_size: list(predict_pictures(rounded, paths, size)),
            BARE: partial(run_bare, model, ready(paths, size, batch_size)),
        }
        for kind, file in FILES.items():
            session = open_model(exported / file)
            ways[EXPORTED[kind]] = lambda asked=session, size=batch_size: list(predict_pictures(asked, paths, size))
            tokens = (size // session.config.patch_size) ** 2 + 1
            at_once = min(batch_size, max(1, TOKENS_AT_ONCE // tokens), -(-count // torch.get_num_threads()))
            ways[FLOOR[kind]] = partial(run_session, session, ready(paths, size, at_once))
        expected = ways[STOCK]()
        for name, tolerance in TOLERANCE.items():
            compare(name, expected, ways[name](), tolerance)
        seconds, cpu = take_turns(ways, repeats)
        common = {"image_size": size, "images": count, "batch_size": batch_size}
        rows += [common | row for row in table(seconds, cpu, count)]
    return rows


def ready(paths: list[str], size: int, batch_size: int) -> list[torch.Tensor]:
    """The pictures as batches of what the model takes."""
    pixels = np.stack([images.decode(path, np.empty((size, size, 3), dtype=np.uint8)) for path in paths])
    return list(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2)).split(batch_size))


@torch.inference_mode()
def run_bare(model: AffectNetPlusForSoftLabels, batches: list[torch.Tensor]) -> None:
    for batch in batches:
        model(batch)


def run_session(session: ExportedModel, batches: list[torch.Tensor]) -> None:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(session, batches))


def compare(name: str, expected: list, found: list[dict], tolerance: float) -> None:
    """Stop where a probability of ours is not that of the stock pipeline."""
    worst = max(
        abs(line["soft_label"][score["label"]] - score["score"])
        for line, scores in zip(found, expected, strict=True)
        for score in scores
    )
    print(f"{name}: at most {worst:.1e} from the stock pipeline", flush=True)
    if worst > tolerance:
        sys.exit(f"{name} and the stock pipeline differ by {worst:.2g}, expected at most {tolerance}")


def take_turns(ways: dict[str, Callable], repeats: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of every repeat of every way, on the clock and of the processor."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        first = repeat % len(ways)
        for name in [*ways][first:] + [*ways][:first]:
            start, start_cpu = time.perf_counter(), time.process_time()
            ways[name]()
            seconds[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return seconds, cpu


def table(seconds: dict[str, list[float]], cpu: dict[str, list[float]], count: int) -> list[dict]:
    """The rows of the figures, and the same in print."""
    rows = []
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        ratios = {f"times_{short}": medians[other] / median for short, other in (("stock", STOCK), ("bare", BARE))}
        spent, of_stock = statistics.median(cpu[name]), statistics.median(cpu[STOCK])
        row = {"what": name, "seconds": median, "images_per_second": count / median, **ratios}
        row |= {"cpu_seconds": spent, "cpu_times_stock": of_stock / spent}
        rows.append(row | {"all_seconds": " ".join(f"{value:.3f}" for value in seconds[name])})
        times = f"{ratios['times_stock']:.2f} x stock, {of_stock / spent:.2f} x in processor time"
        print(f"{name:24} {1000 * median / count:8.3f} ms a picture, {times}", flush=True)
    return rows


# --- costs, and cold starts ------------------------------------------------------------------------------------------


def measure_costs(folder: Path, exported: Path, data: Path) -> dict[str, dict]:
    """What each way says of labelled faces: accuracy, KL to the soft labels, and changes against float32."""
    model = load_model(folder).cpu()
    faces = FaceDataset(load_prepared(data, "default", "validation"), model.config.image_size)
    exact = predict_faces(model, faces, 256)
    found = {
        OURS: exact.probabilities,
        f"{OURS}, bf16": predict_faces(load_model(folder).cpu().to(torch.bfloat16), faces, 256).probabilities,
    }
    for kind, file in FILES.items():
        found[EXPORTED[kind]] = predict_faces(open_model(exported / file), faces, 256).probabilities
    soft, labelled = ~np.isnan(exact.soft_labels).any(axis=1), exact.labels >= 0
    return {
        name: {
            "accuracy": float((answers.argmax(axis=1) == exact.labels)[labelled].mean()),
            "kl": float(kl_divergence(exact.soft_labels[soft], answers[soft]).mean()),
            "label_flips": float((answers.argmax(axis=1) != exact.probabilities.argmax(axis=1)).mean()),
            "largest_difference": float(np.abs(answers - exact.probabilities).max()),
        }
        for name, answers in found.items()
    }


def measure_cold_starts(model: Path, work: Path, repeats: int) -> list[dict]:
    """Seconds of whole processes: the command line asked for help, and for one picture; the same from stock parts."""
    (path,) = make_faces(work / "one-face", 1, 48)
    processes: dict[str, list] = {
        "cold: --help": [command(), "--help"],
        "cold: predict": [command(), "predict", model, path],
        "cold: stock pipeline": [sys.executable, "-c", STOCK_PROCESS, model, path],
    }
    run = partial(subprocess.run, check=True, capture_output=True)
    ways: dict[str, Callable] = {name: partial(run, words) for name, words in processes.items()}
    rows = []
    for name, times in take_turns(ways, repeats)[0].items():
        rows.append(
            {
                "what": name,
                "model": "mini",
                "images": 1,
                "seconds": statistics.median(times),
                "all_seconds": " ".join(f"{value:.3f}" for value in times),
            }
        )
        print(f"{name:20} {rows[-1]['seconds']:.3f} s")
    return rows


if __name__ == "__main__":
    main()
