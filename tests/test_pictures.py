"""The pictures: their size, their sameness on repeat, and that no words are cut or lie on one another."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.evaluation.pictures import (
    confusion_matrix_picture,
    headline,
    prediction_sheet,
    reliability_diagram_picture,
)


def some_predictions(rows, seed=0) -> Predictions:
    """Rows of longest names included: label 7 (contempt) first, then a row of which nothing is known."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 8, rows)
    labels[0] = 7
    soft = 0.5 * np.eye(8)[labels] + 0.5 * generator.dirichlet(np.full(8, 0.5), rows)
    true = generator.uniform(-1, 1, (rows, 2))
    if rows > 1:
        labels[1], soft[1], true[1] = -1, np.nan, np.nan
    return Predictions(
        image_ids=[f"face-{row}" for row in range(rows)],
        probabilities=generator.dirichlet(np.full(8, 0.4), rows),
        soft_labels=soft,
        labels=labels,
        valence_arousal=generator.uniform(-1, 1, (rows, 2)),
        true_valence_arousal=true,
    )


def faces(rows) -> list[Image.Image]:
    """Coloured pictures of unequal sizes and modes."""
    shapes = [("RGB", (224, 224)), ("L", (90, 40)), ("RGBA", (31, 64))]
    return [Image.new(*shapes[row % 3], color=40 + 10 * row) for row in range(rows)]


def sheet(predictions, path, title="A title") -> None:
    prediction_sheet(faces(len(predictions.image_ids)), predictions, evaluate_predictions(predictions), path, title)


def drawn_words(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every piece of text that is drawn, with the box it takes, in pixels from the lower left corner."""
    drawn: list[Text] = []
    draw = Text.draw

    def note(text, renderer):
        drawn.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:  # a figure holds more text than it draws: ticks out of view
        patch.setattr(Text, "draw", note)
        figure.draw_without_rendering()
    return [(text.get_text(), text.get_window_extent()) for text in drawn if text.get_text().strip()]


def assert_readable(figure: Figure):
    width, height = figure.get_size_inches() * figure.dpi
    words = drawn_words(figure)
    assert len(words) > 10
    for text, box in words:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, f"{text!r} is cut"
    for (one, first), (other, second) in combinations(words, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across <= 0 or down <= 1, f"{one!r} lies on {other!r}"  # boxes hold room below the line
    for picture in [axes.get_window_extent() for axes in figure.axes if not axes.axison]:
        for text, box in words:
            assert not picture.overlaps(box.padded(-1)), f"{text!r} lies on a face"


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures that are saved while a test runs."""
    saved: list[Figure] = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        saved.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


@pytest.mark.parametrize("rows, lines", [(1, 1), (4, 1), (8, 2), (12, 3)])
def test_sheet_is_as_tall_as_its_faces_need_and_readable(tmp_path, figures, rows, lines):
    metrics = evaluate_predictions(some_predictions(4000))
    prediction_sheet(faces(rows), some_predictions(rows), metrics, tmp_path / "sheet.png", "Of 4000 rows")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size == (1800, 830 + 300 * lines) and picture.format == "PNG"
    assert_readable(figures[0])


def test_sheet_says_what_is_true_and_what_is_predicted(tmp_path, figures):
    predictions = some_predictions(8)
    title = r"Title with $\frac$"  # which is no formula, neither good nor bad
    sheet(predictions, tmp_path / "sheet.png", title)
    words = [text for text, _ in drawn_words(figures[0])]
    guess = [EMOTIONS[index] for index in predictions.probabilities.argmax(axis=1)]
    assert title in words
    assert f"? → {guess[1]}" in words
    for row in (0, 2, 3, 4, 5, 6, 7):
        true = EMOTIONS[predictions.labels[row]]
        assert f"{true} → {guess[row]}  {'✓' if true == guess[row] else '✗'}" in words
        pair = predictions.true_valence_arousal[row, 0], predictions.valence_arousal[row, 0]
        assert "V {:+.2f} → {:+.2f}".format(*pair).replace("-", "−") in words
    assert sum(text.startswith("A ") and "→" in text for text in words) == 7  # none where the truth is not known


def test_sheet_draws_the_two_distributions_as_paired_bars(tmp_path, figures):
    predictions = some_predictions(1)
    sheet(predictions, tmp_path / "sheet.png")
    (bars,) = [axes for axes in figures[0].axes if len(axes.containers) == 2]
    found = [[bar.get_width() for bar in group] for group in bars.containers]
    np.testing.assert_allclose(found, [predictions.soft_labels[0], predictions.probabilities[0]])
    tops = [group[0].get_y() for group in bars.containers]
    assert tops[0] + bars.containers[0][0].get_height() == pytest.approx(tops[1])


def test_a_title_too_long_is_made_smaller_not_cut(tmp_path, figures):
    sheet(some_predictions(4), tmp_path / "sheet.png", "a long title " * 20)
    assert_readable(figures[0])


def test_headline_sets_the_model_beside_its_baselines():
    metrics = evaluate_predictions(some_predictions(40), np.full(8, 1 / 8))
    line = headline(metrics)
    assert f"{metrics['kl']:.3f} nats" in line
    assert f"{metrics['baselines']['mean_soft_label']['kl']:.3f}" in line
    assert f"{100 * metrics['accuracy']:.1f} %" in line and "12.5 %" in line and "40 faces" in line


def test_pictures_of_rows_without_labels(tmp_path, figures):
    unknown = some_predictions(2).take([1])
    sheet(unknown, tmp_path / "sheet.png")
    reliability_diagram_picture(unknown, tmp_path / "reliability.png")
    confusion_matrix_picture(evaluate_predictions(unknown), tmp_path / "confusion.png")
    for figure in figures:
        assert_readable(figure)
    assert "1 face" in [text for text, _ in drawn_words(figures[0])]
    assert "Reliability: no face has a label" in [text for text, _ in drawn_words(figures[1])]


@pytest.mark.parametrize("rows", [1, 8, 4000])
def test_matrix_and_diagram_have_their_size_and_are_readable(tmp_path, figures, rows):
    predictions = some_predictions(rows)
    confusion_matrix_picture(evaluate_predictions(predictions), tmp_path / "confusion.png")
    reliability_diagram_picture(predictions, tmp_path / "reliability.png")
    sizes = [Image.open(tmp_path / name).size for name in ("confusion.png", "reliability.png")]
    assert sizes == [(1000, 700), (900, 700)]
    for figure in figures:
        assert_readable(figure)


def test_matrix_prints_per_cent_of_each_row(tmp_path, figures):
    guess, labels = [0, 0, 0, 1, 7], np.array([0, 0, 0, 0, 7])
    predictions = Predictions(
        list("abcde"), np.eye(8)[guess], np.eye(8)[labels], labels, np.zeros((5, 2)), np.zeros((5, 2))
    )
    confusion_matrix_picture(evaluate_predictions(predictions), tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    numbers = [text for text in axes.texts if text.get_text().isdigit()]
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in numbers}
    assert (cells[0, 0], cells[0, 1], cells[7, 7], cells[7, 0]) == ("75", "25", "100", "0")
    assert len(cells) == 16  # rows of emotions that never occur stay empty
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["neutral (4)", "happy (0)"]


def test_diagram_of_predictions_is_the_diagram_of_their_metrics(tmp_path, figures):
    predictions = some_predictions(200)
    reliability_diagram_picture(predictions, tmp_path / "reliability.png")
    metrics = evaluate_predictions(predictions)
    prediction_sheet(faces(1), predictions.take([0]), metrics, tmp_path / "sheet.png", "One of 200")
    dots = [figure.axes[-1].lines[1].get_xydata() for figure in figures]
    np.testing.assert_allclose(dots[0], dots[1])
    assert len(dots[0]) == np.count_nonzero(metrics["reliability"]["rows"])
    assert figures[0].axes[0].get_title(loc="left") == f"Reliability: calibration error {metrics['ece']:.3f}"


def test_pictures_are_the_same_bytes_on_repeat(tmp_path):
    predictions = some_predictions(2)
    for name in ("one", "two"):
        sheet(predictions, tmp_path / f"{name}-sheet.png")
        confusion_matrix_picture(evaluate_predictions(predictions), tmp_path / f"{name}-confusion.png")
        reliability_diagram_picture(predictions, str(tmp_path / f"{name}-reliability.png"))
    for kind in ("sheet", "confusion", "reliability"):
        content = (tmp_path / f"one-{kind}.png").read_bytes()
        assert content == (tmp_path / f"two-{kind}.png").read_bytes()
        assert b"matplotlib" not in content.lower()


def test_images_and_rows_must_be_as_many(tmp_path):
    predictions = some_predictions(3)
    with pytest.raises(ValueError, match="2 images for 3 rows"):
        prediction_sheet(faces(2), predictions, evaluate_predictions(predictions), tmp_path / "sheet.png", "Too few")
    assert not list(tmp_path.iterdir())
