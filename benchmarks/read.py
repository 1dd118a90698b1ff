"""How fast faces become training batches, and a prepared folder opens, side by side with the usual ways.

    python benchmarks/read.py WORK [--images 5000] [--repeats 5] [--fairface TAR]

WORK keeps a tree of drawn faces, and with --fairface one of real JPEGs, each prepared by path and embedded, and as
hard links with a metadata.jsonl for `imagefolder`; what is there already is not made again.

Opening: a fresh process each, the first time (there is no cache yet) and again.

Reading: uint8 batches (64, 3, 224, 224) of faces in one random order, the same for all. Every way runs once to warm
up, with its first batch compared pixel by pixel, and then they take turns, --repeats times, starting with another one
each time; the medians are reported. Workers stay alive between the turns. All files are in the page cache.

The ceiling is a bare loop that reads a file and has simplejpeg write its pixels into one batch, over and over, in one
thread. Ours decodes with as many threads as torch has, which is one in a worker; it is measured with one thread too.
The figures go to benchmarks/results/read-<date>-<commit>.csv.
"""

import argparse
import datetime
import shutil
import statistics
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import datasets
import numpy as np
import simplejpeg
import torch
from measuring import RESULTS, commit, hardware, run_apart, write_csv
from PIL import Image
from prepare import link_subset
from torch.utils.data import DataLoader, Dataset

from affectnet_plus_modeling import images
from affectnet_plus_modeling.data import dataset as faces_module
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.synthetic import draw_face, draw_repeated_tree
from affectnet_plus_modeling.sources.synthetic.draw import record
from affectnet_plus_modeling.sources.tree import writing_tree

JOBS = Path(__file__).with_name("prepare_jobs.py")
SIZE, BATCH, WORKERS, STORAGES = 224, 64, (0, 1, 2), ("by path", "embedded")
CEILING = "bare simplejpeg into one batch"
COLUMNS = (
    "files",
    "what",
    "workers",
    "images",
    "seconds",
    "all_seconds",
    "images_per_second",
    "times_bare_simplejpeg",
    "repeats",
    "page_cache",
    "hardware",
    "versions",
    "commit",
    "command",
)
Way = Callable[[], Iterable[torch.Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fairface", type=Path, help="tar of JPEGs of 224 x 224 pixels, measured too")
    options = parser.parse_args()
    datasets.disable_progress_bars()
    rows = []
    for files in ["drawn"] + ["fairface"] * bool(options.fairface):
        folder = make_folders(options, files)
        opened = measure_opening(folder, options.repeats)
        read = measure_reading(folder, options.repeats)
        rows += [{"files": files} | row for row in table(opened, options.images) + table(read, options.images)]
        print_goals(files, read)
    common = {
        "repeats": options.repeats,
        "page_cache": "warm",
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("datasets", "torch", "pillow", "simplejpeg")),
        "commit": commit(),
        "command": f"read.py WORK --images {options.images} --repeats {options.repeats}"
        + (f" --fairface {options.fairface.name}" if options.fairface else ""),
    }
    path = RESULTS / f"read-{datetime.date.today().isoformat()}-{commit()}.csv"
    write_csv(path, COLUMNS, [row | common for row in rows])


# --- the files -------------------------------------------------------------------------------------------------------


def make_folders(options, files: str) -> Path:
    """WORK/<files>-<images> with the folders raw, by path, embedded, and linked/imagefolder; all faces in train."""
    folder = options.work / f"{files}-{options.images}"
    if not (folder / "raw").exists():
        folder.mkdir(parents=True, exist_ok=True)
        if files == "drawn":
            draw_repeated_tree(folder / "raw", options.images, validation_fraction=0)
        else:
            write_fairface(folder / "raw", options)
    for storage in STORAGES:
        if not (folder / storage).exists():
            prepare(folder / "raw", folder / storage, embed=storage == "embedded")
    link_subset(folder / "raw", folder / "linked", options.images)
    return folder


def write_fairface(out: Path, options) -> None:
    annotations = [record(draw_face(0, index), labelled=True) for index in range(32)]
    with writing_tree(out, origin="FairFace") as tree, tarfile.open(options.fairface) as tar:
        members = [member for member in tar if member.name.endswith(".jpg")][: options.images]
        if len(members) < options.images:
            raise SystemExit(f"{options.fairface.name} holds {len(members)} JPEGs, --images asks {options.images}")
        for stem, member in enumerate(members):
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
            tree.add("train", stem, content, annotations[stem % 32])


# --- opening ---------------------------------------------------------------------------------------------------------


def measure_opening(folder: Path, repeats: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of every repeat by (what, workers)."""
    targets = {f"prepared folder, {storage}": ("opening", folder / storage) for storage in STORAGES}
    targets["imagefolder with metadata.jsonl"] = ("imagefolder", folder / "linked" / "imagefolder")
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(repeats):
        for name, (job, target) in targets.items():
            for when in ("first", "again"):
                found = run_apart(JOBS, job, target, folder / "cache", 1)["seconds"]
                seconds.setdefault((f"open {when}: {name}", 0), []).append(found)
                print(f"{folder.name}: open {when}: {name}: {found:.3f} s", flush=True)
            shutil.rmtree(folder / "cache")
    return seconds


# --- reading ---------------------------------------------------------------------------------------------------------


def measure_reading(folder: Path, repeats: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of every repeat by (what, workers)."""
    faces_module.MEMORY_BYTES = 0  # as for a set that does not fit: every epoch decodes
    by_path = load_prepared(folder / "by path", "all", "train").cast_column("image", datasets.Image(decode=False))
    paths = [image["path"] for image in by_path["image"]]
    order = np.random.default_rng(0).permutation(len(paths)).tolist()
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    expected = torch.stack([pillow_tensor(paths[row]) for row in batches[0]])
    ways = list_ways(folder, paths, batches)
    for name, way in ways.items():
        every = iter(way())
        assert torch.equal(next(every), expected), f"{name} gives other pixels"
        assert sum(len(batch) for batch in every) == len(order) - BATCH, f"{name} gives another number of faces"
    seconds: dict[tuple[str, int], list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name in list(ways)[repeat:] + list(ways)[:repeat]:
            seconds[name].append(timed(ways[name]))
        print(f"{folder.name}: {repeat + 1} of {repeats} repeats done", flush=True)
    return seconds


def timed(way: Way) -> float:
    start = time.perf_counter()
    for _ in way():
        pass
    return time.perf_counter() - start


def list_ways(folder: Path, paths: list[str], batches: list[list[int]]) -> dict[tuple[str, int], Way]:
    ways: dict[tuple[str, int], Way] = {
        (CEILING, 0): partial(bare_simplejpeg, paths, batches),
        ("bare Pillow into one batch", 0): partial(bare_pillow, paths, batches),
    }
    for workers in WORKERS:
        ways["DataLoader over files, Pillow", workers] = loader(PillowFiles(paths), batches, workers)
    for storage in STORAGES:
        data = load_prepared(folder / storage, "all", "train")
        plain = data.filter(lambda label: label is None or label < 8, input_columns="label")
        assert len(plain) == len(paths), "the order of the faces would be another"
        ours = FaceDataset(load_prepared(folder / storage, "default", "train"), SIZE)
        for workers in WORKERS:
            ways[f"ours, {storage}", workers] = loader(ours, batches, workers, only_pixels)
            ways[f"datasets, {storage}, torch format, DataLoader", workers] = loader(
                data.with_format("torch"), batches, workers, stack_images
            )
            ways[f"datasets, {storage}, torch format, image column, DataLoader", workers] = loader(
                data.select_columns("image").with_format("torch"), batches, workers, stack_images
            )
        ways[f"datasets, {storage}, data[rows]", 0] = partial(datasets_rows, data, batches)
        ways[f"datasets, {storage}, image column, data[rows]", 0] = partial(
            datasets_rows, data.select_columns("image"), batches
        )
        ways[f"ours, {storage}, one thread", 0] = partial(in_one_thread, ours, batches)
        ways[f"ours, {storage}, one thread, Pillow decodes", 0] = partial(without_simplejpeg, ours, batches)
    return ways


def bare_simplejpeg(paths: list[str], batches: list[list[int]]) -> Iterator[torch.Tensor]:
    pixels = np.empty((BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    for rows in batches:
        for place, row in enumerate(rows):
            with open(paths[row], "rb") as file:
                simplejpeg.decode_jpeg(file.read(), buffer=pixels[place])
        yield torch.from_numpy(pixels[: len(rows)]).permute(0, 3, 1, 2)


def bare_pillow(paths: list[str], batches: list[list[int]]) -> Iterator[torch.Tensor]:
    pixels = np.empty((BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    for rows in batches:
        for place, row in enumerate(rows):
            with Image.open(paths[row]) as image:
                pixels[place] = np.asarray(image.convert("RGB"))
        yield torch.from_numpy(pixels[: len(rows)]).permute(0, 3, 1, 2)


class PillowFiles(Dataset):
    """Files as most people read them."""

    def __init__(self, paths: list[str]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        return pillow_tensor(self.paths[row])


def pillow_tensor(path: str) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def loader(data, batches: list[list[int]], workers: int, collate_fn=None) -> Way:
    made = DataLoader(
        data, batch_sampler=batches, num_workers=workers, collate_fn=collate_fn, persistent_workers=workers > 0
    )
    return lambda: made


def only_pixels(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return batch["pixels"]


def stack_images(rows: list[dict]) -> torch.Tensor:
    return torch.stack([row["image"] for row in rows])


def datasets_rows(data: datasets.Dataset, batches: list[list[int]]) -> Iterator[torch.Tensor]:
    for rows in batches:
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in data[rows]["image"]])
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2)


def in_one_thread(ours: FaceDataset, batches: list[list[int]]) -> Iterator[torch.Tensor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from (ours.batch(rows)["pixels"] for rows in batches)
    finally:
        torch.set_num_threads(threads)


def without_simplejpeg(ours: FaceDataset, batches: list[list[int]]) -> Iterator[torch.Tensor]:
    images.FAST = False
    try:
        yield from in_one_thread(ours, batches)
    finally:
        images.FAST = True


# --- the figures -----------------------------------------------------------------------------------------------------


def table(seconds: dict[tuple[str, int], list[float]], count: int) -> list[dict]:
    bare = seconds.get((CEILING, 0))
    return [
        {
            "what": what,
            "workers": workers,
            "images": count,
            "seconds": statistics.median(times),
            "all_seconds": " ".join(f"{value:.3f}" for value in times),
            "images_per_second": count / statistics.median(times),
            "times_bare_simplejpeg": statistics.median(bare) / statistics.median(times) if bare else "",
        }
        for (what, workers), times in seconds.items()
    ]


def print_goals(files: str, seconds: dict[tuple[str, int], list[float]]) -> None:
    """Each goal with what was reached."""
    median = {way: statistics.median(times) for way, times in seconds.items()}
    for (what, workers), found in median.items():
        print(f"{files}: {what}, {workers} workers: {median[CEILING, 0] / found:.2f} of bare simplejpeg")
    for storage in STORAGES:
        for workers in WORKERS:
            ours = median[f"ours, {storage}", workers]
            theirs = min(
                found
                for (what, count), found in median.items()
                if what.startswith(f"datasets, {storage}") and count == workers
            )
            which = f"{files}, {storage}, {workers} workers"
            print_goal(f"{which}: against bare simplejpeg", median[CEILING, 0] / ours, 0.9)
            print_goal(f"{which}: against the fastest of datasets", theirs / ours, 1.4)


def print_goal(what: str, found: float, goal: float) -> None:
    print(f"{'reached' if found >= goal else 'MISSED'}: {what}: {found:.2f} times as fast, goal {goal}")


if __name__ == "__main__":
    main()
