"""What all rows together say: counts, contradictions, duplicates, and whether labels are in AffectNet's order."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from affectnet_plus import EMOTIONS, LABELS, features, read_annotation, to_table
from affectnet_plus_modeling.checking import published
from affectnet_plus_modeling.checking.affect import CONTRADICTIONS, Moments, compare_orders, suspected
from affectnet_plus_modeling.checking.checks import RowChecks
from affectnet_plus_modeling.checking.findings import count_reasons, format_findings
from affectnet_plus_modeling.labels import CIRCUMPLEX, ORDERS, subset_of
from affectnet_plus_modeling.preparing.chunks import SIDE_SCHEMA
from affectnet_plus_modeling.sources.synthetic import expressions
from affectnet_plus_modeling.sources.tree import annotation

SOFT = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
_numbers = itertools.count()


def row(image_id="train/1", file=None, size=(224, 224), **fields) -> dict:
    """A row as the checks see it; `file` is what its picture holds, by default something of its own."""
    columns = read_annotation(b'{"human-label": null}') | {"label": 0, "soft_label": SOFT, "subset": 0} | fields
    file = next(_numbers) if file is None else file
    side = {"file_bytes": 1, "file_hash": file.to_bytes(16, "big"), "width": size[0], "height": size[1]}
    return {"image": {"bytes": None, "path": "1.jpg"}, "image_id": image_id} | columns | side


def chunk(rows) -> pa.Table:
    columns = to_table(rows, features("all"))
    side = pa.Table.from_pylist([{name: row[name] for name in SIDE_SCHEMA.names} for row in rows], SIDE_SCHEMA)
    for name in SIDE_SCHEMA.names:
        columns = columns.append_column(name, side[name])
    return columns


def findings(*rows, published=False, listed=None, **others) -> list:
    """Findings for rows of train, and of other splits by name."""
    checks = RowChecks()
    for split, part in {"train": rows, **others}.items():
        checks.add(split, chunk(part))
    return checks.findings(listed or {}, published)


def said(found, check, level=None) -> list[str]:
    return [item.message for item in found if item.check == check and level in (None, item.level)]


# --- single rows -----------------------------------------------------------------------------------------------------


def test_rows_without_a_defect_give_no_warning():
    found = findings(row(), row(label=3, subset=2, soft_label=SOFT, valence=0.1, arousal=0.8), row(label=9, subset=1))
    assert {item.level for item in found} <= {"note"}, format_findings(found)


def test_no_rows_at_all_are_no_finding():
    assert RowChecks().findings({}) == []
    assert {item.level for item in findings()} == {"note"}


def test_a_chunk_may_be_a_slice_of_a_larger_table():
    table = chunk([row("train/1", 7), row("train/2", 7), row("train/3", 8, subset=2), row("train/4", 8)])
    checks = RowChecks()
    checks.add("train", table.slice(1, 2))
    found = checks.findings({}, published=False)
    assert said(found, "duplicates") == ["no two pictures are the same file"]
    assert [item.examples for item in found if item.check == "subset"] == [["train/3"]]


def test_the_subset_rule_is_the_one_of_the_loader():
    rng = np.random.default_rng(0)
    rows, expected = [], []
    for number in range(400):
        soft = (rng.integers(0, 5, 8) / 4).tolist()  # with many ties
        label, subset = int(rng.integers(8)), int(rng.integers(3))
        rows.append(row(f"train/{number}", label=label, soft_label=soft, subset=subset))
        if subset != subset_of(label, soft):
            expected.append(f"train/{number}")
    [broken] = [item for item in findings(*rows) if item.check == "subset"]
    assert broken.level == "warning" and broken.count == len(expected) and broken.examples == expected[:3]


def test_the_subset_of_a_face_without_an_emotion_is_not_judged():
    found = findings(*[row(label=label, subset=2) for label in (8, 9, 10, None)], row(soft_label=None, subset=2))
    assert said(found, "subset") == []


def test_an_emotion_without_a_subset_is_noted():
    assert said(findings(row(subset=None), row(label=8, subset=None)), "subset") == [
        "1 row (train 1) have an emotion as label, but no subset"
    ]


def test_soft_labels_that_are_null_or_zero_are_told_apart():
    found = findings(
        row("train/1", soft_label=None),
        row("train/2"),
        row("train/3", soft_label=[0.0] * 8),
        validation=[row("validation/1", soft_label=None)],
    )
    texts = said(found, "soft label", "warning")
    assert texts == [
        "2 rows (train 1, validation 1) have none",
        "1 row (train 1) have one of zeros alone, which no distribution can be made of",
    ]
    assert [item.examples for item in found if item.check == "soft label"] == [
        ["train/1", "validation/1"],
        ["train/3"],
    ]


def test_valence_without_arousal_is_a_warning_and_neither_is_a_note():
    found = findings(row(), row(valence=0.1), row(arousal=0.1), row(valence=0.0, arousal=0.0))
    assert said(found, "valence and arousal", "warning") == ["2 rows (train 2) have only one of the two"]
    assert said(found, "valence and arousal", "note") == ["1 row (train 1) have neither"]


@pytest.mark.parametrize(
    "label, valence, arousal, contradicts",
    [
        ("neutral", 0.3, 0.4, True),
        ("neutral", 0.3, 0.39, False),
        ("neutral", 0, -0.5, True),
        ("happy", -0.21, 0.5, True),
        ("happy", -0.19, 0.5, False),
        ("happy", 0.9, -0.9, False),
        ("sad", 0.21, -0.5, True),
        ("sad", 0.19, -0.5, False),
        ("sad", -0.9, 0.9, False),
        ("surprise", 0.9, -0.21, True),
        ("surprise", -0.9, -0.19, False),
        ("fear", 0.21, 0.9, True),
        ("fear", -0.9, -0.21, True),
        ("fear", 0.19, -0.19, False),
        ("disgust", 0.21, 0, True),
        ("disgust", -0.9, -0.9, False),
        ("anger", 0.21, 0.9, True),
        ("anger", -0.9, -0.21, True),
        ("anger", -0.5, -0.19, False),
        ("contempt", 0.21, 0, True),
        ("contempt", 0.19, -0.9, False),
    ],
)
def test_a_label_is_held_against_valence_and_arousal(label, valence, arousal, contradicts):
    place = {"valence": valence, "arousal": arousal}
    found = findings(row("train/5", label=EMOTIONS.index(label), subset=None, **place), row(label=8, **place))
    texts = said(found, "label against affect", "warning")
    assert texts == ([f"1 row (train 1) are labelled {label} but have {CONTRADICTIONS[label][0]}"] * contradicts)


def test_a_label_with_only_one_of_valence_and_arousal_is_not_held_against_it():
    assert said(findings(row(label=1, valence=-0.9), row(label=3, arousal=-0.9)), "label against affect") == []


def test_no_emotion_contradicts_its_own_place_on_the_circumplex():
    for name, (valence, arousal) in CIRCUMPLEX.items():
        assert not CONTRADICTIONS[name][1](np.array([valence]), np.array([arousal])).any(), name


@pytest.mark.parametrize("name, count", [("landmarks_68", 68), ("landmarks_29", 29)])
@pytest.mark.parametrize(
    "point, outside",
    [
        ((-21, 50), True),
        ((-19, 50), False),
        ((221, 50), True),
        ((219, 50), False),
        ((50, -11), True),
        ((50, -9), False),
        ((50, 111), True),
        ((50, 109), False),
    ],
)
def test_landmarks_may_lie_a_tenth_of_each_side_outside(name, count, point, outside):
    """The picture is 200 wide and 100 high, so the limits of x and y differ."""
    points = np.full((count, 2), 50.0)
    points[count // 2] = point
    rows = [row("train/1"), row("train/2", size=(200, 100), **{name: points.tolist()}), row("train/3")]
    found = [item for item in findings(*rows) if item.check == "landmarks"]
    assert [item.examples for item in found] == [["train/2"]] * outside
    assert all(name in item.message for item in found)


def test_three_examples_are_named_over_all_chunks():
    checks = RowChecks()
    for start in (0, 2, 4):
        checks.add("train", chunk([row(f"train/{start + number}", soft_label=None) for number in range(2)]))
    [found] = [item for item in checks.findings({}, False) if item.check == "soft label"]
    assert found.count == 6 and found.examples == ["train/0", "train/1", "train/2"]


# --- counts ----------------------------------------------------------------------------------------------------------


def test_counts_by_split_label_and_subset():
    checks = RowChecks()
    checks.add("train", chunk([row(label=10, subset=None), row(label=0, subset=2), row(label=None, subset=0)]))
    checks.add("train", chunk([row(label=0, subset=2)]))
    checks.add("no_human", chunk([row(label=None, subset=None)]))
    assert checks.counts == {
        "train": {
            "rows": 4,
            "labels": {"neutral": 2, "non-face": 1, "unknown": 1},
            "subsets": {"easy": 1, "difficult": 2, "unknown": 1},
        },
        "no_human": {"rows": 1, "labels": {"unknown": 1}, "subsets": {"unknown": 1}},
    }


def test_the_published_counts_add_up_to_what_the_paper_says():
    train, validation = published.FACES["train"], published.FACES["validation"]
    assert (sum(train), sum(train[:8]), sum(train[:7])) == (414_799, 287_651, 283_901)
    assert (sum(validation), sum(validation[:8])) == (5_500, 4_000)
    assert sum(map(sum, published.FACES.values())) == 959_906


def test_a_whole_split_with_the_published_counts_is_a_note():
    found = published.compare_counts("train", np.array([*published.FACES["train"], 0]), 414_799)
    assert found.level == "note" and "published number of faces of each label" in found.message
    assert published.compare_counts("no_human", np.array([0] * 11 + [539_607]), 539_607).level == "note"


def test_a_whole_split_that_differs_says_both_numbers():
    counts = np.array([*published.FACES["validation"], 0])
    counts[[0, 10, 11]] = 498, 501, 2
    found = published.compare_counts("validation", counts, 5_500)
    assert found.level == "warning" and found.count == 5
    assert found.message == (
        "validation: neutral 498, published 500; non-face 501, published 500; without a label 2, published 0"
    )


@pytest.mark.parametrize("listed, level", [(5_225, "warning"), (5_224, "note"), (5_775, "warning"), (5_776, "note")])
def test_a_part_of_a_split_is_not_compared(listed, level):
    found = published.compare_counts("validation", np.array([*[475] * 11, 0]), listed)
    assert found.level == level
    assert ("not compared" in found.message) == (level == "note")


def test_a_split_of_which_no_face_is_a_row_is_compared_too():
    found = findings(published=True, listed={"validation": 5_500})
    assert "neutral 0, published 500" in said(found, "published counts", "warning")[0]
    assert said(findings(published=False, listed={"validation": 5_500}), "published counts") == []


# --- exact duplicates ------------------------------------------------------------------------------------------------


def test_the_same_file_within_a_split_and_across_splits():
    found = findings(
        row("train/1", 5),
        row("train/2", 6),
        row("train/3", 5),
        row("train/4", 7),
        row("train/5", 5),
        validation=[row("validation/1", 7), row("validation/2", 7), row("validation/3", 9)],
        no_human=[row("no_human/1", 9)],
    )
    doubles = [(item.check, item.message, item.count, item.examples) for item in found if "duplicates" in item.check]
    assert doubles == [
        ("duplicates", "3 pictures of train are the same file in 1 groups", 3, ["train/1 = train/3"]),
        ("duplicates", "2 pictures of validation are the same file in 1 groups", 2, ["validation/1 = validation/2"]),
        (
            "duplicates, leakage",
            "2 pictures of validation are the same file as 1 of train",
            2,
            ["validation/1 = train/4"],
        ),
        (
            "duplicates",
            "1 pictures of no_human are the same file as 1 of validation",
            1,
            ["no_human/1 = validation/3"],
        ),
    ]
    assert {item.level for item in found if "duplicates" in item.check} == {"warning"}


def test_files_that_differ_in_one_half_of_the_hash_are_not_the_same():
    found = findings(row("train/1", 1), row("train/2", 1 + (1 << 64)), row("train/3", 2), row("train/4", 1 << 64))
    assert said(found, "duplicates") == ["no two pictures are the same file"]


# --- the order of the labels -----------------------------------------------------------------------------------------


def drawn_rows(order="affectnet", number=800, seed=0, columns="affectnet", **hidden) -> list[dict]:
    """Rows with the soft labels, labels, valence and arousal of drawn faces, and codes as of another order."""
    rng, rows = np.random.default_rng(seed), []
    for index in range(number):
        soft = expressions.soft_label(expressions.random_intensities(rng))
        valence, arousal = expressions.valence_arousal(soft)
        label = EMOTIONS[expressions.human_label(soft, rng)]
        if label not in ORDERS[order]:
            continue
        soft = [float(soft[EMOTIONS.index(name)]) for name in ORDERS[columns]]
        known = {"soft_label": soft, "valence": valence, "arousal": arousal} | hidden
        rows.append(row(f"train/{index}", label=ORDERS[order].index(label), subset=None, **known))
    return rows


def test_drawn_faces_are_in_affectnets_order():
    found = findings(*drawn_rows())
    assert said(found, "label order", "error") == []
    [note] = said(found, "label order", "note")
    assert "soft labels (compared with alphabetical, ferplus, openface3) and valence and arousal" in note


@pytest.mark.parametrize("order", [name for name in ORDERS if name != "affectnet"])
@pytest.mark.parametrize("hidden", [{"valence": None}, {"soft_label": None}], ids=["soft", "affect"])
def test_labels_in_another_order_are_an_error_that_names_it(order, hidden):
    found = findings(*drawn_rows(order, **hidden))
    by = "soft labels" if "valence" in hidden else "valence and arousal"
    [text] = said(found, "label order", "error")
    paired = order in ("ferplus", "openface3") and "valence" in hidden  # exchanging pairs, so columns do as well
    what = "the labels or the columns of the soft labels" if paired else "the labels"
    assert text.startswith(f"train: {what} seem to be in the order {order!r} rather than in AffectNet's: {by}")


def test_the_split_with_the_other_order_is_named():
    others = [item | {"image_id": "validation/1"} for item in drawn_rows("alphabetical", seed=1)]
    found = findings(*drawn_rows(), validation=others)
    assert all(text.startswith("validation: ") for text in said(found, "label order", "error"))
    assert len(said(found, "label order", "error")) == 2


def test_soft_labels_with_their_columns_in_another_order_are_told_from_labels_in_it():
    [text] = said(findings(*drawn_rows(columns="alphabetical")), "label order", "error")
    assert text.startswith("train: the columns of the soft labels seem to be in the order 'alphabetical'")
    [text] = said(findings(*drawn_rows(columns="ferplus")), "label order", "error")
    assert text.startswith("train: the labels or the columns of the soft labels seem to be in the order 'ferplus'")


def test_labels_that_say_nothing_are_not_suspected():
    rng = np.random.default_rng(0)
    for seed in range(20):
        rows = drawn_rows(number=400, seed=seed)
        labels = rng.permutation([item["label"] for item in rows])
        found = findings(*[item | {"label": int(label)} for item, label in zip(rows, labels)])
        assert said(found, "label order", "error") == []


@pytest.mark.parametrize("number", [0, 1, 8, 40, 100])
def test_few_rows_are_never_suspected(number):
    for order in ("affectnet", "alphabetical"):
        found = findings(*drawn_rows(order, number))
        assert said(found, "label order", "error") == []
        assert "cannot be judged" in said(found, "label order", "note")[0]


def test_nothing_is_judged_by_labels_without_an_emotion():
    found = findings(*[item | {"label": 8 + index % 3} for index, item in enumerate(drawn_rows())])
    assert "cannot be judged" in said(found, "label order")[0]


def test_rows_that_are_all_alike_are_judged_without_dividing_by_zero():
    rows = [row(label=code, soft_label=np.eye(8)[7 - code].tolist()) for code in range(8) for _ in range(25)]
    assert {item.level for item in findings(*rows) if item.check == "label order"} <= {"note", "error"}


def test_the_gain_and_its_error_against_numpy():
    """Two labels exchanged, worked out from the rows directly: distances of the means, and the variance of a mean."""
    rng = np.random.default_rng(0)
    moments, vectors = Moments(2), {}
    places = rng.normal(size=(8, 2))
    for code in range(8):
        vectors[code] = rng.normal(size=(30 + code, 2)) + places[code] * 0.3
        for part in np.array_split(vectors[code], 3):
            moments.add(np.full(len(part), code), part)
    [order] = [order for order in compare_orders(moments, places) if order.name == "openface3"]
    means = {code: vectors[code].mean(axis=0) for code in (5, 6)}
    apart = [np.sum((means[code] - places[code]) ** 2) for code in (5, 6)]
    swapped = [np.sum((means[code] - places[11 - code]) ** 2) for code in (5, 6)]
    np.testing.assert_allclose(order.nearer, sum(apart) - sum(swapped))
    step = places[6] - places[5]
    np.testing.assert_allclose(order.gain, order.nearer / (2 * step @ step))
    error = sum((vectors[code] @ step).var() / len(vectors[code]) for code in (5, 6)) ** 0.5
    np.testing.assert_allclose(order.deviations, order.nearer / 2 / error)


@pytest.mark.parametrize("scale, bias", [(1, (0, 0)), (0.3, (0, 0)), (1, (0.5, -0.5))])
def test_a_scale_and_a_bias_do_not_change_the_verdict(scale, bias):
    rng, places = np.random.default_rng(0), np.array([CIRCUMPLEX[name] for name in EMOTIONS])
    for order in ("affectnet", "alphabetical", "openface3"):
        moments = Moments(2)
        for code, name in enumerate(ORDERS[order]):
            place = scale * np.array(CIRCUMPLEX[name]) + bias
            moments.add(np.full(200, code), place + 0.1 * scale * rng.normal(size=(200, 2)))
        found = suspected(compare_orders(moments, places))
        assert (found and found.name) == (None if order == "affectnet" else order)
        if found:
            np.testing.assert_allclose(found.gain, scale, rtol=0.15)


def test_an_order_of_seven_is_not_considered_for_labels_that_use_the_eighth():
    names = {order.name for order in compare_orders(_moments(range(8)), np.eye(8))}
    assert names == {"alphabetical", "ferplus", "openface3"}
    names = {order.name for order in compare_orders(_moments(range(7)), np.eye(8))}
    assert names == {"alphabetical-7", "fer2013", "rafdb", "ferplus", "openface3"}


def _moments(codes) -> Moments:
    moments = Moments(8)
    for code in codes:
        moments.add(np.full(20, code), np.random.default_rng(code).normal(size=(20, 8)))
    return moments


# --- trees of the tests, and reasons ---------------------------------------------------------------------------------


def test_random_annotations_are_not_suspected():
    rng = np.random.default_rng(0)
    rows = []
    for number in range(600):
        record = annotation(
            label=int(rng.integers(11)),
            soft_label=rng.uniform(0, 1, 8).tolist(),
            valence=float(rng.uniform(-1, 1)),
            arousal=float(rng.uniform(-1, 1)),
        )
        fields = {"label": record["human-label"], "soft_label": record["soft-label"], "subset": None}
        rows.append(
            row(
                f"train/{number}",
                **fields,
                valence=record["meta-data"]["valence"],
                arousal=record["meta-data"]["arousal"],
            )
        )
    assert said(findings(*rows), "label order", "error") == []


def test_reasons_are_counted_with_their_numbers_masked():
    reasons = ["age is 200, expected", "landmark-68 has 135 values", "age is -1.5e+3, expected", "no picture"]
    assert count_reasons(reasons) == {"age is N, expected": 2, "landmark-68 has N values": 1, "no picture": 1}


def test_labels_of_the_table_are_those_of_the_loader():
    assert len(published.FACES["train"]) == len(published.FACES["validation"]) == len(LABELS)
