"""The ranking of columns by votes: Bradley and Terry's strengths with intervals."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from llmops_tui.evaluation.statistics.bradley_terry import Contest, bradley_terry
from llmops_tui.prompts.compare.boards import TIE, Board
from llmops_tui.prompts.compare.columns import Column, titles


class RankedColumn(TypedDict):
    """A column by votes: strength in log-odds above the mean of all, and its chance to win over the best.

    Figures are none where they are not determined; intervals are of 95 %.
    """

    column: int
    title: str
    wins: float
    votes: int
    strength: float | None
    low: float | None
    high: float | None
    chance: float | None
    chance_low: float | None
    chance_high: float | None


class ColumnRanking(TypedDict):
    """Columns, the best first; ``reason`` where there are no strengths yet."""

    votes: int
    inputs: int
    columns: list[RankedColumn]
    reason: str


class Choice(TypedDict):
    """One vote among several columns: who won, or -1 for a tie, and the input it was about."""

    winner: int
    among: list[int]
    about: str


def contests_of(choices: Sequence[Choice]) -> list[Contest]:
    """Votes among several as contests of two: who was chosen won over each of the others; at a tie all are equal."""
    about = {name: n for n, name in enumerate(dict.fromkeys(choice["about"] for choice in choices))}
    found = []
    for choice in choices:
        cluster = about[choice["about"]]
        if choice["winner"] == TIE:
            among = choice["among"]
            found += [Contest(a, b, 0.5, cluster) for n, a in enumerate(among) for b in among[n + 1 :]]
        else:
            found += [
                Contest(choice["winner"], other, 1.0, cluster) for other in choice["among"] if other != choice["winner"]
            ]
    return found


def ranking_of(choices: Sequence[Choice], names: Sequence[str]) -> ColumnRanking:
    """The ranking of columns by these votes."""
    found = bradley_terry(contests_of(choices), len(names))
    order = sorted(range(len(names)), key=lambda n: -found.values[n] if not found.reason else n)
    ranked: list[RankedColumn] = []
    for n in order:
        low, high = found.interval(n)
        chance = found.chance(n, order[0]) if n != order[0] else (math.nan,) * 3
        took_part = [choice for choice in choices if n in choice["among"]]
        ranked.append(
            {
                "column": n,
                "title": names[n],
                "wins": sum(1.0 if c["winner"] == n else 0.5 if c["winner"] == TIE else 0.0 for c in took_part),
                "votes": len(took_part),
                "strength": _known(float(found.values[n])),
                "low": _known(low),
                "high": _known(high),
                "chance": _known(chance[0]),
                "chance_low": _known(chance[1]),
                "chance_high": _known(chance[2]),
            }
        )
    inputs = len({choice["about"] for choice in choices})
    return {"votes": len(choices), "inputs": inputs, "columns": ranked, "reason": found.reason}


def ranking_of_board(board: Board) -> ColumnRanking:
    """The ranking of a board's columns by the votes on its rounds.

    A column of a round is the board's where all but the seed is the same, since another round may have other seeds; of
    several that are so the same, the first is the first. Rounds with a column that the board has no more do not count.
    """
    places = {key: n for n, key in enumerate(_keys(board.columns))}
    choices: list[Choice] = []
    for one in board.rounds:
        among = [places.get(key, -1) for key in _keys(one.columns)]
        if -1 in among:
            continue
        about = json.dumps(one.variables, sort_keys=True)
        for vote in one.votes:
            winner = vote["winner"]
            choices.append({"winner": winner if winner == TIE else among[winner], "among": among, "about": about})
    return ranking_of(choices, titles(board.columns))


def _keys(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """What tells columns apart: all but the seed, and how often the same stood before."""
    seen: Counter[str] = Counter()
    found = []
    for column in columns:
        body = column.as_dict()
        body["parameters"].pop("seed", None)
        key = json.dumps(body, sort_keys=True)
        found.append((key, seen[key]))
        seen[key] += 1
    return found


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
