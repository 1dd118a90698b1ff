"""ARCHITECTURE.md says what is there: its paths, its rooms, its layers and the names it sends people to."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
MODELING = ROOT / "modeling"
PACKAGE = {path.stem for path in MODELING.glob("*.py") if path.stem != "__init__"} | {
    path.parent.name for path in MODELING.glob("*/__init__.py")
}
RECIPES = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", PAGE, flags=re.M | re.S))


def layers_of(text: str) -> list[set[str]]:
    return [{name.strip() for name in line.split("|")} for line in text.strip().splitlines()]


def paths_of(text: str) -> set[str]:
    """What stands in `...` and has a slash or the suffix of a file."""
    words = re.findall(r"`([^`\s]+)`", text)
    return {word for word in words if "/" in word or re.search(r"\.(py|md|cfg|toml|csv)$", word)}


DRAWN = set(re.findall(r"\b\w+/(?!\w)", re.search(r"^```\n(.*?)^```", PAGE, flags=re.M | re.S)[1]))


@pytest.mark.parametrize("path", sorted(paths_of(PAGE) | DRAWN))
def test_a_path_that_is_named_exists(path):
    assert any((folder / path).exists() for folder in (ROOT, MODELING)) or any(MODELING.glob(f"**/{path}"))


def test_every_room_has_a_line_and_every_single_module_is_named():
    rooms = {path.parent.name for path in MODELING.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/` \|", PAGE, flags=re.M)) == rooms
    modules = set(re.findall(r"`(\w+)\.py` \(", PAGE.split("Single modules:")[1].split("Around the package")[0]))
    assert modules == {path.stem for path in MODELING.glob("*.py") if path.stem != "__init__"}


def test_the_layers_are_those_of_the_contract_and_hold_every_room():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    contract = layers_of(config["importlinter:contract:layers"]["layers"])
    listed = layers_of(re.search(r"^```layers\n(.*?)^```", PAGE, flags=re.M | re.S)[1])
    assert listed == contract
    names = set().union(*listed)
    assert PACKAGE <= {name.strip("()") for name in names}
    assert {name for name in names if not name.startswith("(")} <= PACKAGE


def test_each_way_of_adding_something_is_told():
    assert list(RECIPES) == [
        "a loss",
        "a backbone of the ensemble",
        "a data source",
        "a landmark tool",
        "a detector of faces",
        "a reported number",
    ]


@pytest.mark.parametrize("title", RECIPES)
def test_a_name_that_a_way_sends_to_is_in_one_of_its_files(title):
    files = [ROOT / path for path in paths_of(RECIPES[title])]
    assert any(path.is_relative_to(ROOT / "tests") for path in files)
    code = "\n".join(path.read_text() for path in files)
    names = [name for name in re.findall(r"`(\w+)`", RECIPES[title]) if name.isupper() or "_" in name]
    assert names and [name for name in names if not re.search(rf"\b{name}\b", code)] == []
