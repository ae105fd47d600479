"""The cases of the open run, or of both runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.evaluation.comparison import Pair
from screens.evaluation import case_rendering, rendering
from screens.evaluation.model import Opened, is_among
from screens.shell.pane import Pane
from screens.widgets.line_list import LineList

if TYPE_CHECKING:
    from llmops_tui.evaluation.runner.results import Result

_NARROWED = ("all", "worse", "better")


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
        self.shown: list[Pair] | list[Result] = []
        self._opened: Opened | None = None
        self._narrowed = 0

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="case-list")

    def on_mount(self) -> None:
        """What an empty list says."""
        self._list.placeholder = rendering.NO_CASES

    @property
    def _list(self) -> LineList:
        return self.query_one(LineList)

    def show(self, opened: Opened | None) -> None:
        """Show the cases of what is open; none where nothing is."""
        self._opened = opened
        if opened is None:
            self.shown = []
            self._list.show(0, lambda _index, _width: [])
            self.set_title("Cases", "")
        else:
            self._draw(opened)
        self._tell()

    def _draw(self, opened: Opened) -> None:
        utf8, metric = self.shell.profile.utf8, opened.metric
        narrowed = _NARROWED[self._narrowed]
        if opened.pairs:
            pairs = [
                p
                for p in opened.pairs
                if narrowed == "all"
                or (p.change is not None and (p.change < 0 if narrowed == "worse" else p.change > 0))
            ]
            self.shown = pairs
            self._list.show(len(pairs), lambda i, width: case_rendering.pair_line(pairs[i], metric, width, utf8=utf8))
            total = len(opened.pairs)
        else:
            found = [r for r in opened.results if narrowed == "all" or is_among(r, metric, narrowed)]
            self.shown = found
            self._list.show(len(found), lambda i, width: case_rendering.result_line(found[i], metric, width))
            total = len(opened.results)
        what = {
            "all": "",
            "worse": "worse" if opened.pairs else "wrong",
            "better": "better" if opened.pairs else "right",
        }[narrowed]
        count = f"{len(self.shown):,} of {total:,}" + (f" {what}" if what else "")
        self.set_title("Cases", f"{count} · by {metric or 'place'}")

    @on(LineList.Moved)
    def _moved(self, event: LineList.Moved) -> None:
        event.stop()
        self._tell()

    def _tell(self) -> None:
        at = self._list.cursor
        shown = self.shown[at] if at < len(self.shown) else None
        if isinstance(shown, Pair):
            self.post_message(self.CursorMoved(shown.candidate, shown.baseline))
        else:
            self.post_message(self.CursorMoved(shown, None))

    def action_narrow(self) -> None:
        """All cases, or only some."""
        self._narrowed = (self._narrowed + 1) % len(_NARROWED)
        if self._opened is not None:
            self.show(self._opened)
