"""Pictures and annotations of faces, and what a folder holds."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from affectnet_plus_modeling.sources.tree import annotation


def known_points(landmarks):
    """Landmarks as read, null as None: datasets 4 reads a null array as one of NaN, datasets 5 as None."""
    return None if landmarks is None or np.isnan(landmarks).all() else landmarks


def picture(color=(200, 120, 40), kind="JPEG", size=(24, 24)) -> bytes:
    """The bytes of a picture of one color."""
    content = io.BytesIO()
    Image.new("RGB", size, color).save(content, kind, quality=95)
    return content.getvalue()


def full_record(label, subset, seed=0) -> dict:
    """An annotation with every field filled."""
    rng = np.random.default_rng(seed)
    gender, race = rng.dirichlet(np.ones(2)), rng.dirichlet(np.ones(6))
    return annotation(
        label=label,
        soft_label=rng.uniform(0, 1, 8).tolist(),
        subset=subset,
        valence=float(rng.uniform(-1, 1)),
        arousal=float(rng.uniform(-1, 1)),
        age=float(rng.uniform(1, 90)),
        gender=dict(zip(("female", "male"), gender.tolist())),
        race=dict(zip(("asian", "indian", "black", "white", "middle eastern", "latino hispanic"), race.tolist())),
        pose=dict(zip(("yaw", "pitch", "roll"), rng.uniform(-1, 1, 3).tolist())),
        landmarks_68=rng.integers(-3, 228, (68, 2)),
        landmarks_29=rng.integers(-3, 228, (29, 2)),
    )


def contents(folder: Path) -> dict[str, str]:
    """Name of each file -> checksum."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
