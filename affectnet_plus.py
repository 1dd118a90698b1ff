"""AffectNet+ (arXiv 2410.22506) for `datasets`: what a row is, how one annotation is read and checked, the builder.

The data is licence-gated, so the folder is yours to bring. `affectnet-plus prepare` turns it into a folder that the
stock `datasets.load_dataset(folder, "default", split="train")` opens at once; `AffectNetPlus` is the same as a
builder. Both give the same rows. Nothing is repaired: what cannot be a row is left out with its reason.
"""

import hashlib
import json
import math
import os
import re
import stat
import struct
import zlib
from collections.abc import Container, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import datasets
import pyarrow as pa
import xxhash
from PIL import Image, UnidentifiedImageError

logger = datasets.logging.get_logger(__name__)

EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
LABELS = EMOTIONS + ("none", "uncertain", "non-face")
SUBSETS = ("easy", "challenging", "difficult")
GENDERS = ("female", "male")
RACES = ("asian", "indian", "black", "white", "middle eastern", "latino hispanic")
ANGLES = ("yaw", "pitch", "roll")
VIEWS = ("default", "7-class", "easy", "challenging", "difficult", "all", "no_human")

MISSING = -2  # the release's own sentinel for valence and arousal that nobody gave
MAX_ANNOTATION_BYTES = 1_000_000  # a real one has about 2 kB
MAX_DEPTH = 32  # of objects and lists in an annotation; a real one has 3
MAX_IMAGE_BYTES = 20_000_000  # a real one has about 8 kB
MAX_IMAGE_SIDE = 4096
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

# What systems and the tools of file servers leave beside files; no face, in a folder, a zip or a tar.
_SYSTEM_FILE = re.compile(
    r"(?:\A|/)(?:\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini|__MACOSX|@eaDir|\.ipynb_checkpoints)(?:/|\Z)",
    re.IGNORECASE,
)

SPLITS = {  # split -> folder under the root
    "train": "human_annotated/train_set",
    "validation": "human_annotated/validation_set",
    "test": "human_annotated/test_set",  # the release has none; data of others may
    "no_human": "no_human_annotated",
}


# What `DatasetInfo` says of the release, and the terms of what is prepared from it.
DESCRIPTION = (
    "AffectNet+: facial images, each with a soft label (how far each of 8 emotions is expressed), a difficulty "
    "subset, valence and arousal, and machine-predicted age, gender, ethnicity, head pose and landmarks."
)
HOMEPAGE = "https://arxiv.org/abs/2410.22506"
LICENCE = (
    "AffectNet and AffectNet+ are licensed by the University of Denver for academic research only. A professor or "
    "lab manager asks for them and signs the agreement; students ask through their supervisor. The faces may not be "
    "given to third parties, in part or as a whole, and copies stay on computers of the licensed institution. Weights "
    "trained on them are for non-commercial research."
)
CITATION = """\
@article{fard2025affectnetplus,
  title   = "{AffectNet+}: A Database for Enhancing Facial Expression Recognition with Soft-Labels",
  author  = {Pourramezan Fard, Ali and Hosseini, Mohammad Mehdi and Sweeny, Timothy D. and Mahoor, Mohammad H.},
  journal = {IEEE Transactions on Affective Computing},
  year    = {2025},
  note    = {arXiv:2410.22506}
}"""


class LayoutError(ValueError):
    """The folder is not an AffectNet+ tree; the message says what it looks like and what to do."""


class BadRow(ValueError):
    """One face cannot be a row; the message is the reason that goes into the quarantine."""


def features(view: str = "default") -> datasets.Features:
    """The typed columns of a view. Every column but `image` and `image_id` may be null.

    `soft_label` holds the 8 independent confidences as delivered, each in [0, 1]; `soft_label_normalized` is the
    same divided by its sum, the distribution that KL divergence needs. Valence and arousal are in [-1, 1].
    Age (years), gender and race (probabilities) are machine-predicted and serve audits only. `pose` is raw: its
    unit is not documented. Landmarks are (x, y) in pixels of the image.
    """
    names = {"7-class": EMOTIONS[:7], "all": LABELS}.get(view, EMOTIONS)
    number = datasets.Value("float32")
    return datasets.Features(
        {
            "image": datasets.Image(),
            "image_id": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(names)),
            "soft_label": datasets.Sequence(number, length=len(EMOTIONS)),
            "soft_label_normalized": datasets.Sequence(number, length=len(EMOTIONS)),
            "subset": datasets.ClassLabel(names=list(SUBSETS)),
            "valence": number,
            "arousal": number,
            "age": number,
            "gender": {_column(name): number for name in GENDERS},
            "race": {_column(name): number for name in RACES},
            "pose": dict.fromkeys(ANGLES, number),
            "landmarks_68": datasets.Array2D(shape=(68, 2), dtype="float32"),
            "landmarks_29": datasets.Array2D(shape=(29, 2), dtype="float32"),
        }
    )


def _column(name: str) -> str:
    return name.replace(" ", "_")


# --- one annotation --------------------------------------------------------------------------------------------------


def read_annotation(text: bytes) -> dict:
    """The columns of one annotation, all but `image` and `image_id`.

    Keys are read case-folded, with space, `_` and `-` alike, so `Human-Label` and `human_label` are the same key.
    A key that is absent or null gives a null column; -2 in valence or arousal is null.

    Raises:
        BadRow: the text is not JSON, not an annotation, or a value has the wrong type, length or range.
    """
    record = _parse(text)
    if "humanlabel" not in record and "softlabel" not in record:
        raise BadRow(f"has neither human-label nor soft-label, only {[key[:60] for key in sorted(record)[:6]]}")
    meta = record.get("metadata")
    meta = {} if meta is None else meta
    if not isinstance(meta, dict):
        raise BadRow(f"meta-data is {_short(meta)}, expected an object")
    soft = _numbers("soft-label", record.get("softlabel"), len(EMOTIONS), 0, 1)
    return {
        "label": _integer("human-label", record.get("humanlabel"), len(LABELS) - 1),
        "soft_label": soft,
        "soft_label_normalized": [value / sum(soft) for value in soft] if soft and any(soft) else None,
        "subset": _integer("subset", record.get("subset"), len(SUBSETS) - 1),
        "valence": _affect("valence", meta.get("valence")),
        "arousal": _affect("arousal", meta.get("arousal")),
        "age": _number("age", meta.get("age"), 0, 150),
        "gender": _struct("gender", meta.get("gender"), GENDERS, 0, 1),
        "race": _struct("race", meta.get("race"), RACES, 0, 1),
        "pose": _struct("pose", meta.get("pose"), ANGLES, -1000, 1000),
        "landmarks_68": _points("landmark-68", meta.get("landmark68"), 68),
        "landmarks_29": _points("landmark-29", meta.get("landmark29"), 29),
    }


def _parse(text: bytes) -> dict:
    if len(text) > MAX_ANNOTATION_BYTES:
        raise BadRow(f"annotation has {len(text)} bytes, expected at most {MAX_ANNOTATION_BYTES}")
    try:
        decoded = text.decode(json.detect_encoding(text), "surrogatepass")  # as json.loads does
        if is_deep(decoded):  # what a parser can stand depends on the process that it runs in
            raise BadRow(f"annotation is nested more than {MAX_DEPTH} deep")
        record = json.loads(decoded, object_pairs_hook=_fold_keys, parse_constant=_refuse_constant)
    except ValueError as error:
        raise error if isinstance(error, BadRow) else BadRow(f"annotation is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadRow(f"annotation is {_short(record)}, expected an object")
    return record


def is_deep(text: str) -> bool:
    """Whether objects and lists in JSON are nested more than `MAX_DEPTH` deep."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for found in _STRUCTURE.finditer(text):
        depth += _STEPS.get(found[0], 0)
        if depth > MAX_DEPTH:
            return True
    return False


_STRUCTURE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)  # a text, as a whole, or a bracket
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def _fold_keys(pairs: list) -> dict:
    record = {re.sub("[ _-]", "", key).lower(): value for key, value in pairs}
    if len(record) < len(pairs):
        raise BadRow(f"annotation names a key twice among {[key[:60] for key, _ in pairs[:20]]}")
    return record


def _refuse_constant(name: str):
    raise BadRow(f"annotation holds {name}, expected finite numbers")


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(name: str, value, low: float, high: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise BadRow(f"{name} is {_short(value)}, expected a number in [{low}, {high}]")
    return float(value)


def _integer(name: str, value, high: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise BadRow(f"{name} is {_short(value)}, expected a whole number in [0, {high}]")
    return value


def _affect(name: str, value) -> float | None:
    return None if value == MISSING else _number(name, value, -1, 1)


def _numbers(name: str, value, length: int, low: float, high: float) -> list[float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != length:
        found = f"{len(value)} values" if isinstance(value, list) else _short(value)
        raise BadRow(f"{name} has {found}, expected {length} numbers")
    numbers = []
    for index, item in enumerate(value):
        number = _number(f"{name}[{index}]", item, low, high)
        if number is None:
            raise BadRow(f"{name}[{index}] is null, expected a number in [{low}, {high}]")
        numbers.append(number)
    return numbers


def _struct(name: str, value, keys, low: float, high: float) -> dict | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadRow(f"{name} is {_short(value)}, expected an object with {', '.join(keys)}")
    folded = {key: value.get(key.replace(" ", "")) for key in keys}
    return {_column(key): _number(f"{name}.{key}", item, low, high) for key, item in folded.items()}


def _points(name: str, value, count: int) -> list[list[float]] | None:
    flat = _numbers(name, value, 2 * count, -MAX_IMAGE_SIDE, 2 * MAX_IMAGE_SIDE)
    return None if flat is None else [flat[index : index + 2] for index in range(0, 2 * count, 2)]


# --- one image -------------------------------------------------------------------------------------------------------


def check_image(data: bytes) -> None:
    """Make sure that the bytes are one whole JPEG or PNG of a reasonable size.

    The pixels are not read. Of a PNG the checksum of every chunk is; a JPEG has none, and only one that ends without
    its marker is decoded, which tells a truncated file from a whole one with bytes behind it.

    Raises:
        BadRow: empty, too large, of another format, truncated, or a PNG with a damaged chunk.
    """
    if not 0 < len(data) <= MAX_IMAGE_BYTES:
        raise BadRow(f"image has {len(data)} bytes, expected 1 to {MAX_IMAGE_BYTES}")
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            if max(image.size) > MAX_IMAGE_SIDE:
                raise BadRow(f"image is {image.size[0]}x{image.size[1]}, expected at most {MAX_IMAGE_SIDE} a side")
            if image.format == "PNG":
                _check_chunks(data)
            elif not data.endswith(b"\xff\xd9"):
                image.load()
    except UnidentifiedImageError as error:  # its own words hold an address in memory
        raise BadRow("image is not a JPEG or PNG") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise error if isinstance(error, BadRow) else BadRow(f"image cannot be read: {error}") from error


def _check_chunks(png: bytes) -> None:
    content, place = memoryview(png), 8
    while place + 12 <= len(png):
        length, kind = _CHUNK.unpack_from(png, place)
        end = place + 12 + length
        if end > len(png):
            break
        if zlib.crc32(content[place + 4 : end - 4]) != int.from_bytes(png[end - 4 : end], "big"):
            raise BadRow(f"image cannot be read: the checksum of its PNG chunk {str(kind)[1:]} is wrong")
        if kind == b"IEND":
            return
        place = end
    raise BadRow("image cannot be read: the PNG is truncated")


_CHUNK = struct.Struct(">I4s")


# --- the tree --------------------------------------------------------------------------------------------------------


class Face(NamedTuple):
    """One stem of a split: the names of its two files, either of which may be missing, or why it cannot be read."""

    image_id: str
    image: str | None = None
    annotation: str | None = None
    problem: str | None = None


def is_system_file(path: str) -> bool:
    """Whether a name, or one of the folders in a path with / between, is one that systems leave beside files."""
    return _SYSTEM_FILE.search(path) is not None


def find_splits(folder) -> dict[str, Path]:
    """The splits that are present: {"train": folder of images/ and annotations/, ...}, in the order of `SPLITS`.

    Takes the extracted `AffectNet+` folder, its parent, or its `human_annotated` part alone.

    Raises:
        LayoutError: it is none of these; the message says what it looks like instead.
    """
    root = Path(os.path.abspath(folder))
    if not root.is_dir():
        there = "is not a folder" if root.exists() else "does not exist"
        raise LayoutError(f"{root} {there}; give the extracted AffectNet+ folder")
    beside = {split: path for split, path in _splits_in(root.parent).items() if root in (path, *path.parents)}
    if found := beside or _splits_in(root):
        return found
    children = [child for child in sorted(root.iterdir()) if child.is_dir() and not is_system_file(child.name)]
    trees = {child.name: found for child in children if (found := _splits_in(child))}
    if not trees:
        raise LayoutError(f"{root} is not an AffectNet+ tree: {_looks_like(root, children)}")
    if len(trees) > 1:
        raise LayoutError(f"{root} holds {len(trees)} trees ({', '.join(trees)}). Give one, or merge the parts")
    return next(iter(trees.values()))


def _splits_in(base: Path) -> dict[str, Path]:
    folders = {split: base / path for split, path in SPLITS.items()}
    return {split: path for split, path in folders.items() if any((path / part).is_dir() for part in _PARTS)}


_PARTS = ("images", "annotations")


def _looks_like(root: Path, children: list[Path]) -> str:
    names = {entry.name for entry in root.iterdir() if not is_system_file(entry.name)}
    if not names:
        return "it is empty. Give the extracted AffectNet+ folder, which holds human_annotated/"
    if "README.md" in names and "data" in names:
        return "it looks prepared already. Open it with datasets.load_dataset"
    if any(_ZIP_PART.search(name) for name in names):
        return "it holds zip parts, which `affectnet-plus prepare` reads as they are. Here, give the extracted folder"
    if names & {"training.csv", "validation.csv", "automatically_annotated.csv"}:
        return f"it is the first AffectNet release (csv), {_OLDER}"
    if any(next(iter((root / part / "annotations").glob("*_exp.npy")), None) for part in ("train_set", "val_set")):
        return f"it is the older AffectNet-8 release (npy), {_OLDER}"
    classes = [child.name for child in children if re.sub("^[0-9]+[ _-]*", "", child.name.lower())[:3] in _STARTS]
    if len(classes) >= 3 or sum(child.name.isdecimal() for child in children) >= 7:
        return f"it has one folder per class, {_OLDER}"
    return (
        f"it holds {', '.join(sorted(names)[:5])}. Give the folder that holds human_annotated/; `affectnet-plus "
        "prepare` also reads folders by emotion (train/angry, ...) and RAF-DB with its list of labels"
    )


_ZIP_PART = re.compile(r"\.(zip(\.[0-9]{3})?|z[0-9]{2})$", re.IGNORECASE)
_OLDER = "which has no soft labels. `affectnet-plus prepare` reads it; here, give an AffectNet+ folder"
_STARTS = {name[:3] for name in EMOTIONS}


def list_faces(split: str, folder: Path) -> list[Face]:
    """Every stem of a split, sorted as whole numbers; stems that cannot be read come last, with their problem."""
    listed = [os.listdir(folder / part) if (folder / part).is_dir() else [] for part in _PARTS]
    return pair_faces(split, *listed)


def pair_faces(split: str, image_names: Iterable[str], annotation_names: Iterable[str]) -> list[Face]:
    """`list_faces` for names that come from elsewhere; no name may hold a /."""
    images, annotations = _stems(image_names, IMAGE_SUFFIXES), _stems(annotation_names, (".json",))
    odd_images, odd_annotations = _odd(images), _odd(annotations)
    _name_by_stem(images, odd_images, {*annotations, *odd_annotations})
    _name_by_stem(annotations, odd_annotations, images)
    # Sorted as text first, so that 1 and 01 have an order too; half a million tuples would take far longer.
    stems = sorted({*images, *annotations})
    stems.sort(key=lambda stem: int(stem) if stem.isdecimal() else math.inf)
    faces = [_face(split, stem, images.get(stem, ""), annotations.get(stem, "")) for stem in stems]
    return sorted(faces, key=lambda face: face.problem is not None)


def _stems(names: Iterable[str], suffixes: tuple[str, ...]) -> dict[str, str]:
    """stem -> the name of its file; of several files their names with / between, which no name holds."""
    stems: dict[str, str] = {}
    for name in names:
        if is_system_file(name):
            continue
        stem, suffix = os.path.splitext(name)
        stem = stem if suffix.lower() in suffixes else name
        stems[stem] = f"{stems[stem]}/{name}" if stem in stems else name
    return stems


def _odd(stems: dict[str, str]) -> dict[str, list[str]]:
    """stem -> the names that have it and a suffix that is not known."""
    odd: dict[str, list[str]] = {}
    for name in [stem for stem, names in stems.items() if stem == names]:
        odd.setdefault(os.path.splitext(name)[0], []).append(name)
    return odd


def _name_by_stem(stems: dict[str, str], odd: dict[str, list[str]], others: Container[str]) -> None:
    """7.webp goes as 7 where there is a 7.json and no 7.jpg: both are one face that cannot be read, and not two."""
    for stem, names in odd.items():
        if stem in others and stem not in stems:
            stems[stem] = "/".join(sorted(map(stems.pop, names)))


def _face(split: str, stem: str, images: str, annotations: str) -> Face:
    image_id, names = f"{split}/{stem}", f"{images}/{annotations}"
    if _TWO_NAMES.fullmatch(names):
        return Face(image_id, images, annotations)
    for name in filter(None, names.split("/")):
        if not _FILE_NAME.fullmatch(name):
            return Face(image_id, problem=f"{name!r} is not named <whole number>.jpg|png|json")
    kind, wrong = ("image", images) if not images or "/" in images else ("annotation", annotations)
    count = len(wrong.split("/"))
    return Face(image_id, problem=f"has {count} {kind}s, expected 1" if wrong else f"has no {kind}")


_FILE_NAME = re.compile(r"[0-9]{1,18}\.(jpe?g|png|json)", re.IGNORECASE)
_TWO_NAMES = re.compile(r"[0-9]{1,18}\.(jpe?g|png)/[0-9]{1,18}\.json", re.IGNORECASE)


def stamps(folder: Path, follow_links: bool = False) -> Iterator[bytes]:
    """Name, size and time of each file as a line, in order; one by one, as the release has two million.

    Of a link it is its own size and time, or with `follow_links` those of what it leads to, if that is there.
    """
    if not folder.is_dir():
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        for name in sorted(os.listdir(folder)):
            if is_system_file(name):
                continue
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            if follow_links and stat.S_ISLNK(found.st_mode):
                try:
                    found = os.stat(name, dir_fd=place)
                except OSError:  # it leads nowhere
                    pass
            yield f"{name}/{found.st_size}/{found.st_mtime_ns}\n".encode(errors="surrogateescape")
    finally:
        os.close(place)


def fingerprint_of(folders: dict[str, Path], follow_links: bool = False) -> str:
    """Hexadecimal digest of the names, sizes and times of the files of each split, which are not read."""
    total = hashlib.sha256()
    for split, folder in folders.items():
        for part in _PARTS:
            total.update(f"{split}/{part}\n".encode())
            for line in stamps(folder / part, follow_links):
                total.update(line)
    return total.hexdigest()


def read_face(folder: Path, face: Face, follow_links: bool = False) -> tuple[dict, bytes]:
    """The row of one face of the split in `folder`, its image still a path, and the image's bytes.

    Args:
        follow_links: a file may be a link that leaves its folder.

    Raises:
        BadRow: with the reason.
    """
    if face.problem:
        raise BadRow(face.problem)
    assert face.image and face.annotation
    image = os.path.join(folder, "images", face.image)
    annotation = os.path.join(folder, "annotations", face.annotation)
    content = read_file(annotation, MAX_ANNOTATION_BYTES, follow_links)
    data = read_file(image, MAX_IMAGE_BYTES, follow_links)
    return make_row(face.image_id, image, content, data), data


def make_row(image_id: str, path: str, annotation: bytes, image: bytes) -> dict:
    """The row of a face from the contents of its two files; its image is the path.

    Raises:
        BadRow: with the reason.
    """
    row = read_annotation(annotation)
    check_image(image)
    if image_id.startswith("no_human/") and row["label"] is not None:
        raise BadRow(f"has human-label {row['label']} in no_human_annotated, where it must be null")
    return {"image": {"bytes": None, "path": path}, "image_id": image_id} | row


def refuse_link_out(path) -> None:
    """Raise BadRow if a path is a link that leads out of the folder it lies in.

    One that a stranger delivered could lead to any file of whoever reads it.
    """
    if os.path.islink(path) and os.path.dirname(os.path.realpath(path)) != os.path.realpath(Path(path).parent):
        raise BadRow(f"{os.path.basename(path)!r} is a link that leaves its folder (--follow-links follows it)")


def read_file(path, most: int, follow_links: bool = False) -> bytes:
    """What a delivered file holds; of more than `most` bytes only `most` + 1.

    Args:
        follow_links: it may be a link that leaves its folder, as the files of the Hub's cache, of DVC and of
            git-annex are.

    Raises:
        BadRow: it is no file, a link that leaves its folder, or cannot be opened.
    """
    try:
        if not follow_links:
            refuse_link_out(path)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # waiting for a pipe would take for ever
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise BadRow(f"{os.path.basename(path)!r} is not a file")
            return os.read(file, min(found.st_size, most) + 1)
        finally:
            os.close(file)
    except OSError as error:
        raise BadRow(f"cannot be opened: {error}") from error


def lot_of(image_id: str) -> int:
    """The lot (64 bits) that a face has drawn: the rows of a split are in the order of their lots.

    That is a random order, and the same one wherever the faces come from, whatever view is read, and whichever other
    faces are there.
    """
    return xxhash.xxh3_64_intdigest(image_id.encode())


def filters(view: str) -> list[list]:
    """What a view asks of a row, as `datasets` takes `filters` of Parquet; what is null does not fulfil it.

    A row without a human label is therefore only in `all`, or in `no_human`, which ask for nothing.
    """
    if view in ("all", "no_human"):
        return []
    asked = [["label", "<", 7 if view == "7-class" else len(EMOTIONS)]]
    return asked + [["subset", "==", SUBSETS.index(view)]] if view in SUBSETS else asked


def in_view(view: str, split: str, label: int | None, subset: int | None) -> bool:
    """Whether a row belongs to a view: those of the split `no_human` to the view of that name alone."""
    if (view == "no_human") != (split == "no_human"):
        return False
    row = {"label": label, "subset": subset}
    return all(_fulfils(row[column], sign, bound) for column, sign, bound in filters(view))


def _fulfils(value: int | None, sign: str, bound: int) -> bool:
    return value is not None and (value < bound if sign == "<" else value == bound)


def to_table(rows: list[dict], columns: datasets.Features) -> pa.Table:
    """Rows as an Arrow table with the types of `columns`."""
    schema = columns.arrow_schema
    arrays = [_array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list, kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.ExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


# --- the builder -----------------------------------------------------------------------------------------------------

_NO_FOLDER = "AffectNet+ is licence-gated: pass data_dir=<the extracted AffectNet+ folder>"


def _folders(view: str, data_dir: str) -> dict[str, Path]:
    found = find_splits(data_dir)
    folders = {split: path for split, path in found.items() if (split == "no_human") == (view == "no_human")}
    if not folders:
        raise LayoutError(f"{data_dir} holds no part for the view {view!r}")
    return folders


class AffectNetPlus(datasets.ArrowBasedBuilder):
    """`AffectNetPlus(config_name="easy", data_dir=folder)`; then `download_and_prepare()`, `as_dataset("train")`.

    The cache is keyed by names, sizes and times of the files and by this code, so that a changed folder gives its new
    rows. Looking at them takes about 3 seconds for the 420,299 faces with a human label; a prepared folder has no
    such wait. With datasets 3 this file is a script too: `load_dataset("affectnet_plus.py", "easy", data_dir=folder,
    trust_remote_code=True)`.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIGS = [datasets.BuilderConfig(name=view, version=datasets.Version("1.0.0")) for view in VIEWS]
    DEFAULT_CONFIG_NAME = "default"
    FACES_AT_A_TIME = 500

    def __init__(self, *args, config_name=None, data_dir=None, hash=None, **options):
        if data_dir is not None:
            # The cache is keyed by the text of data_dir too: a relative one would mean another folder elsewhere.
            data_dir = str(Path(data_dir).resolve())
            files = fingerprint_of(_folders(config_name or self.DEFAULT_CONFIG_NAME, data_dir))
            hash = hashlib.sha256(Path(__file__).read_bytes() + files.encode()).hexdigest()
        super().__init__(*args, config_name=config_name, data_dir=data_dir, hash=hash, **options)

    @property
    def manual_download_instructions(self) -> str:
        """What datasets 3 says where `data_dir` is not given."""
        return _NO_FOLDER

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=DESCRIPTION,
            features=features(self.config.name),
            homepage=HOMEPAGE,
            license=LICENCE,
            citation=CITATION,
        )

    def _split_generators(self, dl_manager) -> list[datasets.SplitGenerator]:
        if self.config.data_dir is None:
            raise LayoutError(_NO_FOLDER)
        return [
            datasets.SplitGenerator("train" if split == "no_human" else split, gen_kwargs=self._chunks(split, path))
            for split, path in _folders(self.config.name, self.config.data_dir).items()
        ]

    def _chunks(self, split: str, folder: Path) -> dict:
        faces = sorted(list_faces(split, folder), key=lambda face: lot_of(face.image_id))
        step = self.FACES_AT_A_TIME
        # A list is what `num_proc` and streaming workers share out; the rest travels beside it.
        chunks = [faces[start : start + step] for start in range(0, len(faces), step)]
        return {"split": split, "folder": str(folder), "chunks": chunks}

    def _generate_tables(self, split: str, folder: str, chunks: list) -> Iterator[tuple[int, pa.Table]]:
        for index, chunk in enumerate(chunks):
            rows = []
            for face in chunk:
                try:
                    row, _ = read_face(Path(folder), face)
                except BadRow as reason:
                    logger.warning("%s is left out: %s", face.image_id, reason)
                    continue
                if in_view(self.config.name, split, row["label"], row["subset"]):
                    rows.append(row)
            if rows:
                yield index, to_table(rows, self.info.features)
