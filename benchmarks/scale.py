"""How memory and time of `prepare`, `doctor` and an evaluation grow with the rows, on the way to ten million.

    OMP_NUM_THREADS=1 python benchmarks/scale.py WORK [--prepare 50000 100000 200000] [--embed 50000 100000 200000]
                                [--near 100000 400000 1600000] [--evaluate 250000 1000000 4000000]

Each job runs in a fresh process of one thread; its seconds are those of the processor, as machines are shared.

* prepare: drawn faces of 48 pixels, POOL of them, as hard links under as many names as there are rows; the tree takes
  no room but that of the names. `kept` is the size of the prepared folder.
* near duplicates: hashes of 64 bits twice, as skewed as those of photos (each bit of one of 2,000 drawn faces turned
  with a probability of .15), and of one row in ten a neighbour.
* evaluation: drawn predictions; overall numbers, and those of a partition into three, with intervals; with
  --resamples (20) alone, as each takes the same. It is `audit`, without attributes.

The last column extrapolates each job to ten million rows: memory along the line through the last two sizes, time by
the power of the rows that these two tell. The figures go to benchmarks/results/scale-<date>-<commit>.csv.
"""

import argparse
import datetime
import json
import os
import shutil
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from measuring import RESULTS, commit, hardware, run_apart, write_csv
from PIL import Image

TEN_MILLION = 10_000_000
POOL = 512  # a file of ext4 has up to 65,000 names
COLUMNS = (
    "job",
    "rows",
    "seconds",
    "peak_mb",
    "kept_mb",
    "bytes_per_row",
    "power",
    "seconds_at_ten_million",
    "peak_gb_at_ten_million",
    "hardware",
    "commit",
    "command",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--prepare", type=int, nargs="*", default=[50_000, 100_000, 200_000])
    parser.add_argument("--embed", type=int, nargs="*", default=[50_000, 100_000, 200_000])
    parser.add_argument("--near", type=int, nargs="*", default=[100_000, 400_000, 1_600_000])
    parser.add_argument("--evaluate", type=int, nargs="*", default=[250_000, 1_000_000, 4_000_000])
    parser.add_argument("--resamples", type=int, default=20)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    jobs = {
        "prepare, path-only": ("path", options.prepare),
        "prepare, embedded": ("embed", options.embed),
        "near duplicates": ("near", options.near),
        "evaluation, bootstrap": ("evaluate", options.evaluate),
    }
    command = " ".join(["scale.py", "WORK", *sys.argv[2:]])
    common = {"hardware": hardware(), "commit": commit(), "command": command}
    path = RESULTS / f"scale-{datetime.date.today().isoformat()}-{commit()}.csv"
    rows: list[dict] = []
    for name, (job, sizes) in jobs.items():
        found: list[dict] = []
        for size in sizes:
            if job in ("path", "embed"):
                link_tree(options.work / f"tree-{size}", size)
            done = run_apart(Path(__file__), job, options.work, size, options.resamples)
            found.append({"job": name, "rows": size} | done | extrapolated([*found, {"rows": size} | done]))
            rows.append(found[-1])
            print(f"{name}, {size:,} rows: {done['seconds']:.1f} s, {done['peak_mb']:.0f} MB", flush=True)
            write_csv(path, COLUMNS, [{name: (row | common).get(name, "") for name in COLUMNS} for row in rows])


def extrapolated(runs: list[dict]) -> dict:
    """Of the last two sizes of a job: bytes a row, the power of the rows in time, and both at ten million."""
    if len(runs) < 2:
        return {}
    one, other = runs[-2:]
    grown = other["rows"] / one["rows"]
    slope = (other["peak_mb"] - one["peak_mb"]) / (other["rows"] - one["rows"])
    power = float(np.log(other["seconds"] / one["seconds"]) / np.log(grown))
    return {
        "bytes_per_row": slope * 1e6,
        "power": power,
        "seconds_at_ten_million": other["seconds"] * (TEN_MILLION / other["rows"]) ** power,
        "peak_gb_at_ten_million": (other["peak_mb"] + slope * (TEN_MILLION - other["rows"])) / 1e3,
    }


def link_tree(out: Path, rows: int) -> None:
    """An AffectNet+ tree of `rows` training faces, whose files are few."""
    from affectnet_plus_modeling.sources.synthetic import draw_face
    from affectnet_plus_modeling.sources.synthetic.draw import record
    from affectnet_plus_modeling.sources.tree import writing_tree

    if out.exists():
        return
    with writing_tree(out, origin="drawn") as tree:
        for number in range(min(POOL, rows)):
            face, picture = draw_face(0, number), BytesIO()
            face.image.resize((48, 48), Image.Resampling.BILINEAR).save(picture, "JPEG", quality=90)
            tree.add("train", number, picture.getvalue(), record(face, labelled=True))
    train = out / "human_annotated" / "train_set"
    for kind, suffix in (("images", "jpg"), ("annotations", "json")):
        for number in range(POOL, rows):
            os.link(train / kind / f"{number % POOL}.{suffix}", train / kind / f"{number}.{suffix}")


# --- the jobs --------------------------------------------------------------------------------------------------------


def prepare_once(work: Path, rows: int, embed: bool) -> dict:
    from affectnet_plus_modeling.preparing import prepare

    out = work / "prepared"
    shutil.rmtree(out, ignore_errors=True)
    report = prepare(work / f"tree-{rows}", out, embed=embed)
    assert report["splits"]["train"]["rows"] == rows
    kept = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return {"kept_mb": kept / 1e6}


def near_once(rows: int) -> dict:
    from affectnet_plus_modeling.checking.duplicates import group_near

    groups = group_near(skewed_hashes(rows))
    return {"groups": int(groups.max()) + 1}


def skewed_hashes(rows: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 2**64, (2000, 2), dtype=np.uint64)
    hashes = faces[rng.integers(0, 2000, rows)]
    for bit in range(64):
        turned = rng.random((rows, 2), dtype=np.float32) < 0.15
        hashes ^= turned.astype(np.uint64) << np.uint64(bit)
    copied = rng.choice(rows, rows // 10, replace=False)
    hashes[copied] = hashes[rng.integers(0, rows, len(copied))] ^ np.uint64(1)
    return hashes


def evaluate_once(rows: int, resamples: int) -> dict:
    from evaluation import drawn_grouping, drawn_predictions

    from affectnet_plus_modeling.evaluation.audit import audit

    predictions = drawn_predictions(rows, 0)
    subsets = drawn_grouping(("easy", "challenging", "difficult"), rows, 9)
    found = audit(predictions, None, subsets, {}, resamples)
    return {"kl": found["kl"]}


def job(name: str, work: str, rows: str, resamples: str) -> None:
    began = time.process_time()
    if name in ("path", "embed"):
        found = prepare_once(Path(work), int(rows), name == "embed")
    elif name == "near":
        found = near_once(int(rows))
    else:
        found = evaluate_once(int(rows), int(resamples))
    print(json.dumps(found | {"seconds": time.process_time() - began}))


if __name__ == "__main__":
    if sys.argv[1] in ("path", "embed", "near", "evaluate"):
        job(*sys.argv[1:])
    else:
        main()
