"""The jobs of prepare.py, one in each process: `prepare_jobs.py JOB TREE OUT WORKERS` prints seconds and rows as JSON.

TREE is an AffectNet+ tree, or for `imagefolder` and `opening` the folder to open; OUT is the folder to write, or the
cache. A job imports what it needs before its clock starts; `import_seconds` is what that took.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

PARTS = ("human_annotated/train_set", "human_annotated/validation_set", "no_human_annotated")
STEP = 2000
START = time.perf_counter()


def floor_json(tree: Path, out: Path, workers: int):
    """List the annotations, read and parse each, keep nothing."""
    import orjson  # noqa: F401  here it is part of the import time

    return lambda: _floor(tree, ("annotations",), workers)


def floor_files(tree: Path, out: Path, workers: int):
    """The same, and read each picture without looking at it."""
    import orjson  # noqa: F401

    return lambda: _floor(tree, ("annotations", "images"), workers)


def _floor(tree: Path, kinds: tuple[str, ...], workers: int) -> int:
    jobs = []
    for folder in (tree / part / kind for part in PARTS if (tree / part).is_dir() for kind in kinds):
        names = sorted(os.listdir(folder))
        jobs += [(str(folder), names[start : start + STEP]) for start in range(0, len(names), STEP)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        return sum(pool.imap_unordered(_read_all, jobs)) // len(kinds)


def _read_all(job: tuple[str, list[str]]) -> int:
    import orjson

    folder, names = job
    for name in names:
        with open(f"{folder}/{name}", "rb") as file:
            content = file.read()
        if name.endswith(".json"):
            orjson.loads(content)
    return len(names)


def path_only(tree: Path, out: Path, workers: int):
    """`affectnet-plus prepare`; where OUT is there already and nothing has changed, it finds out just that."""
    from affectnet_plus_modeling.preparing import prepare

    return lambda: _rows(prepare(tree, out, workers=workers))


def embedded(tree: Path, out: Path, workers: int):
    """`affectnet-plus prepare --embed`."""
    from affectnet_plus_modeling.preparing import prepare

    return lambda: _rows(prepare(tree, out, embed=True, workers=workers))


def _rows(report: dict) -> int:
    return sum(split["rows"] for split in report["splits"].values())


def opening(folder: Path, cache: Path, workers: int):
    """Open a prepared folder, all rows with a human label."""
    import datasets

    datasets.disable_progress_bars()
    return lambda: _length(datasets.load_dataset(str(folder), "all", cache_dir=str(cache)))


def imagefolder(folder: Path, cache: Path, workers: int):
    """Open pictures with a metadata.jsonl: the first time this builds the cache, the second time it finds it."""
    import datasets

    datasets.disable_progress_bars()
    return lambda: _length(datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(cache)))


def generator(tree: Path, cache: Path, workers: int):
    """A builder as one writes it in an hour: json.load for each face, pictures by path, the same columns as ours."""
    import datasets

    from affectnet_plus import features

    datasets.disable_progress_bars()

    class Plain(datasets.GeneratorBasedBuilder):
        def _info(self):
            return datasets.DatasetInfo(features=features("all"))

        def _split_generators(self, dl_manager):
            return [
                datasets.SplitGenerator(Path(part).name, gen_kwargs={"chunks": _chunks(tree / part)})
                for part in PARTS
                if (tree / part).is_dir()
            ]

        def _generate_examples(self, chunks):
            for chunk in chunks:
                for folder, stem in chunk:
                    yield stem, _example(folder, stem)

    def build() -> int:
        builder = Plain(cache_dir=str(cache))
        builder.download_and_prepare(num_proc=workers if workers > 1 else None)
        return _length(builder.as_dataset())

    return build


def _chunks(folder: Path) -> list[list[tuple[str, str]]]:
    stems = sorted(Path(name).stem for name in os.listdir(folder / "images"))
    return [[(str(folder), stem) for stem in stems[start : start + STEP]] for start in range(0, len(stems), STEP)]


def _example(folder: str, stem: str) -> dict:
    with open(f"{folder}/annotations/{stem}.json") as file:
        record = json.load(file)
    meta, soft = record["meta-data"], record["soft-label"]
    flat_68, flat_29 = meta["landmark-68"], meta["landmark-29"]
    return {
        "image": f"{folder}/images/{stem}.jpg",
        "image_id": f"{Path(folder).name}/{stem}",
        "label": record["human-label"],
        "soft_label": soft,
        "soft_label_normalized": [value / sum(soft) for value in soft],
        "subset": record["subset"],
        "valence": None if meta["valence"] == -2 else meta["valence"],
        "arousal": None if meta["arousal"] == -2 else meta["arousal"],
        "age": meta["age"],
        "gender": meta["gender"],
        "race": {name.replace(" ", "_"): value for name, value in meta["race"].items()},
        "pose": meta["pose"],
        "landmarks_68": [flat_68[at : at + 2] for at in range(0, len(flat_68), 2)],
        "landmarks_29": [flat_29[at : at + 2] for at in range(0, len(flat_29), 2)],
    }


def _length(splits) -> int:
    return sum(map(len, splits.values()))


JOBS = {job.__name__: job for job in (floor_json, floor_files, path_only, embedded, opening, imagefolder, generator)}


def main(job: str, tree: str, out: str, workers: str) -> None:
    work = JOBS[job](Path(tree), Path(out), int(workers))
    start = time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "rows": rows, "import_seconds": start - START}))


if __name__ == "__main__":
    main(*sys.argv[1:])
