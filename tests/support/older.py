"""The older layout of AffectNet, by lists."""

import csv
from pathlib import Path

from affectnet_plus_modeling.sources.older_csv import HEADER
from support.trees import picture

POINTS = [[float(x) + 0.25, float(200 - x)] for x in range(68)]
TEXT = ";".join(f"{value}" for point in POINTS for value in point)


def row_of(path="1/a.jpg", points=TEXT, expression="3", valence="0.5", arousal="-0.25") -> list[str]:
    return [path, "10", "20", "100", "110", points, expression, valence, arousal]


def write_list(path: Path, rows, header=HEADER, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, **options)
        if header:
            writer.writerow(header.split(","))
        writer.writerows(rows)


def write_pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture((7 * number % 256, 90, 40)))
