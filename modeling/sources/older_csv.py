"""The first release of AffectNet: pictures of the web in numbered folders, and lists of them as csv.

    training.csv, validation.csv            beside the folder of pictures, or in Manually_Annotated_file_lists/
    Manually_Annotated_Images/<folder>/<name>.jpg

and the same for automatically_annotated.csv. `LISTS` and `PICTURES` say where else they may lie. The picture is the
one delivered: it is not cut to the box of the face (face_x, ...), so that the landmarks fit it.

automatically_annotated.csv becomes the split `no_human`. Its expression is a network's choice, for which there is no
column, as `label` is what a person chose; valence and arousal are the network's too, as in AffectNet+.
"""

import csv
import hashlib
import math
import os
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from affectnet_plus import MAX_IMAGE_BYTES, BadRow, Face, LayoutError, is_system_file, make_row, read_file, stamps

from ..terms import SoftLabels
from .links import refuse_links_out
from .older import ORIGIN, annotation_text, number, whole

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
FILES = {"train": "training.csv", "validation": "validation.csv", "no_human": "automatically_annotated.csv"}
LISTS = {  # where a list may lie; the first that is there counts
    "Manually": ("", "Manually_Annotated_file_lists", "Manually_Annotated"),
    "Automatically": (
        "",
        "Automatically_Annotated_file_lists",
        "Automatically_annotated_file_list",
        "Automatically_Annotated",
    ),
}
PICTURES = ("{}_Annotated_Images", "{0}_Annotated/{0}_Annotated_Images", "{}_Annotated", "")
MAX_LINE_BYTES = 100_000  # a real one has about 1 kB

_PATH = re.compile(r"(?!\.\.?/)[^/\\:\0]+/(?!\.\.?\Z)[^/\\:\0]+")


def find_lists(path: Path) -> dict[str, Path]:
    """The csv files of a folder of the first release: {"train": .../training.csv, ...}; none if it is another."""
    found = {}
    for split, name in FILES.items():
        places = [path / folder / name for folder in LISTS[_kind(split)]]
        if here := [place for place in places if place.is_file()]:
            found[split] = here[0]
    return found


def _kind(split: str) -> str:
    return "Automatically" if split == "no_human" else "Manually"


class CsvSource:
    """A folder of the first release. A face's annotation is where its row begins, "<byte>:<line>"."""

    holds_files = True
    origin = ORIGIN
    soft_labels: SoftLabels | None = None

    def __init__(self, root, lists: dict[str, Path], follow_links: bool = False):
        self.root, self.follow_links = Path(root).resolve(), follow_links
        pictures = {split: _find_pictures(self.root, _kind(split), follow_links) for split in lists}
        if not follow_links:
            refuse_links_out(self.root, [*lists.values(), *pictures.values()])
        self._lists = {split: path.resolve() for split, path in lists.items()}
        self._pictures = pictures
        for path in self._lists.values():
            next(_rows(path), None)
        self._faces: dict[str, list[Face]] | None = None

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_faces": None}

    def splits(self) -> list[str]:
        return list(self._lists)

    def places(self) -> list[Path]:
        return [*self._lists.values(), *set(self._pictures.values())]

    def faces(self, split: str) -> list[Face]:
        if self._faces is None:  # training.csv and validation.csv share their pictures, so all lists are read at once
            self._faces = {}
            for folder in dict.fromkeys(self._pictures.values()):
                lists = {name: self._lists[name] for name in self._lists if self._pictures[name] == folder}
                self._faces |= _match(lists, folder, self.follow_links)
        return self._faces[split]

    def read(self, split: str, face: Face) -> tuple[dict, bytes]:
        if face.problem:
            raise BadRow(face.problem)
        assert face.image and face.annotation
        path = self._lists[split]
        start, line = map(int, face.annotation.split(":"))
        try:
            _, _, cells = next(_rows(path, start))
        except (OSError, LayoutError, StopIteration) as error:
            raise BadRow(f"line {line} of {path.name} cannot be read any more: {error}") from error
        if cells[0] != face.image:
            raise BadRow(f"line {line} of {path.name} names another picture than before: the file has changed")
        text = _annotation(split, cells)
        picture = os.path.join(self._pictures[split], face.image)
        image = read_file(picture, MAX_IMAGE_BYTES, self.follow_links)
        return make_row(face.image_id, picture, text, image), image

    def fingerprint(self) -> str:
        total = hashlib.sha256()
        for split, path in self._lists.items():
            found = path.stat()
            total.update(f"{split}/{path.name}/{found.st_size}/{found.st_mtime_ns}\n".encode())
        for folder in dict.fromkeys(self._pictures.values()):
            for name in _folders(folder, self.follow_links):
                total.update(f"{name}\n".encode(errors="surrogateescape"))
                for line in stamps(folder / name, self.follow_links):
                    total.update(line)
        return total.hexdigest()


# --- pictures and rows -----------------------------------------------------------------------------------------------


def _find_pictures(root: Path, kind: str, follow_links: bool) -> Path:
    places = [root / place.format(kind) for place in PICTURES]
    return next((place for place in places if any(_folders(place, follow_links))), root)


def _folders(place: Path, follow_links: bool) -> list[str]:
    """The folders of pictures; a link to a folder may lead anywhere, and is one only where links are followed."""
    if not place.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(place) if entry.is_dir(follow_symlinks=follow_links))


def _rows(path: Path, start: int = 0) -> Iterator[tuple[int, int, list[str]]]:
    """(first byte, last line, cells) of each row of a list, from a byte on; the header is checked and passed over."""
    with open(path, "rb") as file:
        if start or file.read(3) != BOM_UTF8:
            file.seek(start)
        reader = csv.reader(_lines(path, file), strict=True)
        try:
            if not start:
                _check_header(path, next(reader, []))
            while True:
                first = file.tell()
                cells = next(reader, None)
                if cells is None:
                    return
                if cells:
                    yield first, reader.line_num, cells
        except csv.Error as error:
            raise LayoutError(f"{path}, line {reader.line_num} is not csv ({error}). Fetch the file again") from error


def _lines(path: Path, file) -> Iterator[str]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise LayoutError(f"{path} has a line of more than {MAX_LINE_BYTES} bytes. It is no list of pictures")
        yield line.decode(errors="backslashreplace")  # a path with a backslash is refused, so nothing is guessed


def _check_header(path: Path, cells: list[str]) -> None:
    if [cell.strip() for cell in cells] != HEADER.split(","):
        raise LayoutError(
            f"{path} begins with {','.join(cells)[:120]!r}, expected the columns {HEADER}. If its rows have these "
            f"columns, put that line at the top"
        )


def _match(lists: dict[str, Path], folder: Path, follow_links: bool) -> dict[str, list[Face]]:
    """The faces of the lists that share a folder of pictures: each row with its picture, and what is left over."""
    rows: dict[str, dict[str, str]] = {split: {} for split in lists}  # picture -> "<byte>:<line>"
    again: dict[str, list[str]] = {}  # the pictures of several rows -> the rows
    faces: dict[str, list[Face]] = {split: [] for split in lists}
    for split, path in lists.items():
        for first, line, cells in _rows(path):
            name, where = cells[0], f"line {line} of {path.name}"
            if not _PATH.fullmatch(name):
                problem = f"names {name[:60]!r}, expected <folder>/<file> of a picture"
                faces[split].append(Face(f"{split}/{where}", problem=problem))
                continue
            if other := next((other for other, known in rows.items() if name in known), None):
                earlier = f"line {_line(rows[other][name])} of {lists[other].name}"
                again.setdefault(name, [earlier]).append(where)
            rows[split][name] = f"{first}:{line}"
    pictures = set(_pictures_in(folder, follow_links))
    links = {entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.is_symlink()}
    stems = Counter(os.path.splitext(name)[0] for name in pictures.union(*rows.values()))
    strays: dict[str, list[str]] = {}  # by stem: pictures that no row names. Of a row's stem they are no second face
    for name in sorted(pictures.difference(*rows.values())):
        strays.setdefault(os.path.splitext(name)[0], []).append(name)
    for split, known in rows.items():
        for name, where in known.items():
            stem = os.path.splitext(name)[0]
            beside = strays.pop(stem, [])
            if name in again:
                found = Face("", problem=f"has {len(again[name])} rows: {', '.join(again[name][:5])}")
            elif name not in pictures:
                said = f"has no picture: line {_line(where)} of {lists[split].name} names {name!r}"
                if (link := name.partition("/")[0]) in links and not follow_links:
                    said = f"its folder {link!r} is a link to a folder (--follow-links follows it)"
                found = Face("", problem=said + (f", and there is {beside[0]!r}" if beside else ""))
            elif stems[stem] > 1:
                found = Face("", problem="another row or picture has the same name but for its suffix")
            else:
                found = Face("", name, where)
            faces[split].append(found._replace(image_id=_image_id(split, name)))
    first_split, names = next(iter(lists)), " or ".join(path.name for path in lists.values())
    for name in (name for found in strays.values() for name in found):
        faces[first_split].append(Face(_image_id(first_split, name), problem=f"{name!r} has no row in {names}"))
    return {split: sorted(found, key=_order) for split, found in faces.items()}


def _line(where: str) -> str:
    return where.partition(":")[2]


def _pictures_in(folder: Path, follow_links: bool) -> Iterator[str]:
    """Every file in the folders of a folder; the lists may lie among them."""
    for name in _folders(folder, follow_links):
        for file in os.listdir(folder / name):
            if not file.endswith(".csv") and not is_system_file(file):
                yield f"{name}/{file}"


def _image_id(split: str, name: str) -> str:
    return f"{split}/{os.path.splitext(name)[0]}"


def _order(face: Face) -> tuple:
    folder = face.image_id.split("/")[1]
    number = int(folder) if folder.isdecimal() and len(folder) < 19 else math.inf
    return face.problem is not None, number, face.image_id, face.problem or ""


def _annotation(split: str, cells: list[str]) -> bytes:
    if len(cells) != len(HEADER.split(",")):
        raise BadRow(f"its row has {len(cells)} columns, expected {len(HEADER.split(','))}")
    _, _, _, _, _, points, expression, valence, arousal = cells
    landmarks = [number("facial_landmarks", value) for value in points.split(";")] if points else None
    return annotation_text(
        None if split == "no_human" else whole("expression", expression),
        number("valence", valence),
        number("arousal", arousal),
        landmarks,
    )
