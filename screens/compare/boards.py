"""Boards: keep the comparison under a name, open another one, show the ranking by votes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.evaluation.columns.ranking import ColumnRanking
from llmops_tui.prompts.compare.boards import CURRENT, Board, Boards
from llmops_tui.safe_text import safe_line
from screens.compare.state import CompareState
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

PREVIOUS = "previous"
"""The board that stood before a comparison of another prompt was begun."""
_NEW = "+"


async def pin_board(shell: Shell, state: CompareState) -> Board | None:
    """Ask for a name and keep the board under it."""
    board = state.board
    if not board.columns:
        shell.say("There is no column to keep yet: a adds one.", severity="warning")
        return None
    named = board.name if board.name != CURRENT else f"{board.columns[0].prompt}-board"
    name = await shell.ask(
        LineDialog("Keep the comparison as", "a board; votes and further runs are kept on it", named)
    )
    if not name:
        return None
    kept = await asyncio.to_thread(Boards(shell.services.event_log).save, replace(board, name=name))
    shell.say(f"Kept as the board {name}; B opens it again.")
    return kept


async def open_board(shell: Shell, state: CompareState) -> Board | None:
    """Ask for a board and give it."""
    boards = Boards(shell.services.event_log)
    found = await asyncio.to_thread(lambda: [boards.load(name) for name in boards.names()])
    choices = [
        Choice(b.name, b.name, f"{counted(len(b.columns), 'column')}, {counted(len(b.rounds), 'round')}, {_when(b)}")
        for b in sorted(found, key=lambda board: -board.changed_at)
    ]
    if state.board.name != CURRENT:
        choices.append(Choice(_NEW, "none", "go on without a name"))
    name = await shell.ask(ChoiceDialog("Open the board …", choices, "No board is kept yet; ctrl+s keeps this one."))
    if name is None:
        return None
    if name == _NEW:
        return replace(state.board, name=CURRENT)
    return next(board for board in found if board.name == name)


def _when(board: Board) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(board.changed_at))


class RankingDialog(Modal[None]):
    """The columns by votes, with intervals; any key closes it."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [Binding("escape,enter,q,w", "close", "Close")]  # noqa: RUF012  declared so by Textual

    def __init__(self, ranking: ColumnRanking) -> None:
        super().__init__()
        self._ranking = ranking

    def compose(self) -> ComposeResult:
        """The table, and what it says."""
        with Vertical(classes="dialog dialog-trust"):
            yield Static("Columns by votes", classes="dialog-title")
            yield TextScroll(Static(ranking_content(self._ranking), markup=False))
            yield Static(
                "Strength: log-odds above the mean of all (Bradley–Terry), 95 % interval over inputs. "
                "Intervals that overlap say little; more votes on other inputs narrow them.",
                classes="dialog-text",
                markup=False,
            )

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def ranking_content(ranking: ColumnRanking) -> Content:
    """The ranking as lines."""
    told = f"{counted(ranking['votes'], 'vote')} on {counted(ranking['inputs'], 'input')}"
    parts: list[tuple[str, str] | str] = [(told, "bold")]
    if ranking["reason"]:
        parts += ["\n", (f"No strengths yet: {ranking['reason']}.", "$warning")]
    width = max((len(safe_line(one["title"], 40)) for one in ranking["columns"]), default=0)
    for one in ranking["columns"]:
        parts += ["\n", f"{safe_line(one['title'], 40):<{width}}  ", (f"{one['wins']:g} of {one['votes']}", "$accent")]
        if one["strength"] is not None:
            parts.append(f"  {one['strength']:+.2f}")
        if one["low"] is not None:
            parts.append((f" [{one['low']:+.2f}, {one['high']:+.2f}]", "$muted"))
        if one["chance"] is not None:
            chance = f"  wins over the first {one['chance']:.0%} [{one['chance_low']:.0%}, {one['chance_high']:.0%}]"
            parts.append((chance, "$muted"))
    return Content.assemble(*parts)
