"""Draw the tree of versions as lanes, newest first, as a graph of commits is drawn."""

from __future__ import annotations

from collections.abc import Sequence

_MAX_LANES = 5


def lanes(versions: Sequence[tuple[int, int | None]]) -> list[str]:
    """The graph column of each version, given as (number, parent) newest first.

    ``●`` is the version, ``│`` a line that goes on, ``╯`` a branch that ends at its parent. Lanes beyond the fifth are
    not drawn.
    """
    waiting: list[int | None] = []
    rows = []
    for number, parent in versions:
        if number in waiting:
            lane = waiting.index(number)
        else:
            free = waiting.index(None) if None in waiting else len(waiting)
            lane = free
            waiting[free : free + 1] = [number]
        row = []
        for index, expected in enumerate(waiting):
            if index == lane:
                row.append("●")
            elif expected == number:
                row.append("╯")
                waiting[index] = None
            else:
                row.append("│" if expected is not None else " ")
        waiting[lane] = parent
        while waiting and waiting[-1] is None:
            waiting.pop()
        rows.append("".join(row[:_MAX_LANES]).rstrip())
    return rows
