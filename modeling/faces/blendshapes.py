"""From MediaPipe's blendshapes to action units, as far as they go.

The 52 blendshapes have the names and meanings of Apple's ARKit (ARFaceAnchor.BlendShapeLocation), [0, 1] each. Where
what Apple says a coefficient moves is what FACS (Ekman, Friesen and Hager 2002) says a unit moves, one stands for the
other; left and right are averaged, as a table of action units has one number for both.

| unit | FACS | blendshapes | whose |
| --- | --- | --- | --- |
| AU01 | inner brow raiser | browInnerUp | same movement |
| AU02 | outer brow raiser | browOuterUp | same movement |
| AU04 | brow lowerer | browDown | same movement; Apple speaks of the outer part only |
| AU05 | upper lid raiser | eyeWide | same movement |
| AU07 | lid tightener | eyeSquint | same movement; about 0.3 in a face at rest |
| AU10 | upper lip raiser | mouthUpperUp | same movement |
| AU12 | lip corner puller | mouthSmile | same movement |
| AU14 | dimpler | mouthDimple | same movement |
| AU15 | lip corner depressor | mouthFrown | same movement |
| AU17 | chin raiser | mouthShrugLower | ours: what mentalis does to the lower lip |
| AU20 | lip stretcher | mouthStretch | same movement |
| AU24 | lip pressor | mouthPress | ours: Apple's presses the lower lip upwards |
| AU25 | lips part | largest of jawOpen, mouthLowerDown, mouthUpperUp | ours: what parts lips |
| AU26 | jaw drop | jawOpen | same movement, AU27 included |

AU06 (cheekSquint), AU09 (noseSneer) and cheekPuff are left out: MediaPipe has the names, but never moves them.
On 30,589 faces of FER+ the largest value is .0001, .0005 and .0084. A 0 in the table would say that the cheek does
not move, which is not known. AU23 (lip tightener) has no counterpart.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..files import written_whole

BLENDSHAPES: dict[str, tuple[str, ...]] = {
    "AU01": ("browInnerUp",),
    "AU02": ("browOuterUpLeft", "browOuterUpRight"),
    "AU04": ("browDownLeft", "browDownRight"),
    "AU05": ("eyeWideLeft", "eyeWideRight"),
    "AU07": ("eyeSquintLeft", "eyeSquintRight"),
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU17": ("mouthShrugLower",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU24": ("mouthPressLeft", "mouthPressRight"),
    "AU26": ("jawOpen",),
}
LIPS_PART = (("jawOpen",), ("mouthLowerDownLeft", "mouthLowerDownRight"), ("mouthUpperUpLeft", "mouthUpperUpRight"))
UNITS = tuple(sorted([*BLENDSHAPES, "AU25"]))


def action_units(blendshapes: Iterable[Mapping[str, float]]) -> np.ndarray:
    """(n, len(UNITS)) float64 in [0, 1], by the table above.

    Args:
        blendshapes: for each of n faces, name -> [0, 1].

    Raises:
        ValueError: a blendshape of the table is absent or outside [0, 1].
    """
    rows = [_one_face(face, row) for row, face in enumerate(blendshapes)]
    return np.array(rows, dtype=float).reshape(-1, len(UNITS))


def _one_face(face: Mapping[str, float], row: int) -> list[float]:
    needed = sorted({name for names in (*BLENDSHAPES.values(), *LIPS_PART) for name in names})
    for name in needed:
        if not 0 <= face.get(name, np.nan) <= 1:
            raise ValueError(f"{name} of face {row} is {face.get(name)}, expected a number in [0, 1]")
    units = {unit: float(np.mean([face[name] for name in names])) for unit, names in BLENDSHAPES.items()}
    units["AU25"] = max(float(np.mean([face[name] for name in names])) for names in LIPS_PART)
    return [units[unit] for unit in UNITS]


def write_action_units(path, names: Iterable[str], values: np.ndarray) -> None:
    """Write a csv that `read_action_units` takes: py-feat's columns `input,AU01,..`, in [0, 1].

    Args:
        names: of the n images, as they are to be found again ("train/12").
        values: (n, len(UNITS)) from `action_units`.
    """
    with written_whole(Path(path)) as partial, open(partial, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["input", *UNITS])
        for name, row in zip(names, np.asarray(values).tolist(), strict=True):
            table.writerow([name, *(f"{value:.4f}" for value in row)])
