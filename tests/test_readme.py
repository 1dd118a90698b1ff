"""Every code block of the README, and of pages that go on from it, runs in order where `make demo` has been."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from affectnet_plus_modeling import demo

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "modeling/preparing/README.md", "modeling/evaluation/README.md")
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / page).read_text(), flags=re.M | re.S)
]
# A figure of the README that takes minutes, and what the test takes instead.
SHORTER = {
    "--epochs 20": "--epochs 8 --batch-size 16",
    "-n 200": "-n 8",
    "--folds 2": "--folds 2 --trunk-epochs 1 --fewest-positives 20",
}


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    """The folder in which `make demo` was called: 96 drawn faces and one epoch instead of thousands and many."""
    folder = tmp_path_factory.mktemp("readme")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setattr(demo, "FACES", 96)
    patch.setattr(demo, "EPOCHS", 1)
    assert demo.main("demo") == 0
    patch.undo()
    return folder


def test_the_readme_has_blocks_of_both_kinds():
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    assert len(BLOCKS) >= 6


def test_the_two_commands_are_targets_of_the_makefile():
    commands = [line.partition("#")[0].split() for line in BLOCKS[0][1].splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    for _, target in commands:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("language, code", BLOCKS[1:], ids=[code.splitlines()[0][:50] for _, code in BLOCKS[1:]])
def test_block_runs(demo_folder, language, code):
    if language == "python":
        commands = [[sys.executable, "-c", code]]
    else:
        for figure, shorter in SHORTER.items():
            code = code.replace(figure, shorter)
        commands = [shlex.split(line, comments=True) for line in code.splitlines()]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        environment = os.environ | {"PATH": path}
        done = subprocess.run(command, cwd=demo_folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), f"{command} printed nothing"


def test_the_picture_is_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text())
    assert len(pictures) == 1
    assert (ROOT / pictures[0]).is_file()
