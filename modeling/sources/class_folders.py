"""Data with one hard label a face and no annotation: a folder for each emotion, or RAF-DB's list.

    {train,test}/{angry,disgust,fear,...}/*.jpg      FER2013 as Kaggle has it, and many others
    {train,test}/{1,...,7}/train_00001_aligned.jpg   RAF-DB as Kaggle has it
    EmoLabel/list_patition_label.txt, Image/aligned/ RAF-DB as its authors give it

at the folder that is given or one level down. A split may be given alone. val (or valid, validation, dev) becomes
`validation`, and so does test where there is none, as training needs one; else test is `test`. A folder says its
emotion by name, in the words of `WORDS`; numbers mean another emotion in each data set, so that they are taken for
RAF-DB's where the files have its names, and for nothing elsewhere. Soft label, subset, valence and arousal of such
faces are null.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from affectnet_plus import (
    EMOTIONS,
    IMAGE_SUFFIXES,
    LABELS,
    MAX_IMAGE_BYTES,
    MISSING,
    SPLITS,
    BadRow,
    Face,
    LayoutError,
    is_system_file,
    make_row,
    read_file,
    stamps,
)

from ..labels import ORDERS
from ..terms import UNKNOWN, SoftLabels
from .links import refuse_links_out
from .older import annotation_text

WORDS = {name: label for label, name in enumerate(LABELS)} | {
    word: EMOTIONS.index(name)
    for name, words in {
        "happy": "happiness",
        "sad": "sadness",
        "surprise": "surprised suprise",
        "fear": "fearful afraid",
        "disgust": "disgusted",
        "anger": "angry",
    }.items()
    for word in words.split()
}
FEWEST = 3  # folders of emotions, of which a folder is taken for such data
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_LIST_PLACES = ("", "EmoLabel", "basic/EmoLabel")
_PICTURE_PLACES = ("Image/aligned", "basic/Image/aligned", "aligned", "Image", "basic/Image", "")
_LIST_LINE = re.compile(r"((train|test)_[0-9]+)\.jpg[ \t]+([1-7])")
_RAFDB_FILE = re.compile(r"(train|test)_[0-9]+(_aligned)?\.(jpe?g|png)", re.IGNORECASE)
_FER2013_FILE = re.compile(r"(Training|PublicTest|PrivateTest)_[0-9]+\.(jpe?g|png)", re.IGNORECASE)
MAX_LIST_BYTES = 4_000_000  # RAF-DB's has 15,339 lines and 0.3 MB


class Layout(NamedTuple):
    """What was found: the folders of each split with the label that their pictures have; or RAF-DB's list."""

    folders: dict[str, list[tuple[Path, int]]]
    origin: str
    list_file: Path | None = None


def find_classes(path: Path) -> Layout | None:
    """Such data at `path` or one level down; None if there is none. What it names may be links.

    Raises:
        LayoutError: there is some that cannot be taken as it is; the message says why.
    """
    if not path.is_dir():
        return None
    if found := _find_list(path) or _find_splits(path):
        return found
    below = {child.name: found for child in _folders(path) if (found := _find_list(child) or _find_splits(child))}
    if len(below) > 1:
        raise LayoutError(f"{path} holds {len(below)} data sets in folders by emotion ({', '.join(below)}). Give one")
    return next(iter(below.values()), None)


def _folders(place: Path) -> list[Path]:
    found = [entry for entry in os.scandir(place) if entry.is_dir() and not is_system_file(entry.name)]
    return sorted(Path(entry.path) for entry in found)


def _find_splits(place: Path) -> Layout | None:
    name = place.name.lower()
    if classes := _classes(place):
        return _layout({_without_test([SPLIT_NAMES.get(name, "train")])[0]: classes})
    named = {child: SPLIT_NAMES[child.name.lower()] for child in _folders(place) if child.name.lower() in SPLIT_NAMES}
    parts = {child: classes for child in named if (classes := _classes(child))}
    if not parts:
        return None
    splits = Counter(named[child] for child in parts)
    if twice := [split for split, count in splits.items() if count > 1]:
        names = " and ".join(child.name for child in parts if named[child] in twice)
        raise LayoutError(
            f"{place} holds {names}, which are both the split {twice[0]}. Move one of them away, or give one by itself"
        )
    children = {named[child]: child for child in parts}
    found = [split for split in SPLITS if split in children]
    return _layout({split: parts[children[own]] for split, own in zip(_without_test(found), found)})


def _without_test(splits: list[str]) -> list[str]:
    """The same with `validation` for `test` where there is none."""
    return [("validation" if split == "test" and "validation" not in splits else split) for split in splits]


def _classes(place: Path) -> list[tuple[Path, int]]:
    """The folders of emotions of a folder, in the order of the labels; none if it holds something else.

    Raises:
        LayoutError: some are, and others are not.
    """
    folders = _folders(place)
    labels = {folder: WORDS.get(_word(folder.name)) for folder in folders}
    if numbers := [folder for folder in folders if re.fullmatch("[1-7]", folder.name)]:
        if any(_RAFDB_FILE.fullmatch(name) for name in _some_names(numbers[0])):
            labels |= {f: EMOTIONS.index(ORDERS["rafdb"][int(f.name) - 1]) for f in numbers}
    known = [(folder, label) for folder, label in labels.items() if label is not None]
    if len({label for _, label in known}) < FEWEST:
        return []
    if strange := [folder.name for folder, label in labels.items() if label is None]:
        raise LayoutError(
            f"{place} has a folder for each of {len(known)} emotions, and {', '.join(strange[:3])} besides, which is "
            f"none of {', '.join(sorted(WORDS))}. Rename it, or move it away"
        )
    for label, count in Counter(label for _, label in known).items():
        if count > 1:
            names = " and ".join(folder.name for folder, own in known if own == label)
            raise LayoutError(
                f"{place} has {names}, which are both {LABELS[label]}. Put their pictures into one folder"
            )
    return sorted(known, key=lambda found: found[1])


def _word(name: str) -> str:
    """anger of "6_Anger"."""
    return re.sub(r"^[0-9]+[ _.-]+", "", name.lower().strip())


def _some_names(folder: Path) -> list[str]:
    return [entry.name for _, entry in zip(range(50), os.scandir(folder))]


def _layout(folders: dict[str, list[tuple[Path, int]]]) -> Layout:
    names = [name for classes in folders.values() for folder, _ in classes for name in _some_names(folder)]
    for origin, form in (("FER2013", _FER2013_FILE), ("RAF-DB", _RAFDB_FILE)):
        if names and all(form.fullmatch(name) for name in names if not is_system_file(name)):
            return Layout(folders, origin)
    return Layout(folders, UNKNOWN)


def _find_list(place: Path) -> Layout | None:
    for file in (place / folder / name for folder in _LIST_PLACES for name in LISTS):
        if not file.is_file():
            continue
        for folder in _PICTURE_PLACES:
            pictures = place / folder
            if pictures.is_dir() and any(_RAFDB_FILE.fullmatch(name) for name in _some_names(pictures)):
                return Layout({split: [(pictures, -1)] for split in ("train", "validation")}, "RAF-DB", file)
        raise LayoutError(
            f"{file} is RAF-DB's list, and its pictures (train_00001_aligned.jpg, ...) are in none of "
            f"{', '.join(name or '.' for name in _PICTURE_PLACES)} of {place}. Put them there"
        )
    return None


class ClassSource:
    """Faces with hard labels alone. A face's annotation is its label, as a number."""

    holds_files = True
    soft_labels: SoftLabels | None = None

    def __init__(self, root, layout: Layout, follow_links: bool = False):
        self.follow_links = follow_links
        self.root, self.origin = Path(root).resolve(), layout.origin
        if not follow_links:
            folders = [folder for split in layout.folders.values() for folder, _ in split]
            refuse_links_out(self.root, [*folders, *filter(None, [layout.list_file])])
        self._folders = {
            split: [(folder.resolve(), label) for folder, label in folders]
            for split, folders in layout.folders.items()
        }
        self._list = None if layout.list_file is None else layout.list_file.resolve()

    def splits(self) -> list[str]:
        return list(self._folders)

    def places(self) -> list[Path]:
        places = {folder for folders in self._folders.values() for folder, _ in folders}
        return sorted(places) + ([self._list] if self._list else [])

    def faces(self, split: str) -> list[Face]:
        listed = list(self._listed(split) if self._list else self._in_folders(split))
        stems = Counter(os.path.splitext(face.image_id)[0] for face in listed)
        faces = []
        for face in listed:
            stem, suffix = os.path.splitext(face.image_id)
            if face.problem is None and suffix.lower() not in IMAGE_SUFFIXES:
                face = face._replace(problem=f"{os.path.basename(face.image_id)!r} is not named .jpg, .jpeg or .png")
            elif face.problem is None and stems[stem] > 1:
                face = face._replace(problem="another file has the same name but for its suffix")
            faces.append(face._replace(image_id=face.image_id if face.problem else stem))
        return sorted(faces, key=lambda face: face.problem is not None)

    def _in_folders(self, split: str) -> Iterator[Face]:
        for folder, label in self._folders[split]:
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                name = os.fsencode(entry.name).decode(errors="backslashreplace")
                if is_system_file(name):
                    continue
                problem = None if name == entry.name else "its name is no text in UTF-8"
                if entry.is_dir(follow_symlinks=False):
                    problem = "is a folder, expected pictures"
                yield Face(f"{split}/{folder.name}/{name}", entry.path, str(label), problem)

    def _listed(self, split: str) -> Iterator[Face]:
        """The faces that the list names of a split; those that it does not name are told with the split train."""
        ((folder, _),) = self._folders[split]
        part = "train" if split == "train" else "test"
        there = {name for name in os.listdir(folder) if not is_system_file(name)}
        rows = _read_list(self._list)  # type: ignore[arg-type]
        named = {stem: [f"{stem}_aligned.jpg", f"{stem}.jpg"] for stem, *_ in rows}
        again = Counter(stem for stem, *_ in rows)
        for stem, own, label in rows:
            if own != part:
                continue
            found = [name for name in named[stem] if name in there]
            problem = None if len(found) == 1 else f"has {len(found)} pictures in {folder.name}, expected 1"
            if again[stem] > 1:
                problem = f"has {again[stem]} lines in the list, expected 1"
            yield Face(f"{split}/{stem}.jpg", os.path.join(folder, (found or named[stem])[0]), str(label), problem)
        if split == "train":
            for name in sorted(there.difference(*named.values())):
                shown = os.fsencode(name).decode(errors="backslashreplace")
                yield Face(f"{split}/{shown}", problem="is not in the list, or another suffix is")

    def read(self, split: str, face: Face) -> tuple[dict, bytes]:
        if face.problem:
            raise BadRow(face.problem)
        assert face.image and face.annotation
        text = annotation_text(int(face.annotation), MISSING, MISSING, None)
        image = read_file(face.image, MAX_IMAGE_BYTES, self.follow_links)
        return make_row(face.image_id, face.image, text, image), image

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for split, folders in self._folders.items():
            for folder, label in folders:
                total.update(f"{split}/{folder.name}/{label}\n".encode())
                for line in stamps(folder, self.follow_links):
                    total.update(line)
        if self._list:
            found = self._list.stat()
            total.update(f"{found.st_size}/{found.st_mtime_ns}\n".encode())
        return total.hexdigest()


def _read_list(file: Path) -> list[tuple[str, str, int]]:
    """(stem, train or test, label) of each line.

    Raises:
        LayoutError: it is something else.
    """
    if file.stat().st_size > MAX_LIST_BYTES:
        raise LayoutError(
            f"{file} has {file.stat().st_size} bytes, expected at most {MAX_LIST_BYTES} of RAF-DB's list"
        )
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        found = _LIST_LINE.fullmatch(line.strip())
        if found is None:
            raise LayoutError(f"{file}, line {number} is {line[:60]!r}, expected a line such as train_00001.jpg 5")
        rows.append((found[1], found[2], EMOTIONS.index(ORDERS["rafdb"][int(found[3]) - 1])))
    return rows
