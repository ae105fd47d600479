"""The state of the comparison without widgets: its board, the answers of each column, what is hidden."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.client import StreamEnd
from llmops_tui.inference.wire import Timings
from llmops_tui.prompts.compare.boards import TIE, Board
from llmops_tui.prompts.compare.columns import MOST_COLUMNS, Column, titles
from llmops_tui.prompts.compare.records import Answering

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.run_history import RunHistory, RunRecord

EMPTY = (
    "Nothing to compare yet.\n"
    "a adds a column with another model, v one for each version that you mark, s one for each value of a parameter.\n"
    "F5 then asks them all. B opens a board that was kept.\n"
    "In the playground, space marks versions and v compares them."
)
ALONE = (
    "One column is nothing to compare: a adds another model, v other versions, s values of a parameter.\nF5 runs it."
)
_BLIND = "ABCDEF"


@dataclass
class CompareState:
    """What the panes of the comparison show.

    Attributes:
        answers: one a column, in the order of the board's.
        order: the column at each place, shuffled where titles are hidden.
        blind: whether titles are hidden.
        reference: the column that the others are compared with word by word; none: texts are shown as they are.
    """

    board: Board = field(default_factory=Board)
    models: list[Model] = field(default_factory=list)
    answers: list[Answering] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    blind: bool = False
    reference: int | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the board."""
        return self.board.columns

    @property
    def answered(self) -> bool:
        """Whether there are answers to choose between."""
        return len(self.columns) > 1 and sum(answer.end is not None for answer in self.answers) > 1

    @property
    def places(self) -> list[int | None]:
        """Where each column stood in the last round, whose columns may have been others; none where it was not asked."""
        asked = self.board.rounds[-1].columns if self.board.rounds else ()
        if asked == self.columns:
            return list(range(len(asked)))
        return [asked.index(column) if column in asked else None for column in self.columns]

    @property
    def winners(self) -> list[int | None]:
        """The column that each vote of the last round chose, ``TIE`` for none of them; none where it is not there any more."""
        places = self.places
        won = [vote["winner"] for vote in self.board.rounds[-1].votes] if self.board.rounds else []
        return [one if one == TIE else places.index(one) if one in places else None for one in won]

    def vote(self, column: int, voter: str) -> None:
        """Keep that a column is the best of the last round, ``TIE`` for none of them.

        Raises:
            InputRefusedError: ``not_asked``: the column came after that round.
        """
        place = TIE if column == TIE else self.places[column]
        if place is None:
            raise InputRefusedError("not_asked", "this column has not answered yet", "F5 runs the columns.")
        self.board = self.board.voted(place, voter, blind=self.blind)

    def take(self, board: Board, answers: list[Answering] | None = None) -> None:
        """Another board, or the board with other columns; answers stay with their columns."""
        if answers is None:
            known = list(zip(self.columns, self.answers, strict=False))
            answers = [next((a for one, a in known if one == c), Answering()) for c in board.columns]
        self.board, self.answers = board, answers
        self.reference = None
        self.blind = False
        self.order = list(range(len(board.columns)))

    def name_of(self, place: int) -> str:
        """What stands over the column at a place."""
        return _BLIND[place] if self.blind else titles(self.columns)[self.order[place]]

    def hide(self, *, hidden: bool) -> None:
        """Hide the titles and shuffle the columns, or show all as it is."""
        self.blind = hidden
        self.reference = None
        self.order = list(range(len(self.columns)))
        if hidden:
            random.SystemRandom().shuffle(self.order)

    def begin(self, columns: tuple[Column, ...]) -> None:
        """Begin a round; these columns may have other seeds."""
        self.board = replace(self.board, columns=columns).asked([""] * len(columns))
        self.answers = [Answering() for _ in columns]
        self.reference = None

    def note_runs(self) -> bool:
        """Keep the runs and versions that are known by now; whether anything is new."""
        columns = tuple(
            replace(column, version=answer.version) if answer.version is not None else column
            for column, answer in zip(self.columns, self.answers, strict=True)
        )
        last = replace(self.board.rounds[-1], runs=tuple(a.run for a in self.answers), columns=columns)
        board = replace(self.board, columns=columns, rounds=(*self.board.rounds[:-1], last))
        changed = board != self.board
        self.board = board
        return changed


def part_of(first: int, end: int, count: int) -> str:
    """Which of the columns are seen, and by what keys the others are; nothing where all are."""
    keys = "h" * (first > 0) + "l" * (end < count)
    shows = "show" if len(keys) > 1 else "shows"
    return f"{first + 1}–{end} of {count}, {' and '.join(keys)} {shows} more" if keys else ""


def answers_of(board: Board, history: RunHistory) -> list[Answering]:
    """The answers of a board's last round, from the traces of its runs; for a thread."""
    last = board.rounds[-1] if board.rounds else None
    runs = history.several([run for run in last.runs if run]) if last is not None else {}
    found = []
    for column in board.columns:
        place = last.columns.index(column) if last is not None and column in last.columns else None
        run = runs.get(last.runs[place]) if last is not None and place is not None else None
        found.append(_answer(run) if run is not None else Answering())
    return found


def _answer(run: RunRecord) -> Answering:
    timings: Timings = {
        "prompt_tokens": run.prompt_tokens,
        "completion_tokens": run.completion_tokens,
        "reused_tokens": run.reused_tokens,
        "reasoning_tokens": run.reasoning_tokens,
        "ttft_ms": run.ttft_ms,
        "total_ms": run.total_ms,
        "tokens_per_s": run.tokens_per_s,
    }
    thoughts = [run.thinking] if run.thinking else []
    return Answering(run.id, run.version, [run.output], thoughts, StreamEnd(run.finish_reason, timings))


def with_columns(board: Board, columns: tuple[Column, ...], variables: dict[str, str]) -> tuple[Board, bool]:
    """The board with what the playground brings: its input, and one column among the others or several alone.

    Also whether it is a new board: one of another prompt is left for it.
    """
    column = columns[0]
    if all(one.prompt != column.prompt for one in board.columns):
        return Board(columns=columns, variables=variables), True
    if len(columns) > 1:
        return replace(board, columns=columns, variables=variables), False
    if column in board.columns:
        return replace(board, variables=variables), False
    kept = board.columns[: MOST_COLUMNS - 1]
    return replace(board, columns=(*kept, column), variables=variables), False


def place_taken(before: Board, after: Board) -> str:
    """What is told where a column that was brought took the place of another; empty where none did, or all are others."""
    gone = [at for at, one in enumerate(before.columns) if one not in after.columns]
    if len(gone) != 1 or len(before.columns) < MOST_COLUMNS:
        return ""
    return f"It took the place of the column {titles(before.columns)[gone[0]]}: at most {MOST_COLUMNS} are compared at once."
