"""Whether the clock is plausible before data is deleted by age, judged by recorded times.

A clock that is years ahead for an hour would make everything too old. What was recorded by then says how far time had
come; a time far beyond it counts only when enough was recorded there, too.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable

from llmops_tui.errors import LlmopsError


def last_believed(recorded: Iterable[int], now: int, leap: int, proof: int) -> int | None:
    """The newest time at which something was recorded that can be believed; none where nothing was recorded.

    All in the same unit, such as days since 1970. Beyond a gap of more than ``leap`` nothing is believed before ``proof``
    different units were recorded there; what is after ``now`` is of a clock that was ahead, and says nothing.
    """
    known = sorted(set(recorded))
    known = known[: bisect_right(known, now)]
    for at in range(1, len(known)):
        if known[at] - known[at - 1] > leap and len(known) - at < proof:
            return known[at - 1]
    return known[-1] if known else None


def refuse_if_ahead(recorded: Iterable[int], now: float, *, unit: int, leap: int, proof: int, hint: str) -> None:
    """Refuse to drop anything for its age where the clock is implausibly ahead of what was recorded.

    ``recorded``, ``leap`` and ``proof`` count ``unit`` seconds each; see :func:`last_believed`.

    Raises:
        LlmopsError: ``clock_ahead``.
    """
    today = int(now) // unit
    last = last_believed(recorded, today, leap, proof)
    if last is not None and today - last > leap:
        day = time.strftime("%Y-%m-%d", time.localtime(last * unit))
        raise LlmopsError(
            "clock_ahead",
            f"nothing is deleted by age: the clock is {(today - last) * unit // 86_400:,} days ahead of the last "
            f"record ({day})",
            hint,
        )
