"""What was skipped is said, and fails where `make parts` would have spared it and CI wants no such skip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.parts import HINT

TESTS = Path(__file__).resolve().parent.parent
ALONE = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PAGE = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no faces beside the checkout")
def test_wants_data():
    pass
"""
BROWSER = f"""
@pytest.mark.skip(reason="no browser ({HINT})")
def test_wants_a_part():
    pass
"""


@pytest.mark.parametrize(
    "page, options, code",
    [(PAGE, ["--require-parts"], 0), (PAGE + BROWSER, [], 0), (PAGE + BROWSER, ["--require-parts"], 1)],
    ids=["nothing-to-bring", "not-required", "required"],
)
def test_a_skip_that_a_part_would_have_spared_fails_where_parts_are_required(page, options, code, tmp_path):
    (tmp_path / "test_page.py").write_text(page)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {TESTS}\n")
    command = [sys.executable, "-m", "pytest", "-p", "support.skipped", "-p", "no:cacheprovider", *options]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ALONE)
    assert run.returncode == code, run.stdout + run.stderr
    assert "   1 no faces beside the checkout" in run.stdout
    assert ("this brings what they want: make parts" in run.stdout) == (BROWSER in page)
    assert ("it is an error" in run.stdout) == (code == 1)
