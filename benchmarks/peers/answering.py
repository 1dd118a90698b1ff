"""What every adapter of a tool does with its answers; a tool's own environment needs NumPy alone for it.

An adapter is called with FACES OUT ROUNDS and words of its own. FACES holds grey faces of 48x48 bytes, one after
another. Once it has answered the first face it prints "answered" and the seconds since it began. It writes its answers
to all faces to OUT (float64, one row of classes for each face), and prints one line of JSON: `classes`, `megabytes` of
the weights, and the seconds that it takes for all faces, one at a time and in batches of BATCH, in each of ROUNDS
rounds. Seconds are those of the processor, for other programs may run on the same core. answering.js says the same in
JavaScript.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

BATCH = 32


def run(answer, weights) -> None:
    """Ask `answer`, which makes (faces, classes) probabilities of (faces, 48, 48) uint8; `weights` is its file."""
    faces, out, rounds = np.fromfile(sys.argv[1], dtype=np.uint8).reshape(-1, 48, 48), sys.argv[2], int(sys.argv[3])
    answer(faces[:1])
    print("answered", time.process_time(), flush=True)
    rows = np.concatenate([answer(faces[start : start + BATCH]) for start in range(0, len(faces), BATCH)])
    np.asarray(rows, dtype=np.float64).tofile(out)
    found = {"classes": rows.shape[1], "megabytes": Path(weights).stat().st_size / 1e6}
    for name, size in (("seconds_single", 1), ("seconds_batch", BATCH)):
        found[name] = [_seconds(answer, faces, size) for _ in range(rounds)]
    print(json.dumps(found))


def _seconds(answer, faces, size: int) -> float:
    start = time.process_time()
    for first in range(0, len(faces), size):
        answer(faces[first : first + size])
    return time.process_time() - start
