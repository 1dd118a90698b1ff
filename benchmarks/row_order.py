"""Four ways to lay the rows of a prepared folder so that views are read in random order, measured by `load_dataset`.

    python benchmarks/row_order.py WORK [--faces 40000] [--repeats 3]

Rows are those of drawn faces, prepared with their pictures, dealt the labels of AffectNet+ in their published numbers
and the difficulties .6, .3 and .1 (assumed). Each layout is written with the pictures inside and without:

    parts      files of one class group and difficulty each, rows by name; a view is a list of files (ROW_FORMAT 2)
    filters    one set of files, rows in random order; a view is a filter on label and subset in the card's YAML
    small      the files of `parts`, shuffled and cut into files of 64 rows, which a view lists in turns
    copies     a set of files for each view, rows in random order

Seconds are of processor time, which says more on a shared machine: `open` is `load_dataset` of train with an empty
cache, `open2` the same with num_proc=2, `stream` the first 1,000 rows of a stream, all without decoding. Layouts take
turns, and the medians are printed. `first` and `buffer` are the distance (total variation) of the class shares of the
first 1 % of the rows, and of the first 500 of `.shuffle(buffer_size=500)`, from those of the whole view; `fair` and
`fair_500` are what random samples of as many rows have on average. `reads` is what the files of the view hold
together, which a copy from the Hub downloads.

The figures go to benchmarks/results/row-order-<date>-<commit>.csv.
"""

import argparse
import datetime
import os
import resource
import shutil
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from measuring import RESULTS, commit, hardware, write_csv

from affectnet_plus import EMOTIONS, LABELS, in_view
from affectnet_plus_modeling.checking.published import FACES

VIEWS = ("default", "difficult")
JOBS = ("open", "open2", "stream")
SMALL_ROWS, SHARD_ROWS, GROUP_ROWS = 64, 8_000, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--faces", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folders = write_layouts(options.work, options.faces)
    seconds: dict[tuple, list[float]] = {}
    datasets.disable_progress_bars()
    for _ in range(options.repeats):
        for folder in folders:
            for view in VIEWS:
                for job in JOBS:
                    cache = options.work / "cache"
                    seconds.setdefault((folder, view, job), []).append(measured(job, str(folder), view, str(cache)))
                    shutil.rmtree(cache, ignore_errors=True)
    rows = []
    for folder in folders:
        kind, layout = folder.parts[-2:]
        for view in VIEWS:
            row: dict = {"pictures": kind, "layout": layout, "view": view}
            for job in JOBS:
                row[job] = round(statistics.median(seconds[folder, view, job]), 3)
            row |= shares(folder, view) | sizes(folder, view)
            rows.append(row)
            print(row, flush=True)
    common = {
        "faces": options.faces,
        "repeats": options.repeats,
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("datasets", "pyarrow")),
        "commit": commit(),
    }
    path = RESULTS / f"row-order-{datetime.date.today().isoformat()}-{commit()}.csv"
    write_csv(path, tuple(rows[0] | common), [row | common for row in rows])


# --- the layouts -----------------------------------------------------------------------------------------------------


def write_layouts(work: Path, faces: int) -> list[Path]:
    source = work / "source"
    if not source.exists():
        sys.exit(f"prepare a tree of drawn faces with --embed as {source} first")
    rows = pa.concat_tables(pq.read_table(path) for path in sorted((source / "data").glob("train-*"))).slice(0, faces)
    rows, names = dealt(rows), rows["image_id"].to_pylist()
    by_name = np.argsort([int(name.partition("/")[2]) for name in names])
    random = np.random.default_rng(0).permutation(len(rows))
    folders = []
    for kind in ("paths", "embedded"):
        held = rows if kind == "embedded" else without_bytes(rows)
        for layout, write in LAYOUTS.items():
            folder = work / kind / layout
            folders.append(folder)
            if folder.exists():
                continue
            (folder / "data").mkdir(parents=True)
            configs = write(folder, held, by_name, random)
            (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs}, sort_keys=False)}---\n")
    return folders


def dealt(rows: pa.Table) -> pa.Table:
    rng, counts = np.random.default_rng(1), np.array(FACES["train"], dtype=float)
    labels = rng.choice(len(LABELS), len(rows), p=counts / counts.sum())
    subsets = rng.choice(3, len(rows), p=(0.6, 0.3, 0.1))
    for name, values in (("label", labels), ("subset", subsets)):
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), pa.array(values))
    return rows


def without_bytes(rows: pa.Table) -> pa.Table:
    place, image = rows.schema.get_field_index("image"), rows["image"].combine_chunks()
    paths = pa.StructArray.from_arrays(
        [pa.nulls(len(rows), pa.binary()), pc.binary_join_element_wise("/a/folder", image.field("path"), "/")],
        fields=list(image.type),
    )
    return rows.set_column(place, rows.schema.field(place), paths)


def belongs(rows: pa.Table, view: str) -> np.ndarray:
    pairs = zip(rows["label"].to_pylist(), rows["subset"].to_pylist())
    return np.array([in_view(view, "train", *pair) for pair in pairs])


def save(folder: Path, name: str, rows: pa.Table, places: np.ndarray, shard_rows: int) -> list[str]:
    names = []
    for number, start in enumerate(range(0, len(places), shard_rows)):
        names.append(f"data/{name}-{number:05d}.parquet")
        some = rows.take(pa.array(places[start : start + shard_rows]))
        pq.write_table(some, folder / names[-1], GROUP_ROWS, compression="zstd", use_dictionary=False)
    return names


def part_codes(rows: pa.Table) -> np.ndarray:
    label, subset = rows["label"].to_numpy(), rows["subset"].to_numpy()
    return 3 * (1 * (label == len(EMOTIONS) - 1) + 2 * (label >= len(EMOTIONS))) + subset


def parts(folder: Path, rows: pa.Table, by_name: np.ndarray, random: np.ndarray) -> list[dict]:
    codes, member = part_codes(rows), {view: belongs(rows, view) for view in VIEWS}
    files: dict[str, list[str]] = {view: [] for view in VIEWS}
    for code in sorted(range(9), key=lambda code: (code % 3, code)):
        places = by_name[codes[by_name] == code]
        names = save(folder, f"train-{code}", rows, places, SHARD_ROWS)
        for view in VIEWS:
            files[view] += names if member[view][places[0]] else []
    return [config(view, files[view]) for view in VIEWS]


def small(folder: Path, rows: pa.Table, by_name: np.ndarray, random: np.ndarray) -> list[dict]:
    codes, member = part_codes(rows), {view: belongs(rows, view) for view in VIEWS}
    turns: dict[str, list[tuple[float, str]]] = {view: [] for view in VIEWS}
    for code in range(9):
        places = random[codes[random] == code]
        names = save(folder, f"train-{code}", rows, places, SMALL_ROWS)
        for view in VIEWS:
            if member[view][places[0]]:
                turns[view] += [((number + 0.5) / len(names), name) for number, name in enumerate(names)]
    return [config(view, [name for _, name in sorted(turns[view])]) for view in VIEWS]


def filters(folder: Path, rows: pa.Table, by_name: np.ndarray, random: np.ndarray) -> list[dict]:
    names = save(folder, "train", rows, random, SHARD_ROWS)
    emotion = ["label", "<", len(EMOTIONS)]
    return [
        config("default", names) | {"filters": [emotion]},
        config("difficult", names) | {"filters": [emotion, ["subset", "==", 2]]},
    ]


def copies(folder: Path, rows: pa.Table, by_name: np.ndarray, random: np.ndarray) -> list[dict]:
    return [
        config(view, save(folder, f"{view}-train", rows, random[belongs(rows, view)[random]], SHARD_ROWS))
        for view in VIEWS
    ]


LAYOUTS: dict[str, Callable] = {"parts": parts, "filters": filters, "small": small, "copies": copies}


def config(view: str, names: list[str]) -> dict:
    return {"config_name": view, "data_files": [{"split": "train", "path": names}]}


# --- what is measured ------------------------------------------------------------------------------------------------


def shares(folder: Path, view: str) -> dict:
    """How far class shares of what is read first are from those of all."""
    stream = datasets.load_dataset(str(folder), view, split="train", streaming=True).select_columns("label")
    labels = np.array([row["label"] for row in stream])
    few, rng = len(labels) // 100, np.random.default_rng(0)
    some = np.array([row["label"] for row in stream.shuffle(seed=0, buffer_size=500).take(500)])
    fair = [distance(rng.choice(labels, few, replace=False), labels) for _ in range(200)]
    fair_500 = [distance(rng.choice(labels, min(500, len(labels)), replace=False), labels) for _ in range(200)]
    return {
        "rows": len(labels),
        "first": round(distance(labels[:few], labels), 3),
        "fair": round(float(np.mean(fair)), 3),
        "buffer": round(distance(some, labels), 3),
        "fair_500": round(float(np.mean(fair_500)), 3),
    }


def distance(some: np.ndarray, every: np.ndarray) -> float:
    one, other = (np.bincount(labels, minlength=len(LABELS)) / len(labels) for labels in (some, every))
    return float(np.abs(one - other).sum() / 2)


def sizes(folder: Path, view: str) -> dict:
    configs = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])["configs"]
    names = next(found["data_files"][0]["path"] for found in configs if found["config_name"] == view)
    held = [path.stat().st_size for path in (folder / "data").iterdir()]
    reads = sum((folder / name).stat().st_size for name in names)
    return {"files": len(names), "reads_mb": round(reads / 1e6, 1), "folder_mb": round(sum(held) / 1e6, 1)}


def measured(job: str, folder: str, view: str, cache: str) -> float:
    """Seconds of processor time of this process and its children."""
    start = _processor_time()
    if job == "stream":
        stream = datasets.load_dataset(folder, view, split="train", streaming=True)
        for _ in stream.cast_column("image", datasets.Image(decode=False)).take(1000):
            pass
    else:
        datasets.load_dataset(folder, view, split="train", cache_dir=cache, num_proc=2 if job == "open2" else None)
    return _processor_time() - start


def _processor_time() -> float:
    return sum(sum(resource.getrusage(whose)[:2]) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # pyarrow can wait for ever for the reader of a stream that was not read to its end (arrow 45214)
