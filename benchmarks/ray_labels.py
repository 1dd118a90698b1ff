"""How fast `label` is in one process and on Ray, beside the bare forward pass of the same networks, with its memory.

    python benchmarks/ray_labels.py WORK [--faces 5000] [--repeats 3] [--workers 1 2]

WORK keeps tars of 1,000 drawn faces of 48 x 48 pixels each (500 are drawn, and repeated) and an ensemble of 8 small
networks with random weights, so that what is not network shows; what is there already is not made again.

Each way runs in a fresh process, in turns. Labelling is timed from when its models are loaded to the finished folder.
That has the start of Ray's actors in it, which takes some seconds whatever the number of faces; what goes before is
`startup`. Workers of Ray run at the priority of everything else (RAY_worker_niceness=0; 15 is its own choice). Memory
is that of all processes; `resident_mb` counts pages that they share once. `cpu_seconds` of all of them says what a
busy machine does not change much. `--way stages 1` prints what a face costs a core in each stage but the networks.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import sys
import time
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import psutil

COLUMNS = (
    "way",
    "workers",
    "faces",
    "seconds",
    "all_seconds",
    "faces_per_second",
    "times_bare",
    "cpu_seconds",
    "startup",
    "peak_mb",
    "resident_mb",
    "repeats",
    "hardware",
    "versions",
    "commit",
    "command",
)
SIZE, DRAWN, PER_TAR = 48, 500, 1000
WAYS = (("bare", 1), ("bare", 2), ("here", 1), ("here", 2), ("ray", 1), ("ray", 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--faces", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], choices=(1, 2))
    parser.add_argument("--way", nargs=2, help="one way alone and its workers, such as stages 1", metavar="X")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run(options.work, options.faces, options.way[0], int(options.way[1]))))
        return
    from measuring import RESULTS, commit, hardware, run_apart, write_csv

    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    make(options.work, options.faces)
    found: dict[tuple[str, int], list[dict]] = {way: [] for way in WAYS if way[1] in options.workers}
    for _ in range(options.repeats):
        for way, workers in found:
            words = (options.work, "--faces", options.faces, "--way", way, workers)
            found[way, workers].append(run_apart(Path(__file__), *words))
            print(way, workers, found[way, workers][-1], flush=True)
    seconds = {way: statistics.median(one["seconds"] for one in runs) for way, runs in found.items()}
    rows = [
        {
            "way": way,
            "workers": workers,
            "faces": options.faces,
            "seconds": seconds[way, workers],
            "all_seconds": " ".join(f"{one['seconds']:.1f}" for one in runs),
            "faces_per_second": options.faces / seconds[way, workers],
            "times_bare": seconds["bare", workers] / seconds[way, workers],
            **{name: max(one[name] for one in runs) for name in ("cpu_seconds", "startup", "peak_mb", "resident_mb")},
            "repeats": options.repeats,
            "hardware": hardware(),
            "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "pyarrow")),
            "commit": commit(),
            "command": f"ray_labels.py WORK --faces {options.faces} --repeats {options.repeats} --workers "
            + " ".join(map(str, options.workers)),
        }
        for (way, workers), runs in found.items()
    ]
    name = f"ray-labels-{options.faces}-{datetime.date.today().isoformat()}-{commit()}.csv"
    write_csv(RESULTS / name, COLUMNS, rows)


# --- what is labelled, and by what -----------------------------------------------------------------------------------


def make(work: Path, faces: int) -> None:
    import tarfile

    import numpy as np
    import torch
    from PIL import Image

    from affectnet_plus_modeling.labelling.ensemble.model import BinaryEnsemble, BinaryEnsembleConfig
    from affectnet_plus_modeling.labelling.ensemble.seen import write_seen
    from affectnet_plus_modeling.sources.synthetic import draw_face

    folder = work / f"tars-{faces}"
    if not folder.exists():
        contents = []
        for index in range(min(DRAWN, faces)):
            file = BytesIO()
            draw_face(0, index).image.resize((SIZE, SIZE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=90)
            contents.append(file.getvalue())
        partial = work / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for start in range(0, faces, PER_TAR):
            with tarfile.open(partial / f"{start // PER_TAR:06d}.tar", "w") as tar:
                for number in range(start, min(start + PER_TAR, faces)):
                    member = tarfile.TarInfo(f"{number:08d}.jpg")
                    member.size = len(contents[number % DRAWN])
                    tar.addfile(member, BytesIO(contents[number % DRAWN]))
        partial.rename(folder)
    if not (work / "ensemble").exists():
        backbone = {
            "model_type": "resnet",
            "embedding_size": 16,
            "hidden_sizes": [16, 32],
            "depths": [1, 1],
            "layer_type": "basic",
        }
        members = [{"backbone": 0, "seed": 0, "fold": -1}]
        torch.manual_seed(0)
        BinaryEnsemble(BinaryEnsembleConfig(image_size=SIZE, backbones=[backbone], members=members)).save_pretrained(
            work / "ensemble"
        )
        write_seen(work / "ensemble" / "seen.parquet", np.empty(0, np.uint64), np.empty(0, int))


# --- the ways --------------------------------------------------------------------------------------------------------


def run(work: Path, faces: int, way: str, workers: int) -> dict:
    """Seconds of one way, and those that went before its first picture."""
    began = time.perf_counter()
    import torch

    torch.set_num_threads(workers)
    if way == "bare":
        return bare(work, faces, workers) | {"startup": 0.0}
    if way == "stages":
        return stages(work, faces)
    from affectnet_plus_modeling.labelling.label import label
    from affectnet_plus_modeling.labelling.label_options import LabelOptions

    if way == "ray":
        import ray

        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    first: list[float] = []

    def progress(stage: str, done: int, total: int) -> None:
        if not first:
            first.extend((time.perf_counter(), processor_seconds()))

    options = LabelOptions(str(work / "ensemble"))
    print_to = sys.stderr
    label(
        work / f"tars-{faces}",
        out,
        options,
        overwrite=True,
        progress=progress,
        say=lambda text: print(text, file=print_to),
        ray="local" if way == "ray" else None,
    )
    return {
        "seconds": time.perf_counter() - first[0],
        "cpu_seconds": processor_seconds() - first[1],
        "startup": first[0] - began,
    }


def processor_seconds() -> float:
    """What this process and all that it started have used of the processors, those that have ended too."""
    one = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in [one, *one.children(recursive=True)])


def bare(work: Path, faces: int, workers: int) -> dict:
    """The networks alone, on tensors that lie ready, in threads of one torch thread each."""
    import tarfile
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import torch

    from affectnet_plus_modeling import images
    from affectnet_plus_modeling.data.dataset import normalise
    from affectnet_plus_modeling.labelling.ensemble.model import load_ensemble
    from affectnet_plus_modeling.labelling.label_options import LabelOptions

    model = load_ensemble(work / "ensemble")
    with tarfile.open(sorted((work / f"tars-{faces}").iterdir())[0]) as tar:
        pixels = np.stack([images.decode(tar.extractfile(member).read()) for member in tar])  # type: ignore[union-attr]
    batches = list(torch.from_numpy(pixels).permute(0, 3, 1, 2).split(LabelOptions.batch_size))
    count = -(-faces // LabelOptions.batch_size)

    @torch.inference_mode()
    def ask(number: int) -> None:
        model(normalise(batches[number % len(batches)]))

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(ask, range(workers)))
        start, used = time.perf_counter(), processor_seconds()
        list(pool.map(ask, range(count)))
        return {"seconds": time.perf_counter() - start, "cpu_seconds": processor_seconds() - used}


def stages(work: Path, faces: int) -> dict:
    """Microseconds of a core for each face: to read and decode it, to send it to another process, to write its row."""
    import pickle
    from functools import partial

    import numpy as np

    from affectnet_plus_modeling.data.parts import StoredParts
    from affectnet_plus_modeling.data.stores import Store
    from affectnet_plus_modeling.labelling.fusion import DEFAULT
    from affectnet_plus_modeling.labelling.label_batches import Answered, batches_of, decode
    from affectnet_plus_modeling.labelling.label_rows import Rules
    from affectnet_plus_modeling.labelling.label_shards import write_batches

    source, place = StoredParts(work / f"tars-{faces}"), Store(work / "stages")
    seen = partial(decode, sizes=(SIZE,), landmarker=None, wanted=())
    used = [time.process_time()]
    batches = [batch for part in source.parts()[:2] for batch in batches_of(source, part, 64, set(), place, seen)]
    used.append(time.process_time())
    for batch in batches:
        pickle.loads(pickle.dumps(batch))
    used.append(time.process_time())
    unknown, some = np.full((64, 8), np.nan), np.random.default_rng(0).random((64, 8))
    answered = [
        Answered(batch, some[:count], unknown[:count], np.full(count, -1))
        for batch in batches
        for count in [len(batch.ids)]
    ]
    write_batches(place, answered, Rules(DEFAULT, False, False, {}, (), {}, False))
    used.append(time.process_time())
    place.empty()
    each = 1e6 / sum(len(batch.ids) for batch in batches)
    return {
        name: each * (used[n + 1] - used[n]) for n, name in enumerate(("read and decode", "send", "row and write"))
    }


if __name__ == "__main__":
    main()
