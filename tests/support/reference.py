"""The rows of a tree, read by other means than ours; and a small tree. Beside Pillow and xxhash it
needs the standard library.

Expected numbers are rounded to float32, rows are in the order of the hashes of their names.
"""

import hashlib
import json
import struct
from pathlib import Path

import xxhash
from PIL import Image

FOLDERS = {
    "train": "human_annotated/train_set",
    "validation": "human_annotated/validation_set",
    "no_human": "no_human_annotated",
}
_BELONGS = {  # view -> whether it has a row with this label and subset
    "default": lambda label, subset: label in range(8),
    "7-class": lambda label, subset: label in range(7),
    "easy": lambda label, subset: label in range(8) and subset == 0,
    "challenging": lambda label, subset: label in range(8) and subset == 1,
    "difficult": lambda label, subset: label in range(8) and subset == 2,
    "all": lambda label, subset: True,
    "no_human": lambda label, subset: True,
}
SPLITS_OF = {view: ("train",) if view == "no_human" else ("train", "validation") for view in _BELONGS}


def expected_rows(root: Path, view: str, split: str) -> list[dict]:
    """What the split of the view must give, as `plain` gives it."""
    part = "no_human" if view == "no_human" else split
    rows = []
    paths = (root / FOLDERS[part] / "annotations").iterdir()
    for path in sorted(paths, key=lambda path: xxhash.xxh3_64_digest(f"{part}/{path.stem}".encode())):
        record = json.loads(path.read_text())
        if _BELONGS[view](record["human-label"], record["subset"]):
            (picture,) = (root / FOLDERS[part] / "images").glob(f"{path.stem}.*")
            rows.append(_expected_row(f"{part}/{path.stem}", record, picture))
    return rows


def _expected_row(image_id: str, record: dict, picture: Path) -> dict:
    meta, soft = record["meta-data"], record["soft-label"]
    affect = {name: None if meta[name] == -2 else _single(meta[name]) for name in ("valence", "arousal")}
    structs = {name: _struct(meta[name]) for name in ("gender", "race", "pose")}
    with Image.open(picture) as image:
        return {
            "image": _digest(image),
            "image_id": image_id,
            "label": record["human-label"],
            "soft_label": soft and [_single(value) for value in soft],
            "soft_label_normalized": soft and [_single(value / sum(soft)) for value in soft],
            "subset": record["subset"],
            **affect,
            "age": _single(meta["age"]),
            **structs,
            "landmarks_68": _pairs(meta["landmark-68"]),
            "landmarks_29": _pairs(meta["landmark-29"]),
        }


def _single(value):
    return None if value is None else struct.unpack("f", struct.pack("f", value))[0]


def _struct(value):
    return value and {name.replace(" ", "_"): _single(number) for name, number in value.items()}


def _pairs(flat):
    return flat and [[float(x), float(y)] for x, y in zip(flat[::2], flat[1::2])]


def _digest(image) -> str:
    return hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).hexdigest()


def plain(row: dict) -> dict:
    """A row of `datasets` in comparable form: a digest of its pixels, and landmarks that are null as None.

    Before version 5, `datasets` reads a null array as one of NaN.
    """
    row = row | {"image": _digest(row["image"])}
    for name in ("landmarks_68", "landmarks_29"):
        points = row[name]
        row[name] = None if points is None or points[0][0] != points[0][0] else [list(point) for point in points]
    return row


def write_small_tree(root: Path) -> None:
    """Each label in each split, every subset, each field filled and null, stems that sort otherwise as text."""
    for split, stems in (("train", range(7, 40)), ("validation", range(2, 30)), ("no_human", range(5, 8))):
        for kind in ("images", "annotations"):
            (root / FOLDERS[split] / kind).mkdir(parents=True)
        for stem in stems:
            folder = root / FOLDERS[split]
            Image.new("RGB", (40, 30), (stem, 5 * stem, 90)).save(folder / "images" / f"{stem}.jpg")
            record = _record(stem, None if split == "no_human" else stem % 11)
            (folder / "annotations" / f"{stem}.json").write_text(json.dumps(record))


def _record(stem: int, label: int | None) -> dict:
    whole = stem % 5 > 0
    races = ("asian", "indian", "black", "white", "middle eastern", "latino hispanic")
    return {
        "human-label": label,
        "soft-label": [((stem * 7 + place * 31) % 97) / 97 for place in range(8)] if stem % 9 else None,
        "subset": None if label is None else stem // 11 % 3,
        "meta-data": {
            "age": 20 + stem / 3 if whole else None,
            "gender": {"female": 1 / 3, "male": 2 / 3} if whole else None,
            "race": {race: place / 15 for place, race in enumerate(races)} if whole else None,
            "valence": -2 if stem % 4 == 0 else stem / 100,
            "arousal": -stem / 90,
            "pose": {"yaw": 0.1, "pitch": -0.2, "roll": 0.3} if whole else None,
            "landmark-68": [(stem + number) % 44 for number in range(136)] if whole else None,
            "landmark-29": [number - 2 for number in range(58)] if stem % 7 else None,
        },
    }
