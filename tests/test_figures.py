"""The pages say what the files of `benchmarks/results` say: every figure of a table is in the file that it names.

A table of figures has a comment before it, `<!-- figures: FILE ... -->`, with names of files in `benchmarks/results`;
so has a paragraph of figures in the README.
"""

import csv
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("modeling/*/README.md")), ROOT / "benchmarks/README.md"]
MARK = re.compile(r"<!-- figures: (.+) -->")
NUMBER = re.compile(r"(?<![\w.,:/-])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?![\w:/]|\.\d)")
NOT_MEASURED = ("goal",)  # rows of what was aimed at


def tables(page: Path) -> list[tuple[int, list[str], list[str]]]:
    """The line of each table, the files that it names, and its rows below the head."""
    lines, found, place = [line.strip() for line in page.read_text(encoding="utf-8").splitlines()], [], 0
    while place < len(lines):
        if not lines[place].startswith("|"):
            place += 1
            continue
        above = [line for line in lines[max(place - 2, 0) : place] if line]
        named = MARK.fullmatch(above[-1]) if above else None
        end = place
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        found.append((place + 1, named[1].split() if named else [], lines[place + 2 : end]))
        place = end
    return found


def paragraphs(page: Path) -> list[tuple[int, list[str], str]]:
    """The line of each paragraph that is no table, code, list or comment, the files that it names, and its text."""
    found, line = [], 1
    text = re.sub(r"^```.*?^```", lambda code: "\n" * code[0].count("\n"), page.read_text("utf-8"), flags=re.M | re.S)
    for block in text.split("\n\n"):
        mark, *rest = block.strip().split("\n")
        named = MARK.fullmatch(mark)
        words = " ".join(rest) if named else " ".join([mark, *rest])
        if words and not words.startswith("|"):
            found.append((line, named[1].split() if named else [], words))
        line += block.count("\n") + 2
    return found


def numbers_of(cells: list[str]) -> list[tuple[str, float, int]]:
    """Each number of the cells, but for counts below 100: as it stands, its value, and its decimals."""
    found = []
    for cell in cells:
        plain = re.sub(r"`[^`]*`|\([*]\)", "", cell.replace("**", ""))
        for text in NUMBER.findall(re.sub(r"(?<=\d)-(?=[.\d])", " ", plain)):  # the ends of an interval
            if "." in text or len(text) > 2:
                found.append((text, float(text.replace(",", "")), len(text.partition(".")[2])))
    return found


def recorded(file: Path) -> list[tuple[set[str], list[float]]]:
    """Of each row of a CSV, or each run of a JSON, what it says in words and in numbers; and the means over seeds."""
    if file.suffix == ".json":
        runs = json.loads(file.read_text())
        found = [({name}, flat(run)) for name, run in (runs.items() if isinstance(runs, dict) else enumerate(runs))]
        seeds = defaultdict(list)
        for name, run in runs.items() if isinstance(runs, dict) else []:
            seeds[re.sub(r"-\d+$", "", name)].append(flat(run))
        return found + [({f"mean of {name}"}, means(several)) for name, several in seeds.items()]
    with open(file, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        (
            {value.lower() for value in row.values() if value},
            [n for n in map(as_number, row.values()) if n is not None],
        )
        for row in rows
    ]


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def flat(value) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in flat(one)]
    if isinstance(value, list):
        return [number for one in value for number in flat(one)]
    return [float(value)] if isinstance(value, (int, float)) else []


def means(several: list[list[float]]) -> list[float]:
    same = [one for one in several if len(one) == len(several[0])]
    return [sum(column) / len(column) for column in zip(*same, strict=True)]


def is_in(value: float, decimals: int, numbers: list[float]) -> bool:
    """Whether it is one of the numbers, rounded so; files have four places, so half of the last is given."""
    near = 0.5 * 10**-decimals + 0.51e-4
    return any(min(abs(number - value), abs(100 * number - value)) <= near for number in numbers)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_figure_of_a_table_is_in_the_file_that_the_table_names(page):
    wrong = []
    for line, files, rows in tables(page):
        if not files:
            continue
        known = [row for name in files for row in recorded(RESULTS / name)]
        for row in rows:
            first, *cells = [cell.strip() for cell in row.strip("|").split("|")]
            name = first.replace("*", "").replace("`", "").strip().lower()
            if name in NOT_MEASURED:
                continue
            of_it = [numbers for words, numbers in known if name in words] or [numbers for _, numbers in known]
            pool = [number for numbers in of_it for number in numbers]
            missing = [text for text, value, decimals in numbers_of(cells) if not is_in(value, decimals, pool)]
            if missing:
                wrong.append(f"line {line}, {first}: {', '.join(missing)} not in {', '.join(files)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_table_of_figures_names_its_file(page):
    """One with six figures below 1 or more is a table of measurements."""
    nameless = [
        f"line {line}: {rows[0]}"
        for line, files, rows in tables(page)
        if not files and len(re.findall(r"(?<![\w.])\.\d", " ".join(rows))) >= 6
    ]
    assert not nameless, "\n".join(nameless)


def test_every_figure_of_the_first_page_is_in_a_file_that_it_names():
    wrong, seen = [], 0
    for line, files, words in paragraphs(ROOT / "README.md"):
        figures = [(text, value, places) for text, value, places in numbers_of([words]) if places == 3]
        pool = [number for name in files for _, numbers in recorded(RESULTS / name) for number in numbers]
        seen += len(figures)
        wrong += [f"line {line}: {text}" for text, value, places in figures if not is_in(value, places, pool)]
    assert not wrong and seen >= 6, "\n".join(wrong)


def test_a_figure_that_the_file_does_not_have_is_seen():
    assert numbers_of(["**.855**", "1,367 (.12-3.5)", "-.08", "`.9`"]) == [
        (".855", 0.855, 3),
        ("1,367", 1367, 0),
        (".12", 0.12, 2),
        ("3.5", 3.5, 1),
        ("-.08", -0.08, 2),
    ]
    assert is_in(0.855, 3, [0.8546]) and is_in(96.8, 1, [0.968]) and not is_in(0.855, 3, [0.8561, 0.8538])
    assert {name for page in PAGES for _, files, _ in tables(page) for name in files} <= {
        file.name for file in RESULTS.iterdir()
    }
