"""A face that cannot be a row: each kind of damage has its reason, and no face is lost or told twice."""

import json
import math
import re
import shutil
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from affectnet_plus import SPLITS, AffectNetPlus, LayoutError
from affectnet_plus_modeling.preparing import format_report, prepare
from affectnet_plus_modeling.sources.tree import writing_tree
from support.trees import full_record, picture


def stems_of(root: Path) -> Counter:
    """How often each stem of the tree should be met: once."""
    return Counter(
        {f"{split}/{path.stem}": 1 for split, folder in SPLITS.items() for path in (root / folder).glob("*/*")}
    )


class Files:
    """The files of one face, for damage."""

    def __init__(self, folder: Path, stem):
        self.images, self.annotations, self.stem = folder / "images", folder / "annotations", stem
        self.image, self.annotation = self.images / f"{stem}.jpg", self.annotations / f"{stem}.json"


def text(content):
    content = content if isinstance(content, bytes) else content.encode()
    return lambda files: files.annotation.write_bytes(content)


def put(path, value):
    """Change one value; `path` is like "meta-data/pose/yaw" or "soft-label/3"."""

    def damage(files):
        record = json.loads(files.annotation.read_text())
        *parents, last = [int(key) if key.isdecimal() else key for key in path.split("/")]
        target = record
        for key in parents:
            target = target[key]
        target[last] = value
        files.annotation.write_text(json.dumps(record))

    return damage


def image(content):
    return lambda files: files.image.write_bytes(content)


def header_only_png(width, height) -> bytes:
    """A PNG that promises more pixels than fit in memory."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    packed = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def link(files):
    shutil.copy(files.image, files.images.parent / "outside.jpg")
    files.image.unlink()
    files.image.symlink_to("../outside.jpg")


def link_annotation(files):
    shutil.move(files.annotation, files.annotations.parent / "outside.json")
    files.annotation.symlink_to("../outside.json")


def dangling(files):
    files.image.unlink()
    files.image.symlink_to("nothing.jpg")


def folder_instead(files):
    files.image.unlink()
    files.image.mkdir()


BAD = {
    # the annotation's text
    "not JSON": (text("no JSON"), "annotation is not JSON: Expecting value: line 1 column 1 (char 0)"),
    "empty annotation": (text(""), "annotation is not JSON: Expecting value: line 1 column 1 (char 0)"),
    "half an annotation": (text('{"human-label": 1, "soft'), "annotation is not JSON: Unterminated string"),
    "not UTF-8": (text(b'{"human-label": "\xff\xfe"}'), "annotation is not JSON: 'utf-8' codec can't decode"),
    "over 1 MB": (
        text('{"human-label": 1}'.ljust(1_500_000)),
        "annotation has 1000001 bytes, expected at most 1000000",
    ),
    "nested deep": (text("[" * 200_000), "annotation is nested more than 32 deep"),
    "objects nested deep": (text('{"a":' * 100_000), "annotation is nested more than 32 deep"),
    "a list": (text("[1, 2]"), "annotation is [1, 2], expected an object"),
    "a number": (text("7"), "annotation is 7, expected an object"),
    "null": (text("null"), "annotation is None, expected an object"),
    "another object": (text('{"a": 1}'), "has neither human-label nor soft-label, only ['a']"),
    "the same key twice": (
        text('{"human-label": 1, "human-label": 2}'),
        "annotation names a key twice among ['human-label', 'human-label']",
    ),
    "a key twice in two spellings": (
        text('{"human-label": 1, "Human_Label": 2}'),
        "annotation names a key twice among ['human-label', 'Human_Label']",
    ),
    "a key twice inside": (
        text('{"human-label": 1, "meta-data": {"age": 1, "Age": 2}}'),
        "annotation names a key twice among ['age', 'Age']",
    ),
    "NaN": (put("soft-label/0", math.nan), "annotation holds NaN, expected finite numbers"),
    "Infinity": (put("meta-data/age", math.inf), "annotation holds Infinity, expected finite numbers"),
    "-Infinity": (put("meta-data/pose/yaw", -math.inf), "annotation holds -Infinity, expected finite numbers"),
    "a float beyond float64": (
        text('{"human-label": 1, "meta-data": {"age": 1e999}}'),
        "age is inf, expected a number in [0, 150]",
    ),
    "a huge int": (put("human-label", 10**400), "human-label is 1000000000"),
    "a huge int as a confidence": (put("soft-label/2", 10**400), "soft-label[2] is 1000000000"),
    "a huge int as a coordinate": (put("meta-data/landmark-68/0", -(10**400)), "landmark-68[0] is -100000000"),
    "more digits than Python reads": (text('{"human-label": 1%s}' % ("0" * 5000)), "annotation is not JSON: Exceeds"),
    # soft label
    "soft label of 7": (put("soft-label", [0.1] * 7), "soft-label has 7 values, expected 8 numbers"),
    "soft label of 9": (put("soft-label", [0.1] * 9), "soft-label has 9 values, expected 8 numbers"),
    "soft label of 0": (put("soft-label", []), "soft-label has 0 values, expected 8 numbers"),
    "soft label a string": (put("soft-label", "0.1 0.2"), "soft-label has '0.1 0.2', expected 8 numbers"),
    "soft label an object": (put("soft-label", {"happy": 1}), "soft-label has {'happy': 1}, expected 8 numbers"),
    "string inside": (put("soft-label/7", "0.5"), "soft-label[7] is '0.5', expected a number in [0, 1]"),
    "null inside": (put("soft-label/1", None), "soft-label[1] is null, expected a number in [0, 1]"),
    "true inside": (put("soft-label/1", True), "soft-label[1] is True, expected a number in [0, 1]"),
    "a list inside": (put("soft-label/1", [1]), "soft-label[1] is [1], expected a number in [0, 1]"),
    "above 1": (put("soft-label/4", 1.0001), "soft-label[4] is 1.0001, expected a number in [0, 1]"),
    "below 0": (put("soft-label/4", -0.0001), "soft-label[4] is -0.0001, expected a number in [0, 1]"),
    # label and subset
    "label 11": (put("human-label", 11), "human-label is 11, expected a whole number in [0, 10]"),
    "label -1": (put("human-label", -1), "human-label is -1, expected a whole number in [0, 10]"),
    "label true": (put("human-label", True), "human-label is True, expected a whole number in [0, 10]"),
    "label a string": (put("human-label", "1"), "human-label is '1', expected a whole number in [0, 10]"),
    "label a float": (put("human-label", 1.0), "human-label is 1.0, expected a whole number in [0, 10]"),
    "subset 3": (put("subset", 3), "subset is 3, expected a whole number in [0, 2]"),
    "subset a name": (put("subset", "easy"), "subset is 'easy', expected a whole number in [0, 2]"),
    # meta-data
    "meta-data a list": (put("meta-data", []), "meta-data is [], expected an object"),
    "valence 1.5": (put("meta-data/valence", 1.5), "valence is 1.5, expected a number in [-1, 1]"),
    "valence -1.9": (put("meta-data/valence", -1.9), "valence is -1.9, expected a number in [-1, 1]"),
    "arousal a string": (put("meta-data/arousal", "-2"), "arousal is '-2', expected a number in [-1, 1]"),
    "age negative": (put("meta-data/age", -1), "age is -1, expected a number in [0, 150]"),
    "age 151": (put("meta-data/age", 151), "age is 151, expected a number in [0, 150]"),
    "race an int": (put("meta-data/race", 3), "race is 3, expected an object with asian, indian, black, white"),
    "gender an int": (put("meta-data/gender", 0), "gender is 0, expected an object with female, male"),
    "gender above 1": (put("meta-data/gender/male", 99.5), "gender.male is 99.5, expected a number in [0, 1]"),
    "race below 0": (
        put("meta-data/race/middle eastern", -0.1),
        "race.middle eastern is -0.1, expected a number in [0, 1]",
    ),
    "pose a list": (put("meta-data/pose", [0, 0, 0]), "pose is [0, 0, 0], expected an object with yaw, pitch, roll"),
    "pose of 1001": (put("meta-data/pose/roll", 1001), "pose.roll is 1001, expected a number in [-1000, 1000]"),
    "135 landmark values": (put("meta-data/landmark-68", [1] * 135), "landmark-68 has 135 values, expected 136"),
    "no landmark values": (put("meta-data/landmark-68", []), "landmark-68 has 0 values, expected 136 numbers"),
    "pairs of landmarks": (put("meta-data/landmark-29", [[1, 2]] * 29), "landmark-29 has 29 values, expected 58"),
    "a landmark far away": (put("meta-data/landmark-68/9", 9000), "landmark-68[9] is 9000, expected a number in"),
    "a null landmark": (put("meta-data/landmark-29/57", None), "landmark-29[57] is null, expected a number in"),
    # files
    "missing image": (lambda files: files.image.unlink(), "has no image"),
    "missing annotation": (lambda files: files.annotation.unlink(), "has no annotation"),
    "two images": (
        lambda files: shutil.copy(files.image, files.image.with_suffix(".png")),
        "has 2 images, expected 1",
    ),
    "two spellings of a suffix": (
        lambda files: shutil.copy(files.image, files.image.with_suffix(".JPG")),
        "has 2 images, expected 1",
    ),
    "two annotations": (
        lambda files: shutil.copy(files.annotation, files.annotation.with_suffix(".JSON")),
        "has 2 annotations, expected 1",
    ),
    "a link that leaves the folder": (link, "is a link that leaves its folder"),
    "an annotation that is a link to elsewhere": (link_annotation, "is a link that leaves its folder"),
    "a link to nothing": (dangling, "cannot be opened: [Errno 2] No such file or directory"),
    "a folder named .jpg": (folder_instead, "is not a file"),
    # images
    "truncated JPEG": (image(picture()[:-20]), "image cannot be read: image file is truncated"),
    "half a header": (image(picture()[:100]), "image cannot be read: Truncated File Read"),
    "truncated PNG": (image(picture(kind="PNG", size=(99, 99))[:60]), "image cannot be read: "),
    "0 bytes": (image(b""), "image has 0 bytes, expected 1 to 20000000"),
    "over 20 MB": (image(picture() + bytes(20_000_000)), "image has 20000001 bytes, expected 1 to 20000000"),
    "TIFF named .jpg": (image(picture(kind="TIFF")), "image is not a JPEG or PNG"),
    "GIF named .jpg": (image(picture(kind="GIF")), "image is not a JPEG or PNG"),
    "text named .jpg": (image(b"<html>not found</html>"), "image is not a JPEG or PNG"),
    "4097 wide": (image(picture(size=(4097, 1))), "image is 4097x1, expected at most 4096 a side"),
    "decompression bomb": (
        image(header_only_png(9_000, 9_000)),
        "image is 9000x9000, expected at most 4096 a side",
    ),
    "huge decompression bomb": (
        image(header_only_png(60_000, 60_000)),
        "image cannot be read: Image size (3600000000 pixels) exceeds limit",
    ),
}
GOOD = {
    "PNG named .jpg": image(picture(kind="PNG")),
    "JPEG with bytes behind it": image(picture() + bytes(50)),
    "gray JPEG": image((lambda b: (Image.new("L", (8, 8)).save(b, "JPEG"), b.getvalue())[1])(BytesIO())),
    "Title-Case keys": lambda files: files.annotation.write_text(
        re.sub(r'"([a-z0-9 -]+)":', lambda key: f'"{key[1].title()}":', files.annotation.read_text())
    ),
    "a link inside the folder": lambda files: (
        files.annotation.rename(files.annotations / f"{int(files.stem) + 1000}.json"),
        files.annotation.symlink_to(f"{int(files.stem) + 1000}.json"),
        files.images.joinpath(f"{int(files.stem) + 1000}.jpg").write_bytes(picture()),
    ),
}
NUMBER = {name: stem for stem, name in enumerate([*BAD, *GOOD], start=1)}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A tree with every kind of bad face, one of each, prepared once: (tree, out, report)."""
    place = tmp_path_factory.mktemp("damaged")
    with writing_tree(place / "AffectNet+") as tree:
        for stem in NUMBER.values():
            tree.add("train", stem, picture(), full_record(stem % 8, stem % 3, seed=stem))
        tree.add("validation", 1, picture(), full_record(1, 0))
    for name, damage in ({name: damage for name, (damage, _) in BAD.items()} | GOOD).items():
        damage(Files(place / "AffectNet+" / SPLITS["train"], NUMBER[name]))
    return place / "AffectNet+", place / "out", prepare(place / "AffectNet+", place / "out")


def quarantine_of(out: Path) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for line in (out / "quarantine.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert sorted(entry) == ["image_id", "reason"]
        reasons.setdefault(entry["image_id"], []).append(entry["reason"])
    return reasons


def ids_of(out: Path) -> Counter:
    """image_id -> how often, over all Parquet files."""
    return Counter(
        name for path in (out / "data").iterdir() for name in pq.read_table(path, columns=["image_id"])[0].to_pylist()
    )


def rows_of(out: Path) -> list[dict]:
    return [row for path in (out / "data").iterdir() for row in pq.read_table(path).to_pylist()]


def assert_as_its_source(row: dict, raw: Path):
    """Every value of a row is what its annotation says, read here with nothing but `json`."""
    split, stem = row["image_id"].split("/")
    text = (raw / SPLITS[split] / "annotations" / f"{stem}.json").read_bytes()

    def folded(pairs):
        return {key.replace("-", "").replace("_", "").replace(" ", "").lower(): value for key, value in pairs}

    record = json.loads(text, object_pairs_hook=folded)
    about = record.get("metadata") or {}

    def same(found, expected):
        if expected is None:
            return found is None
        return np.array_equal(np.ravel(found), np.ravel(expected).astype(np.float32))

    assert row["label"] == record.get("humanlabel") and row["subset"] == record.get("subset")
    assert same(row["soft_label"], record.get("softlabel"))
    assert same(row["age"], about.get("age"))
    for name in ("valence", "arousal"):
        assert same(row[name], None if about.get(name) == -2 else about.get(name)), name
    for name in ("gender", "race", "pose"):
        for key, value in (row[name] or {}).items():
            assert same(value, about[name].get(key.replace("_", ""))), (name, key)
        assert (row[name] is None) == (about.get(name) is None)
    for count in (68, 29):
        assert same(row[f"landmarks_{count}"], about.get(f"landmark{count}"))
    place = Path(row["image"]["path"])
    assert place.parent == (raw / SPLITS[split] / "images").resolve() and place.stem == stem and place.is_file()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_face_is_quarantined_with_its_reason(damaged, name):
    _, out, _ = damaged
    (reason,) = quarantine_of(out)[f"train/{NUMBER[name]}"]
    assert BAD[name][1] in reason
    assert reason.isprintable() and len(reason) < 400
    assert f"train/{NUMBER[name]}" not in ids_of(out)


@pytest.mark.parametrize("name", GOOD)
def test_an_unusual_face_is_a_row(damaged, name):
    assert ids_of(damaged[1])[f"train/{NUMBER[name]}"] == 1


def test_every_stem_is_once_in_the_rows_or_in_the_quarantine(damaged):
    tree, out, report = damaged
    quarantined = {name: len(reasons) for name, reasons in quarantine_of(out).items()}
    assert ids_of(out) + Counter(quarantined) == stems_of(tree)
    assert len(quarantined) == len(BAD) == report["quarantined"] == report["splits"]["train"]["quarantined"]
    assert sum(report["quarantine_reasons"].values()) == len(BAD)
    assert report["splits"]["train"]["rows"] == len(GOOD) + 1 and report["splits"]["validation"]["quarantined"] == 0
    assert report == json.loads((out / "report.json").read_text())


def test_a_folder_with_bad_faces_still_opens(damaged, tmp_path):
    tree, out, _ = damaged
    rows = datasets.load_dataset(str(out), "all", split="train", cache_dir=str(tmp_path))
    assert len(rows) == len(GOOD) + 1
    assert f"| train | {len(GOOD) + 1} | {len(BAD)} |" in (out / "README.md").read_text()


def test_the_builder_leaves_out_the_same_faces(damaged, tmp_path):
    builder = AffectNetPlus(config_name="all", data_dir=damaged[0], cache_dir=str(tmp_path))
    builder.download_and_prepare()
    ids = {split: builder.as_dataset(split)["image_id"] for split in ("train", "validation")}
    assert Counter([*ids["train"], *ids["validation"]]) == ids_of(damaged[1])


def test_the_report_puts_one_defect_on_one_line(tree_copy, tmp_path):
    for stem, value in ((1, 1.5), (4, -3), (7, 2e-9 - 3), (10, 10**400)):
        put("meta-data/valence", value)(Files(tree_copy / SPLITS["train"], stem))
    for stem, points in ((13, [1] * 135), (16, [])):
        put("meta-data/landmark-68", points)(Files(tree_copy / SPLITS["train"], stem))
    put("meta-data/landmark-29", [1] * 136)(Files(tree_copy / SPLITS["train"], 19))
    put("soft-label/3", 5e-7 + 2)(Files(tree_copy / SPLITS["train"], 22))
    put("soft-label/3", -5e-17)(Files(tree_copy / SPLITS["train"], 25))
    report = prepare(tree_copy, tmp_path / "out")
    assert report["quarantine_reasons"] == {
        "valence is N, expected a number in [N, N]": 3,
        "landmark-68 has N values, expected N numbers": 2,
        "soft-label[N] is N, expected a number in [N, N]": 2,
        "valence is N..., expected a number in [N, N]": 1,
        "landmark-29 has N values, expected N numbers": 1,
    }
    assert "  quarantined 3 x valence is N, expected a number in [N, N]" in format_report(report).splitlines()


@settings(max_examples=25, deadline=None)
@given(
    damages=st.dictionaries(st.integers(1, 8), st.sampled_from(sorted(BAD)), max_size=5),
    flips=st.lists(
        st.tuples(st.integers(1, 8), st.booleans(), st.integers(0, 4000), st.binary(max_size=4)), max_size=4
    ),
)
@pytest.mark.slow
def test_random_damage_loses_no_stem(tmp_path_factory, damages, flips):
    place = tmp_path_factory.mktemp("random")
    with writing_tree(place / "raw") as tree:
        for stem in range(1, 9):
            tree.add("train", stem, picture(), full_record(stem % 8, stem % 3, seed=stem))
        tree.add("validation", 5, picture(), full_record(1, 0))
    for stem, in_image, where, content in flips:  # bytes replaced, or the file cut when there are none
        files = Files(place / "raw" / SPLITS["train"], stem)
        path = files.image if in_image else files.annotation
        data = path.read_bytes()
        where %= max(1, len(data))
        path.write_bytes(data[:where] + content + (data[where + len(content) :] if content else b""))
    for number, name in damages.items():
        files = Files(place / "raw" / SPLITS["train"], number)
        files.annotation.write_text(json.dumps(full_record(1, 0)))  # whatever befell it: the damage edits it
        files.image.write_bytes(picture())
        BAD[name][0](files)
    report = prepare(place / "raw", place / "out")
    rows = ids_of(place / "out")
    quarantined = Counter({name: len(reasons) for name, reasons in quarantine_of(place / "out").items()})
    assert rows + quarantined == stems_of(place / "raw")
    touched = {f"train/{stem}" for stem, *_ in flips}
    assert {f"train/{stem}" for stem in damages} <= set(quarantined) <= touched | {f"train/{n}" for n in damages}
    assert report["quarantined"] == quarantined.total() and rows["validation/5"] == 1
    for row in rows_of(place / "out"):
        assert_as_its_source(row, place / "raw")


@pytest.mark.parametrize(
    "lost, words",
    [
        pytest.param(["annotations"], "gives no row: 9 x has no annotation", id="nothing but images"),
        pytest.param(["images"], "gives no row: 9 x has no image", id="nothing but annotations"),
        pytest.param(["images", "annotations"], "gives no row: its folders hold no faces", id="empty folders"),
    ],
)
def test_a_tree_without_one_good_face_is_refused(tree_copy, tmp_path, lost, words):
    shutil.rmtree(tree_copy / SPLITS["train"])
    shutil.rmtree(tree_copy / SPLITS["no_human"])
    for name in lost:
        shutil.rmtree(tree_copy / SPLITS["validation"] / name)
        (tree_copy / SPLITS["validation"] / name).mkdir()
    with pytest.raises(LayoutError) as refused:
        prepare(tree_copy, tmp_path / "out")
    assert words in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} == {"AffectNet+", ".out.lock"}, "nothing to go on with"
