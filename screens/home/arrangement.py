"""How the rows and columns of the home screen are shared: each pane gets what it has to say, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# The borders of a pane above and below.
_EDGES = 2
# Lines inside a row of tiles; below the least nothing but state and figure is seen.
_LEAST_TILE, _MOST_TILE = 3, 7
_MOST_STEPS = 7
# From so many rows on tiles have a line more, and all steps are seen.
_ROOMY = 34
# Lines of the lists that the chart does not take, and those that it needs and can use.
_LEAST_LISTS, _LEAST_CHART, _MOST_CHART = 6, 6, 20


class Heights(NamedTuple):
    """Rows with their borders; of the chart 0 where there is no room for it."""

    tiles: int
    steps: int
    lists: int
    chart: int


def heights(rows: int, *, tiles: Sequence[int], steps: int, lists: int, chart: bool) -> Heights:
    """Share so many rows.

    ``tiles`` are the lines that each row of tiles has to say, ``steps`` and ``lists`` those of the lists, and ``chart`` says
    whether there is one. Lists are read before all: tiles and chart grow by what these do not need.
    """
    steps = min(max(1, steps), _MOST_STEPS if rows >= _ROOMY else _MOST_STEPS - 3) + _EDGES
    least = sum(min(_LEAST_TILE + (rows >= _ROOMY), want) + _EDGES for want in tiles)
    most = sum(max(_LEAST_TILE, min(_MOST_TILE, want)) + _EDGES for want in tiles)
    wanted = max(_LEAST_LISTS, lists + _EDGES)
    left = rows - steps - least
    charted = (
        _LEAST_CHART + _EDGES if chart and left - _LEAST_CHART - _EDGES >= min(wanted, _LEAST_LISTS + _EDGES) else 0
    )
    below = min(wanted, left - charted)
    spare = left - charted - below
    grown = min(spare, most - least)
    spare -= grown
    more = min(spare, _MOST_CHART - _LEAST_CHART) if charted else 0
    # What nobody needs stays free: with the lists where they are the last, and else below the chart.
    return Heights(least + grown, steps, below if charted else below + spare, charted + more)


def widths(columns: int, wanted: Sequence[int]) -> list[int]:
    """Share so many columns: each gets what it wants, or where that is too much the widest give first."""
    given = list(wanted)
    while sum(given) > columns:
        given[max(range(len(given)), key=given.__getitem__)] -= 1
    spare, rest = divmod(columns - sum(given), len(given))
    return [width + spare + (place < rest) for place, width in enumerate(given)]
