"""What the tests of the pictures and of the report share: predictions, their metrics, and what a figure has drawn."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from affectnet_plus import GENDERS, RACES, SUBSETS
from affectnet_plus_modeling.evaluation.audit import audit
from affectnet_plus_modeling.evaluation.compare import paired_differences
from affectnet_plus_modeling.evaluation.groups import AGES, GROUPS_ARE, YAWS, Grouping
from affectnet_plus_modeling.evaluation.predictions import Predictions

GROUPS = {"gender": GENDERS, "age": tuple(AGES), "ethnicity": RACES, "yaw": YAWS}
LONG_NAMES = (
    "happily surprised",
    "sadly angry",
    "fearfully disgusted",
    "angrily surprised",
    "appalled and hateful",
    "disgustedly surprised",
    "awed_neutral",
    "contemptuously expressed",
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


def some_metrics(predictions: Predictions, unknown=False, compared=False, **others) -> dict:
    """All that metrics.json holds, of random subsets and groups, whose first ones are the largest.

    `unknown`: nobody knows the subset or a group of any face; `compared`: beside other predictions.
    """
    rows = len(predictions.image_ids)
    generator = np.random.default_rng(5)

    def grouping(names) -> Grouping:
        of_rows = np.minimum(generator.geometric(0.45, rows) - 1, len(names))
        return Grouping((*names, "unknown"), np.full(rows, len(names)) if unknown else of_rows)

    groups = {name: grouping(names) for name, names in GROUPS.items()}
    found = {
        "model": "model",
        "data": {"name": "data", "origin": "synthetic", "fingerprint": "ab12"},
        "view": "default",
        "split": "validation",
        "command": "affectnet-plus evaluate model data --view default --split validation",
        "version": "0.1.0",
        "crop": "synthetic: pictures as prepared, the first of 224x224 pixels",
        "calibrated_on_this_split": False,
        "calibrated_share": None,
        "calibrated_rows": 0,
        "calibrated_left_out": 0,
        "predictions": None,
        "resamples": 20,
        "level": 0.95,
        "seed": 0,
        "min_cell": 20,
        **audit(predictions, np.full(8, 1 / 8), grouping(SUBSETS), groups, resamples=20, min_cell=20),
        "yaw_edges": None if unknown else [0.1, 0.3],
        "groups_are": GROUPS_ARE,
        "comparison": None,
    }
    if compared:
        compared = paired_differences(predictions, some_predictions(rows, seed=1), 20, 0, 0.95)
        found["comparison"] = {"model": "other", **compared}
    return found | others


def face(row) -> Image.Image:
    """A picture of a row: coloured, of unequal sizes and modes."""
    mode, size = [("RGB", (224, 224)), ("L", (90, 40)), ("RGBA", (31, 64))][row % 3]
    return Image.new(mode, size, color=(40 + 10 * row) % 256)


def drawn_texts(figure: Figure) -> list[Text]:
    """Every piece of text that is drawn; a figure holds more, such as ticks out of view."""
    drawn: list[Text] = []
    draw = Text.draw

    def note(text, renderer):
        drawn.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.draw_without_rendering()
    return [text for text in drawn if text.get_text().strip()]


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in drawn_texts(figure)]


def assert_readable(figure: Figure, smallest=8):
    """No word is cut, lies on another or on a face, or is smaller than so many points."""
    width, height = figure.get_size_inches() * figure.dpi
    texts = drawn_texts(figure)
    assert len(texts) > 10
    words = [(text.get_text(), text.get_window_extent()) for text in texts]
    assert min(text.get_size() for text in texts) >= smallest
    for text, box in words:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, f"{text!r} is cut"
    for (one, first), (other, second) in combinations(words, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across <= 0 or down <= 1, f"{one!r} lies on {other!r}"  # boxes hold room below the line
    for picture in [axes.get_window_extent() for axes in figure.axes if not axes.axison]:
        for text, box in words:
            assert not picture.overlaps(box.padded(-1)), f"{text!r} lies on a face"
