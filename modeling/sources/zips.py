"""The release as downloaded: faces read straight from its zip parts. Nothing is unpacked to disk."""

import hashlib
import os
import re
import zipfile
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np

from affectnet_plus import (
    IMAGE_SUFFIXES,
    MAX_ANNOTATION_BYTES,
    MAX_IMAGE_BYTES,
    SPLITS,
    BadRow,
    Face,
    LayoutError,
    is_system_file,
    make_row,
    pair_faces,
)

from ..terms import SoftLabels
from .origin import LICENSED, ORIGIN_FILE, parse_source
from .zip_archive import Archive, Entry, decoded

MAX_TOTAL_RATIO = 20  # bytes of all members for one of the archives; the release has about 1

PARTS = ("images", "annotations")

_SPLIT_OF = {Path(folder).name.encode(): split for split, folder in SPLITS.items()}
_MEMBER = re.compile(rb"(?s)(?:(.*?)/)??(?:human_annotated/)?(%s)/(images|annotations)/(.+)" % b"|".join(_SPLIT_OF))
_OLDER = re.compile(rb"(?:\A|/)(?:training|validation|automatically_annotated)\.csv\Z|_exp\.npy\Z")
_PIECE = re.compile(r"(.+)\.(?:(zip)|z([0-9]{2,3})|zip\.([0-9]{3}))", re.IGNORECASE)


# --- which files belong together -------------------------------------------------------------------------------------


def find_archives(path: Path) -> list[list[Path]]:
    """The zip archives of a folder, or the one that a file is (a piece of): each as its pieces in order.

    An archive in pieces is `x.zip.001`, `x.zip.002`, ... (cut anywhere) or `x.z01`, `x.z02`, ..., `x.zip` (as
    `zip -s` writes it).

    Raises:
        LayoutError: a piece is missing; the message names it.
    """
    folder, only = (path, None) if path.is_dir() else (path.parent, _PIECE.fullmatch(path.name))
    if not path.is_dir() and not only:  # by what it holds, where its name does not say
        return [[path]] if path.is_file() and zipfile.is_zipfile(path) else []
    if not folder.is_dir():
        return []
    groups: dict[str, dict[str, dict[int, Path]]] = {}
    for file in sorted(folder.iterdir()):
        found = _PIECE.fullmatch(file.name)
        if found and not is_system_file(file.name) and file.is_file() and (only is None or found[1] == only[1]):
            kind = "zip" if found[2] else "disk" if found[3] else "cut"
            group = groups.setdefault(found[1], {"zip": {}, "disk": {}, "cut": {}})
            group[kind][int(found[3] or found[4] or 0)] = file
    return [_pieces(folder, name, **group) for name, group in sorted(groups.items())]


def _pieces(folder: Path, name: str, zip: dict, disk: dict, cut: dict) -> list[Path]:
    if cut and zip:
        raise LayoutError(f"{folder} holds {name}.zip whole and in pieces ({name}.zip.001, ...). Move one away")
    wanted = {number: f"{name}.zip.{number:03d}" for number in range(1, max(cut, default=0) + 1)}
    wanted |= {number: f"{name}.z{number:02d}" for number in range(1, max(disk, default=0) + 1)}
    missing = [file for number, file in wanted.items() if number not in cut | disk]
    if disk and not zip:
        missing.append(f"{name}.zip")
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise LayoutError(
            f"{folder} holds only some pieces of the split archive {name}.zip: {names} missing. "
            f"Put all of its pieces into one folder; none can be opened without the others"
        )
    return [file for _, file in sorted((cut | disk).items())] + list(zip.values())


# --- the source ------------------------------------------------------------------------------------------------------


class ZipSource:
    """A tree in one or several zip archives, whose members add up to it.

    The tree may lie in a folder of an archive. A face that has two pictures or two annotations, be they in two
    archives, cannot be read. Whatever is not in images/ or annotations/ of a split is passed over, and so are folders
    and what macOS adds.

    A face's files are places: where the directory has the member, counted through all archives laid end to end.
    """

    holds_files = False
    follow_links = False  # there are none in an archive

    def __init__(self, root, archives: list[list[Path]]):
        self.root = Path(root).resolve()
        self._archives = [Archive([piece.resolve() for piece in pieces]) for pieces in archives]
        self._starts = list(accumulate((archive.pieces.size for archive in self._archives), initial=0))
        listing = _Listing(self._archives, self._starts)
        self.origin, self.soft_labels = listing.origin, listing.soft_labels
        # Workers need no list: a face says where its members are.
        self._faces: dict[str, list[Face]] | None = listing.faces()
        self._splits = list(self._faces)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_faces": None}

    def splits(self) -> list[str]:
        return self._splits

    def places(self) -> list[Path]:
        return [path for archive in self._archives for path in archive.pieces.paths]

    def faces(self, split: str) -> list[Face]:
        if self._faces is None:
            self._faces = _Listing(self._archives, self._starts).faces()
        return self._faces[split]

    def read(self, split: str, face: Face) -> tuple[dict, bytes]:
        if face.problem:
            raise BadRow(face.problem)
        assert face.image and face.annotation
        _, annotation = self._member(int(face.annotation), MAX_ANNOTATION_BYTES)
        name, image = self._member(int(face.image), MAX_IMAGE_BYTES)
        return make_row(face.image_id, name, annotation, image), image

    def _member(self, place: int, most: int) -> tuple[str, bytes]:
        number = bisect_right(self._starts, place) - 1
        archive = self._archives[number]
        try:
            entry = archive.entry(place - self._starts[number])
            return os.path.basename(entry.text()), archive.content(entry, most)
        except (OSError, LayoutError) as error:  # it was listed, so it has changed since
            raise BadRow(f"cannot be opened: {error}") from error

    def fingerprint(self) -> str:
        return hashlib.sha256(b"".join(archive.digest() for archive in self._archives)).hexdigest()


class _Listing:
    """The faces of some archives, from their directories alone."""

    def __init__(self, archives: list[Archive], starts: list[int]):
        self._archives, self._starts = archives, starts
        # By split and by images or annotations: the names and their places, and all places of a name met again.
        self._names: dict[tuple[str, str], dict[str, int]] = {(split, part): {} for split in SPLITS for part in PARTS}
        self._again: dict[tuple[str, str], dict[str, list[int]]] = {key: {} for key in self._names}
        self._problems: dict[int, str] = {}  # by place
        self._bytes = 0  # of all members that may be read, unpacked
        said = {}
        for archive, start in zip(archives, starts):
            if note := self._read(archive, start):
                said[archive.name] = note
        self._check({name: origin for name, (origin, _) in said.items()})
        if len(set(said.values())) > 1:
            raise LayoutError(f"the soft labels of {', '.join(said)} were not generated alike. Give those of one tree")
        self.origin, self.soft_labels = next(iter(said.values()), (LICENSED, None))

    def _read(self, archive: Archive, start: int) -> tuple[str, SoftLabels | None] | None:
        """Take in one archive; returns what it says of its faces."""
        trees: set[bytes] = set()
        notes: dict[bytes, Entry] = {}
        members = _Extents()
        for entry in archive.entries():
            name, problem = entry.name, entry.problem()
            if name.endswith(b"/"):
                continue
            members.add(entry)
            if problem:
                name = name.replace(b"\\", b"/")
            if is_system_file(decoded(name, entry.flags)):
                continue
            found = _MEMBER.fullmatch(name)
            if not found:
                if name.endswith(ORIGIN_FILE.encode()):
                    notes[os.path.dirname(name)] = entry
            else:
                tree, split, part, name = found.groups()
                place = start + entry.at
                self._add((_SPLIT_OF[split], part.decode()), decoded(name, entry.flags), place)
                if problem:
                    self._problems[place] = problem
                else:
                    trees.add(tree or b"")
                    self._bytes += entry.size
        for at in members.overlapping():
            self._problems.setdefault(start + at, "shares its bytes with another member of the archive")
        if len(trees) > 1:
            names = ", ".join(sorted(tree.decode(errors="backslashreplace") or "." for tree in trees)[:5])
            raise LayoutError(f"{archive.name} holds {len(trees)} trees ({names}). Give archives of one")
        note = next((notes[tree] for tree in trees if tree in notes), None)
        return note and _note(archive, note)

    def _add(self, key: tuple[str, str], name: str, place: int) -> None:
        first = self._names[key].setdefault(name, place)
        if first != place:
            self._again[key].setdefault(name, [first]).append(place)

    def _check(self, origins: dict[str, str]) -> None:
        endings = {name[-8:] for (_, part), names in self._names.items() if part == "annotations" for name in names}
        older = "_exp.npy" in endings and not any(ending.endswith(".json") for ending in endings)
        if not any(self._names.values()) or older:
            raise LayoutError(_looks_like(self._archives))
        if len(set(origins.values())) > 1:
            said = ", ".join(f"{name}: {origin}" for name, origin in origins.items())
            raise LayoutError(f"the archives hold faces of different origin ({said}). Give those of one")
        size = self._starts[-1]
        if self._bytes > MAX_TOTAL_RATIO * size:
            names = ", ".join(archive.name for archive in self._archives)
            raise LayoutError(
                f"the {size} bytes of {names} unpack to {self._bytes}: "
                f"over {MAX_TOTAL_RATIO} times as many. These are not the archives of the release"
            )

    def faces(self) -> dict[str, list[Face]]:
        """The faces of each split that is there; to be called once, as it lets go of the names."""
        found = {split: self._faces(split) for split in SPLITS}
        return {split: faces for split, faces in found.items() if faces}

    def _faces(self, split: str) -> list[Face]:
        reasons = dict(reason for part in PARTS for reason in self._reasons(split, part))
        images, annotations = (self._names.pop((split, part)) for part in PARTS)
        listed = pair_faces(split, *([name for name in names if "/" not in name] for names in (images, annotations)))
        ids = {face.image_id for face in listed} if reasons else set()
        for image_id in [image_id for image_id in reasons if image_id not in ids]:
            if (stem := os.path.splitext(image_id)[0]) in ids:  # a suffix that is not known, of a face that is listed
                reasons.setdefault(stem, reasons.pop(image_id))
        faces = []
        for face in listed:
            problem = reasons.pop(face.image_id, face.problem)
            if problem:
                faces.append(Face(face.image_id, problem=problem))
            else:
                assert face.image and face.annotation
                places = str(images[face.image]), str(annotations[face.annotation])
                faces.append(Face(face.image_id, *places))
        faces += [Face(image_id, problem=problem) for image_id, problem in sorted(reasons.items())]
        return sorted(faces, key=lambda face: face.problem is not None)

    def _reasons(self, split: str, part: str) -> Iterator[tuple[str, str]]:
        """(image_id, why it cannot be read), as far as the two names of a face do not tell it."""
        for name, place in self._names[split, part].items():
            problem = self._problems.get(place)
            if "/" in name:
                yield f"{split}/{name}", problem or f"{name!r} is not named <whole number>.jpg|png|json"
            elif problem:
                yield _image_id(split, name), problem
        for name, places in self._again[split, part].items():
            holders = [self._archives[bisect_right(self._starts, place) - 1].name for place in places[:3]]
            yield _image_id(split, name), f"has {len(places)} {part}, in {' and '.join(holders)}, expected 1"


def _image_id(split: str, name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return f"{split}/{stem if suffix.lower() in (*IMAGE_SUFFIXES, '.json') else name}"


class _Extents:
    """Where the members of an archive lie. No two may share a byte: that is how small archives unpack to large ones.

    D. Fifield, "A better zip bomb", WOOT 2019.
    """

    def __init__(self):
        self._numbers = array("d")  # exact to 2 ** 53; a damaged archive may name larger ones

    def add(self, entry: Entry) -> None:
        self._numbers.extend((entry.at, entry.offset, entry.offset + 30 + len(entry.name) + entry.packed))

    def overlapping(self) -> list[int]:
        """The entries of members that begin before another has ended, and of those that go on after another began."""
        numbers = np.array(self._numbers).reshape(-1, 3)
        at, start, end = numbers[np.lexsort((numbers[:, 2], numbers[:, 1]))].T
        late = start[1:] < np.maximum.accumulate(end)[:-1]
        early = end[:-1] > start[1:]
        return sorted(map(int, {*at[1:][late], *at[:-1][early]}))


def _note(archive: Archive, entry: Entry) -> tuple[str, SoftLabels | None]:
    where = f"{archive.name}/{entry.text()}"
    if problem := entry.problem():
        raise LayoutError(f"{where} {problem}")
    try:
        return parse_source(archive.content(entry, MAX_ANNOTATION_BYTES), where)
    except BadRow as error:
        raise LayoutError(f"{where}: {error}") from error


def _looks_like(archives: list[Archive]) -> str:
    tops: set[str] = set()
    for archive in archives:
        for entry in archive.entries():
            if _OLDER.search(entry.name):
                return f"{archive.name} looks like an older AffectNet release. Extract it, and give the folder"
            if len(tops) < 5 and not is_system_file(entry.text()):
                tops.add(entry.text().replace("\\", "/").lstrip("/").split("/")[0])
    held, names = ", ".join(sorted(tops)) or "nothing", ", ".join(archive.name for archive in archives)
    return f"{names} is not a part of AffectNet+: it holds {held}. Give archives that hold human_annotated/"
