"""The answer: it streams in, with its figures below; the model that gives it, and how it is sampled."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Static
from textual.worker import Worker

from llmops_tui.errors import InputRefusedError, LlmopsError
from screens.playground.answer_actions import AnswerActions
from screens.playground.figures_line import FiguresLine
from screens.playground.run_figures import NO_ANSWER, ended, kept_text_told, source_of, told_in_pane, uncalled
from screens.playground.state import READING, PlaygroundState, Run
from screens.playground.thinking_view import ThinkingView
from screens.widgets.stream_view import StreamView

if TYPE_CHECKING:
    from llmops_tui.prompts.run_history import RunRecord
    from llmops_tui.prompts.runs import RunProgress
    from llmops_tui.prompts.store import PromptVersion
    from llmops_tui.prompts.tool_rounds import CallStep
    from screens.terminal import TerminalProfile

_HELP = (
    "The answer as it streams. Above it, folded, what the model thought before; h unfolds it. Below: tokens, time to first "
    "token, tokens per second, and finish reason."
)
_PLACEHOLDER = "F5 runs the prompt; the answer streams here."
_AFTER_CANCEL_SECONDS = 0.3  # the server logs a cancelled run just after its client went away


class AnswerPane(AnswerActions):
    """One answer: of the run that is going on, or of a past one."""

    class Versioned(Message):
        """What runs is this version; it may have been made for it."""

        def __init__(self, version: PromptVersion) -> None:
            super().__init__()
            self.version = version

    class Shown(Message):
        """The answer is that of another run."""

    class Ended(Message):
        """A run ended, well or not: it can be read among the others."""

    def __init__(self, state: PlaygroundState, profile: TerminalProfile) -> None:
        super().__init__(title="Answer", jump_key="a", id="playground-answer", help_text=_HELP)
        self._state = state
        self._stream = StreamView(profile, placeholder=READING, id="answer")
        self._thinking = ThinkingView(profile)
        self._figures = FiguresLine()
        self._calls = Static("", id="calls", markup=False)
        self._calls.display = False
        self._run: Run | None = None
        self._worker: Worker[None] | None = None
        self._shown: tuple[object, ...] = ()
        # The run whose answer is shown.
        self._of: RunRecord | None = None
        # Why there is no answer, or no more of it.
        self.problem = ""

    def compose(self) -> ComposeResult:
        """What was thought, the text, the calls of tools, and the figures."""
        yield self._thinking
        yield self._stream
        yield self._calls
        yield self._figures

    # ── showing ──

    @property
    def text(self) -> str:
        """The answer, so far."""
        return self._stream.text

    def show_run(self, run: RunRecord | None, nothing: str = _PLACEHOLDER) -> None:
        """Show the answer of a past run; without one say that there is ``nothing`` yet."""
        self._show_calls({})
        self._tell_of(run)
        if run is None:
            self._stream.clear(nothing)
            self._thinking.show("")
        else:
            self._stream.show(run.output)
            self._thinking.show(run.thinking or "", run.reasoning_tokens)
        self._figures.show(run)
        self.problem = ""

    @property
    def run(self) -> RunRecord | None:
        """The run whose answer is shown, as far as it is known."""
        return self._of

    @property
    def texts(self) -> list[tuple[str, str]]:
        """What can be copied of it: the answer, or why there is none."""
        return [("answer", self.text), ("error", self.problem)]

    def _tell_of(self, run: RunRecord | None) -> None:
        """Say in the title which run the answer is of."""
        self._of = run
        self.show_model()
        self.post_message(self.Shown())

    def _show_calls(self, calls: dict[str, CallStep]) -> None:
        """List the calls of a run; none takes no room."""
        self._calls.display = bool(calls)
        if calls:
            from screens.playground.tools import calls_text

            self._calls.update(calls_text(calls))

    def show_model(self, *, again: bool = False) -> None:
        """Tell in the title whose answer is shown, and below it and in the status line what answers next."""
        model, parameters = self._state.model, self._state.sampling
        # An answer of another version than the text beside it is easily taken for one to that.
        version = self._of.version if self._of is not None and not self.running else None
        other = version not in {None, self._state.version_seen}
        facts = (model, parameters, self._of, other)
        if facts == self._shown and not again:
            return
        self._shown = facts
        name, told, following = source_of(self._of, model, self._state.models)
        if other:
            self.set_title(f"Answer {name}", f"another version · {told}", "$warning")
        else:
            self.set_title(f"Answer {name}".rstrip(), told)
        self.set_note(f"{following}{parameters.brief()}")
        name = model.name if model is not None else ""
        if name != self.shell.status.model:
            self.shell.show_status(replace(self.shell.status, model=name, tokens_per_s=None))

    # ── running ──

    @property
    def running(self) -> bool:
        """Whether an answer is being generated."""
        return self._run is not None and self._run.generating

    def start(self) -> None:
        """Run the draft, and draw the answer as it comes."""
        self._run = Run()
        self._worker = self.run_worker(partial(self.guarded, self._go, self._run), group="run", exit_on_error=False)

    def stop(self) -> None:
        """Stop the run; the text so far stays."""
        if self._run is not None and self._worker is not None:
            self._run.generating = False
            self._worker.cancel()

    async def _go(self, run: Run) -> None:
        from screens.playground.tools import offering

        state = self._state
        run.generating = True  # it may be tried again, once there is room
        if not state.opened.is_set():
            # A key pressed before the workspace was read means what will be seen then.
            self._figures.tell("opening the workspace …")
            await state.opened.wait()
        model = state.model
        if model is None:
            run.generating = False
            self._figures.show(None)
            raise InputRefusedError("no_model", "no model is chosen", "F4 chooses one; the Models screen adds one.")
        request = state.request()
        self.problem = ""
        self.shell.unfinished = "An answer is being generated."
        self._show_calls({})
        self._tell_of(None)
        self._stream.clear(f"loading {model.name} …")
        self._figures.tell("rendering …")
        try:
            try:
                async with offering(self.shell, state, self.stop) as tools:
                    async for step in self.services.runner.run(request, model, tools):
                        self._draw(run, step, request.prompt, model.name)
            finally:
                run.generating = False
                self.shell.unfinished = ""
        except LlmopsError as error:
            self._failed(error, run)
        except asyncio.CancelledError:
            self._stream.flush()
            self._figures.tell("cancelled", "$error", more="the text so far is kept")
            self._tell_end(run, "cancelled")
            self.set_timer(_AFTER_CANCEL_SECONDS, self._tell_ended)
            raise
        self._tell_ended()

    def _draw(self, run: Run, step: RunProgress, prompt: str, model: str) -> None:
        from llmops_tui.prompts.run_history import RunRecord

        if step.stage == "text":
            self._stream.feed(step.text)
        elif step.stage == "thinking":
            self._thinking.feed(step.text)
        elif step.call is not None:
            run.calls[f"{step.run_id} {step.call.id}"] = step.call
            self._show_calls(run.calls)
        elif step.stage == "saved" and step.version is not None:
            run.record = RunRecord(step.run_id, time.time(), model, prompt, step.version.number)
            self._tell_of(run.record)
            self.post_message(self.Versioned(step.version))
            self._figures.tell(f"{step.version.ref} · loading {model} …")
        elif step.stage == "loading":
            self._stream.clear("")
            self._thinking.show("")
            self._figures.tell("generating …  esc stops")
        elif step.end is not None and run.record is not None:
            self._stream.flush()
            # Those of tools that the version holds, and nothing here can call.
            self._show_calls(run.calls | {call.id: call for call in uncalled(step.end)})
            run.record = ended(run.record, step.run_id, step.end, self._stream.text, self._thinking.text)
            self._thinking.count(run.record.reasoning_tokens)
            self._figures.show(run.record)
            self._tell_of(run.record)
            speed = step.end.timings.get("tokens_per_s")
            self.shell.show_status(replace(self.shell.status, loaded=True, tokens_per_s=speed))

    def _tell_end(self, run: Run, reason: str) -> None:
        """Tell how a run ended that gave no end of its own."""
        if run.record is not None:
            run.record = replace(run.record, finish_reason=reason, output=self._stream.text)
            self._tell_of(run.record)

    def _failed(self, error: LlmopsError, run: Run) -> None:
        """Show a failure, or raise it where it has to be told elsewhere: beside a text the pane has no room for it."""
        self._stream.flush()
        self._figures.tell(f"error: {error.code}", "$error")
        self._tell_end(run, "error")
        self.problem = error.told
        if self._stream.text or not told_in_pane(error, self._stream.size.height):
            self._tell_ended()
            raise kept_text_told(error) if self._stream.text else error
        self._stream.clear(error.told)
        self.shell.say(NO_ANSWER, severity="error")

    def _tell_ended(self) -> None:
        self.post_message(self.Ended())
