"""FER+ (real grey faces, ten human votes each) written as an AffectNet+ tree.

Source: E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang, "Training Deep Networks for Facial Expression Recognition
with Crowd-Sourced Label Distribution", ICMI 2016 (arXiv 1608.01041), and the folders that its authors' script
`generate_training_data.py` (github.com/microsoft/FERPlus) writes.
"""

import hashlib
import io
from collections import Counter
from pathlib import Path

from PIL import Image

from affectnet_plus import EMOTIONS, MAX_IMAGE_SIDE

from ..files import write_json
from ..labels import subset_of
from ..stages import Progress, silent
from .ferplus_files import FOLDERS, RATERS, Rejections, VoteTable, face_number, find_splits, read_votes
from .tree import TreeWriter, annotation, writing_tree

REPORT_NAME = "ferplus_report.json"
PROTOCOLS = ("A", "B")
VALIDATIONS = ("PublicTest", "PrivateTest")

# The ten vote columns in FER+'s own order, in our words; the eight emotions come first.
COLUMNS = ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt", "unknown", "not a face")
AFFECTNET_ORDER = tuple(COLUMNS.index(name) for name in EMOTIONS)
LEAK = "same pixels as a validation image"
NAMELESS = "csv row names no image"


def label_by_votes(votes, protocol: str) -> tuple[int | None, str | None]:
    """The AffectNet+ label of one face, or None with the reason why the protocol has no label for it.

    Args:
        votes: ten whole numbers >= 0, at least one of them above 0, in FER+ column order: the eight emotions,
            unknown, not a face.
        protocol: "A", the class with most votes; "B", the majority mode of Barsoum et al. 2016: classes with a
            single vote are outliers and count as zero, and the winner needs more than half of what remains.

    Ties go to the column that comes first in FER+'s order (neutral, happiness, surprise, sadness, anger, disgust,
    fear, contempt, unknown, not a face), as argmax does in the authors' reader; that is not AffectNet+'s order.

    Returns:
        (label, None) with label in 0..7, or (None, reason).
    """
    if protocol == "B":
        votes = [count if count > 1 else 0 for count in votes]
        if 2 * max(votes) <= sum(votes):
            return None, "no majority"
    winner = list(votes).index(max(votes))
    if winner >= len(EMOTIONS):
        return None, f"voted {COLUMNS[winner]}"
    return EMOTIONS.index(COLUMNS[winner]), None


def soft_label(votes) -> list[float]:
    """Eight floats in AffectNet order, each in [0, 1]: the votes as cast, over ten raters.

    They sum to less than 1 where raters chose unknown or not a face, or where fewer than ten voted.
    """
    return [votes[column] / RATERS for column in AFFECTNET_ORDER]


def import_ferplus(
    source,
    out,
    validation: str = "PublicTest",
    protocol: str = "A",
    drop_leaks: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    follow_links: bool = False,
) -> dict:
    """Write the FER+ faces in `source` as an AffectNet+ tree at `out`, PNG bytes unchanged.

    `human-label` is the winner of the votes (see `label_by_votes`), `soft-label` the eight emotion votes over ten
    (see `soft_label`); all meta-data is null, valence and arousal -2. As the label is the top class of its own
    votes, the rank rule makes every face `easy`.

    Args:
        source: folder with FER2013Train, FER2013Valid, FER2013Test as folders or tars of fer<number>.png, and
            fer2013new.csv or, where that is absent, a label.csv in each of them.
        validation: "PublicTest" (FER2013Valid) or "PrivateTest" (FER2013Test), what goes to `validation_set`;
            Training always goes to `train_set`. The third part is left out.
        protocol: "A" or "B".
        drop_leaks: leave out training images that are pixel-identical to a validation image, whether or not the
            protocol keeps that validation image.
        overwrite: replace `out` if it exists.
        progress: of the stage "import", in csv rows whose image was read.
        follow_links: files and folders of `source` may be links that leave it.

    Returns:
        The report, also written as ferplus_report.json at the root of the tree. `splits`: for each its rows, faces
        written, labels, drops by reason and exact duplicates; `absent`: splits that were not found; `unused_rows`:
        those of the part that was not asked for; `leaks`: pairs [train name, validation name] among all readable
        rows; `rejected`: every image or row that could not be used, as dicts of name, reason and where.

    Raises:
        FileNotFoundError: no split or no votes in `source`.
        FileExistsError: `out` exists and `overwrite` is false.
        ValueError: another data set, a broken tar or csv, an unknown `validation` or `protocol`, `out` would
            replace `source`, or no face at all could be written. `out` is not touched then.
    """
    source, out = Path(source), Path(out)
    _check_choice("validation", validation, VALIDATIONS)
    _check_choice("protocol", protocol, PROTOCOLS)
    splits = find_splits(source, validation, follow_links)
    _refuse_to_replace_source(source, splits, out)
    rejections = Rejections()
    table = read_votes(source, splits, rejections, follow_links)
    run = _Import(protocol, drop_leaks, table, rejections, progress)
    with writing_tree(out, overwrite, origin="FER+") as tree:
        # Validation goes first, so that a training image can be held against it as it is read.
        for split in reversed(splits):
            run.write(tree, split, splits[split])
        report = {
            "source": "FER+ (Barsoum et al. 2016, arXiv 1608.01041)",
            "votes_from": table.read_from,
            "validation": validation,
            "protocol": protocol,
            "drop_leaks": drop_leaks,
            "splits": {split: run.counts(split, faces) for split, faces in splits.items()},
            **_unread(splits, validation, table.unread),
            **run.leaks(),
            "rejected_by_reason": rejections.by_reason(),
            "rejected": list(rejections),
        }
        _require_faces(source, report)
        write_json(tree.root / REPORT_NAME, report)
    return report


def format_import(report: dict) -> str:
    """A few lines for the terminal; the names are in ferplus_report.json."""
    lines = [f"FER+ protocol {report['protocol']}, votes from {report['votes_from']}"]
    for split, counts in report["splits"].items():
        dropped = "".join(f"; {count:,} {reason}" for reason, count in counts["dropped"].items())
        labels = ", ".join(f"{name} {count:,}" for name, count in counts["labels"].items())
        lines.append(
            f"{split} ({counts['usage']}, {counts['read_from']}): {counts['written']:,} of {counts['rows']:,} rows "
            f"written{dropped}; {counts['duplicates']:,} exact duplicates"
        )
        lines.append(f"  {labels}")
    for entry in report["absent"]:
        lines.append(f"{entry['split']} ({entry['usage']}) left out: no {' or '.join(entry['looked_for'])}")
    lines.append(
        f"leaks: {report['leaked_validation_images']:,} validation images have the pixels of a training image"
        f"; training copies {'left out' if report['drop_leaks'] else 'kept'}"
    )
    for reason, count in report["rejected_by_reason"].items():
        lines.append(f"rejected: {count:,} {reason}")
    return "\n".join(lines)


class _Import:
    """The running state of one import: labels and drops by split, and the names by the digest of their pixels."""

    def __init__(self, protocol: str, drop_leaks: bool, table: VoteTable, rejections: Rejections, progress: Progress):
        self.protocol, self.drop_leaks, self.table, self.rejections = protocol, drop_leaks, table, rejections
        self.progress, self.done = progress, 0
        self.names: dict[str, dict[bytes, list[str]]] = {"train": {}, "validation": {}}
        self.labels: dict[str, Counter] = {"train": Counter(), "validation": Counter()}
        self.dropped: dict[str, Counter] = {"train": Counter(), "validation": Counter()}

    def write(self, tree: TreeWriter, split: str, faces) -> None:
        """Write every face of one split that has an image, votes and a label; count or list all others."""
        rows, where = self.table.rows[faces.usage], faces.path.name
        met: set[str] = set()
        for name, png, problem in faces.faces():
            if not problem and name not in rows:
                problem = "image without a csv row"
            if not problem and name in met:
                problem = "image name appears twice"
            if name in rows and name not in met:
                met.add(name)
                self._step()
            if problem:
                self.rejections.add(name, problem, where)
            elif rows[name] is not None:  # else its row is among the rejected already
                self._write_face(tree, split, name, png, rows[name], where)
        for name, votes in rows.items():
            if votes is not None and name not in met:
                self.rejections.add(name, "csv row without an image", where)

    def _write_face(self, tree: TreeWriter, split: str, name: str, png: bytes, votes, where: str) -> None:
        try:
            digest = pixel_digest(png)
        except ValueError as error:
            self.rejections.add(name, str(error), where)
            return
        self.names[split].setdefault(digest, []).append(name)
        label, reason = label_by_votes(votes, self.protocol)
        if label is not None and self.drop_leaks and split == "train" and digest in self.names["validation"]:
            label, reason = None, LEAK
        if label is None:
            self.dropped[split][reason] += 1
            return
        confidences = soft_label(votes)
        record = annotation(label, confidences, subset_of(label, confidences))
        tree.add(split, face_number(name), png, record, suffix=".png")
        self.labels[split][EMOTIONS[label]] += 1

    def _step(self) -> None:
        self.done += 1
        self.progress("import", self.done, sum(map(len, self.table.rows.values())))

    def counts(self, split: str, faces) -> dict:
        nameless = self.table.nameless[faces.usage]
        dropped = self.dropped[split] + Counter({NAMELESS: nameless})
        return {
            "usage": faces.usage,
            "read_from": faces.path.name,
            "rows": len(self.table.rows[faces.usage]) + nameless,
            "written": self.labels[split].total(),
            "labels": {name: self.labels[split][name] for name in EMOTIONS},
            "dropped": dict(dropped.most_common()),
            "duplicates": sum(len(names) - 1 for names in self.names[split].values()),
        }

    def leaks(self) -> dict:
        """Pixel-identical pairs across the splits, among all readable rows, labelled by the protocol or not."""
        train, validation = self.names["train"], self.names["validation"]
        shared = train.keys() & validation.keys()
        pairs = [[one, other] for digest in shared for one in train[digest] for other in validation[digest]]
        return {
            "leaked_train_images": sum(len(train[digest]) for digest in shared),
            "leaked_validation_images": sum(len(validation[digest]) for digest in shared),
            "leaks": sorted(pairs),
        }


def pixel_digest(png: bytes) -> bytes:
    """SHA-256 of the size and the RGB pixels, so that files which decode alike have one digest.

    Raises:
        ValueError: a side above MAX_IMAGE_SIDE, or Pillow cannot decode it as PNG; the message is a short reason.
    """
    pixels = None
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if max(image.size) <= MAX_IMAGE_SIDE:
                pixels = image.convert("RGB").tobytes()
            size = image.size
    except Image.DecompressionBombError:
        pass  # larger still
    except Exception as error:  # damaged PNGs make Pillow raise OSError, SyntaxError, struct.error, zlib.error, ...
        raise ValueError("unreadable PNG") from error
    if pixels is None:
        raise ValueError(f"image side is above {MAX_IMAGE_SIDE} pixels")
    return hashlib.sha256(repr(size).encode() + pixels).digest()


def _unread(splits, validation: str, rows: Counter) -> dict:
    """Which of the asked splits are absent, and how many rows belong to the part that was not asked for."""
    asked = {"train": "Training", "validation": validation}
    absent = [
        {"split": split, "usage": usage, "looked_for": [FOLDERS[usage], f"{FOLDERS[usage]}.tar"], "rows": rows[usage]}
        for split, usage in asked.items()
        if split not in splits
    ]
    return {"absent": absent, "unused_rows": {usage: rows[usage] for usage in FOLDERS if usage not in asked.values()}}


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: expected {' or '.join(choices)}")


def _refuse_to_replace_source(source: Path, splits, out: Path) -> None:
    out, folders = out.resolve(), [faces.path.resolve() for faces in splits.values()]
    holds = any(path.is_relative_to(out) for path in [source.resolve(), *folders])
    if holds or any(out.is_relative_to(folder) for folder in folders):
        raise ValueError(f"{out} is, holds or lies within what is read from {source}: name another folder to write to")


def _require_faces(source: Path, report: dict) -> None:
    if any(counts["written"] for counts in report["splits"].values()):
        return
    reasons = Counter(report["rejected_by_reason"])
    for counts in report["splits"].values():
        reasons.update(counts["dropped"])
    found = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "no csv rows and no images"
    raise ValueError(f"no face of {source} could be written ({found}): check that its csv and images belong together")
