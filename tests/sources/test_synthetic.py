"""Drawn faces: what is written about them is true of the drawing, and the same seed draws the same bytes."""

import csv
import json
import math
from collections import Counter
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from affectnet_plus import EMOTIONS, check_image
from affectnet_plus_modeling.labels import subset_of
from affectnet_plus_modeling.sources.synthetic import (
    draw_expression,
    draw_face,
    draw_repeated_tree,
    draw_tree,
    repeat,
)
from affectnet_plus_modeling.sources.synthetic.draw import list_jobs
from affectnet_plus_modeling.sources.synthetic.expressions import (
    ACTION_UNITS,
    CIRCUMPLEX,
    PROTOTYPES,
    action_units,
    human_label,
    random_intensities,
    soft_label,
    valence_arousal,
)
from affectnet_plus_modeling.sources.synthetic.person import random_person
from affectnet_plus_modeling.sources.synthetic.posed import PosedFace
from affectnet_plus_modeling.sources.synthetic.shape import REST, deform, rotation, visible_contour

TRAIN, VALIDATION = "human_annotated/train_set", "human_annotated/validation_set"


def pure(emotion, intensity=0.95):
    return [intensity if name == emotion else 0.0 for name in EMOTIONS]


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def moved(unit, sides=(0, 1), amount=1.0):
    """Displacement of the 68 rest points in mm under one unit."""
    active = np.zeros((2, len(ACTION_UNITS)))
    active[list(sides), ACTION_UNITS.index(unit)] = amount
    return (deform(REST, active) - deform(REST, np.zeros_like(active)))[:68]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "tree"
    return out, draw_tree(out, 10, seed=3, no_human=2)


@pytest.fixture(scope="module")
def faces():
    return [draw_face(11, index) for index in range(40)]


class TestDeterminism:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_same_seed_same_bytes_by_any_number_of_processes(self, tree, tmp_path, workers):
        draw_tree(tmp_path / "again", 10, seed=3, no_human=2, workers=workers)
        assert files(tmp_path / "again") == files(tree[0])

    def test_fewer_faces_are_a_prefix(self, tree, tmp_path):
        draw_tree(tmp_path / "five", 5, seed=3, no_human=1)
        few, many = files(tmp_path / "five"), files(tree[0])
        assert few.pop("source.json") == many.pop("source.json")
        few_rows, many_rows = (set(f.pop("action_units.csv").decode().splitlines()) for f in (few, many))
        assert few.items() <= many.items() and few_rows <= many_rows

    def test_other_seed_other_faces(self, tree, tmp_path):
        draw_tree(tmp_path / "other", 10, seed=4, no_human=2)
        other, mine = files(tmp_path / "other"), files(tree[0])
        assert other.pop("source.json") == mine.pop("source.json")
        assert other.keys() == mine.keys() and all(other[name] != mine[name] for name in mine)

    def test_faces_of_one_seed_differ(self, faces):
        assert len({face.image.tobytes() for face in faces}) == len(faces)


class TestTree:
    def test_counts_and_splits(self, tree):
        out, counts = tree
        assert counts == {"train": 8, "validation": 2, "no_human": 2}
        for folder, count in ((TRAIN, 8), (VALIDATION, 2), ("no_human_annotated", 2)):
            for kind, suffix in (("images", "jpg"), ("annotations", "json")):
                names = {path.name for path in (out / folder / kind).iterdir()}
                assert names == {f"{number}.{suffix}" for number in range(count)}

    def test_it_says_whose_faces_they_are(self, tree):
        assert json.loads((tree[0] / "source.json").read_text()) == {"origin": "drawn"}

    def test_the_sizes_of_the_release_are_met_exactly(self):
        for fraction in (0.013086, 5500 / 420_299):
            splits = Counter(split for _, split in list_jobs(420_299, 0, fraction, no_human=539_607))
            assert splits == {"train": 414_799, "validation": 5_500, "no_human": 539_607}

    @pytest.mark.parametrize("fraction, validation", [(0.0, 0), (0.29, 2), (0.5, 5)])
    def test_validation_share(self, tmp_path, fraction, validation):
        counts = draw_tree(tmp_path / "t", 10, validation_fraction=fraction)
        assert counts == {"train": 10 - validation, "validation": validation, "no_human": 0}

    def test_images_are_colour_jpeg(self, tree):
        for path in tree[0].rglob("*.jpg"):
            with Image.open(path) as image:
                image.load()
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (224, 224))

    def test_annotation_spelling_and_values(self, tree):
        record = json.loads((tree[0] / TRAIN / "annotations/2.json").read_text())
        face = draw_face(3, 2)
        assert list(record) == ["human-label", "soft-label", "subset", "meta-data"]
        assert list(record["meta-data"]) == [
            "age",
            "gender",
            "race",
            "valence",
            "arousal",
            "pose",
            "landmark-68",
            "landmark-29",
        ]
        assert (record["human-label"], record["soft-label"]) == (face.label, face.soft_label)
        assert record["subset"] == face.subset == subset_of(face.label, face.soft_label)
        about = record["meta-data"]
        assert (about["age"], about["valence"], about["arousal"]) == (face.age, face.valence, face.arousal)
        assert about["pose"] == dict(zip(("yaw", "pitch", "roll"), face.pose))
        assert about["gender"] is about["race"] is about["landmark-29"] is None
        assert about["landmark-68"] == [round(value) for point in face.landmarks_68.tolist() for value in point]

    def test_faces_without_human_label_are_others(self, tree, tmp_path):
        draw_tree(tmp_path / "t", 1, seed=3)
        first = (tmp_path / "t" / TRAIN / "images/0.jpg").read_bytes()
        assert first == (tree[0] / TRAIN / "images/0.jpg").read_bytes()
        assert first != (tree[0] / "no_human_annotated/images/0.jpg").read_bytes()

    def test_faces_without_human_label(self, tree):
        for path in (tree[0] / "no_human_annotated/annotations").iterdir():
            record = json.loads(path.read_text())
            assert record["human-label"] is record["subset"] is None
            assert len(record["soft-label"]) == 8

    def test_action_units_beside_it(self, tree):
        with open(tree[0] / "action_units.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["split", "stem", *(f"{unit}_r" for unit in ACTION_UNITS)]
        assert [(row["split"], row["stem"]) for row in rows].count(("train", "0")) == 1
        assert len({(row["split"], row["stem"]) for row in rows}) == len(rows) == 12
        fourth = next(row for row in rows if row["split"] == "validation" and row["stem"] == "0")
        assert {unit: float(fourth[unit]) for unit in draw_face(3, 4).action_units} == draw_face(3, 4).action_units

    def test_existing_folder(self, tmp_path):
        draw_tree(tmp_path / "t", 1)
        with pytest.raises(FileExistsError):
            draw_tree(tmp_path / "t", 2)
        assert draw_tree(tmp_path / "t", 2, overwrite=True)["train"] == 2

    @pytest.mark.parametrize(
        "wrong", [{"n": 0}, {"n": 1, "seed": -1}, {"n": 1, "no_human": -1}, {"n": 1, "validation_fraction": 1.0}]
    )
    def test_out_of_range(self, tmp_path, wrong):
        with pytest.raises(ValueError, match="validation_fraction"):
            draw_tree(tmp_path / "t", **wrong)
        assert not (tmp_path / "t").exists()

    def test_progress_sees_every_face(self, tmp_path):
        seen = []

        draw_tree(tmp_path / "t", 3, no_human=1, progress=lambda *call: seen.append(call))
        assert seen == [("draw", done, 4) for done in range(5)]


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    out = tmp_path_factory.mktemp("repeated") / "tree"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeat, "POOL", 4)
        return out, draw_repeated_tree(out, 10, seed=3, no_human=6)


class TestRepeatedTree:
    def test_the_splits_are_those_of_the_drawn_tree(self, repeated, tree):
        out, counts = repeated
        assert counts == tree[1] | {"no_human": 6}
        found, drawn = files(out), files(tree[0])
        names = [name.format(stem) for stem in range(2, 6) for name in ("images/{}.jpg", "annotations/{}.json")]
        assert set(found) == set(drawn) - {"action_units.csv"} | {f"no_human_annotated/{name}" for name in names}
        assert found["source.json"] == drawn["source.json"]

    def test_the_first_faces_are_the_drawn_ones(self, repeated, tree):
        found, drawn = files(repeated[0]), files(tree[0])
        for stem in range(4):
            for name in (f"images/{stem}.jpg", f"annotations/{stem}.json"):
                assert found[f"{TRAIN}/{name}"] == drawn[f"{TRAIN}/{name}"]
        for name in ("images/1.jpg", "annotations/1.json"):
            assert found[f"no_human_annotated/{name}"] == drawn[f"no_human_annotated/{name}"]

    @pytest.mark.parametrize(
        "copy, first",
        [
            (f"{VALIDATION}/{{}}/0", f"{TRAIN}/{{}}/0"),  # faces 4 and 0
            (f"{TRAIN}/{{}}/7", f"{TRAIN}/{{}}/0"),  # 8
            (f"{VALIDATION}/{{}}/1", f"{TRAIN}/{{}}/1"),  # 9 and 1
            (f"{TRAIN}/{{}}/5", f"{TRAIN}/{{}}/2"),  # 6
            ("no_human_annotated/{}/5", "no_human_annotated/{}/1"),
        ],
    )
    def test_a_copy_is_another_file_of_the_same_picture_with_the_same_annotation(self, repeated, copy, first):
        images = [repeated[0] / (name.format("images") + ".jpg") for name in (copy, first)]
        texts = [repeated[0] / (name.format("annotations") + ".json") for name in (copy, first)]
        assert np.array_equal(*(np.asarray(Image.open(path)) for path in images))
        assert images[0].read_bytes() != images[1].read_bytes()
        assert texts[0].read_bytes() == texts[1].read_bytes()

    def test_no_two_pictures_are_the_same_file_and_all_can_be_rows(self, repeated):
        pictures = [content for name, content in files(repeated[0]).items() if name.endswith(".jpg")]
        assert len(set(pictures)) == len(pictures) == 16
        for picture in pictures:
            check_image(picture)

    def test_copies_stay_apart_in_a_large_tree(self):
        first = repeat._JFIF + bytes(20)
        numbers = [0, 1, 254, 255, 256, 65533, 65534, 65535, 65536, 2 * 65535, 4_000_000]
        copies = {repeat._numbered(first, number) for number in numbers}
        assert len(copies) == len(numbers) and {len(copy) for copy in copies} == {len(first)}
        for copy in copies:  # of the header only the density differs, and none of its two numbers is zero
            assert copy[:14] == first[:14] and copy[18:] == first[18:] and any(copy[14:16]) and any(copy[16:18])

    def test_a_picture_without_the_usual_header_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="expected a JPEG with a JFIF header"):
            repeat.write_repeated(tmp_path / "t", [(0, "train")], lambda number, labelled: (b"GIF89a", {}), "drawn")
        assert not (tmp_path / "t").exists()

    def test_arguments_are_checked_and_progress_sees_every_face(self, tmp_path):
        with pytest.raises(ValueError, match="validation_fraction"):
            draw_repeated_tree(tmp_path / "t", 0)
        seen = []
        draw_repeated_tree(tmp_path / "t", 2, no_human=1, progress=lambda *call: seen.append(call))
        assert seen == [("draw", done, 3) for done in range(4)]
        with pytest.raises(FileExistsError):
            draw_repeated_tree(tmp_path / "t", 2)


class TestLabels:
    def test_neutral_is_what_the_largest_leaves(self):
        assert soft_label([0, 0.25, 0, 0, 0, 0.7, 0]).tolist() == [0.3, 0, 0.25, 0, 0, 0, 0.7, 0]

    def test_drawn_labels(self, faces):
        for face in faces:
            soft = face.soft_label
            assert len(soft) == 8 and 0 <= min(soft) and max(soft) <= 1 and 0 <= face.label < 8
            assert soft[0] == pytest.approx(1 - max(soft[1:]), abs=1e-4)
            assert soft == [round(value, 4) for value in soft]
            assert face.subset == subset_of(face.label, soft)
            assert -1 <= face.valence <= 1 and -1 <= face.arousal <= 1 and 18 <= face.age <= 80
            assert list(face.action_units) == [f"{unit}_r" for unit in ACTION_UNITS]
            assert all(0 <= value <= 5 for value in face.action_units.values())
            assert np.all(np.abs(face.pose) <= (0.5, 0.3, 0.25))

    def test_classes_are_balanced_and_most_are_easy(self):
        rng = np.random.default_rng(0)
        labels, subsets = [], []
        for _ in range(4000):
            soft = soft_label(random_intensities(rng)).tolist()
            labels.append(human_label(soft, rng))
            subsets.append(subset_of(labels[-1], soft))
        share = np.bincount(labels, minlength=8) / 4000
        assert share.min() > 0.08 and share.max() < 0.2
        easy, challenging, difficult = np.bincount(subsets, minlength=3) / 4000
        assert easy > 0.6 and 0.1 < challenging < 0.4 and 0.0 < difficult < 0.05

    def test_valence_and_arousal(self):
        assert valence_arousal(np.eye(8)[EMOTIONS.index("anger")]) == CIRCUMPLEX["anger"]
        valence, arousal = CIRCUMPLEX["happy"]
        assert valence_arousal([0.5, 0.5, 0, 0, 0, 0, 0, 0]) == pytest.approx((valence / 2, arousal / 2))

    @pytest.mark.parametrize("emotion", EMOTIONS[1:])
    def test_an_emotion_moves_its_prototype(self, emotion):
        active = action_units(np.eye(7)[EMOTIONS.index(emotion) - 1], np.random.default_rng(5)).max(axis=0)
        weights = PROTOTYPES[emotion]
        for unit, value in zip(ACTION_UNITS, active):
            assert value > 0.4 * weights[unit] if unit in weights else value < 0.05

    def test_contempt_is_one_sided_on_either_side(self):
        column, contempt = ACTION_UNITS.index("AU14"), np.eye(7)[6]
        sides = [action_units(contempt, np.random.default_rng(i))[:, column] for i in range(20)]
        assert all(min(side) < 0.05 < 0.5 < max(side) for side in sides)
        assert {int(np.argmax(side)) for side in sides} == {0, 1}

    def test_parted_lips_are_not_pressed(self):
        active = action_units(np.array([1, 0, 0, 0, 0, 1.0, 0]), np.random.default_rng(0))
        press = action_units(np.array([0, 0, 0, 0, 0, 1.0, 0]), np.random.default_rng(0))
        column = ACTION_UNITS.index("AU24")
        assert active[0, column] < 0.5 * press[0, column]

    @pytest.mark.parametrize("mixture", [[0.5] * 7, [0] * 7 + [1.2], [-0.1] + [0] * 7, [math.nan] * 8])
    def test_not_a_mixture(self, mixture):
        with pytest.raises(ValueError, match="mixture"):
            draw_expression(mixture, 0)


class TestLandmarks:
    def test_ibug_order(self):
        points = draw_expression(pure("neutral", 1.0), 1).landmarks_68
        x, y = points.T
        assert points.shape == (68, 2) and points.min() > 0 and points.max() < 224
        assert np.all(np.diff(x[0:17]) > 0) and np.argmax(y) == 8
        assert np.all(np.diff(x[17:27]) > 0) and y[17:27].max() < y[36:48].min()
        assert np.all(np.diff(y[27:31]) > 0) and np.all(np.diff(x[31:36]) > 0)
        assert x[36:42].max() < x[42:48].min() and np.argmin(x[36:42]) == 0 and np.argmax(x[42:48]) == 3
        assert y[[37, 38, 43, 44]].max() < y[[40, 41, 46, 47]].min()
        assert y[48:68].min() > y[31:36].max() and y[48:68].max() < y[8]
        assert np.all(np.diff(x[48:55]) > 0) and np.all(np.diff(x[54:60]) < 0) and np.all(np.diff(x[60:65]) > 0)

    def test_a_dropped_jaw_stays_in_the_picture(self):
        person = replace(random_person(np.random.default_rng(0)), size=1.07, centre=(112.0, 120.0))
        active = np.zeros((2, len(ACTION_UNITS)))
        active[:, ACTION_UNITS.index("AU26")] = 1
        points = PosedFace(person, active, (0.0, 0.0, 0.0)).points[:68]
        assert points.min() > 0 and 200 < points.max() < 220

    @pytest.mark.parametrize("roll", [-0.25, 0.1, 0.25])
    def test_roll_tilts_the_eye_line_by_its_angle(self, roll):
        points = draw_expression(pure("neutral", 1.0), 2, pose=(0.3, 0.2, roll)).landmarks_68
        across = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
        assert math.atan2(across[1], across[0]) == pytest.approx(roll, abs=1e-9)

    def test_yaw_and_pitch_move_the_nose_tip_the_declared_way(self):
        def nose(pose):
            points = draw_expression(pure("neutral", 1.0), 2, pose=pose).landmarks_68
            return points[30] - points[36:48].mean(axis=0)

        ahead = nose((0, 0, 0))
        assert nose((0.4, 0, 0))[0] > ahead[0] + 5 and nose((-0.4, 0, 0))[0] < ahead[0] - 5
        assert nose((0, 0.3, 0))[1] < ahead[1] - 3 and nose((0, -0.3, 0))[1] > ahead[1] + 3

    def test_rotation_is_a_rotation(self):
        turn = rotation(0.4, -0.2, 0.1)
        assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)

    def test_far_cheek_is_the_outline(self):
        """Where the head turns away the outline lies further out than the jaw's edge; on the near side it is that."""
        turn = rotation(0.5, 0, 0)
        edge, outline = REST @ turn.T, visible_contour(REST, 0.5) @ turn.T
        assert np.all(outline[9:17, 0] > edge[9:17, 0]) and outline[14, 0] > edge[14, 0] + 2
        assert outline[:9] == pytest.approx(edge[:9])
        assert visible_contour(REST, 0.0) == pytest.approx(REST)
        points = draw_expression(pure("neutral", 1.0), 2, pose=(0.5, 0, 0)).landmarks_68
        assert points[17:68, 0].max() < points[9:17, 0].max()

    def test_drawn_where_they_say(self):
        """Lips are redder than the skin above them, open mouths dark, irises darker than the whites."""
        for index in range(6):
            face = draw_expression(pure("surprise"), 7, index)
            pixels, points = np.asarray(face.image, dtype=float), face.landmarks_68

            def patch(point, pixels=pixels):
                column, row = np.round(point).astype(int)
                return pixels[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))

            lip, chin = patch((points[57] + points[66]) / 2), patch((points[8] + points[57]) / 2)
            assert lip[1] / lip[0] < chin[1] / chin[0]
            mouth = min(patch(points[62] + t * (points[66] - points[62])).mean() for t in (0.35, 0.45, 0.55))
            assert mouth < 0.7 * chin.mean()
            for eye in (slice(36, 42), slice(42, 48)):
                white = pixels[
                    int(points[eye, 1].min()) : int(points[eye, 1].max()),
                    int(points[eye, 0].min()) : int(points[eye, 0].max()),
                ].max()
                assert patch(points[eye].mean(axis=0)).mean() < 0.6 * white


class TestActionUnits:
    """Image left is 0; y grows downwards."""

    @pytest.mark.parametrize("unit", ACTION_UNITS)
    def test_moves_mirror(self, unit):
        left, right = moved(unit, sides=(0,)), moved(unit, sides=(1,))
        assert np.abs(left).max() > 1
        assert left[48] == pytest.approx(right[54] * (-1, 1, 1))
        assert left[21] == pytest.approx(right[22] * (-1, 1, 1))

    def test_inner_and_outer_brow_raise(self):
        inner, outer = moved("AU01")[:, 1], moved("AU02")[:, 1]
        assert inner[21] < -5 and inner[17] == 0 and inner[22] < -5
        assert outer[18] < -5 and abs(outer[21]) < 2

    def test_brow_lowerer_lowers_and_nears(self):
        move = moved("AU04")
        assert move[21, 1] > 5 and move[22, 1] > 5 and move[21, 0] > 2 and move[22, 0] < -2

    def test_lids(self):
        def opening(unit):
            points = REST[:68] + moved(unit)
            return points[[40, 41], 1].mean() - points[[37, 38], 1].mean()

        rest = REST[[40, 41], 1].mean() - REST[[37, 38], 1].mean()
        assert opening("AU05") > rest + 2
        assert 0 < opening("AU07") < rest - 2 and opening("AU06") < rest - 1

    def test_nose_and_upper_lip(self):
        assert moved("AU09")[31, 1] < -2 and moved("AU09")[21, 1] > 2
        assert moved("AU10")[[50, 51, 52], 1].max() < -3 and np.all(moved("AU10")[[56, 57, 58]] == 0)

    def test_lip_corners(self):
        smile, down, stretch = moved("AU12"), moved("AU15"), moved("AU20")
        assert smile[48, 1] < -5 and smile[54, 1] < -5 and smile[48, 0] < -5 and smile[54, 0] > 5
        assert down[48, 1] > 5 and down[54, 1] > 5 and abs(down[51, 1]) < 1
        assert stretch[48, 0] < -5 and stretch[54, 0] > 5 and stretch[48, 1] > 0

    def test_one_sided_smirk(self):
        smirk = moved("AU14", sides=(0,))
        assert smirk[48, 0] < -2 and np.all(smirk[54] == 0)

    def test_tight_and_pressed_lips_are_thin(self):
        for unit in ("AU23", "AU24"):
            move = moved(unit)
            assert move[51, 1] > 1 and move[57, 1] < -1 and move[48, 0] > 0 > move[54, 0]

    def test_chin_raise_parting_and_jaw_drop(self):
        assert moved("AU17")[8, 1] < -2 and moved("AU17")[57, 1] < -2
        assert moved("AU25")[66, 1] - moved("AU25")[62, 1] > 3 and moved("AU25")[8, 1] == 0
        drop = moved("AU26")
        assert 10 < drop[8, 1] < 20 and drop[66, 1] > 10 and abs(drop[62, 1]) < 1

    def test_lips_never_cross(self):
        rng = np.random.default_rng(0)
        for _ in range(200):
            active = rng.random((2, len(ACTION_UNITS)))
            active[:, -2:] = 0  # neither parted nor dropped
            points = deform(REST, active)
            assert np.all(points[[67, 66, 65], 1] > points[[61, 62, 63], 1])


class TestPictures:
    def test_expression_shows_in_mouth_and_brows(self):
        """Same person and pose: the picture changes where the face moves and stays where it does not."""
        happy, sad = (np.asarray(draw_expression(pure(name), 5).image, dtype=float) for name in ("happy", "sad"))
        points = draw_expression(pure("neutral", 1.0), 5).landmarks_68.astype(int)
        change = np.abs(happy - sad).mean(axis=2)
        (left, top), (right, bottom) = points[48:68].min(axis=0) - 5, points[48:68].max(axis=0) + 5
        assert change[top:bottom, left:right].mean() > 10
        assert change[points[17:27, 1].min() - 10 : points[17:27, 1].max(), points[17, 0] : points[26, 0]].mean() > 4
        assert change[:, :12].mean() < 1

    def test_expression_can_be_read_by_a_linear_rule(self):
        """A nearest-mean rule on small pictures of some people names the emotion of other people well above chance."""
        names = ("happy", "sad", "surprise", "anger")

        def pictures(people):
            faces = [[draw_expression(pure(name), 9, person) for name in names] for person in people]
            small = [np.asarray(face.image.convert("L").resize((28, 28)), float) for row in faces for face in row]
            stack = np.array(small).reshape(len(people), len(names), -1)
            return stack - stack.mean(axis=1, keepdims=True)

        means = pictures(range(12)).mean(axis=0)
        tests = pictures(range(12, 20))
        guesses = np.linalg.norm(tests[:, :, None] - means, axis=-1).argmin(axis=-1)
        assert (guesses == np.arange(len(names))).mean() > 0.85

    def test_age_light_and_skin_vary(self, faces):
        means = np.array([np.asarray(face.image).mean(axis=(0, 1)) for face in faces])
        assert means.std(axis=0).min() > 10 and np.std([face.age for face in faces]) > 10

    def test_jpeg_is_as_small_as_a_photo(self, faces):
        file = BytesIO()
        faces[0].image.save(file, "JPEG", quality=90)
        assert 5_000 < len(file.getvalue()) < 40_000
