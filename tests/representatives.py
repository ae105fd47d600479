"""Cases of which some stand for all: these run in `make test`, and the others among the slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def representatives(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """All cases for ``parametrize``; those that are not ``kept`` are slow.

    A case is kept by itself, by its number, by the first of its values where it is a tuple of several, or by its id.

    Raises:
        ValueError: nothing is called as one of ``kept`` is.
    """
    made, found = [], set()
    for number, case in enumerate(cases):
        values, marks, name = (
            (case.values, case.marks, case.id) if hasattr(case, "marks") else (_values(case), (), None)
        )
        names = [number, case, values[0], name]
        mine = [one for one in kept if any(type(one) is type(n) and one == n for n in names)]
        found.update(map(repr, mine))
        made.append(pytest.param(*values, marks=marks if mine else (*marks, pytest.mark.slow), id=name))
    if missing := [one for one in kept if repr(one) not in found]:
        raise ValueError(f"no case is {missing[0]!r}")
    return made


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
