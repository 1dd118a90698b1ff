"""Data with one hard label a face: folders by emotion, RAF-DB's list; and what of others cannot be read is named."""

import pickle
import shutil

import datasets
import pytest

from affectnet_plus import LABELS, SPLITS, AffectNetPlus, BadRow, LayoutError
from affectnet_plus_modeling.data.pictures import open_pictures
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.manifest import verify
from affectnet_plus_modeling.sources.class_folders import ClassSource
from affectnet_plus_modeling.sources.delivered import open_source
from affectnet_plus_modeling.sources.tree import writing_tree
from affectnet_plus_modeling.terms import UNKNOWN, terms_of
from support.archives import as_folder
from support.trees import full_record, picture

FER2013 = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # as Kaggle spells them


def kaggle(prefix="", classes=FER2013, names=("Training_{}.jpg", "PublicTest_{}.jpg")) -> dict[str, bytes]:
    return {
        f"{prefix}{split}/{emotion}/{names[split == 'test'].format(10 * label + face)}": picture((label, face, 90))
        for split in ("train", "test")
        for label, emotion in enumerate(classes)
        for face in range(2)
    }


RAFDB_LIST = "".join(f"{split}_{n:05d}.jpg {n}\n" for split in ("train", "test") for n in range(1, 8))
RAFDB = {
    f"Image/aligned/{split}_{n:05d}_aligned.jpg": picture((n, 9, 9))
    for split in ("train", "test")
    for n in range(1, 8)
}
RAFDB_EMOTIONS = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")


def labels_of(source, split: str) -> dict[str, str]:
    """image_id -> emotion, of the faces that can be read."""
    found = {}
    for face in source.faces(split):
        try:
            row, content = source.read(split, face)
        except BadRow:
            continue
        assert content == open(row["image"]["path"], "rb").read()
        assert row["soft_label"] is row["subset"] is row["valence"] is row["arousal"] is None
        found[face.image_id] = LABELS[row["label"]]
    return found


@pytest.mark.parametrize("below", ["", "archive/"])
def test_kaggles_folders_are_faces_with_hard_labels(tmp_path, below):
    root = as_folder(tmp_path / "fer2013", kaggle(below) | {f"{below}train/happy/.DS_Store": b"", "notes.txt": b""})
    source = open_source(root)
    assert isinstance(source, ClassSource) and source.origin == "FER2013" and not terms_of(source.origin).free
    assert source.splits() == ["train", "validation"]
    found = labels_of(pickle.loads(pickle.dumps(source)), "train")
    assert len(found) == 14 and found["train/angry/Training_0"] == "anger" and found["train/sad/Training_51"] == "sad"
    assert set(labels_of(source, "validation").values()) == set(LABELS[:7])
    report = prepare(root, tmp_path / "out")
    assert report["splits"]["validation"]["labels"] == dict.fromkeys(LABELS[:7], 2) and report["quarantined"] == 0
    rows = datasets.load_dataset(str(tmp_path / "out"), "7-class", split="train")
    assert len(rows) == 14 and rows[0]["soft_label"] is None and rows.features["label"].names == list(LABELS[:7])
    names = [picture.name for picture in open_pictures(root, annotated=True).pictures()]
    assert len(names) == 28 and "train/angry/Training_0" in names


def test_one_split_by_itself_and_other_spellings_are_read(tmp_path):
    files = {f"test/{n}_{name.title()}/{n}.png": picture(kind="PNG") for n, name in enumerate(LABELS)}
    root = as_folder(tmp_path / "mine", files)
    for given in (root, root / "test"):
        source = open_source(given)
        assert source.splits() == ["validation"] and source.origin == UNKNOWN
        assert sorted(labels_of(source, "validation").values()) == sorted(LABELS)
    fingerprint = source.fingerprint()
    (root / "test" / "0_Neutral" / "11.png").write_bytes(picture(kind="PNG"))
    assert open_source(root / "test").fingerprint() != fingerprint


def test_a_test_split_beside_validation_is_a_split_of_its_own(tmp_path):
    files = kaggle() | {f"val/{name}/PrivateTest_{n}.jpg": picture((n, 5, 5)) for n, name in enumerate(FER2013)}
    root = as_folder(tmp_path / "fer2013", files)
    report, sizes = prepare(root, tmp_path / "out"), {"train": 14, "validation": 7, "test": 14}
    assert {split: part["rows"] for split, part in report["splits"].items()} == sizes
    assert report["quarantined"] == 0
    rows = datasets.load_dataset(str(tmp_path / "out"), "7-class")
    assert {split: len(part) for split, part in rows.items()} == sizes
    assert sorted(rows["test"]["image_id"])[0] == "test/angry/PublicTest_0"
    assert {finding.level for finding in verify(tmp_path / "out")} <= {"note"}
    tree = tmp_path / "tree"
    with writing_tree(tree) as writing:
        for split in SPLITS:
            writing.add(split, 1, picture((len(split), 1, 1)), full_record(None if split == "no_human" else 1, None))
    assert open_source(tree).splits() == list(SPLITS)
    generators = AffectNetPlus(data_dir=str(tree))._split_generators(None)
    assert [split.name for split in generators] == ["train", "validation", "test"]


def test_folders_that_are_links_are_followed_where_it_is_asked_for(tmp_path):
    root = as_folder(tmp_path / "fer2013", kaggle())
    shutil.move(root / "train" / "happy", tmp_path / "happy")
    (root / "train" / "happy").symlink_to(tmp_path / "happy")
    with pytest.raises(LayoutError, match="happy is a link that leaves .*Pass --follow-links"):
        open_source(root)
    assert len(labels_of(open_source(root, follow_links=True), "train")) == 14


def test_raf_db_is_read_by_its_list_and_by_its_numbers(tmp_path):
    listed = as_folder(tmp_path / "basic", RAFDB | {"EmoLabel/list_patition_label.txt": RAFDB_LIST.encode()})
    numbered = {
        f"DATASET/{split}/{n}/{split}_{n:05d}_aligned.jpg": picture((n, 9, 9))
        for split in ("train", "test")
        for n in range(1, 8)
    }
    sources = open_source(listed), open_source(tmp_path), open_source(as_folder(tmp_path / "kaggle", numbered))
    for source in sources:
        assert source.origin == "RAF-DB" and not terms_of(source.origin).free
        for split in ("train", "validation"):
            found = labels_of(source, split)
            assert [found[name] for name in sorted(found, key=lambda name: name.split("_")[-2:])] == list(
                RAFDB_EMOTIONS
            )


def test_no_file_is_lost_without_a_reason(tmp_path):
    extra = {
        "train/happy/1.webp": b"RIFF",
        "train/happy/deep/1.jpg": b"",
        "train/sad/a.jpg": b"",
        "train/sad/a.png": b"",
    }
    source = open_source(as_folder(tmp_path / "faces", kaggle() | extra))
    problems = [(face.image_id, face.problem) for face in source.faces("train") if face.problem]
    assert sorted(problems) == [
        ("train/happy/1.webp", "'1.webp' is not named .jpg, .jpeg or .png"),
        ("train/happy/deep", "is a folder, expected pictures"),
        ("train/sad/a.jpg", "another file has the same name but for its suffix"),
        ("train/sad/a.png", "another file has the same name but for its suffix"),
    ]
    text = RAFDB_LIST.replace("train_00001.jpg 1\n", "") + "train_00002.jpg 3\ntrain_00009.jpg 1\n"
    source = open_source(as_folder(tmp_path / "raf", RAFDB | {"list_patition_label.txt": text.encode()}))
    problems = {face.image_id: face.problem for face in source.faces("train") if face.problem}
    assert problems == {
        "train/train_00001_aligned.jpg": "is not in the list, or another suffix is",
        "train/train_00002.jpg": "has 2 lines in the list, expected 1",
        "train/train_00009.jpg": "has 0 pictures in aligned, expected 1",
    }


NUMBERED = {f"{n}/{n}.jpg": b"" for n in range(8)}


@pytest.mark.parametrize(
    "files, said",
    [
        (
            kaggle() | {f"{part}/{name}/1.jpg": b"" for part in ("val", "valid") for name in ("happy", "sad", "fear")},
            "holds val and valid, which are both the split validation",
        ),
        (
            kaggle("train/") | {"train/train/misc/1.jpg": b""},
            "for each of 7 emotions, and misc besides, which",
        ),
        (
            kaggle() | {"train/happiness/1.jpg": b""},
            "has happiness and happy, which are both happy. Put their pictures",
        ),
        (kaggle("a/") | kaggle("b/"), r"holds 2 data sets in folders by emotion \(a, b\). Give one"),
        (
            {"list_patition_label.txt": b"train_00001.jpg 5"},
            "is RAF-DB's list, and its pictures .* are in none",
        ),
        (NUMBERED, "it holds a folder for each number, and numbers mean other emotions"),
        ({f"train/{name}": b"" for name in NUMBERED}, "its folder train holds a folder for each number"),
        ({"fer2013.csv": b""}, "it holds FER2013 as a csv of pixels. Take its folders"),
        ({"archive/icml_face_data.csv": b""}, "its folder archive holds FER2013 as a csv of pixels"),
        ({"FER2013Train/1.png": b"", "fer2013new.csv": b""}, r"it holds FER\+. Run `affectnet-plus import-ferplus`"),
        ({"ferplus/FER2013Train.tar": b""}, r"its folder ferplus holds FER\+. Run `affectnet-plus import-ferplus`"),
        ({"Manually_Annotated_Images/1/a.jpg": b""}, "it holds pictures of the first AffectNet release without their"),
        ({"x/Manually_Annotated_Images/1/a.jpg": b""}, "its folder x holds pictures of the first AffectNet release"),
        ({"train/images/1.jpg": b"", "train/labels/1.txt": b""}, "its folder train holds pictures and boxes of YOLO"),
        (
            {"train/dataset_info.json": b"", "train/data-0.arrow": b""},
            "its folder train holds a data set that",
        ),
        ({"metadata.csv": b"", "1.jpg": b""}, "it holds an imagefolder with a table of metadata"),
        ({"data.tar.gz": b""}, "it holds an archive. Extract it"),
        ({"cats/1.jpg": b""}, "it holds cats. Give the folder that holds human_annotated"),
    ],
)
def test_what_cannot_be_read_is_told_by_name(tmp_path, files, said):
    with pytest.raises(LayoutError, match=said) as refused:
        open_source(as_folder(tmp_path / "given", files))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", ["train_00001.jpg 8", "train_1.png 1", "1", "train_00001.jpg 1 2"])
def test_a_list_of_something_else_is_refused(tmp_path, line):
    source = open_source(as_folder(tmp_path / "raf", RAFDB | {"list_patition_label.txt": line.encode()}))
    with pytest.raises(LayoutError, match="list_patition_label.txt, line 1 is '.*', expected a line such as"):
        source.faces("train")
