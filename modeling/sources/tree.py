"""Write a folder in the very layout of the AffectNet+ release, so that everything which reads the release reads it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affectnet_plus import MISSING, SPLITS

from ..files import fresh_folder


def annotation(
    label=None,
    soft_label=None,
    subset=None,
    valence=None,
    arousal=None,
    age=None,
    gender=None,
    race=None,
    pose=None,
    landmarks_68=None,
    landmarks_29=None,
) -> dict:
    """One annotation with its keys spelled as in the release.

    Valence and arousal that are not known are written as -2, the release's own sentinel; landmarks are given as
    rows of (x, y) and written as one flat list of whole pixels, as the release has them.
    """
    return {
        "human-label": label,
        "soft-label": soft_label,
        "subset": subset,
        "meta-data": {
            "age": age,
            "gender": gender,
            "race": race,
            "valence": MISSING if valence is None else valence,
            "arousal": MISSING if arousal is None else arousal,
            "pose": pose,
            "landmark-68": _flat_pixels(landmarks_68),
            "landmark-29": _flat_pixels(landmarks_29),
        },
    }


def _flat_pixels(points) -> list[int] | None:
    return None if points is None else [int(round(float(value))) for point in points for value in point]


class TreeWriter:
    """Writes `images/<n>.jpg|png` and `annotations/<n>.json` of one tree; used inside `writing_tree`."""

    def __init__(self, root: Path):
        self.root = root
        self._ready: set[str] = set()

    def add(self, split: str, stem: int, image: bytes, record: dict, suffix: str = ".jpg") -> None:
        """Write one face. `split` is train, validation or no_human; `record` comes from `annotation`."""
        folder = self.root / SPLITS[split]
        if split not in self._ready:
            (folder / "images").mkdir(parents=True)
            (folder / "annotations").mkdir()
            self._ready.add(split)
        (folder / "images" / f"{stem}{suffix}").write_bytes(image)
        (folder / "annotations" / f"{stem}.json").write_text(json.dumps(record))


@contextmanager
def writing_tree(out, overwrite: bool = False) -> Iterator[TreeWriter]:
    """Yield a `TreeWriter` whose folder takes the name `out` only when the block ends without an error.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
    """
    with fresh_folder(Path(out), overwrite) as folder:
        yield TreeWriter(folder)
