"""Both dataset cards: the page about AffectNet+, and the card that a prepared folder gets with its own counts."""

import hashlib
import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import affectnet_plus_cards
from affectnet_plus import EMOTIONS, LABELS, SUBSETS, VIEWS, LayoutError, features, read_annotation, to_table
from affectnet_plus_modeling.checking.published import FACES
from affectnet_plus_modeling.labelling.label import label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.preparing.card import write_card
from affectnet_plus_modeling.preparing.columns import COLUMNS, column_table, markdown_table, type_of
from affectnet_plus_modeling.sources.delivered import open_source
from affectnet_plus_modeling.sources.tree import writing_tree
from affectnet_plus_modeling.terms import TERMS, UNKNOWN, SoftLabels, terms_of
from support.archives import as_folder
from support.ensembles import make_ensemble
from support.prepared_cards import GENERATED, VIEW, head_of, report, rewrite, small, written
from support.trees import full_record, picture

PAGE = Path(affectnet_plus_cards.__file__).with_name("README.md").read_text()
EXPECTED = Path(__file__).parent / "cards" / "expected.md"


def table(text: str, *header: str) -> list[list[str]]:
    """The cells of the only table with this header."""
    lines = text.splitlines()
    start = lines.index("| " + " | ".join(header) + " |") + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def number(text: str) -> int:
    return int(text.replace(",", ""))


# --- the columns -----------------------------------------------------------------------------------------------------


def test_every_column_is_described_in_order_and_no_other():
    assert list(COLUMNS) == list(features())
    assert all(column.meaning and column.range for column in COLUMNS.values())


@pytest.mark.parametrize(
    "name, expected",
    [
        ("image", "image"),
        ("image_id", "string"),
        ("label", "int64"),
        ("soft_label", "8 float32"),
        ("valence", "float32"),
        ("gender", "struct of 2 float32: female, male"),
        ("landmarks_68", "68 x 2 float32"),
    ],
)
def test_types_are_those_of_the_features(name, expected):
    assert type_of(features()[name]) == expected


def test_the_types_are_what_a_file_holds():
    row = {"image": None, "image_id": "train/1"} | read_annotation(json.dumps(full_record(1, 0)).encode())
    schema = to_table([row], features()).schema
    for name, kind in features().items():
        if name == "image":
            continue
        stored = schema.field(name).type
        stored = stored.storage_type if isinstance(stored, pa.ExtensionType) else stored
        while pa.types.is_list(stored) or pa.types.is_fixed_size_list(stored):
            stored = stored.value_type
        if pa.types.is_struct(stored):
            stored = stored.field(0).type
        assert {"float": "float32"}.get(str(stored), str(stored)) in type_of(kind), name


def test_a_table_escapes_what_would_be_another_cell():
    assert markdown_table(("a", "b"), [(1234, "x|y")]) == "| a | b |\n| --- | --- |\n| 1,234 | x\\|y |"


# --- the page about AffectNet+ ---------------------------------------------------------------------------------------


def test_the_page_has_the_column_table():
    assert f"\n\n{column_table()}\n\n" in PAGE


def test_the_counts_of_the_page_add_up():
    labels = table(PAGE, "code", "label", "train", "validation")
    assert tuple(number(row[2]) for row in labels) == FACES["train"], "the checks compare with other numbers"
    assert [(row[0], row[1]) for row in labels] == [(str(code), name) for code, name in enumerate(LABELS)]
    counts = {split: [number(row[column]) for row in labels] for split, column in (("train", 2), ("validation", 3))}
    views = {row[0]: row[2:] for row in table(PAGE, "view", "rows", "train", "validation")}
    assert [name.strip("`") for cell in views for name in cell.split(", ")] == list(VIEWS)
    for view, classes in (("`default`", 8), ("`7-class`", 7), ("`all`", 11)):
        assert [number(text) for text in views[view]] == [sum(counts[split][:classes]) for split in counts]
    human = sum(map(sum, counts.values()))
    assert f"one human label for {human:,} of them" in PAGE
    assert f"\n{human + number(views['`no_human`'][0]):,} photographs" in PAGE


def test_the_head_of_the_page_is_what_the_hub_reads():
    head = head_of(PAGE)
    assert head["license"] == "other" and head["license_name"] and head["license_link"].startswith("https://")
    assert head["size_categories"] == ["100K<n<1M"] and head["task_categories"] == ["image-classification"]
    assert "configs" not in head, "there are no files beside this page"


@pytest.mark.parametrize(
    "text",
    [
        "We do not hold the data",
        "*Reported*",
        "*Measured*",
        "students ask through",
        "licensed institution",
        "Article 5(1)(f)",
        "Recital 44",
        "GDPR",
        "asks the\nlicensor",
        "not a felt emotion",
        "machine's guesses",
        "compare names and not codes",
        "**Not for:**",
        TERMS["AffectNet+"].citation,
        TERMS["AffectNet"].citation,
    ],
)
def test_the_page_says(text):
    assert text in PAGE


# --- the card of a prepared folder -----------------------------------------------------------------------------------


FINDING = {"level": "warning", "check": "counts", "message": "train has 3 rows, 287,651 published", "count": 3}


def test_the_whole_card(tmp_path):
    text = written(tmp_path, "AffectNet+", findings=[FINDING | {"examples": ["train/17"]}])
    assert text == EXPECTED.read_text()


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    assert written(tmp_path / "one") == written(tmp_path / "two")
    assert (tmp_path / "one/croissant.json").read_bytes() == (tmp_path / "two/croissant.json").read_bytes()


def test_the_order_in_the_manifest_does_not_matter(tmp_path):
    manifest = small(tmp_path, "drawn")
    texts = []
    for names in (sorted(manifest["files"]), sorted(manifest["files"], reverse=True)):
        shuffled = manifest | {"files": {name: manifest["files"][name] for name in names}}
        write_card(tmp_path, report(), VIEW, shuffled)
        texts.append([(tmp_path / name).read_bytes() for name in ("README.md", "croissant.json")])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("origin", [*TERMS, "somewhere else"])
def test_each_origin_has_its_own_terms(tmp_path, origin):
    text, terms = written(tmp_path, origin), terms_of(origin)
    head, words = head_of(text), " ".join(text.split())
    for said in (terms.name, terms.collected, terms.conditions, terms.people, terms.citation or terms.name):
        assert " ".join(said.split()) in words
    for other in set(TERMS) - {origin}:
        assert TERMS[other].collected not in words
    assert ("extra_gated_prompt" in head) is ("extra_gated_fields" in head) is not terms.free
    assert terms.free is (origin == "drawn") and head["license"] == ("apache-2.0" if terms.free else head["license"])
    assert head.get("license_name") == terms.licence.get("license_name")
    if not terms.free:
        assert head["extra_gated_prompt"] == terms.conditions
        assert set(head["extra_gated_fields"].values()) <= {"text", "checkbox"}
    assert ("```bibtex" in text) is (terms.citation is not None)


def test_what_others_wrote_is_shown_and_not_obeyed(tmp_path):
    evil = "[x](https://a.b) <img src=y>\n# Free to all\n`c` **d**"
    shown = r"[x\](https://a.b) \<img src=y> # Free to all \`c\` \*\*d\*\*"
    long = "annotation names a key twice among [" + 2 * ("k" * 800_000 + ", ") + "]"
    text = written(
        tmp_path,
        evil,
        asdict(SoftLabels("<b>" * 9, evil, evil, False, evil)),
        findings=[FINDING | {"message": evil}],
        quarantine_reasons={evil: 1, long: 2},
    )
    page = " ".join(text.split("\n---\n", 1)[1].split())
    assert page.count(shown) == 7 and evil.split()[0] not in page and "\n# Free" not in text
    assert r"(SHA-256 \<b>\<b>\<b>\<b>...)" in page
    assert "kkk... (1,600,0" in page and len(text) < 20_000
    assert terms_of("FER2013 (raw)").name == "FER2013 (raw) in the AffectNet+ layout", "plain words stay as they are"


OTHERWISE = {  # what the origins say of their own soft labels
    "drawn": "soft label, valence",
    "FER+": "the shares of their votes are the soft labels",
    "AffectNet": "no soft labels",
    "AffectNet+": "Soft labels, age, gender",
}


@pytest.mark.parametrize("origin", [*TERMS, "somewhere else"])
def test_generated_soft_labels_are_named_and_the_terms_of_the_faces_stay(tmp_path, origin):
    text, terms = written(tmp_path, origin, asdict(GENERATED)), terms_of(origin)
    before = " ".join(written(tmp_path / "as it was", origin).split())
    head, words = head_of(text), " ".join(text.split())
    assert OTHERWISE.get(origin, "") in before and "generated" not in before
    assert origin not in OTHERWISE or OTHERWISE[origin] not in words
    assert (
        "The soft labels were generated, by `affectnet-plus label` 9.8.7: an ensemble of binary classifiers (SHA-256 "
        "0123456789ab...) trained on hard labels, action units from a table of OpenFace 2, and the human label; "
        "fusion: stacking. They are neither votes of people nor those of a release" in words
    )
    assert f"# {terms.name}, with generated soft labels " in words
    for said in (terms.conditions, terms.people, terms.citation or "", "under the terms of the ensemble as well"):
        assert " ".join(said.split()) in words
    assert ("extra_gated_prompt" in head) is not terms.free and terms_of(origin, asdict(GENERATED)).free is terms.free
    assert {key: head[key] for key in terms.licence} == terms.licence
    data = json.loads((tmp_path / "croissant.json").read_text())
    assert "were generated, by" in data["description"] and "were generated, by" in data["rai:dataCollection"]


def test_what_had_no_part_in_the_soft_labels_is_not_named(tmp_path):
    words = " ".join(written(tmp_path, "FER+", asdict(SoftLabels("0" * 64, "product", None, False, "9.8.7"))).split())
    assert "trained on hard labels, without action units; fusion: product. They are" in words


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Path:
    return make_ensemble(tmp_path_factory.mktemp("ensemble") / "ebc")


@pytest.mark.parametrize("origin", ["drawn", UNKNOWN, "AffectNet+"])
def test_what_label_wrote_is_prepared_with_its_word_about_the_soft_labels(tmp_path, drawn_tree, ensemble, origin):
    table = units = None
    if origin == "drawn":
        faces, table, units = drawn_tree, str(drawn_tree / "action_units.csv"), "a table of drawn faces"
    elif origin == UNKNOWN:
        faces = as_folder(tmp_path / "faces", {"a.jpg": picture(), "b.jpg": picture((1, 2, 3))})
    else:
        faces = tmp_path / "faces"
        with writing_tree(faces) as tree:  # without a source.json, as the release
            tree.add("train", 1, picture(), full_record(1, 0))
    options = LabelOptions(str(ensemble), action_units=table, tree=True)
    record = label(faces, tmp_path / "labelled", options, say=lambda text: None)
    prepare(tmp_path / "labelled", tmp_path / "out")
    source = json.loads((tmp_path / "out" / "manifest.json").read_text())["source"]
    assert source["origin"] == origin
    assert source["soft_labels"] == {
        "ensemble": record["plan"]["ensemble"],
        "fusion": "product",
        "action_units": units,
        "human_label": False,
        "version": record["plan"]["versions"]["affectnet-plus"],
    }
    text = (tmp_path / "out" / "README.md").read_text()
    head, words = head_of(text), " ".join(text.split())
    assert f"(SHA-256 {source['soft_labels']['ensemble'][:12]}...) trained on hard labels, " in words
    assert (f", action units from {units};" if units else ", without action units;") in words
    assert head["license"] == {"drawn": "apache-2.0", UNKNOWN: "unknown", "AffectNet+": "other"}[origin]
    assert ("somebody gave these pictures to `affectnet-plus label`, which cannot tell whose" in words) is (
        origin == UNKNOWN
    )
    assert ("extra_gated_prompt" in head) is (origin != "drawn")
    again = label(tmp_path / "out", tmp_path / "again", LabelOptions(str(ensemble)), say=lambda text: None)
    assert again["plan"]["images"]["origin"] == origin, "labelled again, the faces are still whose they were"


def test_a_word_about_soft_labels_that_cannot_be_read_is_refused(tree_copy):
    good = asdict(GENERATED)
    for soft_labels in (None, [], "text", {}, good | {"more": 1}, good | {"ensemble": 7}, good | {"human_label": 1}):
        (tree_copy / "source.json").write_text(json.dumps({"origin": "FER+", "soft_labels": soft_labels}))
        with pytest.raises(LayoutError, match=r"source.json does not say of its soft labels what .* Label again"):
            open_source(tree_copy)


def test_the_word_about_soft_labels_is_found_in_zips_and_is_to_be_the_same_in_all(tmp_path):
    places = []
    for stem, soft_labels in (("007", GENERATED), ("8", GENERATED), ("9", None)):
        with writing_tree(tmp_path / stem / "tree", origin="FER+", soft_labels=soft_labels) as tree:
            tree.add("train", stem, picture(), full_record(1, 0))
        archive = shutil.make_archive(str(tmp_path / stem), "zip", tmp_path / stem, "tree")
        places.append(Path(archive))
    assert [face.image_id for face in open_source(places[0]).faces("train")] == ["train/007"]
    (tmp_path / "zips").mkdir()
    for place in places[:2]:
        shutil.copy(place, tmp_path / "zips")
    assert open_source(tmp_path / "zips").soft_labels == open_source(tmp_path / "8" / "tree").soft_labels == GENERATED
    prepare(tmp_path / "zips", tmp_path / "out")
    assert "The soft labels were generated, by" in (tmp_path / "out" / "README.md").read_text()
    shutil.copy(places[2], tmp_path / "zips")
    with pytest.raises(LayoutError, match="were not generated alike. Give those of one tree"):
        open_source(tmp_path / "zips")


def test_nothing_of_the_machine_or_of_a_face_is_in_the_card(tmp_path):
    reasons = {
        "cannot be opened: [Errno N] Permission denied: '/home/somebody/faces/N.jpg'": 3,
        "cannot be opened: [Errno N] Permission denied: '/home/somebody/other/N.jpg'": 2,
        'cannot be opened: "/home/somebody\'s/N.jpg"': 1,
        "'me and mum (N).jpg' is not named <whole number>.jpg|png|json": 1,
        "human-label is 'happy', expected a whole number in [N, N]": 1,
        "a/b/c or image/png expected": 1,
    }
    finding = FINDING | {"message": "/home/somebody/faces/1.jpg changed, and/or its twin", "examples": ["train/17"]}
    text = written(tmp_path, quarantined=9, quarantine_reasons=reasons, findings=[finding])
    card = text + (tmp_path / "croissant.json").read_text()
    for secret in ("somebody", "mum", "train/17", 'train/1"', str(tmp_path)):
        assert secret not in card
    assert "\n- 5 x cannot be opened: [Errno N] Permission denied: '...'\n" in text, "one reason, not two"
    assert "\n- 1 x '...' is not named \\<whole number>.jpg|png|json\n" in text
    assert "\n- 1 x human-label is 'happy', expected a whole number in [N, N]\n" in text
    assert "\n- 1 x a/b/c or image/png expected\n" in text
    assert "\n- warning, counts: '...' changed, and/or its twin\n" in text


def test_the_ten_commonest_reasons_are_listed_and_the_others_counted(tmp_path):
    reasons = {f"reason {letter}": count for count, letter in enumerate("abcdefghijklm", 1)}
    text = written(tmp_path, quarantined=91, quarantine_reasons=reasons)
    listed = re.findall(r"^- ([0-9]+) x reason (.)$", text, flags=re.M)
    assert (
        listed
        == [(str(count), letter) for letter, count in sorted(zip("abcdefghijklm", range(1, 14)), reverse=True)][:10]
    )
    assert "\n- and 3 more reasons\n" in text and "91 faces could not be rows" in text


def test_a_clean_folder_has_no_section_of_defects(tmp_path):
    text = written(tmp_path, quarantined=0, quarantine_reasons={})
    assert "## Left out" not in text and "## Found by the checks" not in text
    assert "\n\n\n" not in text and "{{" not in text and "{%" not in text


@pytest.mark.parametrize(
    "rows, size",
    [
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (959_906, "100K<n<1M"),
        (1_000_000, "1M<n<10M"),
    ],
)
def test_the_size_category(tmp_path, rows, size):
    manifest = small(tmp_path, "drawn")
    manifest["files"]["data/train-00000.parquet"]["rows"] = rows - 1
    write_card(tmp_path, report(), VIEW, manifest)
    assert head_of((tmp_path / "README.md").read_text())["size_categories"] == [size]


def test_only_the_views_whose_files_changed_have_another_digest(tmp_path):
    views = VIEW | {"easy": {"train": 1}}
    manifest = small(tmp_path, "drawn")

    def digests() -> dict[str, str]:
        write_card(tmp_path, report(), views, manifest)
        head = head_of((tmp_path / "README.md").read_text())
        return {config["config_name"]: config["description"] for config in head["configs"]}

    before = digests()
    text = "".join(
        f"{split} {name} {size['sha256']}\n"
        for split, (name, size) in zip(("train", "validation"), manifest["files"].items())
    )
    assert before["default"] == f"content {hashlib.sha256(text.encode()).hexdigest()}"
    manifest["files"]["data/validation-00000.parquet"]["sha256"] = "d" * 64
    after = digests()
    assert after["default"] != before["default"] and after["easy"] == before["easy"]


# --- the card as load_dataset reads it -------------------------------------------------------------------------------


@pytest.fixture
def finished(prepared, tmp_path) -> Path:
    folder = Path(shutil.copytree(prepared, tmp_path / "prepared"))
    rewrite(folder)
    return folder


def test_every_view_opens_with_the_rows_and_types_that_the_card_promises(finished, tmp_path):
    head = head_of((finished / "README.md").read_text())
    assert [config["config_name"] for config in head["configs"]] == list(VIEWS)
    counted = {
        row[0].strip("`"): row[1:]
        for row in table((finished / "README.md").read_text(), "view", "train", "validation")
    }
    for info in head["dataset_info"]:
        view = info["config_name"]
        opened = datasets.load_dataset(str(finished), view, cache_dir=str(tmp_path / "cache"))
        promised = {split["name"]: split["num_examples"] for split in info["splits"]}
        assert {split: len(rows) for split, rows in opened.items()} == promised
        assert counted[view] == [str(promised.get(split, 0)) for split in ("train", "validation")]
        assert all(rows.features == features(view) for rows in opened.values())
        streamed = datasets.load_dataset(str(finished), view, split="train", streaming=True)
        assert sum(1 for _ in streamed.select_columns(["image_id"])) == promised["train"]


def test_the_counts_of_the_card_are_those_of_the_rows(finished, tmp_path):
    text = (finished / "README.md").read_text()
    rows = datasets.load_dataset(str(finished), "all", split="train", cache_dir=str(tmp_path / "cache"))
    for column, names in (("label", LABELS), ("subset", SUBSETS)):
        codes = rows[column]
        counted = {
            cells[1]: number(cells[2]) for cells in table(text, "code", column, "train", "validation", "no_human")
        }
        found = {name: sum(code == index for code in codes) for index, name in enumerate(names)}
        found["unknown"] = sum(code is None for code in codes)
        assert counted == {name: count for name, count in found.items() if name in counted}
        assert all(name in counted for name, count in found.items() if count)


def test_changed_rows_are_noticed_by_the_cache(finished, tmp_path):
    options = {"name": "easy", "split": "train", "cache_dir": str(tmp_path / "cache")}
    before = datasets.load_dataset(str(finished), **options)
    path = finished / "data" / "train-00000.parquet"
    rows = pq.read_table(path)
    gone = rows["image_id"].to_pylist().index(before["image_id"][2])
    pq.write_table(pa.concat_tables([rows.slice(0, gone), rows.slice(gone + 1)]), path)
    rewrite(finished)
    after = datasets.load_dataset(str(finished), **options)
    assert len(after) == len(before) - 1 > 0


def test_a_file_that_is_missing_from_a_copy_is_noticed(finished, tmp_path):
    path = finished / "data" / "train-00000.parquet"
    whole = pq.read_table(path)
    pq.write_table(whole.slice(0, 20), path)
    pq.write_table(whole.slice(20), path.with_name("train-00001.parquet"))
    rewrite(finished)
    assert len(datasets.load_dataset(str(finished), "easy", split="train", cache_dir=str(tmp_path / "a"))) == 8
    path.with_name("train-00001.parquet").unlink()
    with pytest.raises(datasets.exceptions.DatasetsError, match="train"):
        datasets.load_dataset(str(finished), "easy", split="train", cache_dir=str(tmp_path / "b"))


def test_sizes_in_bytes_may_be_wrong(finished, tmp_path):
    """They are those of the Parquet files, and `datasets` means those of its own Arrow files."""
    card = finished / "README.md"
    card.write_text(re.sub(r"num_bytes: \d+", "num_bytes: 7", card.read_text()))
    assert len(datasets.load_dataset(str(finished), "easy", split="train", cache_dir=str(tmp_path / "cache")))


def test_embedded_pictures_open_through_the_card(prepared_from, tmp_path):
    folder = prepared_from([(picture((10 * label, 90, 40)), full_record(label, 0)) for label in range(8)], embed=True)
    rewrite(folder)
    shutil.rmtree(folder.with_name("raw"))
    rows = datasets.load_dataset(str(folder), "easy", split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["image"].size for row in rows] == [(24, 24)] * len(EMOTIONS)


def test_prepare_writes_this_card(raw_tree, tmp_path):
    prepare(raw_tree, tmp_path / "out")
    head = head_of((tmp_path / "out" / "README.md").read_text())
    assert head["extra_gated_prompt"] == TERMS["AffectNet+"].conditions
    assert (tmp_path / "out" / "croissant.json").is_file()
