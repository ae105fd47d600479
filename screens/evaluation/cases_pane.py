"""The cases of the open run, or of both runs side by side."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.evaluation.comparison import Pair
from llmops_tui.evaluation.runner.results import Result
from screens.evaluation import case_rendering, rendering
from screens.evaluation.model import Opened, is_among
from screens.evaluation.try_case import try_case
from screens.shell.pane import Pane
from screens.widgets.columns import Row
from screens.widgets.table import Table

_NARROWED = ("all", "worse", "better")


class CasesFirst(Table[Row]):
    """A table beside the cases, or of them: escape shows all cases again before it takes back anything of its own."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape does something where only some cases are shown, too."""
        return (action == "clear" and self.screen.query_one(CasesPane).narrowed) or super().check_action(
            action, parameters
        )

    def action_clear(self) -> None:
        """All cases again; where all are shown, what escape takes back in any such table."""
        if not self.screen.query_one(CasesPane).show_all():
            super().action_clear()


class CasesPane(Pane):
    """Those that got worse, or are wrong, first; all of them or some."""

    class CursorMoved(Message):
        """Another case is under the cursor: the answer to it and the baseline's; none where there is no case."""

        def __init__(self, result: Result | None, before: Result | None) -> None:
            super().__init__()
            self.result = result
            self.before = before

    def __init__(self) -> None:
        super().__init__(title="Cases", jump_key="c", id="evaluation-cases", help_text=rendering.HELP_CASES)
        self._opened: Opened | None = None
        self._narrowed = 0
        # Which run, and beside which, the list is of.
        self._of: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        """The list."""
        yield CasesFirst(
            case_rendering.result_columns(""), id="case-list", key=_key, empty=rendering.NO_CASES, selects=False
        )

    @property
    def _list(self) -> Table[Pair | Result]:
        return self.query_one(Table)

    @property
    def shown(self) -> list[Pair | Result]:
        """The cases as they are shown."""
        return self._list.shown

    def show(self, opened: Opened | None, case: int | None = None) -> None:
        """Show the cases of what is open, none where nothing is; the cursor goes to a ``case`` that is given."""
        self._opened = opened
        if opened is None:
            self._list.empty = rendering.NO_CASES
            self._list.fill([])
            self.set_title("Cases", "")
        else:
            self._draw(opened)
            if case is not None:
                self._list.move_to(next((n for n, row in enumerate(self.shown) if _case_of(row) == case), 0))
                self._list.focus()
        self._tell()

    def _draw(self, opened: Opened) -> None:
        metric, narrowed = opened.metric, _NARROWED[self._narrowed]
        cases: list[Pair | Result]
        if opened.pairs:
            columns = case_rendering.pair_columns(metric, utf8=self.shell.profile.utf8, kinds=opened.kinds)
            cases = [
                p
                for p in opened.pairs
                if narrowed == "all"
                or (p.change is not None and (p.change < 0 if narrowed == "worse" else p.change > 0))
            ]
        else:
            columns = case_rendering.result_columns(metric, opened.kinds)
            cases = [r for r in opened.results if narrowed == "all" or is_among(r, metric, narrowed)]
        total = len(opened.pairs) or len(opened.results)
        what = {
            "all": "",
            "worse": "worse" if opened.pairs else "wrong",
            "better": "better" if opened.pairs else "right",
        }[narrowed]
        self._list.set_columns(columns)
        self._list.empty = rendering.NONE_LEFT.get(what, rendering.NO_RESULTS) if total else rendering.NO_RESULTS
        of = (opened.run.name, opened.baseline.name if opened.pairs and opened.baseline is not None else "")
        # What has no place in another list begins where that begins: with what got worse.
        self._list.fill(cases, top=of != self._of)
        self._of = of
        count = f"{len(cases):,} of {total:,}" + (f" {what}" if what else "")
        self.set_title("Cases", f"{count} · by {metric or 'place'}")

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self._tell()

    def _tell(self) -> None:
        shown = self._list.current
        if isinstance(shown, Pair):
            self.post_message(self.CursorMoved(shown.candidate, shown.baseline))
        else:
            self.post_message(self.CursorMoved(shown, None))

    def action_try_case(self) -> None:
        """Open the case under the cursor in the playground."""
        row, opened = self._list.current, self._opened
        if row is None or opened is None:
            self.shell.say("Choose a case first.", severity="warning")
        else:
            self.act("case", try_case, self.shell, opened.run, row if isinstance(row, Result) else row.candidate)

    def action_narrow(self) -> None:
        """All cases, or only some."""
        self._narrowed = (self._narrowed + 1) % len(_NARROWED)
        if self._opened is not None:
            self.show(self._opened)

    @property
    def narrowed(self) -> bool:
        """Whether only some cases are shown."""
        return self._narrowed > 0

    def show_all(self) -> bool:
        """Show all cases again; whether only some were shown."""
        narrowed = self._narrowed > 0
        self._narrowed = 0
        if narrowed and self._opened is not None:
            self.show(self._opened)
        return narrowed


def _case_of(row: Pair | Result) -> int:
    return (row if isinstance(row, Result) else row.candidate).case.index


def _key(row: Pair | Result) -> str:
    """A case is named by its place, its variation, and which of its answers it is."""
    result = row if isinstance(row, Result) else row.candidate
    return f"{result.case.index} {result.case.variation} {result.repeat}"
