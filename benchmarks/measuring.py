"""What the benchmarks share: jobs in fresh processes with their peak memory, and the names of machine and commit."""

import csv
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

RESULTS = Path(__file__).with_name("results")

# README.md of a folder of one train.parquet, which `load_dataset` and `train --holdout` open.
TRAIN_ONLY_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: train.parquet
---
"""


def run_apart(script: Path, *words) -> dict:
    """Run `script` in a fresh interpreter; the last line that it prints is JSON, and the result with its memory.

    Memory is that of the script's process and all that it starts, looked at every 0.05 s, in units of 10^6 bytes.
    `peak_mb` is the largest sum of their high-water marks (VmHWM; ru_maxrss would be inherited from this process).
    No peak escapes it, but libraries that several processes map count for each of them. `resident_mb` counts such
    pages once: the largest sum of what each process has for itself, and of the shared pages of the one with most.
    """
    process = subprocess.Popen([sys.executable, str(script), *map(str, words)], stdout=subprocess.PIPE, text=True)
    peak = resident = 0
    with process:
        while process.poll() is None:
            found = [_memory(number) for number in _family(process.pid)] or [(0, 0, 0)]
            marks, own, common = zip(*found)
            peak, resident = max(peak, sum(marks)), max(resident, sum(own) + max(common))
            time.sleep(0.05)
        lines = process.stdout.read().splitlines()  # type: ignore[union-attr]
    if process.returncode:
        sys.exit(f"{script.name} {' '.join(map(str, words))} ended with {process.returncode}")
    return json.loads(lines[-1]) | {"peak_mb": peak / 1e6, "resident_mb": resident / 1e6}


def _family(number: int) -> list[int]:
    try:
        return [number, *(child.pid for child in psutil.Process(number).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _memory(number: int) -> tuple[int, int, int]:
    """Bytes of a process: its high-water mark, what it has for itself now, and what it maps of files."""
    try:
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0, 0, 0
    found = {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if name in ("VmHWM", "RssAnon", "RssFile", "RssShmem")
    }
    own, files, shared = (found.get(name, 0) for name in ("RssAnon", "RssFile", "RssShmem"))
    return found.get("VmHWM", 0), own, files + shared


def hardware() -> str:
    """Name of the processor and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def commit() -> str:
    """Short name of the commit, with a + where files of it were changed since."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=7", "--dirty=+"]
    return subprocess.run(command, cwd=RESULTS, capture_output=True, text=True, check=True).stdout.strip()


def write_csv(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    """Write rows with numbers to four places."""
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows([{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows])
    print(f"written: {path}")
