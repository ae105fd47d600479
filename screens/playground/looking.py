"""Looking through versions: the text, the answer and the runs that are seen are those of one version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens.playground.answer_pane import AnswerPane
from screens.playground.editors import Editors
from screens.playground.runs_pane import RunsPane
from screens.playground.state import PlaygroundState
from screens.playground.versions_pane import VersionsPane

if TYPE_CHECKING:
    from llmops_tui.prompts.run_history import RunRecord
    from llmops_tui.prompts.store import PromptVersion


class Looking:
    """Keeps what is seen beside the versions with the one under the cursor, while one goes through them."""

    def __init__(
        self, state: PlaygroundState, versions: VersionsPane, editors: Editors, answer: AnswerPane, runs: RunsPane
    ) -> None:
        self._state = state
        self._versions = versions
        self._editors = editors
        self._answer = answer
        self._runs = runs
        self._came_by: RunRecord | None = None  # the run whose answer is shown because the cursor is on its version

    def begin(self, runs: list[RunRecord]) -> None:
        """Show these runs of a prompt that was opened: an answer of another version is not that of the text in the editors."""
        shown = self._runs.show(runs, self._state.matching)
        self._answer.show_run(next(iter(shown), None))

    async def at(self, version: PromptVersion | None) -> None:
        """Show the runs of a version, and its text and last answer to somebody who goes through the versions."""
        if self._state.prompt is None:
            return
        if self._versions.has_focus_within:
            self._editors.look_at(version)
        runs = await self._runs.load(self._state.prompt, version)
        if self._versions.has_focus_within and not self._answer.running:
            self._answer_of(version, runs)

    def _answer_of(self, version: PromptVersion | None, runs: list[RunRecord]) -> None:
        """The newest of these answers; that there is none of a version whose text is only looked at."""
        if runs:
            self._answer.show_run(runs[0])
        elif version is not None and version is self._state.looked_at:
            self._answer.show_run(None, f"No answer of @{version.number} yet: enter takes its text, F5 then runs it.")
        self._came_by = self._answer.run

    async def at_own(self) -> None:
        """Show the text in the editors with its runs, and its answer in place of one that only came by."""
        self._editors.look_at(None)
        self._answer.show_model()
        number, prompt = self._state.version_seen, self._state.prompt
        own = next((version for version in self._state.versions if version.number == number), None)
        if prompt is None:
            return
        runs = await self._runs.load(prompt, own)
        if self._answer.run == self._came_by and not self._answer.running:
            self._answer.show_run(runs[0] if runs else None)
        self._answer.show_model()
