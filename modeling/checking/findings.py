"""What a check found: one line for people, one object for programs."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypedDict

EXAMPLES = 3  # that a finding names
Level = Literal["error", "warning", "note"]


class FindingRecord(TypedDict):
    """A `Finding` as a report has it."""

    level: Level
    check: str
    message: str
    count: int
    examples: list[str]


class Counts(TypedDict):
    """What is in a split; labels and subsets by name, without those that no row has."""

    rows: int
    labels: dict[str, int]
    subsets: dict[str, int]


class Examination(TypedDict):
    """What `doctor` and `examine_model` return."""

    path: str
    kind: Literal["source", "prepared", "model"]
    counts: dict[str, Counts]  # by split
    left_out: dict[str, int]  # faces by the reason
    findings: list[FindingRecord]


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    `level`: "error" means that something cannot be used or is not what it says (exit status 1), "warning" that it
    can be used but somebody should know, "note" that it is as expected and worth a line.
    `count` is how many rows (or files, or pairs) it concerns, `examples` names a few of them.
    """

    level: Level
    check: str
    message: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def record(self) -> FindingRecord:
        """The same for a report, which is JSON."""
        return {
            "level": self.level,
            "check": self.check,
            "message": self.message,
            "count": self.count,
            "examples": self.examples,
        }


def format_findings(findings: list[Finding]) -> str:
    """Lines for people, errors first."""
    order = ("error", "warning", "note")
    lines = []
    for finding in sorted(findings, key=lambda finding: order.index(finding.level)):
        examples = f" (such as {', '.join(finding.examples)})" if finding.examples else ""
        lines.append(f"{finding.level}: {finding.check}: {finding.message}{examples}")
    return "\n".join(lines)


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason is given, most often first.

    Numbers are masked, so that a thousand rows with the same defect are one line.
    """
    number = re.compile(r"(landmark-[0-9]+)|-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
    return dict(Counter(number.sub(lambda found: found[1] or "N", reason) for reason in reasons).most_common())
