"""What a training step costs on a busy machine, by the way in which the threads that share a layer wait.

    python benchmarks/busy.py [--cores 0,1] [--busy 0 1] [--seconds 4] [--nice 0]

Each case is a fresh process that trains on noise, pinned to the cores together with as many busy processes of one
thread, each a session of its own, as if somebody else had started it (Linux shares the cores out by session first).
`kept` is the speed that is left: the idle step of the same way over this one.

`--nice -18` (root) puts the whole measurement before whatever else the machine does. The recorded run was made so, on
a machine that others used: its idle steps differ by a third from case to case, the busy ones tell the ways apart.
`affectnet-plus` takes "passive": it keeps a half or more, needs no choice of a number, and an idle machine keeps both
of its threads.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median

from measuring import RESULTS, commit, hardware, write_csv

COLUMNS = (
    *("way", "size", "image_size", "batch_size", "cores", "busy", "steps", "step_ms", "slowest_ms", "cpu_ms", "kept"),
    *("hardware", "commit"),
)
# Read by libgomp, the OpenMP of torch's wheels, when it is loaded. Without any of them a thread spins 300,000 times.
WAYS: dict[str, dict[str, str]] = {
    "spinning (default)": {},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
CASES = (("mini", 48, 32), ("mini", 48, 128), ("tiny", 48, 32), ("tiny", 48, 128))
AUTOGROUP = Path("/proc/self/autogroup")  # of Linux: the session, and its nice value
WARM = 3  # steps that do not count


def main() -> None:
    """Measure all cases, in turns over the ways, and write a CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default="0,1", help="what all processes are pinned to")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1], help="busy processes beside it")
    parser.add_argument("--seconds", type=float, default=4, help="of each case")
    parser.add_argument("--nice", type=int, default=0, help="of all sessions")
    options = parser.parse_args()
    cores = [int(core) for core in options.cores.split(",")]
    os.sched_setaffinity(0, cores)
    os.setsid()
    AUTOGROUP.write_text(str(options.nice))
    rows: list[dict] = []
    for size, image_size, batch_size in CASES:
        for busy in options.busy:
            for way, environment in WAYS.items():
                words = (size, image_size, batch_size, options.seconds)
                case = {"way": way, "size": size, "image_size": image_size, "batch_size": batch_size, "busy": busy}
                rows.append(case | {"cores": len(cores)} | _beside(busy, environment, words))
                print(rows[-1], flush=True)
    idle = {(r["way"], r["size"], r["batch_size"]): r["step_ms"] for r in rows if r["busy"] == 0}
    for row in rows:
        row["kept"] = idle.get((row["way"], row["size"], row["batch_size"]), float("nan")) / row["step_ms"]
        row |= {"hardware": hardware(), "commit": commit()}
    write_csv(RESULTS / f"busy-{date.today()}-{commit().rstrip('+')}.csv", COLUMNS, rows)


def _beside(busy: int, environment: dict[str, str], words: tuple) -> dict:
    nice = AUTOGROUP.read_text().split()[-1]
    spin = f"from pathlib import Path; Path('{AUTOGROUP}').write_text('{nice}')\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", spin], start_new_session=True) for _ in range(busy)]
    try:
        command = [sys.executable, str(Path(__file__)), "--step", *map(str, words)]
        done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure_steps(size: str, image_size: int, batch_size: int, seconds: float) -> None:
    """Print a JSON line: how many steps fitted into `seconds`, their median, the slowest, and CPU time of one."""
    import torch

    from affectnet_plus_modeling.training.options import SIZES
    from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels

    torch.manual_seed(0)
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SIZES[size], image_size=image_size)).train()
    optimizer = torch.optim.AdamW(model.parameters())
    faces = torch.randn(batch_size, 3, image_size, image_size)
    soft = torch.rand(batch_size, 8).softmax(-1)
    took: list[float] = []
    processor = 0.0
    while len(took) < WARM + 3 or sum(took[WARM:]) < seconds:
        began, began_cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        model(pixel_values=faces, labels=soft).loss.backward()
        optimizer.step()
        took.append(time.perf_counter() - began)
        processor += (time.process_time() - began_cpu) * (len(took) > WARM)
    steps = took[WARM:]
    said = {"steps": len(steps), "step_ms": 1000 * median(steps), "slowest_ms": 1000 * max(steps)}
    print(json.dumps(said | {"cpu_ms": 1000 * processor / len(steps)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        measure_steps(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        main()
