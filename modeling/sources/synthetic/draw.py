"""Write drawn faces as an AffectNet+ tree, with the true action units beside it."""

import csv
import math
from io import BytesIO

from ...stages import Progress, silent, told
from ...workers import processes_for, working
from ..tree import annotation, writing_tree
from .expressions import ACTION_UNITS
from .face import DrawnFace, draw_face

JPEG_QUALITY = 90
FACES_FOR_A_PROCESS = 200  # are drawn in the two seconds that a process takes to start
NO_HUMAN_START = 1_000_000_000
ACTION_UNIT_FILE = "action_units.csv"


def draw_tree(
    out,
    n: int,
    seed: int = 0,
    validation_fraction: float = 0.2,
    no_human: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
    workers: int | None = 1,
) -> dict:
    """Draw `n` labelled faces, and `no_human` without a human label, into the folder `out`.

    Face i of a seed is the same picture whatever `n` is. Its split follows from i and `validation_fraction` alone:
    validation takes the faces at which i * fraction passes a whole number, evenly spread; each split counts its stems
    from 0. Faces without a human label are numbered from NO_HUMAN_START, so they repeat none of the others; their
    label and subset are null. `action_units.csv` in `out` has a row per face: `split,stem,AU01_r,..`, OpenFace's
    names and range 0..5, a one-sided unit as the mean of its two sides.

    Args:
        out: the folder to make.
        n: labelled faces, in train and validation together, 1 or more.
        seed: non-negative.
        validation_fraction: share of `n` that goes to validation, in [0, 1).
        no_human: faces without a human label, 0 or more.
        overwrite: replace `out` if it exists.
        progress: of the stage "draw", in faces.
        workers: processes that draw; None is as many as are worth their start. They change nothing of the tree. More
            than one are started by "spawn", so a script has to call this under `if __name__ == "__main__":`.

    Returns:
        Faces written: {"train": .., "validation": .., "no_human": ..}.

    Raises:
        ValueError: a count, the seed or the fraction is out of its range.
        FileExistsError: `out` exists and `overwrite` is false.
        OSError: a worker process was killed.
    """
    jobs = list_jobs(n, seed, validation_fraction, no_human)
    counts = {"train": 0, "validation": 0, "no_human": 0}
    with (
        writing_tree(out, overwrite, origin="drawn") as tree,
        open(tree.root / ACTION_UNIT_FILE, "w", newline="") as file,
        working(processes_for(len(jobs), workers, FACES_FOR_A_PROCESS)) as run,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["split", "stem", *(f"{unit}_r" for unit in ACTION_UNITS)])
        drawn = run(_draw, [(seed, index, split != "no_human") for index, split in jobs])
        for (_, split), (picture, known, units) in zip(told(jobs, "draw", progress), drawn):
            tree.add(split, counts[split], picture, known)
            table.writerow([split, counts[split], *units])
            counts[split] += 1
    return counts


def _draw(job: tuple[int, int, bool]) -> tuple[bytes, dict, list[float]]:
    seed, index, labelled = job
    face = draw_face(seed, index)
    return jpeg(face), record(face, labelled), list(face.action_units.values())


def list_jobs(n: int, seed: int, validation_fraction: float, no_human: int) -> list[tuple[int, str]]:
    """(number of the face, its split) for every face of a tree, as `draw_tree` says.

    Raises:
        ValueError: a count, the seed or the fraction is out of its range.
    """
    if not (1 <= n <= NO_HUMAN_START and no_human >= 0 and seed >= 0 and 0 <= validation_fraction < 1):
        raise ValueError(
            "n must be at least 1, no_human and seed at least 0 and validation_fraction in [0, 1): "
            f"n={n}, no_human={no_human}, seed={seed}, validation_fraction={validation_fraction}"
        )
    jobs = [(index, _split(index, validation_fraction)) for index in range(n)]
    return jobs + [(NO_HUMAN_START + number, "no_human") for number in range(no_human)]


def _split(index: int, fraction: float) -> str:
    # The tiny shift keeps 0.29 * 100 = 28.999999999999996 from falling one face short.
    before, after = (math.floor(number * fraction + 1e-9) for number in (index, index + 1))
    return "validation" if after > before else "train"


def jpeg(face: DrawnFace) -> bytes:
    """The picture as a file."""
    file = BytesIO()
    face.image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def record(face: DrawnFace, labelled: bool) -> dict:
    """The annotation; without a human label its label and subset are null."""
    return annotation(
        label=face.label if labelled else None,
        soft_label=face.soft_label,
        subset=face.subset if labelled else None,
        valence=face.valence,
        arousal=face.arousal,
        age=face.age,
        pose=dict(zip(("yaw", "pitch", "roll"), face.pose)),
        landmarks_68=face.landmarks_68,
    )
