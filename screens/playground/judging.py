"""What one thinks of the answer that is shown: a thumb, or a case of a suite; and where its prompt came from."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from screens.playground import catching
from screens.playground.runs import RunList
from screens.shell.base import BaseScreen
from screens.widgets.stream_view import StreamView

if TYPE_CHECKING:
    from llmops_tui.prompts.runs import RunRecord
    from screens.playground.state import PlaygroundState


class JudgingScreen(BaseScreen):
    """The part of the playground that is about the answer."""

    state: PlaygroundState

    def action_catch(self) -> None:
        """Keep the answer as a case of a suite."""
        catching.catch(self)

    def action_up(self) -> None:
        """A thumb up for the answer."""
        self._give("up")

    def action_down(self) -> None:
        """A thumb down for the answer."""
        self._give("down")

    def lineage_subject(self) -> str:
        """The version that is being written on."""
        base = self.state.draft.base
        return f"prompt:{self.state.prompt}@{base}" if self.state.prompt and base is not None else ""

    def _give(self, score: str) -> None:
        run = self._shown_run()
        if run is None:
            self.app.say("There is no answer to say anything of: F5 runs the prompt.", severity="warning")
            return
        self.act("feedback", self._say, run.id, score)

    def _shown_run(self) -> RunRecord | None:
        """The run whose answer is shown."""
        listed, text = self.query_one(RunList), self.query_one("#answer", StreamView).text
        if listed.has_focus:
            return listed.current
        return next((run for run in listed.runs if run.output == text), None)

    async def _say(self, run: str, score: str) -> None:
        from llmops_tui.traces.feedback import give

        await asyncio.to_thread(partial(give, self.services.traces, run, score=score))
        self.app.say(f"Thumb {score} kept. A correction or a comment: traces, {run}.")
