"""A plugin of pytest: the last lines say what was skipped, and `--require-parts` makes of some skips an error."""

from collections import Counter

import pytest

from .parts import HINT, missing


def pytest_addoption(parser):
    parser.addoption("--require-parts", action="store_true", help=f"fail where `{HINT}` would have spared a skip")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    """The last lines say what was skipped, and which command brings the browser and the models that some want."""
    reasons = _skipped(terminalreporter)
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:4} {reason}")
    if missing(reasons):
        required = config.getoption("--require-parts")
        terminalreporter.line(f"this brings what they want: {HINT}" + " (--require-parts: it is an error)" * required)


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # workers of xdist have none
    if session.config.getoption("--require-parts") and exitstatus == 0 and reporter and missing(_skipped(reporter)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _skipped(terminalreporter) -> Counter:
    """How many tests, or whole modules, were skipped for each reason."""
    return Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())
    )
