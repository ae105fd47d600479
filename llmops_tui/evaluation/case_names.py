"""Cases by what users call them: their number in the suite, or the id that a written one or a query has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmops_tui.errors import NotFoundError

if TYPE_CHECKING:
    from llmops_tui.evaluation.metrics.base import Case


def case_number(cases: Iterable[Case], given: str, hint: str) -> int:
    """The number, from 0, of the case that ``given`` names; digits alone are a number, also where an id has them.

    Raises:
        NotFoundError: there is none, which ``hint`` helps to find.
    """
    as_number = int(given) if given.isdecimal() and len(given) < 10 else None
    for case in cases:
        if (case.index == as_number) if given.isdecimal() else bool(given) and case.id == given:
            return case.index
    raise NotFoundError("case", given, hint)


def told_case(case: Case) -> str:
    """A case by its number and, where it has one, its id: ``2 (q3)``."""
    return f"{case.index} ({case.id})" if case.id else str(case.index)
