"""The report: its numbers are those of the metrics, it stands alone, and a browser shows it on desktop and phone."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from affectnet_plus_modeling.evaluation.pictures import SHOWN, draw_pictures
from affectnet_plus_modeling.evaluation.predictions import Predictions
from affectnet_plus_modeling.evaluation.report import write_report
from support.evaluated import LONG_NAMES, some_metrics, some_predictions
from support.parts import CHROMIUM, NO_CHROMIUM


class Page(HTMLParser):
    """A page as its tables ({caption: {first cell of a row: other cells}}), its elements and its words."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[str, dict[str, list[str]]] = {}
        self.elements: list[tuple[str, dict]] = []
        self.words = ""
        self._row: list[str] = []
        self._text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self._row = []
        if tag in ("caption", "td", "th"):
            self._text = ""
        if tag == "small":
            self._text += " | "

    def handle_endtag(self, tag):
        if tag == "caption":
            self._caption = self._text
            self.tables[self._caption] = {}
        elif tag in ("td", "th"):
            self._row.append(self._text)
        elif tag == "tr":
            self.tables[self._caption][self._row[0]] = self._row[1:]

    def handle_data(self, data):
        self._text += data
        self.words += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(folder, metrics) -> Page:
    return Page(write_report(metrics, folder).read_text(encoding="utf-8"))


def cell(values: dict, key: str) -> str:
    low, high = values["intervals"][key]
    return f"{values[key]:.3f} | {low:.3f} to {high:.3f}".replace("-", "−")


@pytest.fixture(scope="module")
def metrics() -> dict:
    return some_metrics(some_predictions(600), compared=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory, metrics) -> Path:
    """The folder of a report with all pictures."""
    folder = tmp_path_factory.mktemp("report")
    draw_pictures(metrics, some_predictions(600), folder)
    write_report(metrics, folder)
    return folder


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page((written / "report.html").read_text(encoding="utf-8"))


# ---- numbers


def test_the_overall_table_has_the_numbers_their_intervals_and_those_of_the_baselines(page, metrics):
    table, constant = page.tables["All faces"], metrics["baselines"]["mean_soft_label"]
    assert table["accuracy"] == [cell(metrics, "accuracy"), f"{constant['accuracy']:.3f}", "0.125", "higher"]
    assert table["KL(soft label || predicted), smoothed by .001, nats"][:2] == [
        cell(metrics, "kl"),
        f"{constant['kl']:.3f}",
    ]
    assert table["macro F1"] == [cell(metrics, "macro_f1"), "-", "-", "higher"]
    for name, key in (("Clark", "clark"), ("Spearman of the ranks", "spearman"), ("cosine", "cosine")):
        assert table[name][0] == cell(metrics, key)


def test_every_number_of_all_faces_is_in_the_report(page, metrics):
    cells = [words for table in page.tables.values() for row in table.values() for words in row]
    assert [key for key in metrics["intervals"] if cell(metrics, key) not in cells] == []


def test_each_emotion_and_each_dimension_has_its_row(page, metrics):
    for name, values in metrics["per_class"].items():
        expected = [str(values["support"]), *(cell(values, key) for key in ("recall", "precision", "f1"))]
        assert page.tables["Each emotion"][name] == expected
    for name in ("valence", "arousal"):
        assert page.tables["Each dimension"][name][:2] == ["599", cell(metrics[name], "ccc")]


def test_subsets_and_groups_have_their_rows_and_those_too_small_have_none(page, metrics):
    parts = {"Each subset": metrics["subsets"]} | {f"By {name}": cells for name, cells in metrics["groups"].items()}
    seen = set()
    for caption, cells in parts.items():
        assert page.tables[caption].keys() == cells.keys() | ({"subset"} if caption == "Each subset" else {"group"})
        for name, values in cells.items():
            row = page.tables[caption][name]
            if "too_few" in values:
                assert row[0] == f"{values['rows']} | fewer than 20" and set(row[1:]) == {"-"}
            else:
                assert row[:2] == [f"{values['rows']:,}", cell(values, "accuracy")]
            seen.add("too_few" in values)
    assert seen == {True, False}


def test_gaps_name_the_two_groups(page, metrics):
    table = page.tables["Largest difference between two groups"]
    gap = metrics["gaps"]["gender"]["accuracy_gap"]
    expected = f"{gap['by_chance']:.3f} by chance, p = {gap['p']:.2g}"
    assert table["accuracy"][0] == f"{gap['gap']:.3f} | {expected}\n{gap['highest']} over {gap['lowest']}"
    assert [name for name in table if name.startswith("recall of")]


def test_measures_of_fairness_are_those_of_the_metrics(page, metrics):
    found = metrics["fairness"]["gender"]
    assert page.tables["Fairness of the data (arXiv:2502.11049)"]["evenness"][0] == f"{found['data']['evenness']:.3f}"
    worst = found["model"]["equalized_odds"]
    cells = page.tables["Fairness of the model (arXiv:2502.11049): the worst emotion"]["equalized odds"]
    assert cells[0] == f"{worst['max']:.3f} | {worst['emotion']}\nmean of all {worst['mean']:.3f}"


def test_the_comparison_has_its_differences_and_the_test(page, metrics):
    found = metrics["comparison"]["differences"]["kl"]
    low, high = (f"{end:.3f}".replace("-", "−") for end in found["interval"])
    signed = f"{found['difference']:+.3f}".replace("-", "−")
    assert page.tables["Paired differences"]["KL, nats"] == [f"{signed} | {low} to {high}"]
    test = metrics["comparison"]["mcnemar"]
    words = f"this model alone is right about {test['only_this']}, and other alone about {test['only_other']}"
    assert words in page.words
    assert f"p = {test['p_exact']:.3g} (exact)" in page.words


def test_it_says_what_was_measured_what_the_groups_are_and_the_limits(page, metrics):
    for words in (
        "validation split, default view",
        "600, of which 599 have a label",
        metrics["crop"],
        metrics["command"],
        "95 % of 20 samples",
        metrics["groups_are"],
        "does not say what the person feels",
    ):
        assert words in page.words


SAID = {"file": "a.csv", "label_order": None, "without": [], "missing": 0, "missing_are": "skip", "rounded_to": None}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"calibrated_on_this_split": True, "calibrated_share": 0.5, "calibrated_rows": 20}, "fitted on 20 of these"),
        ({"predictions": SAID | {"without": ["contempt"]}}, "not know contempt"),
        ({"predictions": SAID | {"missing": 1200}}, "says nothing of 1,200 faces of the split: they are left out"),
        ({"predictions": SAID | {"missing": 3, "missing_are": "uniform"}}, "3 faces of the split: they are judged as"),
        ({"predictions": SAID | {"rounded_to": 2}}, "are rounded to 2 decimals, and were scaled to sum to 1"),
    ],
)
def test_what_flatters_or_spoils_the_numbers_is_said(tmp_path, change, words):
    metrics = some_metrics(some_predictions(40))
    assert words not in page_of(tmp_path, metrics).words
    assert words in page_of(tmp_path, metrics | change).words


def test_a_baseline_of_the_evaluated_faces_is_said_to_be_flattered(tmp_path):
    metrics = some_metrics(some_predictions(40))
    assert "flatters" not in page_of(tmp_path, metrics).words
    metrics["baselines"]["mean_soft_label"]["prior_from"] = "evaluated rows"
    assert "flatters" in page_of(tmp_path, metrics).words


# ---- parts


def test_what_nothing_is_known_of_has_no_part(tmp_path):
    predictions = some_predictions(2).take([1])
    metrics = some_metrics(predictions, unknown=True)
    draw_pictures(metrics, predictions, tmp_path)
    page = page_of(tmp_path, metrics)
    assert [found["id"] for found in page.all("section")] == ["overall", "emotions", "calibration", "limits"]
    assert page.tables["All faces"]["accuracy"] == ["-", "-", "-", "higher"]
    assert len(page.all("img")) == 2


def test_a_report_without_pictures_has_its_numbers(tmp_path, metrics):
    page = page_of(tmp_path, metrics)
    assert not page.all("img") and page.tables["All faces"]


def test_pictures_stand_in_their_parts_with_words_for_those_who_do_not_see_them(page, written):
    assert [found["alt"] for found in page.all("img")] == list(SHOWN.values())
    for found, name in zip(page.all("img"), SHOWN, strict=True):
        kind, content = found["src"].split(",")
        assert kind == "data:image/svg+xml;base64"
        assert base64.b64decode(content) == (written / f"{name}.svg").read_bytes()


def test_a_picture_of_unknown_size_is_refused_and_the_old_report_stays(tmp_path, metrics):
    write_report(metrics, tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    (tmp_path / "confusion.svg").write_text("<svg/>")
    with pytest.raises(ValueError, match="confusion.svg has no size in points"):
        write_report(metrics, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.svg", "report.html"]


# ---- the page


def test_names_are_words_and_never_html(tmp_path, metrics):
    name = "<script>alert(1)</script>&amp;"
    page = page_of(tmp_path, metrics | {"model": name})
    assert not page.all("script") and name in page.words


def test_it_refers_to_nothing_outside_itself(page, written):
    text = (written / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?://|url\(|@import|<script|<iframe|srcset", text)
    policy = [found["content"] for found in page.all("meta") if "http-equiv" in found]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    for attribute in ("src", "href"):
        for found in (attributes[attribute] for _, attributes in page.elements if attribute in attributes):
            assert found.startswith(("data:", "#"))


def test_it_has_a_language_one_title_and_parts_that_its_links_reach(page):
    assert page.all("html") == [{"lang": "en"}] and len(page.all("h1")) == 1
    headings = [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings == ["h1"] + ["h2"] * len(page.all("section"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert [f"#{found['id']}" for found in page.all("section")] == [found["href"] for found in page.all("a")]
    assert all("scope" in found for found in page.all("th"))


def test_it_is_the_same_bytes_on_repeat(written, metrics):
    before = (written / "report.html").read_bytes()
    assert write_report(metrics, written).read_bytes() == before


# ---- in a browser

# Of every element with words of its own: the contrast ratio (WCAG 2.2) to the nearest background behind it.
CONTRAST = """() => {
  const light = (colour) => {
    const c = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * c[0] + .7152 * c[1] + .0722 * c[2];
  };
  const behind = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return colour === 'rgba(0, 0, 0, 0)' ? behind(e.parentElement) : colour;
  };
  return [...document.body.querySelectorAll('*')]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .map(e => {
      const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
      return [(a + .05) / (b + .05), e.tagName, e.textContent.slice(0, 30)];
    });
}"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def shown(browser, path: Path, width: int, scheme: str = "light"):
    """The page of a report; its `said` are the messages of the console and `asked` the requests for anything else."""
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    page.asked = [url for url in page.asked if url != path.as_uri() and not url.startswith("data:")]
    return page


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_whole_and_silently(browser, written, width, scheme):
    page = shown(browser, written / "report.html", width, scheme)
    assert (page.said, page.asked) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_page(browser, written, scheme):
    page = shown(browser, written / "report.html", 1280, scheme)
    found = page.evaluate(CONTRAST)
    assert len(found) > 100 and min(found)[0] >= 4.5, min(found)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")
    cards = page.evaluate("[...document.querySelectorAll('.picture')].map(e => getComputedStyle(e).backgroundColor)")
    assert set(cards) == {"rgb(255, 255, 255)"}
    page.close()


@pytest.mark.slow
def test_on_a_phone_wide_things_scroll_in_their_own_box_and_pictures_stay_legible(browser, written):
    page = shown(browser, written / "report.html", 390)
    boxes = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map(e => [e.clientWidth, e.scrollWidth, e.tabIndex])"
    )
    assert all(width <= 390 - 2 * 16 and focus == 0 for width, _, focus in boxes)
    assert sum(inner > width for width, inner, _ in boxes) > len(SHOWN)
    scales = page.evaluate("[...document.images].map(i => i.width / i.naturalWidth)")
    # The smallest words, 9 points at 100 to the inch, are then 9 pixels high; most have 12 points.
    assert min(scales) >= 0.74
    page.close()


@pytest.mark.slow
def test_long_names_and_few_faces_do_not_make_a_phone_scroll_sideways(browser, tmp_path):
    one = some_predictions(1)
    predictions = Predictions(
        one.image_ids,
        one.probabilities,
        one.soft_labels,
        one.labels,
        one.valence_arousal,
        np.full((1, 2), np.nan),
        LONG_NAMES,
    )
    metrics = some_metrics(predictions, model="a-model-of-a-very-long-name-" * 6, command="affectnet-plus-" * 20)
    draw_pictures(metrics, predictions, tmp_path)
    page = shown(browser, write_report(metrics, tmp_path), 390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert (page.said, page.asked) == ([], [])
    page.close()
