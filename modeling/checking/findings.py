"""What a check found: one line for people, one object for programs."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    `level`: "error" means that something cannot be used or is not what it says (exit status 1), "warning" that it
    can be used but somebody should know, "note" that it is as expected and worth a line.
    `count` is how many rows (or files, or pairs) it concerns, `examples` names a few of them.
    """

    level: Literal["error", "warning", "note"]
    check: str
    message: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


def format_findings(findings: list[Finding]) -> str:
    """Lines for people, errors first."""
    order = ("error", "warning", "note")
    lines = []
    for finding in sorted(findings, key=lambda finding: order.index(finding.level)):
        examples = f" (such as {', '.join(finding.examples)})" if finding.examples else ""
        lines.append(f"{finding.level}: {finding.check}: {finding.message}{examples}")
    return "\n".join(lines)
