"""Boards: comparisons that are kept in the workspace, with their rounds and votes. Answers are in the traces of their runs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypedDict, cast

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.prompts.compare.columns import Column, ColumnRecord, column_of

if TYPE_CHECKING:
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.workspace.event_log import EventLog

_PREFIX = "board:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CURRENT = "current"
"""The board that is worked on while it has no name of its own."""
TIE = -1
_MOST_ROUNDS = 500


class VoteRecord(TypedDict):
    """What somebody said of a round: the column that is best, -1 for none of them, and whether titles were hidden."""

    winner: int
    voter: str
    blind: bool
    at: float


class RoundRecord(TypedDict):
    """One input, asked of all columns: their runs, an empty text where there is none; and the votes."""

    variables: dict[str, str]
    columns: list[ColumnRecord]
    runs: list[str]
    votes: list[VoteRecord]
    at: float


class BoardRecord(TypedDict):
    """A board as it is kept; ``over`` are the evaluation runs of its columns over a dataset."""

    columns: list[ColumnRecord]
    variables: dict[str, str]
    rounds: list[RoundRecord]
    over: list[str]
    changed_at: float


@dataclass(frozen=True)
class Round:
    """As :class:`RoundRecord`; the columns are as they were then, such as with other seeds."""

    variables: dict[str, str]
    columns: tuple[Column, ...]
    runs: tuple[str, ...]
    votes: tuple[VoteRecord, ...] = ()
    at: float = 0.0

    def as_dict(self) -> RoundRecord:
        """The round as JSON."""
        return {
            "variables": self.variables,
            "columns": [column.as_dict() for column in self.columns],
            "runs": list(self.runs),
            "votes": list(self.votes),
            "at": self.at,
        }


@dataclass(frozen=True)
class Board:
    """Columns, the input, what was asked of them so far, and the votes."""

    name: str = CURRENT
    columns: tuple[Column, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    over: tuple[str, ...] = ()
    changed_at: float = 0.0

    def as_dict(self) -> BoardRecord:
        """The board as JSON."""
        return {
            "columns": [column.as_dict() for column in self.columns],
            "variables": self.variables,
            "rounds": [one.as_dict() for one in self.rounds],
            "over": list(self.over),
            "changed_at": self.changed_at,
        }

    def asked(self, runs: Sequence[str]) -> Board:
        """The board with one more round, whose runs these are."""
        made = Round(dict(self.variables), self.columns, tuple(runs), at=time.time())
        return replace(self, rounds=(*self.rounds, made)[-_MOST_ROUNDS:])

    def voted(self, winner: int, voter: str, *, blind: bool) -> Board:
        """The board with a vote on its last round; a second one of the same person replaces the first.

        Raises:
            InputRefusedError: ``no_round``: nothing was asked yet, or there is no such column.
        """
        if not self.rounds or not TIE <= winner < len(self.rounds[-1].runs):
            raise InputRefusedError("no_round", "there is no such answer to vote for", "Run the columns first.")
        last = self.rounds[-1]
        vote: VoteRecord = {"winner": winner, "voter": voter, "blind": blind, "at": time.time()}
        votes = (*(one for one in last.votes if one["voter"] != voter), vote)
        return replace(self, rounds=(*self.rounds[:-1], replace(last, votes=votes)))


class Boards:
    """The boards of a workspace."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def save(self, board: Board) -> Board:
        """Keep a board; durable when this returns.

        Raises:
            InputRefusedError: ``bad_name``.
        """
        if not _NAME.fullmatch(board.name):
            raise InputRefusedError(
                "bad_name", f"{board.name!r} is not a valid board name", "Use letters, digits and . _ - (at most 100)."
            )
        kept = replace(board, changed_at=time.time())
        self._event_log.save_draft(_PREFIX + board.name, kept.as_dict())
        return kept

    def load(self, name: str = CURRENT) -> Board:
        """A board by name; the current one is empty where there is none yet.

        Raises:
            NotFoundError: there is none.
        """
        body = self._event_log.load_draft(_PREFIX + name)
        if body is None:
            if name == CURRENT:
                return Board()
            raise NotFoundError("board", name, "llmops prompt board lists them.")
        return _board(name, body)

    def load_or_new(self, name: str) -> Board:
        """A board by name, empty where there is none yet."""
        return self.load(name) if self._event_log.load_draft(_PREFIX + name) is not None else Board(name)

    def names(self) -> list[str]:
        """The boards with a name of their own."""
        found = {key.removeprefix(_PREFIX) for key in self._event_log.draft_keys() if key.startswith(_PREFIX)}
        return sorted(found - {CURRENT})

    def remove(self, name: str) -> None:
        """Forget a board; runs and their traces stay.

        Raises:
            NotFoundError: there is none.
        """
        if not self._event_log.remove_draft(_PREFIX + name):
            raise NotFoundError("board", name, "llmops prompt board lists them.")


def _board(name: str, body: JsonObject) -> Board:
    """A board from what was kept; columns and rounds that cannot be read are left out."""
    return Board(
        name,
        tuple(_columns(body.get("columns"))),
        _texts(body.get("variables")),
        tuple(made for one in _list(body.get("rounds")) if (made := _round(one)) is not None),
        tuple(str(run) for run in _list(body.get("over"))),
        float(body.get("changed_at") or 0.0),
    )


def _round(body: object) -> Round | None:
    if not isinstance(body, dict):
        return None
    columns = tuple(_columns(body.get("columns")))
    runs = tuple(str(run) for run in _list(body.get("runs")))
    if len(columns) != len(runs):
        return None
    votes = tuple(made for one in _list(body.get("votes")) if (made := _vote(one, len(runs))) is not None)
    return Round(_texts(body.get("variables")), columns, runs, votes, float(body.get("at") or 0.0))


def _vote(body: object, columns: int) -> VoteRecord | None:
    if not isinstance(body, dict) or not isinstance(winner := body.get("winner"), int) or not TIE <= winner < columns:
        return None
    at = body.get("at")
    return {
        "winner": winner,
        "voter": str(body.get("voter") or ""),
        "blind": bool(body.get("blind")),
        "at": float(at) if isinstance(at, int | float) else 0.0,
    }


def _columns(given: object) -> list[Column]:
    found = []
    for one in _list(given):
        try:
            found.append(column_of(cast("ColumnRecord", one)))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _list(value: object) -> list[JsonObject]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}
