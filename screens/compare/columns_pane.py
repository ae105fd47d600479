"""The columns side by side: they stream together, are told apart by words, hidden, and voted on."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import Worker

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.compare.boards import TIE
from llmops_tui.prompts.compare.columns import MOST_COLUMNS, Column, common_title, with_next_seed
from llmops_tui.prompts.compare.records import Answering
from llmops_tui.safe_text import safe_line
from screens.compare.column_view import ColumnView
from screens.compare.state import ALONE, EMPTY, CompareState, part_of
from screens.shell.pane import Pane

if TYPE_CHECKING:
    from llmops_tui.prompts.compare.running import ColumnStep
    from screens.terminal import TerminalProfile

_HELP = (
    "One answer a column, all to the same input. F5 runs them at once; enter says that the column with the focus is the best, "
    "t that none is. d compares the others with it word by word, b hides which is which. h and l go from column to column."
)
_NARROWEST = 30
# All columns are drawn together, so many times a second at most, and so many cells: what a line over SSH carries is less.
_INTERVAL, _CELLS = 1 / 15, 36_000


class ColumnsPane(Pane):
    """Up to six answers; as many are seen at once as are wide enough to be read."""

    class Changed(Message):
        """The board changed: runs, versions, or a vote."""

    class Moved(Message):
        """Another column is looked at."""

    def __init__(self, state: CompareState, profile: TerminalProfile) -> None:
        super().__init__(title="Columns", jump_key="o", id="compare-columns", help_text=_HELP)
        self._state = state
        self._views = [ColumnView(place, profile) for place in range(MOST_COLUMNS)]
        self._interval = max(profile.stream_interval, _INTERVAL)
        self._cells_per_second = min(profile.cells_per_second, _CELLS)
        self._timer: Timer | None = None
        self._worker: Worker[None] | None = None
        self.place = 0  # of the column that is looked at
        self._first = 0  # of those that are seen

    def compose(self) -> ComposeResult:
        """All columns there may be; those that are not are hidden."""
        yield Static(Content.styled(EMPTY, "$muted"), id="compare-empty")
        with Horizontal(id="compare-views"):
            yield from self._views

    # ── showing ──

    def show(self) -> None:
        """Draw all columns."""
        state = self._state
        self.place = min(self.place, max(0, len(state.columns) - 1))
        reference = None if state.reference is None else state.answers[state.reference]
        for place, view in enumerate(self._views[: len(state.columns)]):
            answer = state.answers[state.order[place]]
            if reference is not None and reference is not answer and answer.pieces:
                view.show_difference(reference.text, answer)
            else:
                alone = ALONE if len(state.columns) == 1 else "F5 runs the columns."
                view.show(answer, placeholder="" if self.running else alone)
            if state.blind:
                view.hide_figures()
        self.show_titles()
        self._page()

    def show_titles(self) -> None:
        """What stands over the columns, and how many there are."""
        state = self._state
        won = state.winners
        for place, view in enumerate(self._views[: len(state.columns)]):
            column = state.order[place]
            marks = "" if state.blind else "★" * won.count(column) if len(won) < 4 else f"★{won.count(column)}"
            hint = "compared with" if state.reference == column and len(state.columns) > 1 else ""
            view.takes_digits = state.blind and state.answered and not self.running
            view.show_title(state.name_of(place), marks=marks, hint=hint)
        note = counted(len(state.columns), "column")
        if state.blind:
            note += " · blind: " + (f"1–{len(state.columns)} votes, t: none is best" if state.answered else "F5 runs")
        self.set_note(note)

    def on_resize(self, _event: events.Resize) -> None:
        """As many columns as can be read."""
        self._page()

    def _page(self) -> None:
        """Show as many columns as can be read, the one that is looked at among them; the others stay where they are."""
        self.query_one("#compare-empty").display = not (count := len(self._state.columns))
        self.query_one("#compare-views").display = bool(count)
        if not count:
            self.set_title("Columns")
            return
        fitting = max(1, min(count, self.size.width // _NARROWEST))
        first = self._first = max(0, min(max(self._first, self.place - fitting + 1), self.place, count - fitting))
        end = first + fitting
        for place, view in enumerate(self._views):
            view.display = first <= place < end
            view.set_class(place == end - 1, "-last")
        more = part_of(first, end, count)
        common = safe_line(common_title(self._state.columns), 60)
        self.set_title("Columns", " · ".join(filter(None, (common, more))))

    @on(ColumnView.Focused)
    def _focused(self, event: ColumnView.Focused) -> None:
        event.stop()
        if event.place != self.place:
            self.place = event.place
            self.post_message(self.Moved())

    def _look_at(self, place: int) -> None:
        if 0 <= place < len(self._state.columns):
            self.place = place
            self._page()
            self.call_after_refresh(self._views[place].focus_inside)
            self.post_message(self.Moved())

    def focus_inside(self) -> bool:
        """The column that was looked at last."""
        self._look_at(self.place)
        return bool(self._state.columns)

    def action_next(self) -> None:
        """The column at the right."""
        self._look_at(self.place + 1)

    def action_previous(self) -> None:
        """The column at the left."""
        self._look_at(self.place - 1)

    @property
    def column(self) -> Column | None:
        """The column that is looked at."""
        state = self._state
        return state.columns[state.order[self.place]] if self.place < len(state.order) else None

    @property
    def answer(self) -> Answering:
        """Its answer."""
        state = self._state
        return state.answers[state.order[self.place]] if self.place < len(state.order) else Answering()

    # ── running ──

    @property
    def running(self) -> bool:
        """Whether answers are being generated."""
        return self._worker is not None and not self._worker.is_finished

    def action_run(self) -> None:
        """Run all columns."""
        self._start(self._state.columns)

    def action_again(self) -> None:
        """Run them again, each with another seed."""
        self._start(tuple(with_next_seed(self._state.columns)) if self._state.columns else ())

    def _start(self, columns: tuple[Column, ...]) -> None:
        if self.running:
            self.shell.say("The columns are running; esc stops them.", severity="warning")
        elif not columns:
            self.shell.say("There is no column yet: a adds one.", severity="warning")
        else:
            self._state.begin(columns)
            self._worker = self.run_worker(self.guarded(self._run), group="run", exclusive=True, exit_on_error=False)
            self.show()

    def stop(self) -> bool:
        """Stop what runs; the texts so far are kept. Whether anything ran."""
        if not self.running or self._worker is None:
            return False
        self._worker.cancel()
        return True

    async def _run(self) -> None:
        from llmops_tui.prompts.compare.running import ColumnRunner, unload_idle

        state, services = self._state, self.services
        models = {model.name: model for model in state.models}
        runner = ColumnRunner(services.runner, services.prompts, models, partial(unload_idle, services.servers))
        self.shell.unfinished = "Answers are being generated."
        self.post_message(self.Changed())
        try:
            async with aclosing(runner.run(state.columns, state.board.variables, filled=True)) as steps:
                async for step in steps:
                    self._take(step)
        finally:
            self.shell.unfinished = ""
            self._flush()
            for answer in state.answers:
                if answer.end is None and answer.error is None:
                    answer.error = LlmopsError("cancelled", "it was cancelled; the text so far is kept")
            state.note_runs()
            self._worker = None
            self.post_message(self.Changed())
            self.call_later(self.show)

    def _take(self, step: ColumnStep) -> None:
        """Note a step; text waits to be drawn with that of the others."""
        state = self._state
        answer = state.answers[step.column]
        answer.take(step)
        view = self._views[state.order.index(step.column)]
        if step.step is not None and step.step.stage == "text":
            view.stream.hold(step.step.text)
            if self._timer is None:
                self._timer = self.set_timer(self._interval / 2, self._flush)
            return
        if step.step is not None and step.step.stage == "saved" and all(a.run for a in state.answers):
            # Whatever ends the app from here on, the board knows its runs.
            state.note_runs()
            self.post_message(self.Changed())
        if state.blind:
            # Times, counts, and what it waits for may tell which model it is.
            view.hide_figures()
        elif step.step is None or step.step.stage != "thinking" or len(answer.thoughts) == 1:
            view.show_figures(answer, step.waits)

    def _flush(self) -> None:
        """Draw what came to all columns in one frame, and wait as long as its cells take to travel."""
        self._timer = None
        cells = sum(drawn for view in self._views if (drawn := view.stream.flush()) and view.display)
        if cells:
            self._timer = self.set_timer(max(self._interval, cells / self._cells_per_second), self._flush)

    # ── telling apart, and voting ──

    def action_diff(self) -> None:
        """Compare the others with this column, or show all as they are."""
        state = self._state
        if not state.answered or self.running:
            self.shell.say("There are no two answers to compare yet.", severity="warning")
            return
        column = state.order[self.place]
        state.reference = None if state.reference == column else column
        self.show()

    def action_blind(self) -> None:
        """Hide which column is which and shuffle them, or show it."""
        if self.running:
            self.shell.say("The columns are running; esc stops them.", severity="warning")
            return
        self._state.hide(hidden=not self._state.blind)
        self.show()
        self._look_at(0)

    def action_vote(self) -> None:
        """The column that is looked at is the best."""
        self._vote(self.place)

    def action_tie(self) -> None:
        """None is better."""
        self._vote(None)

    @on(ColumnView.Digit)
    def _digit(self, event: ColumnView.Digit) -> None:
        event.stop()
        if 1 <= event.digit <= len(self._state.columns):
            self._vote(event.digit - 1)

    def _vote(self, place: int | None) -> None:
        import getpass

        state = self._state
        if not state.answered or self.running:
            self.shell.say("There are no two answers to choose between yet; F5 runs the columns.", severity="warning")
            return
        winner = TIE if place is None else state.order[place]
        try:
            state.vote(winner, getpass.getuser())
        except LlmopsError as error:
            self.shell.report(error)
            return
        # What was voted blind is shown then.
        state.hide(hidden=False)
        if winner != TIE:
            self.place = winner
        self.show()
        self.post_message(self.Changed())
        told = "a tie" if winner == TIE else state.name_of(state.order.index(winner))
        self.shell.say(f"Voted: {told}. K keeps it as a case or a preference pair, w shows the ranking.")
