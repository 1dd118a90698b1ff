"""The pictures: what they show, their sameness on repeat, that words are readable, and that an SVG stands alone."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from PIL import Image

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.pictures import SHOWN, draw_pictures
from affectnet_plus_modeling.evaluation.pictures.circumplex import MOST_DOTS, circumplex_figure
from affectnet_plus_modeling.evaluation.pictures.confusion import confusion_figure
from affectnet_plus_modeling.evaluation.pictures.parts import groups_figure, subsets_figure
from affectnet_plus_modeling.evaluation.pictures.reliability import reliability_figure
from affectnet_plus_modeling.evaluation.pictures.style import INK, QUIET, SHARES
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.labels import CIRCUMPLEX
from support.evaluated import LONG_NAMES, assert_readable, some_metrics, some_predictions, words_of


@pytest.fixture(scope="module")
def metrics() -> dict:
    return some_metrics(some_predictions(300))


def one_class_only(rows=30) -> Predictions:
    """Every face has one label, one answer and neither valence nor arousal."""
    labels, unknown = np.full(rows, 3), np.full((rows, 2), np.nan)
    soft = np.eye(8)[labels]
    return Predictions([str(row) for row in range(rows)], soft, soft, labels, unknown, unknown)


def contrast(one, other) -> float:
    """Contrast ratio of two colours by WCAG 2.2: 1 to 21."""

    def luminance(colour):
        channels = np.array(to_rgb(colour))
        return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# ---- all of them


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 8, 4000])
def test_every_picture_is_readable_of_few_faces_and_of_many(rows):
    predictions = some_predictions(rows)
    metrics = some_metrics(predictions)
    for figure in (
        confusion_figure(metrics),
        reliability_figure(metrics),
        subsets_figure(metrics),
        groups_figure(metrics),
    ):
        assert_readable(figure)
    assert_readable(circumplex_figure(predictions))


def test_long_names_of_classes_are_readable():
    for names in (LONG_NAMES, ("no", *LONG_NAMES[1:7], "contemptuously-expressed")):
        assert_readable(confusion_figure(some_metrics(replace(some_predictions(300), names=names))))


@pytest.mark.parametrize("predictions", [one_class_only(), some_predictions(2).take([1])], ids=["one", "unknown"])
def test_what_there_are_no_numbers_for_is_left_out_and_the_rest_readable(tmp_path, predictions):
    metrics = some_metrics(predictions, unknown=True)
    assert draw_pictures(metrics, predictions, tmp_path) == [
        "confusion.png",
        "confusion.svg",
        "reliability.png",
        "reliability.svg",
    ]
    assert_readable(confusion_figure(metrics))
    assert_readable(reliability_figure(metrics))


def test_words_stand_out_from_what_is_behind_them():
    assert contrast("white", "black") == pytest.approx(21)
    for behind in ("white", SHARES(1.0)):
        assert contrast(INK, behind) > 4.5
    assert contrast(QUIET, "white") > 4.5


# ---- confusion


def test_the_matrix_prints_shares_and_counts_of_each_row():
    guess, labels = [0, 0, 0, 1, 7], np.array([0, 0, 0, 0, 7])
    predictions = Predictions(
        list("abcde"), np.eye(8)[guess], np.eye(8)[labels], labels, np.zeros((5, 2)), np.zeros((5, 2))
    )
    (axes,) = confusion_figure(evaluate_predictions(predictions)).axes
    cells: dict[tuple, list[str]] = {}
    for text in axes.texts:
        if re.fullmatch(r"\(?\d+\)?", text.get_text()):
            cells.setdefault((text.xy[1] - 0.5, text.xy[0] - 0.5), []).append(text.get_text())
    assert cells[0, 0] == ["75", "(3)"] and cells[0, 1] == ["25", "(1)"] and cells[7, 7] == ["100", "(1)"]
    assert cells[7, 0] == ["0"]
    assert len(cells) == 16  # rows of emotions that never occur stay empty
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["neutral (4)", "happy (0)"]
    assert axes.yaxis_inverted() and axes.collections[0].get_array().reshape(8, 8)[0, 1] == 0.25


# ---- reliability


def test_the_diagram_shows_the_bins_of_the_metrics_and_their_errors(metrics):
    left, right = reliability_figure(metrics).axes
    for axes, name, error, of in (
        (left, "reliability", "ece", "Hard labels"),
        (right, "reliability_soft", "ece_soft", "Soft labels"),
    ):
        dots = axes.lines[1].get_xydata()
        filled = [row for row, number in enumerate(metrics[name]["rows"]) if number]
        expected = [(metrics[name]["confidence"][row], metrics[name]["accuracy"][row]) for row in filled]
        np.testing.assert_allclose(dots, expected)
        assert axes.get_title(loc="left") == f"{of}: calibration error {metrics[error]:.3f}"
        heights = [bar.get_height() for bar in axes.patches]
        np.testing.assert_allclose(heights, np.array(metrics[name]["rows"]) / sum(metrics[name]["rows"]))


# ---- circumplex


def test_few_faces_are_dots_at_their_places_true_and_predicted():
    predictions = some_predictions(40)
    known = [row for row in range(40) if row != 1]
    true, predicted = circumplex_figure(predictions).axes
    for axes, places in ((true, predictions.true_valence_arousal), (predicted, predictions.valence_arousal)):
        (dots,) = [drawn for drawn in axes.collections if isinstance(drawn, PathCollection)]
        np.testing.assert_allclose(dots.get_offsets(), places[known])
    assert true.get_title(loc="left") == "True: 39 faces"


def test_many_faces_are_counted_in_cells_of_one_scale():
    predictions = some_predictions(MOST_DOTS + 100)
    predictions = replace(predictions, valence_arousal=0.3 * predictions.valence_arousal)  # denser than the truth
    true, predicted, scale = circumplex_figure(predictions).axes
    cells = [
        [drawn for drawn in axes.collections if isinstance(drawn, PolyCollection)][0] for axes in (true, predicted)
    ]
    assert [drawn.get_array().sum() for drawn in cells] == [MOST_DOTS + 99] * 2  # each face once
    assert cells[0].get_array().max() < cells[1].get_array().max(), "premise: each alone would have its own scale"
    assert cells[0].norm.vmax == cells[1].norm.vmax == max(drawn.get_array().max() for drawn in cells)
    assert scale.get_ylabel() == "faces in a cell"


def test_the_circumplex_names_the_emotions_the_axes_and_has_the_unit_circle():
    figure = circumplex_figure(some_predictions(5))
    for axes in figure.axes:
        places = {text.get_text(): text.xy for text in axes.texts}
        assert places == CIRCUMPLEX
        assert (axes.patches[0].get_radius(), axes.patches[0].center, axes.get_aspect()) == (1, (0, 0), 1)
        assert "valence" in axes.get_xlabel()
    assert "arousal" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize("field", ["valence_arousal", "true_valence_arousal"])
def test_there_is_no_circumplex_where_truth_or_answer_is_not_known(field):
    predictions = some_predictions(5)
    assert circumplex_figure(replace(predictions, **{field: np.full((5, 2), np.nan)})) is None


# ---- subsets and groups


def test_bars_of_the_subsets_end_at_their_numbers_and_lines_at_their_intervals(metrics):
    accuracy, divergence = subsets_figure(metrics).axes
    for axes, key in ((accuracy, "accuracy"), (divergence, "kl")):
        cells = [metrics] + [metrics["subsets"][name] for name in ("easy", "challenging", "difficult")]
        assert [bar.get_height() for bar in axes.patches][: len(cells)] == [cell[key] for cell in cells]
        lines = axes.collections[0].get_segments()[0]
        assert lines[:, 1].tolist() == metrics["intervals"][key]
    names = [label.get_text() for label in accuracy.get_xticklabels()]
    assert names[:2] == ["all\n(300)", f"easy\n({metrics['subsets']['easy']['rows']})"]


def test_dots_of_the_groups_lie_at_their_numbers_and_lines_span_their_intervals(metrics):
    accuracy, divergence = groups_figure(metrics).axes
    cells = [cell for groups in metrics["groups"].values() for cell in groups.values() if "too_few" not in cell]
    for axes, key in ((accuracy, "accuracy"), (divergence, "kl")):
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        assert dots == [cell[key] for cell in cells]
        spans = [drawn.get_segments()[0][:, 0].tolist() for drawn in axes.collections]
        assert spans == [cell["intervals"][key] for cell in cells]
        assert axes.lines[0].get_xdata() == [metrics[key]] * 2  # all faces


def test_groups_too_small_say_so_and_have_no_dot(metrics):
    small = [
        (name, cell) for groups in metrics["groups"].values() for name, cell in groups.items() if "too_few" in cell
    ]
    words = words_of(groups_figure(metrics))
    assert small and words.count("fewer than 20 faces") == 2 * len(small)
    for name, cell in small:
        assert f"{name} ({cell['rows']})" in words


def test_the_picture_of_groups_says_what_the_groups_are(metrics):
    words = " ".join(" ".join(words_of(groups_figure(metrics))).split())
    assert metrics["groups_are"] in words and "predicted by machines" in words


def test_an_attribute_of_which_nothing_is_known_is_not_drawn(metrics):
    nameless = metrics | {"groups": metrics["groups"] | {"age": {"unknown": {"rows": 300, "too_few": True}}}}
    words = words_of(groups_figure(nameless))
    assert "gender" in words and "age" not in words


# ---- files


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, metrics):
    """A folder of all pictures of 300 faces."""
    folder = tmp_path_factory.mktemp("pictures")
    names = draw_pictures(metrics, some_predictions(300), folder)
    assert names == [f"{name}{suffix}" for name in SHOWN for suffix in (".png", ".svg")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    return folder


@pytest.mark.slow
def test_pictures_have_their_size(drawn):
    sizes = {name: Image.open(drawn / f"{name}.png").size for name in SHOWN}
    assert sizes["confusion"] == (900, 720) and sizes["reliability"] == (1100, 600)
    assert sizes["circumplex"] == (1100, 610) and sizes["subsets"] == (1100, 480) and sizes["groups"][0] == 1000


@pytest.mark.parametrize("name", SHOWN)
def test_an_svg_has_its_words_as_text_and_refers_to_nothing_outside(drawn, name):
    content = (drawn / f"{name}.svg").read_text(encoding="utf-8")
    tree = ElementTree.fromstring(content)
    space = "{http://www.w3.org/2000/svg}"
    assert tree.find(f"{space}title").text == SHOWN[name]
    words = " ".join(" ".join(tree.itertext()).split())
    expected = {
        "confusion": [*EMOTIONS, "predicted emotion"],
        "reliability": ["accuracy"],
        "circumplex": EMOTIONS,
        "subsets": ["challenging"],
        "groups": ["latino hispanic"],
    }[name]
    assert all(word in words for word in expected)
    assert not list(tree.iter(f"{space}image")) and not list(tree.iter(f"{space}script"))
    for element in tree.iter():
        for key, value in element.attrib.items():
            assert "//" not in value, value
            assert not key.endswith("href") or value.startswith("#")
            assert all(place.startswith("#") for place in re.findall(r"url\((.*?)\)", value))
    assert "<!DOCTYPE" not in content and "matplotlib.org" not in content


@pytest.mark.slow
def test_pictures_are_the_same_bytes_on_repeat(drawn, tmp_path, metrics):
    for name in draw_pictures(metrics, some_predictions(300), tmp_path):
        content = (drawn / name).read_bytes()
        assert content == (tmp_path / name).read_bytes(), name
        assert b"matplotlib version" not in content.lower()
