"""One run of the draft: from the rendered prompt to the last token, drawn as it comes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.errors import InputRefusedError, LlmopsError
from screens.playground.runs import figures
from screens.widgets.stream_view import StreamView

if TYPE_CHECKING:
    from llmops_tui.prompts.runs import RunProgress, RunRecord
    from screens.playground.screen import PlaygroundScreen

# The server journals a cancelled run just after its client went away.
_AFTER_CANCEL_SECONDS = 0.3


class Run:
    """Draws one run on the playground."""

    def __init__(self, screen: PlaygroundScreen) -> None:
        self._screen = screen
        self._answer = screen.query_one("#answer", StreamView)
        self.record: RunRecord | None = None
        self.generating = True

    async def go(self) -> None:
        """Run to the end.

        Raises:
            LlmopsError: what went wrong; the text so far stays on the screen.
        """
        from llmops_tui.prompts.runs import RunRequest

        screen, state = self._screen, self._screen.state
        if not screen.opened.is_set():
            # A key pressed before the workspace was read means what will be seen then.
            screen.show_figures(Content.styled("opening the workspace …", "$muted"))
            await screen.opened.wait()
        model = state.model
        if model is None:
            self.generating = False
            screen.show_figures(Content(""))
            raise InputRefusedError("no_model", "no model is chosen", "F4 chooses one; the Models screen adds one.")
        request = RunRequest(
            prompt=state.prompt or "untitled",
            system=state.draft.system,
            template=state.draft.template,
            variables=state.draft.variables,
            parameters=state.parameters,
            parent=state.draft.base,
        )
        screen.app.unfinished = "An answer is being generated."
        self._answer.clear(f"loading {model.name} …")
        screen.show_figures(Content.styled("rendering …", "$muted"))
        try:
            try:
                async for step in screen.services.runner.run(request, model):
                    await self._show(step, model.name)
            finally:
                self.generating = False
                screen.app.unfinished = ""
        except LlmopsError as error:
            self._answer.flush()
            kept = "; the text so far is kept" if self._answer.text else ""
            screen.show_figures(Content.styled(f"error: {error.code}", "$error"))
            if not self._answer.text:
                self._answer.clear(error.told)
            await screen.refresh_versions()
            if error.code == "memory_short":
                raise
            raise _with_note(error, kept) from error
        except asyncio.CancelledError:
            self._answer.flush()
            screen.show_figures(Content.assemble(("cancelled", "$error"), ("  the text so far is kept", "$muted")))
            screen.set_timer(_AFTER_CANCEL_SECONDS, lambda: screen.act("load", screen.refresh_versions))
            raise
        await screen.refresh_versions()

    async def _show(self, step: RunProgress, model: str) -> None:
        from llmops_tui.prompts.runs import RunRecord

        screen, state = self._screen, self._screen.state
        if step.stage == "text":
            self._answer.feed(step.text)
        elif step.stage == "saved" and step.version is not None:
            self.record = RunRecord(step.run_id, 0.0, model, state.prompt, step.version.number)
            state.draft = replace(state.draft, base=step.version.number)
            if step.created:
                state.versions.insert(0, step.version)
                screen.show_heads()
            screen.show_figures(Content.styled(f"{step.version.ref} · loading {model} …", "$muted"))
        elif step.stage == "loading":
            self._answer.clear("")
            screen.show_figures(Content.styled("generating …  esc stops", "$muted"))
        elif step.end is not None and self.record is not None:
            self._answer.flush()
            known: dict[str, Any] = {k: v for k, v in step.end.timings.items() if k in RunRecord.__dataclass_fields__}
            known["finish_reason"] = step.end.finish_reason
            self.record = replace(self.record, output=self._answer.text, **known)
            screen.show_figures(figures(self.record))
            speed = step.end.timings.get("tokens_per_s")
            screen.app.show_status(replace(screen.app.status, loaded=True, tokens_per_s=speed))


def _with_note(error: LlmopsError, note: str) -> LlmopsError:
    """The same failure, with a note behind its message."""
    return LlmopsError(error.code, error.message + note, error.hint, error.exit_code)
