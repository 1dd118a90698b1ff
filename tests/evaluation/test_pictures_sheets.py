"""The sheets of faces: which faces are on them, what is said of each, and that their words are readable."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.special import entr

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.pictures import SHEETS, draw_sheets
from affectnet_plus_modeling.evaluation.pictures.sheets import (
    ambiguous_sheet_figure,
    confident_mistakes,
    drawn_by_lot,
    headline,
    mistakes_sheet_figure,
    most_ambiguous,
    prediction_sheet_figure,
)
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from support.evaluated import LONG_NAMES, assert_readable, drawn_texts, face, some_metrics, some_predictions, words_of


def sheet(predictions, title="A title") -> Figure:
    images = [face(row) for row in range(len(predictions.image_ids))]
    return prediction_sheet_figure(images, predictions, evaluate_predictions(predictions), title)


def size_of(figure: Figure) -> tuple[int, int]:
    width, height = figure.get_size_inches() * figure.dpi
    return round(width), round(height)


@pytest.mark.slow
@pytest.mark.parametrize("rows, lines", [(1, 1), (4, 1), (8, 2), (12, 3)])
def test_a_sheet_is_as_tall_as_its_faces_need_and_readable(rows, lines):
    metrics = evaluate_predictions(some_predictions(4000))
    figure = prediction_sheet_figure([face(row) for row in range(rows)], some_predictions(rows), metrics, "Of 4000")
    assert size_of(figure) == (1800, 830 + 300 * lines)
    assert_readable(figure)


def test_a_sheet_says_what_is_true_and_what_is_predicted():
    predictions = some_predictions(8)
    title = r"Title with $\frac$"  # which is no formula, neither good nor bad
    words = words_of(sheet(predictions, title))
    guess = [EMOTIONS[index] for index in predictions.probabilities.argmax(axis=1)]
    assert title in words
    assert f"? → {guess[1]}" in words
    for row in (0, 2, 3, 4, 5, 6, 7):
        true = EMOTIONS[predictions.labels[row]]
        assert f"{true} → {guess[row]}  {'✓' if true == guess[row] else '✗'}" in words
        pair = predictions.true_valence_arousal[row, 0], predictions.valence_arousal[row, 0]
        assert "V {:+.2f} → {:+.2f}".format(*pair).replace("-", "−") in words
    assert sum(text.startswith("A ") and "→" in text for text in words) == 7  # none where the truth is not known


def test_a_tool_without_valence_and_arousal_has_none_beside_its_faces():
    silent = replace(some_predictions(4), valence_arousal=np.full((4, 2), np.nan))
    assert not [text for text in words_of(sheet(silent)) if "→" in text and text.startswith(("V ", "A "))]


def test_a_sheet_draws_the_two_distributions_as_paired_bars():
    predictions = some_predictions(1)
    (bars,) = [axes for axes in sheet(predictions).axes if len(axes.containers) == 2]
    found = [[bar.get_width() for bar in group] for group in bars.containers]
    np.testing.assert_allclose(found, [predictions.soft_labels[0], predictions.probabilities[0]])
    tops = [group[0].get_y() for group in bars.containers]
    assert tops[0] + bars.containers[0][0].get_height() == pytest.approx(tops[1])


def test_a_title_too_long_is_made_smaller_not_cut():
    assert_readable(sheet(some_predictions(4), "a long title " * 16))


@pytest.mark.slow
def test_long_names_of_classes_are_readable_on_every_sheet():
    predictions = replace(some_predictions(40), names=LONG_NAMES)
    for figure in (sheet(predictions.take(range(4))), mistakes_sheet_figure(predictions, face, "Title")):
        assert_readable(figure)


def test_headline_sets_the_model_beside_its_baselines():
    metrics = evaluate_predictions(some_predictions(40), np.full(8, 1 / 8))
    line = headline(metrics)
    assert f"{metrics['kl']:.3f} nats" in line
    assert f"{metrics['baselines']['mean_soft_label']['kl']:.3f}" in line
    assert f"{100 * metrics['accuracy']:.1f} %" in line and "12.5 %" in line and "40 faces" in line


def test_images_and_rows_must_be_as_many():
    predictions = some_predictions(3)
    with pytest.raises(ValueError, match="2 images for 3 rows"):
        prediction_sheet_figure([face(0), face(1)], predictions, evaluate_predictions(predictions), "Too few")


# ---- which faces


def test_faces_are_drawn_by_lot_one_of_each_label_first():
    predictions = some_predictions(200)
    rows = drawn_by_lot(predictions)
    assert rows == drawn_by_lot(predictions) and len(set(rows)) == 12
    assert predictions.labels[rows[:9]].tolist() == [-1, *range(8)]
    assert drawn_by_lot(some_predictions(3)) and len(drawn_by_lot(some_predictions(3))) == 3


def test_mistakes_are_the_wrong_answers_from_the_surest_on():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 0, 0, -1, 1, 0])  # right, wrong, wrong, not known, wrong, wrong as surely as row 2
    predictions = replace(
        some_predictions(6),
        probabilities=probabilities,
        labels=labels,
        soft_labels=np.full((6, 2), 0.5),
        names=("yes", "no"),
    )
    assert confident_mistakes(predictions).tolist() == [1, 2, 5, 4]


def test_the_most_ambiguous_faces_have_the_highest_entropy_of_the_true_soft_label():
    predictions = some_predictions(50)
    rows = most_ambiguous(predictions)
    spread = entr(predictions.soft_labels).sum(axis=1)
    assert sorted(rows) == [row for row in range(50) if row != 1]  # whose soft label is not known
    assert (np.diff(spread[rows]) <= 0).all() and spread[rows[0]] == np.nanmax(spread)


@pytest.mark.slow
def test_the_number_that_chose_a_face_stands_beside_it():
    predictions = some_predictions(50)
    worst, unsure = confident_mistakes(predictions)[0], most_ambiguous(predictions)[0]
    mistakes, ambiguous = (
        draw(predictions, face, "Title") for draw in (mistakes_sheet_figure, ambiguous_sheet_figure)
    )
    percent = f"  {100 * predictions.probabilities[worst].max():.0f} %"
    assert any(words.endswith(percent) for words in words_of(mistakes))
    spread = entr(predictions.soft_labels[unsure]).sum()
    assert any(words.endswith(f"  {spread:.2f}") for words in words_of(ambiguous))
    assert any("12 of 49 faces" in words for words in words_of(ambiguous))
    for figure in (mistakes, ambiguous):
        assert size_of(figure) == (1800, 170 + 3 * 300)
        assert_readable(figure)


# ---- files


@pytest.mark.slow
def test_all_sheets_are_drawn_with_the_picture_of_each_row(tmp_path):
    predictions, asked = some_predictions(60), []

    def remember(row):
        asked.append(row)
        return face(row)

    assert draw_sheets(some_metrics(predictions), predictions, remember, tmp_path, "Title") == list(SHEETS)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(SHEETS)
    chosen = [drawn_by_lot(predictions), confident_mistakes(predictions)[:12], most_ambiguous(predictions)[:12]]
    assert asked == [row for rows in chosen for row in rows]


def test_a_sheet_without_faces_is_not_drawn(tmp_path):
    predictions = some_predictions(2).take([1])  # neither label nor soft label
    names = draw_sheets(some_metrics(predictions), predictions, face, tmp_path, "Title")
    assert names == ["faces.png"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.slow
def test_sheets_are_the_same_bytes_on_repeat(tmp_path):
    predictions = some_predictions(4)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw_sheets(some_metrics(predictions), predictions, face, tmp_path / name, "Title")
    for name in SHEETS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / "faces.png") as picture:
        assert picture.size == (1800, 1130) and picture.format == "PNG"


def test_a_row_of_which_nothing_is_known_is_drawn_readably():
    figure = sheet(some_predictions(2).take([1]))
    assert_readable(figure)
    assert "1 face" in words_of(figure)
    assert "Hard labels: not known of any face" in [text.get_text() for text in drawn_texts(figure)]
