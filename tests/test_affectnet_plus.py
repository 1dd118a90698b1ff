"""One annotation, one image, the tree, and the builder: what is a row, and what is refused with which words."""

import json
import math
import os
import shutil
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import rankdata

from affectnet_plus import (
    EMOTIONS,
    LABELS,
    VIEWS,
    AffectNetPlus,
    BadRow,
    LayoutError,
    check_image,
    features,
    filters,
    find_splits,
    fingerprint_of,
    in_view,
    is_system_file,
    list_faces,
    lot_of,
    read_annotation,
    read_face,
    to_table,
)
from affectnet_plus_modeling.labels import subset_of
from affectnet_plus_modeling.sources.tree import annotation
from support.trees import full_record, known_points, picture


def read(record) -> dict:
    return read_annotation(json.dumps(record).encode())


# --- the columns -----------------------------------------------------------------------------------------------------

FLOAT = datasets.Value("float32")
EIGHT = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"]
NAMES = {"7-class": EIGHT[:7], "all": EIGHT + ["none", "uncertain", "non-face"]}


@pytest.mark.parametrize("view", VIEWS)
def test_the_columns_have_exactly_these_types(view):
    assert features(view) == datasets.Features(
        {
            "image": datasets.Image(),
            "image_id": datasets.Value("string"),
            "label": datasets.ClassLabel(names=NAMES.get(view, EIGHT)),
            "soft_label": datasets.List(FLOAT, length=8),
            "soft_label_normalized": datasets.List(FLOAT, length=8),
            "subset": datasets.ClassLabel(names=["easy", "challenging", "difficult"]),
            "valence": FLOAT,
            "arousal": FLOAT,
            "age": FLOAT,
            "gender": {"female": FLOAT, "male": FLOAT},
            "race": dict.fromkeys(("asian", "indian", "black", "white", "middle_eastern", "latino_hispanic"), FLOAT),
            "pose": {"yaw": FLOAT, "pitch": FLOAT, "roll": FLOAT},
            "landmarks_68": datasets.Array2D((68, 2), "float32"),
            "landmarks_29": datasets.Array2D((29, 2), "float32"),
        }
    )
    assert list(features(view))[:3] == ["image", "image_id", "label"]


def test_the_names_are_in_the_order_of_the_release():
    assert EMOTIONS == tuple(EIGHT) and LABELS == tuple(NAMES["all"])
    assert VIEWS == ("default", "7-class", "easy", "challenging", "difficult", "all", "no_human")


# --- one annotation --------------------------------------------------------------------------------------------------


def test_every_value_of_an_annotation_arrives():
    record = full_record(4, 2, seed=5)
    meta, row = record["meta-data"], read(record)
    assert (row["label"], row["subset"]) == (4, 2)
    assert row["soft_label"] == record["soft-label"]
    assert np.allclose(row["soft_label_normalized"], np.array(record["soft-label"]) / sum(record["soft-label"]))
    assert [row[key] for key in ("valence", "arousal", "age")] == [meta[key] for key in ("valence", "arousal", "age")]
    assert row["gender"] == meta["gender"] and row["pose"] == meta["pose"]
    assert row["race"] == {key.replace(" ", "_"): value for key, value in meta["race"].items()}
    assert np.array_equal(row["landmarks_68"], np.reshape(meta["landmark-68"], (68, 2)))
    assert np.array_equal(row["landmarks_29"], np.reshape(meta["landmark-29"], (29, 2)))


def respell(value, spell):
    if isinstance(value, dict):
        return {spell(key): respell(item, spell) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    "spell",
    [
        str.title,
        str.upper,
        lambda key: key.replace("-", "_").replace(" ", "_"),
        lambda key: key.replace("-", " ").title(),
        lambda key: key.replace("-", "").replace(" ", ""),
        lambda key: key.replace(" ", "-"),
    ],
    ids=["Title-Case", "UPPER", "under_scores", "Title With Spaces", "joined", "all-hyphens"],
)
def test_keys_are_read_in_every_spelling(spell):
    record = full_record(1, 1, seed=3)
    assert read(respell(record, spell)) == read(record)


EMPTY = dict.fromkeys(name for name in features() if name not in ("image", "image_id"))
THREE_NULLS = {"yaw": None, "pitch": None, "roll": None}


@pytest.mark.parametrize(
    "record, expected",
    [
        pytest.param({"human-label": None}, {}, id="one null key is enough"),
        pytest.param({"soft-label": None}, {}, id="without a human label"),
        pytest.param(annotation(), {}, id="all null"),
        pytest.param({"human-label": 3, "meta-data": None}, {"label": 3}, id="null meta-data"),
        pytest.param({"human-label": 0, "meta-data": {}}, {"label": 0}, id="empty meta-data"),
        pytest.param({"human-label": 10}, {"label": 10}, id="highest label"),
        pytest.param({"human-label": 3, "other": [1]}, {"label": 3}, id="unknown keys are not read"),
        pytest.param(annotation(valence=-2, arousal=-2.0), {}, id="-2 is null"),
        pytest.param(annotation(valence=-1, arousal=1), {"valence": -1, "arousal": 1}, id="ends of the affect range"),
        pytest.param(annotation(pose={"yaw": None}), {"pose": THREE_NULLS}, id="nulls inside an object"),
        pytest.param(annotation(pose={"yaw": 45}), {"pose": THREE_NULLS | {"yaw": 45}}, id="absent inside an object"),
        pytest.param(annotation(soft_label=[0] * 8), {"soft_label": [0.0] * 8}, id="a zero soft label has no shares"),
        pytest.param(
            annotation(soft_label=[1, 1, 0, 0, 0, 0, 0, 0]),
            {"soft_label": [1, 1, 0, 0, 0, 0, 0, 0], "soft_label_normalized": [0.5, 0.5, 0, 0, 0, 0, 0, 0]},
            id="whole numbers",
        ),
        pytest.param(
            annotation(landmarks_29=[(-3, 230)] * 29), {"landmarks_29": [[-3, 230]] * 29}, id="a little outside"
        ),
    ],
)
def test_what_is_absent_is_null(record, expected):
    assert read(record) == EMPTY | expected


def test_an_annotation_may_carry_a_byte_order_mark_and_has_a_largest_size():
    text = json.dumps(annotation(label=1))
    assert read_annotation(b"\xef\xbb\xbf" + text.encode())["label"] == 1
    assert read_annotation(text.ljust(1_000_000).encode())["label"] == 1
    with pytest.raises(BadRow, match="annotation has 1000001 bytes, expected at most 1000000"):
        read_annotation(text.ljust(1_000_001).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        ("human-label",),
        ("soft-label",),
        ("subset",),
        ("meta-data",),
        ("soft-label", 3),
        ("meta-data", "gender"),
        ("meta-data", "landmark-68"),
        ("meta-data", "landmark-29", 57),
        ("meta-data", "valence"),
        ("meta-data", "age"),
        ("meta-data", "race", "middle eastern"),
        ("meta-data", "pose", "yaw"),
        ("meta-data", "gender", "female"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELDS, JSON), min_size=1, max_size=2))
def test_any_value_anywhere_gives_a_typed_row_or_a_reason(changes):
    record = full_record(2, 0)
    for path, value in changes:
        put(record, path, value)
    try:
        row = read(record)
    except BadRow as reason:
        assert str(reason).isprintable() and len(str(reason)) < 400
        return
    row |= {"image": {"bytes": None, "path": "1.jpg"}, "image_id": "train/1"}
    table = to_table([row], features("all"))
    assert table.schema == features("all").arrow_schema and table.num_rows == 1


def put(record, path, value):
    *parents, last = path
    for key in parents:
        if not isinstance(record, (dict, list)):
            return
        try:
            record = record[key]
        except (KeyError, IndexError, TypeError):
            return
    try:
        record[last] = value
    except (IndexError, TypeError):
        return


# --- the subset rule -------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1]), min_size=8, max_size=8), st.integers(0, 7))
def test_the_subset_is_the_rank_of_the_label(soft_label, label):
    rank = rankdata(-np.array(soft_label), method="min")[label]
    assert subset_of(label, soft_label) == {1: 0, 2: 1, 3: 1}.get(rank, 2)
    assert subset_of(label, np.array(soft_label, "float32")) == subset_of(label, soft_label)


@pytest.mark.parametrize(
    "label, soft_label, subset",
    [
        pytest.param(0, [9, 1, 2, 3, 4, 5, 6, 7], 0, id="first"),
        pytest.param(7, [9, 1, 2, 3, 4, 5, 6, 8], 1, id="second"),
        pytest.param(6, [9, 1, 2, 3, 4, 5, 7, 8], 1, id="third"),
        pytest.param(5, [9, 1, 2, 3, 4, 6, 7, 8], 2, id="fourth"),
        pytest.param(1, [9, 1, 2, 3, 4, 6, 7, 8], 2, id="last"),
        pytest.param(7, [5, 5, 5, 5, 5, 5, 5, 5], 0, id="all tied counts for the label"),
        pytest.param(3, [9, 8, 7, 7, 7, 0, 0, 0], 1, id="tied for third"),
        pytest.param(4, [9, 9, 9, 9, 8, 0, 0, 0], 2, id="behind a tie of four"),
    ],
)
def test_the_subset_of_named_cases(label, soft_label, subset):
    assert subset_of(label, [value / 10 for value in soft_label]) == subset


# --- one image -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(picture(), id="JPEG"),
        pytest.param(picture(kind="PNG"), id="PNG"),
        pytest.param(picture() + b"\0" * 20, id="JPEG with bytes behind it"),
        pytest.param(picture(size=(4096, 1)), id="as wide as may be"),
    ],
)
def test_a_whole_image_is_taken(data):
    check_image(data)


@pytest.mark.parametrize("kind, step", [("JPEG", 7), ("PNG", 29)])
def test_an_image_cut_anywhere_is_refused_unless_all_pixels_are_there(kind, step):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), "uint8")
    content = BytesIO()
    Image.fromarray(pixels).save(content, kind)
    whole, refused = content.getvalue(), 0
    for cut in [*range(0, len(whole) - 20, step), *range(len(whole) - 20, len(whole))]:
        try:
            check_image(whole[:cut])
        except BadRow as reason:
            refused += 1
            assert "0x" not in str(reason), "a reason names no address in memory: it differs from run to run"
        else:
            part, full = Image.open(BytesIO(whole[:cut])), Image.open(BytesIO(whole))
            assert part.tobytes() == full.tobytes()
    assert refused > (len(whole) - 20) / step


# --- the tree --------------------------------------------------------------------------------------------------------

TRAIN, VALIDATION = "human_annotated/train_set", "human_annotated/validation_set"


@pytest.mark.parametrize(
    "given, splits",
    [
        pytest.param("AffectNet+", {"train", "validation", "no_human"}, id="the folder itself"),
        pytest.param("", {"train", "validation", "no_human"}, id="its parent"),
        pytest.param("AffectNet+/human_annotated", {"train", "validation"}, id="human_annotated alone"),
        pytest.param("AffectNet+/no_human_annotated", {"no_human"}, id="no_human_annotated alone"),
    ],
)
def test_the_folder_may_be_given_in_these_ways(tree_copy, monkeypatch, given, splits):
    folder = tree_copy.parent / given
    expected = {"train": tree_copy / TRAIN, "validation": tree_copy / VALIDATION}
    expected = {split: expected.get(split, tree_copy / "no_human_annotated") for split in splits}
    assert find_splits(folder) == expected and find_splits(str(folder)) == expected
    monkeypatch.chdir(folder)
    assert {split: path.resolve() for split, path in find_splits(".").items()} == expected


def test_a_moved_out_human_annotated_is_enough(tree_copy, tmp_path):
    moved = Path(shutil.move(tree_copy / "human_annotated", tmp_path / "elsewhere" / "human_annotated"))
    assert find_splits(moved) == {"train": moved / "train_set", "validation": moved / "validation_set"}
    assert list(find_splits(moved.parent)) == ["train", "validation"]


@pytest.mark.parametrize("lost", ["images", "annotations"])
def test_a_split_with_one_folder_lost_is_not_forgotten(tree_copy, lost):
    shutil.rmtree(tree_copy / VALIDATION / lost)
    splits = find_splits(tree_copy)
    assert list(splits) == ["train", "validation", "no_human"]
    problems = {face.problem for face in list_faces("validation", splits["validation"])}
    assert problems == {f"has no {lost[:-1]}"}


@pytest.mark.parametrize(
    "files, words",
    [
        pytest.param([], "it is empty. Give the extracted AffectNet+ folder", id="empty"),
        pytest.param(["README.md", "data/x.parquet"], "it looks prepared already. Open it with", id="prepared"),
        pytest.param(["part1.zip", "part2.zip"], "holds zip parts, which `affectnet-plus prepare` reads", id="zip"),
        pytest.param(["training.csv", "validation.csv"], "it is the first AffectNet release (csv)", id="csv"),
        pytest.param(["automatically_annotated.csv"], "it is the first AffectNet release (csv)", id="automatic csv"),
        pytest.param(
            ["train_set/images/1.jpg", "train_set/annotations/1_exp.npy", "train_set/annotations/1_lnd.npy"],
            "it is the older AffectNet-8 release (npy)",
            id="npy",
        ),
        pytest.param(["val_set/annotations/1_exp.npy"], "it is the older AffectNet-8 release (npy)", id="npy val"),
        pytest.param([f"{name}/1.jpg" for name in EMOTIONS], "it has one folder per class", id="class names"),
        pytest.param(["Anger/1.jpg", "Happiness/1.jpg", "Sadness/1.jpg"], "one folder per class", id="nouns"),
        pytest.param([f"{n}/1.jpg" for n in range(8)], "it has one folder per class", id="class numbers"),
        pytest.param(["0_neutral/1.jpg", "1-happy/1.jpg", "2 sad/1.jpg"], "one folder per class", id="numbered names"),
        pytest.param(["cats/1.jpg", "notes.txt"], "it holds cats, notes.txt. Give the folder that holds", id="other"),
    ],
)
def test_another_folder_is_refused_by_name(tmp_path, files, words):
    root = tmp_path / "given"
    root.mkdir()
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    with pytest.raises(LayoutError) as refused:
        find_splits(root)
    message = str(refused.value)
    assert message.startswith(f"{root} is not an AffectNet+ tree: ") and words in message and "\n" not in message


@pytest.mark.parametrize("name, what", [("missing", "does not exist"), ("file.txt", "is not a folder")])
def test_what_is_not_a_folder_is_refused(tmp_path, name, what):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(LayoutError, match=f"{name} {what}; give the extracted AffectNet"):
        find_splits(tmp_path / name)


def test_a_folder_with_two_trees_is_refused(tree_copy):
    shutil.copytree(tree_copy, tree_copy.with_name("AffectNet+_part2"))
    with pytest.raises(LayoutError, match=r"holds 2 trees \(AffectNet\+, AffectNet\+_part2\)"):
        find_splits(tree_copy.parent)


def test_faces_are_sorted_as_whole_numbers(raw_tree):
    ids = [face.image_id for face in list_faces("train", raw_tree / TRAIN)]
    assert ids == [f"train/{stem}" for stem in [*range(1, 98, 3), 1000, 1001, 1002]]


@pytest.mark.parametrize(
    "name",
    [
        "..1.jpg",
        "...jpg",
        "1a.jpg",
        "-1.jpg",
        "1 (1).jpg",
        "\u0663.jpg",
        "\u00fc.jpg",
        "5",
        "5.gif",
        "1.0.jpg",
        "9" * 19 + ".jpg",
        "a\nb.jpg",
    ],
)
def test_a_file_of_another_name_is_named_and_comes_last(tree_copy, name):
    (tree_copy / TRAIN / "images" / name).write_bytes(picture())
    faces = list_faces("train", tree_copy / TRAIN)
    assert faces[-1].problem == f"{name!r} is not named <whole number>.jpg|png|json"
    assert len(faces) == 37 and not any(face.problem for face in faces[:-1])


SYSTEM_FILES = ["Thumbs.db", "thumbs.DB", ".DS_Store", "desktop.ini", "._1.jpg", "._1.json"]
SYSTEM_FOLDERS = ["__MACOSX", "@eaDir", ".ipynb_checkpoints"]


@pytest.mark.parametrize("name", SYSTEM_FILES + SYSTEM_FOLDERS)
def test_what_systems_leave_beside_files_is_no_face_and_changes_nothing(tree_copy, name):
    before = list_faces("train", tree_copy / TRAIN), fingerprint_of({"train": tree_copy / TRAIN})
    for part in ("images", "annotations"):
        place = tree_copy / TRAIN / part / name
        if name in SYSTEM_FOLDERS:
            place.mkdir()
            (place / "1.jpg").write_bytes(picture())
        else:
            place.write_bytes(picture())
    assert (list_faces("train", tree_copy / TRAIN), fingerprint_of({"train": tree_copy / TRAIN})) == before


@pytest.mark.parametrize(
    "path", ["a/__MACOSX/1.jpg", "@eaDir/1.jpg/SYNO.jpg", "a/._1.jpg", "x/.ipynb_checkpoints/1-checkpoint.png"]
)
def test_a_path_through_a_system_folder_is_one_of_the_system(path):
    assert is_system_file(path)


@pytest.mark.parametrize(
    "path", ["1.jpg", "a/my Thumbs.db.jpg", "a.DS_Store/1.jpg", ".hidden.jpg", "x/__MACOSX2/1.jpg"]
)
def test_other_paths_are_not(path):
    assert not is_system_file(path)


def test_a_name_that_is_no_text_has_a_reason_that_can_be_printed(tree_copy):
    with open(os.fsencode(tree_copy / TRAIN / "images") + b"/\xff.jpg", "wb"):
        pass
    problem = list_faces("train", tree_copy / TRAIN)[-1].problem
    assert problem and problem.isprintable() and "is not named" in problem


def test_a_link_inside_its_folder_is_followed_and_one_that_leaves_is_not(tree_copy):
    images = tree_copy / TRAIN / "images"
    shutil.move(images / "7.jpg", images / "hidden.jpg")
    (images / "7.jpg").symlink_to("hidden.jpg")
    (images / "10.jpg").unlink()
    (images / "10.jpg").symlink_to(tree_copy / VALIDATION / "images" / "1.jpg")
    faces = {face.image_id: face for face in list_faces("train", tree_copy / TRAIN)}
    assert read_face(tree_copy / TRAIN, faces["train/7"])[0]["image_id"] == "train/7"
    with pytest.raises(BadRow, match="'10.jpg' is a link that leaves its folder"):
        read_face(tree_copy / TRAIN, faces["train/10"])
    assert len(faces) == 37, "a link is one face together with its annotation"


def test_a_split_behind_a_link_is_read(tree_copy, tmp_path):
    moved = shutil.move(tree_copy / TRAIN, tmp_path / "other disk")
    (tree_copy / TRAIN).symlink_to(moved)
    folder = tree_copy / TRAIN
    assert [read_face(folder, face)[0]["label"] for face in list_faces("train", folder)][:3] == [0, 1, 2]


def test_a_human_label_without_humans_is_refused(tree_copy):
    path = tree_copy / "no_human_annotated" / "annotations" / "8.json"
    path.write_text(json.dumps(full_record(3, 0)))
    with pytest.raises(BadRow, match="has human-label 3 in no_human_annotated, where it must be null"):
        read_face(tree_copy / "no_human_annotated", list_faces("no_human", tree_copy / "no_human_annotated")[0])


# --- views -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("label", [None, *range(11)])
@pytest.mark.parametrize("subset", [None, 0, 1, 2])
def test_the_views_of_a_labelled_row(split, label, subset):
    expected = {"all"}
    if label in range(8):
        expected |= {"default"} | ({("easy", "challenging", "difficult")[subset]} if subset is not None else set())
    if label in range(7):
        expected |= {"7-class"}
    assert {view for view in VIEWS if in_view(view, split, label, subset)} == expected
    row = pa.table({"label": pa.array([label], pa.int64()), "subset": pa.array([subset], pa.int64())})
    arrow = {
        view for view in VIEWS if not filters(view) or row.filter(pq.filters_to_expression(filters(view))).num_rows
    }
    assert arrow - {"no_human"} == expected, "as Arrow understands the filters"


def test_a_row_without_humans_is_only_in_its_own_view():
    assert [view for view in VIEWS if in_view(view, "no_human", None, 0)] == ["no_human"]


# --- the builder -----------------------------------------------------------------------------------------------------


def built(folder, cache, view, split="train", workers=None):
    builder = AffectNetPlus(config_name=view, data_dir=folder, cache_dir=str(cache))
    builder.FACES_AT_A_TIME = 5
    builder.download_and_prepare(num_proc=workers)
    return builder.as_dataset(split=split)


def plain(row) -> dict:
    """A row whose picture is replaced by one of its pixels, so that rows can be compared."""
    points = {name: known_points(row[name]) for name in ("landmarks_68", "landmarks_29")}
    return row | points | {"image": row["image"].getpixel((0, 0))}


@pytest.mark.parametrize("view, split", [*((view, "train") for view in VIEWS), ("default", "validation")])
def test_the_builder_gives_the_rows_of_the_prepared_folder(raw_tree, prepared, tmp_path, view, split):
    rows = built(raw_tree, tmp_path / "a", view, split)
    stock = datasets.load_dataset(str(prepared), view, split=split, cache_dir=str(tmp_path / "b"))
    assert rows.features == stock.features == features(view)
    assert list(map(plain, rows)) == list(map(plain, stock)) and len(rows)
    lots = [lot_of(name) for name in rows["image_id"]]
    assert lots == sorted(lots)


def test_streaming_and_two_processes_give_the_same_rows(raw_tree, tmp_path):
    rows = list(map(plain, built(raw_tree, tmp_path / "one", "all")))
    assert len(rows) == 36
    assert list(map(plain, built(raw_tree, tmp_path / "two", "all", workers=2))) == rows
    stream = AffectNetPlus(config_name="all", data_dir=raw_tree, cache_dir=str(tmp_path)).as_streaming_dataset("train")
    assert stream.features == features("all") and list(map(plain, stream)) == rows


def test_the_default_view_and_splits_of_the_builder(raw_tree, tmp_path):
    builder = AffectNetPlus(data_dir=raw_tree, cache_dir=str(tmp_path))
    assert builder.config.name == "default"
    builder.download_and_prepare()
    assert {split: len(rows) for split, rows in builder.as_dataset().items()} == {"train": 26, "validation": 8}


def test_the_builder_leaves_bad_rows_out(tree_copy, tmp_path):
    (tree_copy / TRAIN / "annotations" / "1.json").write_text("no")
    (tree_copy / TRAIN / "images" / "7.jpg").unlink()
    ids = built(tree_copy, tmp_path, "all")["image_id"]
    assert len(ids) == 34 and not {"train/1", "train/7"} & set(ids)


def test_a_relative_folder_means_the_folder_of_this_place(raw_tree, tmp_path, monkeypatch):
    monkeypatch.chdir(raw_tree.parent)
    relative = AffectNetPlus(data_dir="AffectNet+", cache_dir=str(tmp_path))
    absolute = AffectNetPlus(data_dir=str(raw_tree), cache_dir=str(tmp_path))
    assert relative.cache_dir == absolute.cache_dir


@pytest.mark.parametrize(
    "options, words",
    [
        pytest.param({}, "licence-gated: pass data_dir=", id="no folder"),
        pytest.param(
            {"data_dir": "human_annotated", "config_name": "no_human"},
            "no part for the view 'no_human'",
            id="a view that the folder has not",
        ),
        pytest.param({"data_dir": "human_annotated/train_set/images"}, "is not an AffectNet+ tree", id="another"),
    ],
)
def test_the_builder_says_what_is_wrong_with_its_folder(tree_copy, tmp_path, options, words):
    shutil.move(tree_copy / "human_annotated", tmp_path / "human_annotated")
    if "data_dir" in options:
        options = options | {"data_dir": tmp_path / options["data_dir"]}
    with pytest.raises(LayoutError) as refused:
        AffectNetPlus(**options, cache_dir=str(tmp_path / "cache")).download_and_prepare()
    assert words in str(refused.value)


def test_soft_labels_in_float32_keep_their_sum(raw_tree, tmp_path):
    rows = built(raw_tree, tmp_path, "default")
    with_soft = [row for row in rows.select_columns("soft_label_normalized")["soft_label_normalized"] if row]
    assert len(with_soft) == 25 and all(math.isclose(sum(row), 1, abs_tol=1e-6) for row in with_soft)
