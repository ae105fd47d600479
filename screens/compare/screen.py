"""The comparison: columns of prompt version, model and parameters, on one input."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding

from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.compare.boards import CURRENT, Board, Boards
from llmops_tui.prompts.compare.columns import Column, check_count
from screens.actions import bindings_of
from screens.compare.columns_pane import ColumnsPane
from screens.compare.input_pane import InputPane
from screens.compare.state import CompareState, answers_of, place_taken, with_columns
from screens.navigation import ComparePlace, Destination, PromptPlace, ScreenPlace
from screens.shell.base import BaseScreen

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> CompareScreen:
    """Make the screen."""
    return CompareScreen(services, profile)


class CompareScreen(BaseScreen):
    """The input above, the columns below it."""

    BINDINGS: ClassVar[list[Binding]] = bindings_of("compare")  # type: ignore[assignment]
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = ""
    opens = (ComparePlace,)
    scope = "compare"
    tab = "playground"
    about = (
        "Up to six columns, each a prompt version, a model and parameters, answer one input at once. Columns on one model "
        "share its batches. Compare them by words, hide which is which, vote; the board is kept as you go."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.state = CompareState()
        self._input = InputPane(self.state)
        self._columns = ColumnsPane(self.state, profile)
        self._saving = asyncio.Lock()
        self._brought = False

    def compose_body(self) -> ComposeResult:
        """Two panes."""
        yield self._input
        yield self._columns

    def on_mount(self) -> None:
        """Show the board that was worked on last, where nobody brings another."""
        if not self._brought:
            self.act("load", self._load, CURRENT)

    # ── the board ──

    async def _load(self, name: str) -> None:
        boards = Boards(self.services.event_log)
        await self._show_board(await asyncio.to_thread(boards.load, name))

    async def _show_board(self, board: Board) -> None:
        """Show a board with its answers."""
        services = self.services
        answers = await asyncio.to_thread(lambda: answers_of(board, services.history))
        self.state.models = await asyncio.to_thread(lambda: services.models.runnable())
        self.state.take(board, answers)
        self._show()

    def _show(self) -> None:
        self._input.show()
        self._columns.show()
        if self.focused is None:
            self.call_after_refresh(self._columns.focus_inside)

    @on(InputPane.Changed)
    @on(ColumnsPane.Changed)
    def _board_changed(self) -> None:
        self._input.show()
        self.run_worker(self.guarded(self._save), group="save", exit_on_error=False)

    async def _save(self) -> None:
        """Keep the board as it is now, under its own name and as the one that is worked on."""
        async with self._saving:
            board, boards = self.state.board, Boards(self.services.event_log)
            if board.name != CURRENT:
                await asyncio.to_thread(boards.save, board)
            await asyncio.to_thread(boards.save, replace(board, name=CURRENT))

    # ── other columns ──

    def _change(self, ask: Callable[[Column], Awaitable[tuple[Column, ...] | None]]) -> None:
        """Ask for other columns around the one that is looked at."""
        column = self._columns.column
        if self._columns.running:
            self.shell.say("The columns are running; esc stops them.", severity="warning")
        elif column is None:
            self.shell.say("There is no column yet: v in the playground brings its prompt here.", severity="warning")
        else:
            self.ask_by("columns", self._changed, ask, column)

    async def _changed(self, ask: Callable[[Column], Awaitable[tuple[Column, ...] | None]], column: Column) -> None:
        found = await ask(column)
        if found is not None:
            self._set_columns(found)

    def _set_columns(self, columns: tuple[Column, ...]) -> None:
        check_count(len(columns))
        more = len(columns) > len(self.state.columns)
        self.state.take(replace(self.state.board, columns=columns))
        if more:
            self._columns.place = len(columns) - 1
        self._show()
        self._columns.focus_inside()
        self._board_changed()

    def action_add(self) -> None:
        """One column more."""
        from screens.compare.change_columns import add_column

        self._change(lambda column: add_column(self.shell, self.state, column))

    def action_model(self) -> None:
        """Another model."""
        from screens.compare.change_columns import change_model

        self._change(lambda column: change_model(self.shell, self.state, column))

    def action_versions(self) -> None:
        """Versions of the prompt as columns."""
        from screens.compare.change_columns import choose_versions

        self._change(lambda column: choose_versions(self.shell, self.state, column))

    def action_sweep(self) -> None:
        """Values of a parameter as columns."""
        from screens.compare.change_columns import sweep_columns

        self._change(lambda column: sweep_columns(self.shell, column))

    def action_parameters(self) -> None:
        """Other parameters."""
        from screens.compare.change_columns import change_parameters

        self._change(lambda column: change_parameters(self.shell, self.state, column))

    def action_remove(self) -> None:
        """One column less."""
        column = self._columns.column
        if column is not None and not self._columns.running:
            self._set_columns(tuple(one for one in self.state.columns if one is not column))

    # ── boards, votes ──

    def action_pin(self) -> None:
        """Keep the board under a name."""
        self.ask_by("board", self._pin)

    async def _pin(self) -> None:
        from screens.compare.boards import pin_board

        if (board := await pin_board(self.shell, self.state)) is not None:
            self.state.board = board
            self._board_changed()

    def action_boards(self) -> None:
        """Open a board."""
        if not self._columns.running:
            self.ask_by("board", self._open)

    async def _open(self) -> None:
        from screens.compare.boards import open_board

        if (board := await open_board(self.shell, self.state)) is not None:
            await self._show_board(board)
            self._board_changed()

    def action_ranking(self) -> None:
        """The columns by votes."""
        from llmops_tui.evaluation.columns.ranking import ranking_of_board
        from screens.compare.boards import RankingDialog

        self.app.push_screen(RankingDialog(ranking_of_board(self.state.board)))

    def action_keep(self) -> None:
        """Make something of the last vote."""
        from screens.compare.keep_vote import keep_last_vote

        self.ask_by("keep", keep_last_vote, self.shell, self.state)

    def action_over(self) -> None:
        """Ask the rows of a dataset."""
        self.ask_by("over", self._over)

    async def _over(self) -> None:
        from screens.compare.over_dataset import compare_over

        await compare_over(self.shell, self.state, self._take_board)

    def _take_board(self, board: Board) -> None:
        self.state.board = board
        self._board_changed()

    # ── out ──

    def action_cancel(self) -> None:
        """Stop what runs, then leave a filled pane, then show texts as they are, then go back."""
        if self._columns.stop():
            pass
        elif self.has_class("-maximised"):
            self.toggle_maximised()
        elif self.state.reference is not None:
            self.state.reference = None
            self._columns.show()
        else:
            self.act("back", self._back)

    async def _back(self) -> None:
        if not await self.shell.navigation.back():
            self.shell.open_place(ScreenPlace("playground"))

    def action_use(self) -> None:
        """Open the column's prompt in the playground, with its model."""
        if (column := self._columns.column) is not None:
            self.shell.open_place(PromptPlace(column.prompt, column.model))

    async def go_to(self, destination: Destination) -> None:
        """Show a board, or bring what the playground has."""
        assert isinstance(destination, ComparePlace)
        if self._columns.running:
            self.shell.say("The columns are running; esc stops them.", severity="warning")
        else:
            # In place of the board that is being read for a screen that was just made, whichever comes first.
            self._brought = True
            self.act("load", self._bring, destination)

    async def _bring(self, destination: ComparePlace) -> None:
        boards = Boards(self.services.event_log)
        with contextlib.suppress(LlmopsError):
            board = await asyncio.to_thread(boards.load, destination.board or CURRENT)
            if destination.column is not None:
                brought = (destination.column, *destination.others)
                made, other = with_columns(board, brought, dict(destination.variables))
                if other and board.rounds:
                    from screens.compare.boards import PREVIOUS

                    await asyncio.to_thread(boards.save, replace(board, name=PREVIOUS))
                if not destination.others and (told := place_taken(board, made)):
                    self.shell.say(told)
                board = made
                self._columns.place = board.columns.index(destination.column)
            await self._show_board(board)
            self._board_changed()

    def place(self) -> ComparePlace:
        """The board."""
        return ComparePlace(self.state.board.name)

    def copy_choices(self) -> list[tuple[str, str]]:
        """The answer that is looked at, all answers, and the command."""
        from screens.compare.copying import as_json, as_markdown

        text = self._columns.answer.text
        found = [("answer", text), ("all as Markdown", as_markdown(self.state)), ("all as JSON", as_json(self.state))]
        found.append(("command", self.cli_command()))
        return [(name, text) for name, text in found if text]

    def cli_command(self) -> str:
        """``llmops prompt compare`` with these columns, as far as one command says them."""
        from screens.compare.copying import command

        return command(self.state)

    def lineage_subject(self) -> str:
        """The version of the column that is looked at."""
        column = self._columns.column
        return f"prompt:{column.ref}" if column is not None and column.version is not None else ""
