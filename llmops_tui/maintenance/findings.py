"""Findings of an integrity check: level, place, problem and remedy."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.maintenance.records import FindingRecord, ReportRecord


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (``error``), or that could not be looked at (``note``)."""

    level: str
    place: str
    text: str
    remedy: str = ""

    def as_dict(self) -> FindingRecord:
        """For JSON."""
        return {"level": self.level, "place": self.place, "text": self.text, "remedy": self.remedy}


# One of what reports count, in the words of a sentence.
_ONE = {
    "checksums recorded": "checksum recorded",
    "rows of the catalog": "row of the catalog",
    "kinds of references": "kind of references",
    "columns of JSON": "column of JSON",
    "recipes and suites": "recipe or suite",
    "entries of the audit": "entry of the audit",
}
# What JSON has called some counts since the first version.
_COUNTS = {"rows of the catalog": "rows of the book", "checksums recorded": "files sealed"}


@dataclass
class Report:
    """The findings of a check, and how much it inspected of each kind."""

    findings: list[Finding] = field(default_factory=list)
    looked_at: dict[str, int] = field(default_factory=dict)

    def error(self, place: str, text: str, remedy: str = "") -> None:
        """Something is wrong."""
        self.findings.append(Finding("error", place, text, remedy))

    def failed(self, place: str, error: LlmopsError) -> None:
        """An inspection failed with this error.

        Raises:
            LlmopsError: ``workspace_locked``. Who was busy is not damaged, and who was not looked at is not clean: again.
        """
        if error.code == "workspace_locked":
            raise error
        self.error(place, error.message, error.hint)

    def note(self, place: str, text: str) -> None:
        """Something could not be inspected, and why."""
        self.findings.append(Finding("note", place, text))

    def count(self, what: str, number: int = 1) -> None:
        """Something was inspected."""
        self.looked_at[what] = self.looked_at.get(what, 0) + number

    @property
    def tally(self) -> str:
        """How much was inspected of each kind, in words."""
        return ", ".join(
            counted(number, _ONE.get(what, what.removesuffix("s")), what) for what, number in self.looked_at.items()
        )

    @property
    def errors(self) -> list[Finding]:
        """What is wrong."""
        return [finding for finding in self.findings if finding.level == "error"]

    def as_dict(self) -> ReportRecord:
        """For JSON."""
        return {
            "clean": not self.errors,
            "errors": len(self.errors),
            "looked_at": {_COUNTS.get(what, what): number for what, number in self.looked_at.items()},
            "findings": [finding.as_dict() for finding in self.findings],
        }
