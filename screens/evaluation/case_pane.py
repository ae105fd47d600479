"""One case: input, expected answer, answers, and the reasons of the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from screens.evaluation import case_rendering, rendering
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmops_tui.evaluation.runner.results import Result


class CasePane(Pane):
    """The case under the cursor."""

    def __init__(self) -> None:
        super().__init__(title="Case", jump_key="a", id="evaluation-case", help_text=rendering.HELP_CASE)
        self._shown: tuple[Result | None, Result | None] = (None, None)
        self._kinds: Mapping[str, str] = case_rendering.NO_KINDS

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="case-scroll"):
            yield Static(Content.styled(rendering.NO_CASE, "$muted"), id="case-text", markup=False)

    def show(self, result: Result | None, before: Result | None, kinds: Mapping[str, str]) -> None:
        """Show an answer, and the baseline's where there is one; without a case what will stand here.

        ``kinds`` are the types of the metrics by what they are called.
        """
        self._shown, self._kinds = (result, before), kinds
        self.set_title("Case", case_rendering.place_of(result) if result is not None else "")
        self._draw()
        self.query_one("#case-scroll", TextScroll).scroll_home(animate=False)

    def on_resize(self) -> None:
        """Other lines fit now."""
        self._draw()

    def _draw(self) -> None:
        result, before = self._shown
        width = self.query_one("#case-scroll").scrollable_content_region.width or self.app.size.width
        none = Content.styled(rendering.NO_CASE, "$muted")
        content = case_rendering.case_content(result, before, width, self._kinds) if result is not None else none
        self.query_one("#case-text", Static).update(content)
