"""The runs of a prompt: a list, newest first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.prompts.runs import RunRecord

_EMPTY = "No runs yet. F5 runs the prompt."


class RunList(OptionList):
    """Past runs with their outputs in brief."""

    class Opened(Message):
        """A run was chosen: its output is wanted."""

        def __init__(self, run: RunRecord) -> None:
            super().__init__()
            self.run = run

    def __init__(self) -> None:
        super().__init__(id="run-list", markup=False, compact=True)
        self.runs: list[RunRecord] = []

    @property
    def current(self) -> RunRecord | None:
        """The run under the cursor."""
        if self.highlighted is None or self.highlighted >= len(self.runs):
            return None
        return self.runs[self.highlighted]

    def show(self, runs: list[RunRecord]) -> None:
        """Show these runs."""
        self.clear_options()
        self.runs = runs
        for run in runs:
            bad = run.finish_reason in {"error", "cancelled"}
            speed = f"{run.tokens_per_s:,.0f} tok/s" if run.tokens_per_s else ""
            self.add_option(
                Option(
                    Content.assemble(
                        (time.strftime("%H:%M", time.localtime(run.started_at)), "$muted"), f" @{run.version} ",
                        (f"{run.finish_reason} ", "$error") if bad else "",
                        safe_line(run.output, 120) or "(nothing)", ("  " + speed, "$muted"),
                    ),
                    id=run.id,
                )
            )  # fmt: skip
        if not runs:
            self.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter shows the whole output."""
        event.stop()
        run = self.current
        if run is not None:
            self.post_message(self.Opened(run))


def figures(run: RunRecord | None) -> Content:
    """The figures of a run in one line: tokens, first token, speed, how it ended."""
    if run is None:
        return Content("")
    parts: list[str] = []
    if run.completion_tokens is not None:
        parts.append(f"{run.completion_tokens} tokens")
    if run.ttft_ms is not None:
        parts.append(f"first {run.ttft_ms:.0f} ms")
    if run.tokens_per_s:
        parts.append(f"{run.tokens_per_s:,.0f} tok/s")
    if run.prompt_tokens is not None:
        reused = f", {run.reused_tokens} reused" if run.reused_tokens else ""
        limit = f" of {run.context:,}" if run.context else ""
        parts.append(f"prompt {run.prompt_tokens}{limit}{reused}")
    bad = run.finish_reason in {"error", "cancelled"}
    end = (f"{run.finish_reason}" if run.finish_reason else "…", "$error" if bad else "$success")
    return Content.assemble((" · ".join(parts), "$muted"), " · " if parts else "", end)
