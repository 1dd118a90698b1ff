"""Where FER+ keeps its faces and votes: folders or tars of PNGs, and the csv files beside or inside them."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from affectnet_plus import BadRow, is_system_file, read_file

from .links import refuse_links_out
from .tar_archive import Member, Tar

FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
VOTES_CSV = "fer2013new.csv"
SPLIT_CSV = "label.csv"
HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
RATERS = 10
MAX_BYTES = 4 << 20
MAX_TABLE_BYTES = 8 << 20  # the votes of all faces take 2 MB

_FACE_NAME = re.compile(r"fer[0-9]{1,9}\.png")
_BOX = re.compile(r"\( *[0-9]+ *(, *[0-9]+ *){3}\)")
_COUNT = re.compile(r"[0-9]{1,3}")
_AFFECTNET_FOLDERS = {"human_annotated", "no_human_annotated", "train_set", "validation_set"}
_WANTED = f"the folders or tars {', '.join(FOLDERS.values())} with {VOTES_CSV} or with a {SPLIT_CSV} in each"
_HOME = "github.com/microsoft/FERPlus"


class Rejections(list):
    """What could not become a face: dicts of `name`, `reason` and `where` (the file, and the line of a csv)."""

    def add(self, name: str, reason: str, where: str) -> None:
        self.append({"name": name, "reason": reason, "where": where})

    def by_reason(self) -> dict[str, int]:
        return dict(Counter(entry["reason"] for entry in self).most_common())


class FaceFolder:
    """One split as a folder of PNGs."""

    def __init__(self, path: Path, usage: str, follow_links: bool = False):
        self.path, self.usage, self._follow = path, usage, follow_links

    def label_csv(self) -> bytes | None:
        path = self.path / SPLIT_CSV
        return _table_bytes(path, self._follow) if path.is_file() else None

    def faces(self) -> Iterator[tuple[str, bytes | None, str | None]]:
        """Yield (name, PNG bytes, None), or (name, None, reason) for what is no face file."""
        for path in sorted(self.path.iterdir()):
            if path.name != SPLIT_CSV and not is_system_file(path.name):
                yield path.name, *self._read(path)

    def _read(self, path: Path) -> tuple[bytes | None, str | None]:
        try:
            problem = _name_problem(path.name) or (None if path.is_file() else "not a plain file")
            problem = problem or _size_problem(path.stat().st_size)
            return (None, problem) if problem else (read_file(path, MAX_BYTES, self._follow), None)
        except BadRow as reason:
            return None, "link that leaves its folder" if path.is_symlink() else f"file {reason}"
        except OSError:
            return None, "file cannot be read"


class FaceTar:
    """One split as a plain tar of such a folder; it is read in place, nothing is unpacked to disk."""

    def __init__(self, path: Path, usage: str):
        self.path, self.usage = path, usage
        self._tar = Tar(path)

    def label_csv(self) -> bytes | None:
        for member in self._tar.members():
            if member.kind == "file" and self._inner_name(member) == SPLIT_CSV:
                _check_table(f"{self.path.name}/{SPLIT_CSV}", member.size)
                return self._tar.content(member)
        return None

    def faces(self) -> Iterator[tuple[str, bytes | None, str | None]]:
        """Yield (name, PNG bytes, None), or (member name, None, reason) for what is no face file."""
        for member in self._tar.members():
            name, folder = self._inner_name(member), member.kind == "folder"
            if name == SPLIT_CSV or (folder and name in (".", self.path.stem)) or is_system_file(name):
                continue
            yield name, *self._read(member, name)

    def _read(self, member: Member, name: str) -> tuple[bytes | None, str | None]:
        problem = _name_problem(name) or (None if member.kind == "file" else "not a plain file")
        problem = problem or _size_problem(member.size)
        try:
            return (None, problem) if problem else (self._tar.content(member), None)
        except BadRow as error:
            return None, str(error)

    def _inner_name(self, member: Member) -> str:
        return member.name.removeprefix("./").removeprefix(f"{self.path.stem}/")


def _check_table(name: str, size: int) -> None:
    if size > MAX_TABLE_BYTES:
        raise ValueError(
            f"{name} has {size:,} bytes, expected at most {MAX_TABLE_BYTES:,} of votes: it is another table"
        )


def face_number(name: str) -> int:
    """12 of fer0000012.png."""
    return int(name.removeprefix("fer").removesuffix(".png"))


def _name_problem(name: str) -> str | None:
    return None if _FACE_NAME.fullmatch(name) else "name is not fer<number>.png"


def _size_problem(size: int) -> str | None:
    return None if size <= MAX_BYTES else f"file is above {MAX_BYTES >> 20} MB"


def _table_bytes(path: Path, follow_links: bool) -> bytes:
    _check_table(str(path), path.stat().st_size)
    try:
        return read_file(path, MAX_TABLE_BYTES, follow_links)
    except BadRow as reason:
        raise ValueError(f"{path} {reason}") from reason


def find_splits(source: Path, validation: str, follow_links: bool = False) -> dict[str, FaceFolder | FaceTar]:
    """The splits that `source` holds: `train`, `validation` or both. A folder goes before a tar of its name.

    Raises:
        FileNotFoundError: there is no such folder, or neither split is in it.
        ValueError: `source` is a file, an AffectNet+ tree, or FER2013 without the votes of FER+.
    """
    splits: dict[str, FaceFolder | FaceTar] = {}
    for split, usage in (("train", "Training"), ("validation", validation)):
        folder, tar = source / FOLDERS[usage], source / f"{FOLDERS[usage]}.tar"
        if folder.is_dir():
            splits[split] = FaceFolder(folder, usage, follow_links)
        elif tar.is_file():
            splits[split] = FaceTar(tar, usage)
    if not splits:
        raise _wrong_source(source, validation)
    if not follow_links:
        refuse_links_out(source, [faces.path for faces in splits.values()])
    return splits


def _wrong_source(source: Path, validation: str) -> Exception:
    if source.is_file():
        return ValueError(f"{source} is a file: give the folder that holds {_WANTED}")
    if not source.is_dir():
        return FileNotFoundError(f"{source} does not exist: give the folder that holds {_WANTED}")
    names = sorted(path.name for path in source.iterdir())
    affectnet = sorted(_AFFECTNET_FOLDERS.intersection(names))
    if affectnet:
        return ValueError(f"{source} holds {affectnet[0]}, so it is AffectNet: run `affectnet-plus prepare` on it")
    if "fer2013.csv" in names:
        return ValueError(
            f"{source} holds fer2013.csv, pixels without the votes of FER+: run generate_training_data.py of {_HOME} "
            f"on it and {VOTES_CSV}, then import the folder that it writes"
        )
    looked_for = " or ".join(f"{FOLDERS[usage]}[.tar]" for usage in ("Training", validation))
    found = ", ".join([*names[:5], *(["..."] if len(names) > 5 else [])]) or "nothing"
    return FileNotFoundError(f"{source} holds {found} but no {looked_for}: give the folder that holds {_WANTED}")


@dataclass
class VoteTable:
    """The votes of the splits that are read. A row whose votes were rejected keeps its name, with None."""

    read_from: str
    rows: dict[str, dict[str, tuple[int, ...] | None]]  # usage -> image name -> ten votes in FER+ column order
    nameless: Counter = field(default_factory=Counter)  # usage -> rows without an image name
    unread: Counter = field(default_factory=Counter)  # usage -> rows of splits that are not read
    _numbers: set[tuple[str, int]] = field(default_factory=set)

    def add(self, usage: str, name: str, cells: list[str]) -> str | None:
        """Take one row, or return why not."""
        problem = _name_problem(name)
        if problem:
            return problem
        if (usage, face_number(name)) in self._numbers:
            return "image number appears twice in the csv"
        self._numbers.add((usage, face_number(name)))
        self.rows[usage][name], problem = _parse_votes(cells)
        return problem


def read_votes(
    source: Path, splits: dict[str, FaceFolder | FaceTar], rejections: Rejections, follow_links: bool = False
) -> VoteTable:
    """Read fer2013new.csv or, where that is absent, the label.csv of each split; bad rows go to `rejections`.

    Raises:
        FileNotFoundError: there is neither file.
        ValueError: fer2013new.csv does not begin with its header, or a file is no csv.
    """
    path = source / VOTES_CSV
    usages = [faces.usage for faces in splits.values()]
    if path.is_file():
        content = _table_bytes(path, follow_links)
        table, rows = VoteTable(VOTES_CSV, {usage: {} for usage in usages}), _whole_table(path, content, rejections)
    else:
        table, rows = VoteTable(SPLIT_CSV, {usage: {} for usage in usages}), _split_tables(source, splits)
    for usage, name, cells, where in rows:
        if usage not in table.rows:
            table.unread[usage] += 1
        elif not name:
            table.nameless[usage] += 1
        else:
            problem = table.add(usage, name, cells)
            if problem:
                rejections.add(name, problem, where)
    return table


def _parse_votes(cells: list[str]) -> tuple[tuple[int, ...] | None, str | None]:
    cells = [cell.strip() for cell in cells]
    if len(cells) != len(HEADER.split(",")) - 2 or not all(_COUNT.fullmatch(cell) for cell in cells):
        return None, "votes are not ten whole numbers >= 0"
    votes = tuple(int(cell) for cell in cells)
    if not 1 <= sum(votes) <= RATERS:
        return None, f"votes do not sum to 1..{RATERS}"
    return votes, None


def _csv_rows(data: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    # A byte that is no UTF-8 spoils one cell, which is then rejected with its row, not the whole file.
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace"), newline=""))
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{name}, line {reader.line_num} is not csv ({error}): fetch the file again") from error


def _whole_table(path: Path, content: bytes, rejections: Rejections) -> Iterator[tuple[str, str, list[str], str]]:
    rows = _csv_rows(content, str(path))
    _, header = next(rows, (0, []))
    # Another order of columns would exchange emotions without a trace, so the header has to be the one we know.
    if [cell.strip() for cell in header] != HEADER.split(","):
        raise ValueError(
            f"{path} begins with {','.join(header)[:150]!r} instead of {HEADER!r}: take {VOTES_CSV} from {_HOME}"
        )
    for line, cells in rows:
        where = f"{VOTES_CSV}, line {line}"
        if cells[0].strip() in FOLDERS and len(cells) > 1:
            yield cells[0].strip(), cells[1].strip(), cells[2:], where
        else:
            rejections.add(",".join(cells[1:2]), f"row does not begin with {', '.join(FOLDERS)}", where)


def _split_tables(source: Path, splits) -> Iterator[tuple[str, str, list[str], str]]:
    for faces in splits.values():
        data = faces.label_csv()
        if data is None:
            raise FileNotFoundError(
                f"{source} has no {VOTES_CSV} and {faces.path.name} no {SPLIT_CSV}: put {VOTES_CSV} of {_HOME} "
                f"into {source}"
            )
        where = f"{faces.path.name}/{SPLIT_CSV}"
        for line, (name, *cells) in _csv_rows(data, where):
            # The files that FER+ once published carry the face box, always the whole image, before the votes.
            has_box = bool(cells) and _BOX.fullmatch(cells[0].strip())
            yield faces.usage, name.strip(), cells[1:] if has_box else cells, f"{where}, line {line}"
