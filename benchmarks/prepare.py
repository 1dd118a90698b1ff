"""How fast `prepare` is, side by side with a floor that only reads, and with what `datasets` has for the same files.

    python benchmarks/prepare.py WORK [--faces 420299] [--no-human 0] [--peers-faces 20000] [--workers 2] [--repeats 3]
                                      [--fairface TAR]

Needs orjson, and serves nothing else with it: pip install orjson. WORK keeps the tree, which is made once for each
choice of --faces, --no-human and --fairface; 420,299 faces take about 7 GB and a minute, and the embedded folder 5 GB
more. Its pictures are 512 drawn faces (or those of FairFace), written over and over as different files; the
annotations have every field filled, at about the size of the real ones.

Each job runs in a fresh process, with its --workers. Every file is read once before the first job, so that the page
cache is warm as far as the memory reaches. Jobs take turns, --repeats times, and the medians are reported. The clock
starts when the imports are done; worker processes that `prepare` starts count with their imports. The peers get the
first --peers-faces faces of train as hard links, the same files by other names, because `imagefolder` is slow; ours
run on the same subset too, so that the ratios to the peers are of the same files. The metadata.jsonl for
`imagefolder` is written beforehand, and that is not counted; num_proc is of no use to it, one metadata file is one
shard.

The figures go to benchmarks/results/prepare-<date>-<commit>.csv.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
from measuring import RESULTS, commit, hardware, run_apart, write_csv
from PIL import Image

from affectnet_plus import GENDERS, RACES
from affectnet_plus_modeling.cli.progress import show_bars
from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.sources.synthetic.draw import jpeg, list_jobs, record
from affectnet_plus_modeling.sources.synthetic.repeat import POOL, write_repeated

SCRIPT = Path(__file__).with_name("prepare_jobs.py")
VALIDATION = 5500 / 420_299  # the share in the release
TRAIN = "human_annotated/train_set"
FLOOR, PATH_ONLY, EMBEDDED = "floor: read every JSON", "prepare, path-only", "prepare, embedded"
IMAGEFOLDER = "build: datasets imagefolder"
COLUMNS = (
    "files",
    "job",
    "faces",
    "workers",
    "seconds",
    "all_seconds",
    "faces_per_second",
    "times_ours",
    "times_floor",
    "peak_mb",
    "resident_mb",
    "output_mb",
    "import_seconds",
    "repeats",
    "page_cache",
    "hardware",
    "versions",
    "commit",
    "command",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--faces", type=int, default=420_299, help="with a human label, train and validation together")
    parser.add_argument("--no-human", type=int, default=0, help="without one; the release has 539,607")
    parser.add_argument("--peers-faces", type=int, default=20_000, help="for the peers, and for ours beside them")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fairface", type=Path, help="tar of JPEGs that take the place of the drawn ones")
    options = parser.parse_args()
    tree = make_tree(options)
    subset = link_subset(tree, options.work / f"{tree.name}-{options.peers_faces}", options.peers_faces)
    whole = Bench(tree, options.work / "scratch", options.workers)
    few = Bench(subset / "tree", options.work / "scratch-few", options.workers)
    for repeat in range(options.repeats):
        run_ours(whole)
        run_ours(few)
        run_peers(few, subset / "imagefolder")
        print(f"--- {repeat + 1} of {options.repeats} repeats done", flush=True)
    rows = [row for bench in (whole, few) for row in bench.rows()]
    data = options.fairface.name if options.fairface else "drawn"
    common = {
        "repeats": options.repeats,
        "page_cache": "warm",
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("datasets", "pyarrow", "orjson", "msgspec")),
        "commit": commit(),
        "command": f"prepare.py WORK --faces {options.faces} --no-human {options.no_human} --peers-faces "
        f"{options.peers_faces} --workers {options.workers} --repeats {options.repeats}"
        + (f" --fairface {data}" if options.fairface else ""),
    }
    print_goals(whole, few)
    path = RESULTS / f"prepare-{datetime.date.today().isoformat()}-{commit()}.csv"
    write_csv(path, COLUMNS, [{"files": data} | row | common for row in rows])


# --- the files -------------------------------------------------------------------------------------------------------


def make_tree(options) -> Path:
    """The tree of the asked size; one that is there already is taken as it is."""
    kind = "fairface" if options.fairface else "drawn"
    tree = options.work / f"{kind}-{options.faces}-{options.no_human}"
    if not tree.exists():
        options.work.mkdir(parents=True, exist_ok=True)
        pictures = fairface_pictures(options.fairface) if options.fairface else None
        jobs = list_jobs(options.faces, 0, VALIDATION, options.no_human)
        origin = "FairFace" if options.fairface else "drawn"
        with show_bars() as progress:
            write_repeated(
                tree, jobs, lambda index, labelled: make(index, labelled, pictures), origin, progress=progress
            )
    return tree


def make(index: int, labelled: bool, pictures: list[bytes] | None) -> tuple[bytes, dict]:
    """A picture and an annotation with every field filled, in as many digits as a program writes."""
    face = draw_face(0, index)
    annotation, rng = record(face, labelled), np.random.default_rng(index)
    about = annotation["meta-data"]
    annotation["soft-label"] = [min(1.0, value + rng.uniform(0, 1e-6)) for value in face.soft_label]
    about["gender"] = dict(zip(GENDERS, rng.dirichlet(np.ones(len(GENDERS))).tolist()))
    about["race"] = dict(zip(RACES, rng.dirichlet(np.ones(len(RACES))).tolist()))
    about["landmark-29"] = rng.integers(40, 200, 58).tolist()
    about |= {name: about[name] + float(rng.uniform(-1e-6, 1e-6)) for name in ("valence", "arousal", "age")}
    return jpeg(face) if pictures is None else pictures[index % len(pictures)], annotation


def fairface_pictures(path: Path) -> list[bytes]:
    """The first POOL pictures of the tar that have 224 x 224 pixels and a JFIF header."""
    pictures = []
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            if content[6:10] == b"JFIF" and Image.open(BytesIO(content)).size == (224, 224):
                pictures.append(content)
            if len(pictures) == POOL:
                break
    return pictures


def link_subset(tree: Path, out: Path, faces: int) -> Path:
    """The first faces of train as hard links: `out`/tree in the release's layout, `out`/imagefolder with metadata."""
    if out.exists():
        return out
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    images, annotations = (partial / "tree" / TRAIN / kind for kind in ("images", "annotations"))
    beside = partial / "imagefolder" / "train"
    for folder in (images, annotations, beside):
        folder.mkdir(parents=True)
    with open(beside / "metadata.jsonl", "w") as table:
        for stem in range(min(faces, len(os.listdir(tree / TRAIN / "images")))):
            picture, annotation = tree / TRAIN / f"images/{stem}.jpg", tree / TRAIN / f"annotations/{stem}.json"
            os.link(picture, images / picture.name)
            os.link(picture, beside / picture.name)
            os.link(annotation, annotations / annotation.name)
            table.write(json.dumps({"file_name": picture.name} | json.loads(annotation.read_bytes())) + "\n")
    partial.rename(out)
    return out


# --- the jobs --------------------------------------------------------------------------------------------------------


class Bench:
    """The runs of all jobs on one tree."""

    def __init__(self, tree: Path, scratch: Path, workers: int):
        self.tree, self.scratch, self.workers = tree, scratch, workers
        self.runs: dict[str, list[dict]] = {}
        shutil.rmtree(scratch, ignore_errors=True)
        run_apart(SCRIPT, "floor_files", tree, scratch, workers)  # from now on the files are in the page cache

    def run(self, name: str, job: str, folder: Path, out: str = "none", workers: int | None = None) -> Path:
        """Run a job of prepare_jobs.py once, and note what it took under `name`."""
        workers = workers or self.workers
        target = self.scratch / out
        target.parent.mkdir(parents=True, exist_ok=True)
        found = run_apart(SCRIPT, job, folder, target, workers) | {"workers": workers}
        found["output_mb"] = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / 1e6
        self.runs.setdefault(name, []).append(found)
        print(f"{self.tree.name} {name}: {found['seconds']:.2f} s, {found['peak_mb']:.0f} MB", flush=True)
        return target

    def median(self, name: str, what: str = "seconds") -> float:
        return statistics.median(run[what] for run in self.runs[name])

    def rows(self) -> list[dict]:
        """A line for each job: medians, but the largest peak."""
        return [
            {
                "job": name,
                "faces": runs[0]["rows"],
                "workers": runs[0]["workers"],
                "seconds": self.median(name),
                "all_seconds": " ".join(f"{run['seconds']:.3f}" for run in runs),
                "faces_per_second": runs[0]["rows"] / self.median(name),
                "times_ours": self.median(name) / self.median(PATH_ONLY),
                "times_floor": self.median(name) / self.median(FLOOR),
                "peak_mb": max(run["peak_mb"] for run in runs),
                "resident_mb": max(run["resident_mb"] for run in runs),
                "output_mb": self.median(name, "output_mb"),
                "import_seconds": self.median(name, "import_seconds"),
            }
            for name, runs in self.runs.items()
        ]


def run_ours(bench: Bench) -> None:
    bench.run(FLOOR, "floor_json", bench.tree)
    bench.run("floor: read every JSON and JPEG", "floor_files", bench.tree)
    out = bench.run(PATH_ONLY, "path_only", bench.tree, "path-only")
    bench.run("prepare again, nothing changed", "path_only", bench.tree, "path-only")
    open_twice(bench, "prepared folder, path-only", out)
    out = bench.run(EMBEDDED, "embedded", bench.tree, "embedded")
    open_twice(bench, "prepared folder, embedded", out)
    shutil.rmtree(bench.scratch)


def open_twice(bench: Bench, what: str, folder: Path) -> None:
    bench.run(f"open first: {what}", "opening", folder, "cache", 1)
    shutil.rmtree(bench.run(f"open again: {what}", "opening", folder, "cache", 1))


def run_peers(bench: Bench, folder: Path) -> None:
    bench.run(IMAGEFOLDER, "imagefolder", folder, "cache", 1)
    shutil.rmtree(bench.run("open again: datasets imagefolder", "imagefolder", folder, "cache", 1))
    shutil.rmtree(bench.run("build: datasets GeneratorBasedBuilder", "generator", bench.tree, "cache"))


def print_goals(whole: Bench, few: Bench) -> None:
    """Each goal with what was reached."""
    ours, floor = (whole.median(name) for name in (PATH_ONLY, FLOOR))
    peak, resident = (
        max(run[what] for name in (PATH_ONLY, EMBEDDED) for run in whole.runs[name])
        for what in ("peak_mb", "resident_mb")
    )
    print_goal(
        "path-only prepare against imagefolder, same files",
        few.median(IMAGEFOLDER) / few.median(PATH_ONLY),
        "times as fast, goal 5 or more",
        lambda found: found >= 5,
    )
    print_goal(
        "path-only prepare against reading every JSON",
        ours / floor,
        "times as long, goal 2 or less",
        lambda found: found <= 2,
    )
    print_goal(
        "peak memory of prepare",
        peak,
        f"MB, goal below 1000 ({resident:.0f} with shared pages counted once)",
        lambda found: found < 1000,
    )
    print_goal(
        "second opening",
        whole.median("open again: prepared folder, path-only"),
        "s, goal below 0.5",
        lambda found: found < 0.5,
    )


def print_goal(what: str, found: float, unit: str, reached: Callable[[float], bool]) -> None:
    print(f"{'reached' if reached(found) else 'MISSED'}: {what}: {found:.2f} {unit}")


if __name__ == "__main__":
    main()
