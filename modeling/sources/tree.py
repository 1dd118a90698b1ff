"""Write a folder in the very layout of the AffectNet+ release, so that everything which reads the release reads it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from affectnet_plus import MISSING, SPLITS

from ..files import fresh_folder, write_json
from ..terms import SoftLabels
from .origin import ORIGIN_FILE


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
        self._folders: dict[str, str] = {}

    def add(self, split: str, stem: int | str, image: bytes, record: dict, suffix: str = ".jpg") -> None:
        """Write one face. `split` is train, validation or no_human; `record` comes from `annotation`.

        A stem given as a text stays as it is spelled: 007 is not 7.
        """
        self.add_bytes(split, stem, image, json.dumps(record).encode(), suffix)

    def add_bytes(self, split: str, stem: int | str, image: bytes, text: bytes, suffix: str = ".jpg") -> None:
        """`add` of an annotation that is JSON already."""
        folder = self._folders.get(split) or self._make_folder(split)
        with open(f"{folder}/images/{stem}{suffix}", "wb") as file:
            file.write(image)
        with open(f"{folder}/annotations/{stem}.json", "wb") as file:
            file.write(text)

    def _make_folder(self, split: str) -> str:
        folder = self.root / SPLITS[split]
        (folder / "images").mkdir(parents=True)
        (folder / "annotations").mkdir()
        self._folders[split] = str(folder)
        return self._folders[split]


@contextmanager
def writing_tree(
    out, overwrite: bool = False, origin: str | None = None, soft_labels: SoftLabels | None = None
) -> Iterator[TreeWriter]:
    """Yield a `TreeWriter` whose folder takes the name `out` only when the block ends without an error.

    Args:
        origin: whose faces they are, written to `source.json`. A tree without a word about it counts as AffectNet+.
        soft_labels: what generated the soft labels, written there too; to be given with an origin alone.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
    """
    with fresh_folder(Path(out), overwrite) as folder:
        if origin is not None:
            generated = {} if soft_labels is None else {"soft_labels": asdict(soft_labels)}
            write_json(folder / ORIGIN_FILE, {"origin": origin, **generated})
        yield TreeWriter(folder)
