"""The findings of a preflight, each with a level; an error stops the run before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

from llmops_tui.errors import InputRefusedError, sentences
from llmops_tui.training.records import FindingRecord


@dataclass(frozen=True)
class Finding:
    """Something to know before a run: an error stops it, a warning asks, an information is only told."""

    level: str
    code: str
    message: str
    hint: str = ""


def refuse(findings: list[Finding]) -> None:
    """Stop where something is an error.

    Raises:
        InputRefusedError: ``preflight``, with all errors.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise InputRefusedError("preflight", "; ".join(e.message for e in errors), sentences(*(e.hint for e in errors)))


def as_dicts(findings: list[Finding]) -> list[FindingRecord]:
    """Findings for JSON, errors first."""
    order = {"error": 0, "warn": 1, "info": 2}
    return [cast("FindingRecord", asdict(f)) for f in sorted(findings, key=lambda f: order[f.level])]
