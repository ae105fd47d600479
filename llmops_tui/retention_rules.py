"""Rules of retention: which kind of thing goes at which age, as the settings have them in one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from llmops_tui.errors import InputRefusedError

RetentionKind = Literal["traces", "datasets", "evaluations", "trainings", "jobs", "files", "logs"]
KINDS: tuple[RetentionKind, ...] = get_args(RetentionKind)
_UNITS = {"d": 1, "w": 7, "m": 30, "y": 365}
_RULE = re.compile(r"(?P<kind>\w+)\s+(?P<number>\d{1,5})(?P<unit>[dwmy])(?:\s+where\s+(?P<where>\S.*))?")
# What a rule of each kind may say after ``where``; of traces all that a filter of traces may.
TERMS: dict[str, tuple[str, ...]] = {
    "datasets": ("name", "tag", "is"),
    "evaluations": ("name", "suite"),
    "trainings": ("name",),
    "jobs": ("kind",),
    "files": ("name",),
    "logs": ("name",),
}
_HOW = "Such as: traces 90d; datasets 2y where is:untagged; evaluations 1y where suite:smoke*"


@dataclass(frozen=True)
class RetentionRule:
    """What is of a ``kind``, older than ``days``, and as ``where`` says, goes."""

    kind: RetentionKind
    days: int
    where: str = ""

    @property
    def told(self) -> str:
        """The rule as it is written."""
        return f"{self.kind} {self.days}d" + (f" where {self.where}" if self.where else "")

    @property
    def terms(self) -> dict[str, str]:
        """What is asked after ``where``, by name; not of traces, whose filter is their own."""
        return dict(term.split(":", 1) for term in self.where.split()) if self.kind != "traces" else {}


def read_rules(text: str) -> tuple[RetentionRule, ...]:
    """The rules of a line, with semicolons between them.

    Raises:
        InputRefusedError: ``bad_retention``: one cannot be read.
    """
    return tuple(_rule(part.strip()) for part in text.split(";") if part.strip())


def _rule(text: str) -> RetentionRule:
    match = _RULE.fullmatch(text)
    if match is None:
        raise InputRefusedError(
            "bad_retention", f"{text[:60]!r} is no rule: a kind, an age, and where … if you like", _HOW
        )
    kind = next((kind for kind in KINDS if kind == match["kind"]), None)
    if kind is None:
        raise InputRefusedError("bad_retention", f"{match['kind']!r} is not a kind", f"Use {', '.join(KINDS)}.")
    days = int(match["number"]) * _UNITS[match["unit"]]
    if not days:
        raise InputRefusedError("bad_retention", f"{text[:60]!r}: the age is at least one day", _HOW)
    rule = RetentionRule(kind, days, " ".join((match["where"] or "").split()))
    _check_terms(rule)
    return rule


def _check_terms(rule: RetentionRule) -> None:
    if rule.kind == "traces":
        return
    known = TERMS[rule.kind]
    for term in rule.where.split():
        name, colon, value = term.partition(":")
        if not colon or name not in known or not value:
            raise InputRefusedError(
                "bad_retention",
                f"{rule.kind}: {term!r} is not a condition",
                f"Use {', '.join(f'{n}:…' for n in known)}.",
            )
        if name == "is" and value not in {"tagged", "untagged"}:
            raise InputRefusedError("bad_retention", f"{term!r} is not a condition", "Use is:tagged or is:untagged.")
