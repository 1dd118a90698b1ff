"""Layouts of others that we cannot read, told by name, so that it is known what to do with them."""

import re
from pathlib import Path

from affectnet_plus import is_system_file

# Patterns of names that are all there -> what it is, and what to do. The first that fits counts.
_LAYOUTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (r"FER2013(Train|Valid|Test)(\.tar)?",),
        "FER+. Run `affectnet-plus import-ferplus` on it, and prepare the tree that it writes",
    ),
    (
        (r"fer2013\.csv|icml_face_data\.csv",),
        "FER2013 as a csv of pixels. Take its folders of pictures (train/angry, ...); or, with fer2013new.csv, write "
        "the pictures of FER+ and run `affectnet-plus import-ferplus`",
    ),
    (
        (r"(Manually|Automatically)_Annotated(_Images|_compressed)?",),
        "pictures of the first AffectNet release without their lists. Put training.csv and validation.csv beside them",
    ),
    (
        (r"cohn-kanade-images|extended-cohn-kanade-images", r".*"),
        "CK+, sequences with codes of emotions. Put the last frames into a folder for each emotion",
    ),
    ((r"label\.lst|label", r"image|origin\.7z\.001"), "ExpW. Put its faces into a folder for each emotion"),
    (
        (r"images", r"labels"),
        "pictures and boxes of YOLO. Cut the faces out, and put them into a folder for each emotion",
    ),
    (
        (r"dataset_info\.json", r".*\.arrow"),
        "a data set that save_to_disk wrote. Open it with datasets.load_from_disk, and give it in memory",
    ),
    (
        (r"metadata\.(csv|jsonl|parquet)",),
        "an imagefolder with a table of metadata. `affectnet-plus label` and predict take its pictures; labels are "
        "read from a folder for each emotion",
    ),
    (
        (r".*\.parquet",),
        "Parquet of a data set. `affectnet-plus label`, pretrain and predict take its pictures",
    ),
    ((r".*\.(rar|7z|tar\.gz|tgz|tar)",), "an archive. Extract it, and give the folder"),
)
_NUMBERS = "a folder for each number, and numbers mean other emotions in each data set. Name the folders by emotion"


def name_layout(path: Path) -> str | None:
    """What lies at `path` or one level down, as the rest of a sentence; None if we know no better."""
    if not path.is_dir() or (path / "data").is_dir() and (path / "README.md").is_file():  # prepared: that is known
        return None
    if said := _said(path):
        return f"it holds {said}"
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.is_symlink() and not is_system_file(child.name) and (said := _said(child)):
            return f"its folder {child.name} holds {said}"
    return None


def _said(folder: Path) -> str | None:
    names = [entry.name for entry in folder.iterdir() if not is_system_file(entry.name)]
    for patterns, said in _LAYOUTS:
        if all(any(re.fullmatch(pattern, name, re.IGNORECASE) for name in names) for pattern in patterns):
            return said
    if sum(name.isdecimal() and (folder / name).is_dir() for name in names) >= 7:
        return _NUMBERS
    return None
