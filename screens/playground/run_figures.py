"""The figures of a run, in lines that break between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import events
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.inference.client import StreamEnd
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.runs import RunRecord
    from llmops_tui.prompts.tool_rounds import CallStep

_DOT = " · "


def ended(run: RunRecord, run_id: str, end: StreamEnd, text: str, thinking: str) -> RunRecord:
    """A run with what its end says, and its texts."""
    known: dict[str, Any] = {name: value for name, value in end.timings.items() if name in run.__dataclass_fields__}
    # An end has its reason in its timings, too.
    known |= {"id": run_id, "finish_reason": end.finish_reason, "output": text, "thinking": thinking}
    return replace(run, **known)


def uncalled(end: StreamEnd) -> list[CallStep]:
    """The calls that end a run: of tools that the prompt's version holds, and nothing here can call."""
    from llmops_tui.prompts.tool_rounds import CallStep

    told = "Not called: the version holds this tool, and nothing here calls it. t offers one with mock results."
    return [
        CallStep(
            "asked",
            call.get("id") or f"call_{number}",
            call["function"]["name"],
            arguments=str(call["function"]["arguments"]),
            text=told,
        )
        for number, call in enumerate(end.calls)
    ]


def figures(run: RunRecord | None) -> list[tuple[str, str]]:
    """The figures of a run, each with its style: how it ended, tokens, first token, speed, prompt."""
    if run is None:
        return []
    parts: list[str] = []
    if run.completion_tokens is not None:
        thought = f", {run.reasoning_tokens:,} thinking" if run.reasoning_tokens else ""
        parts.append(counted(run.completion_tokens, "token") + thought)
    if run.ttft_ms is not None:
        parts.append(f"first {run.ttft_ms:.0f} ms")
    if run.tokens_per_s:
        parts.append(f"{run.tokens_per_s:,.0f} tok/s")
    if run.prompt_tokens is not None:
        reused = f", {run.reused_tokens} reused" if run.reused_tokens else ""
        limit = f" of {run.context:,}" if run.context else ""
        parts.append(f"prompt {run.prompt_tokens}{limit}{reused}")
    return [_end(run), *((part, "$muted") for part in parts)]


def _end(run: RunRecord) -> tuple[str, str]:
    """How a run ended, and what to do where its answer is not whole."""
    if run.finish_reason == "length":
        used = (run.prompt_tokens or 0) + (run.completion_tokens or 0)
        full = run.context is not None and used >= run.context
        return "cut off: the context is full" if full else "cut off: F6 raises max", "$warning"
    return run.finish_reason or "…", "$error" if run.finish_reason in {"error", "cancelled"} else "$success"


class FiguresLine(Static):
    """Figures in as few lines as they fit in; none is broken in two."""

    def __init__(self) -> None:
        super().__init__("", id="figures", markup=False)
        self._parts: list[tuple[str, str]] = []

    def show(self, *parts: tuple[str, str]) -> None:
        """Show these, each with its style."""
        self._parts = list(parts)
        self._draw()

    def on_resize(self, _event: events.Resize) -> None:
        """Break elsewhere."""
        self._draw()

    def _draw(self) -> None:
        self.update(in_lines(self._parts, self.size.width))


def in_lines(parts: Sequence[tuple[str, str]], width: int) -> Content:
    """Texts behind each other with dots between them, in lines of at most ``width`` cells where each fits into one."""
    out: list[tuple[str, str] | str] = []
    at = 0
    for place, (text, style) in enumerate(parts):
        cells = Content(text).cell_length
        last = place == len(parts) - 1
        if place and 0 < width < at + len(_DOT) + cells + (0 if last else 2):
            out.append((f"{_DOT.rstrip()}\n", "$muted"))
            at = 0
        elif place:
            out.append((_DOT, "$muted"))
            at += len(_DOT)
        out.append((text, style))
        at += cells
    return Content.assemble(*out)


def source_of(run: RunRecord | None, chosen: Model | None, models: Sequence[Model]) -> tuple[str, str, str]:
    """Of the answer that is shown: its version, and the model that gave it; and what answers next where that is another."""
    next_one = f"{chosen.name} {chosen.quantization}" if chosen is not None else "no model: F9 5 adds one, F4 chooses"
    if run is None:
        return "", next_one, ""
    known = next((model for model in models if model.name == run.model), None)
    told = f"{known.name} {known.quantization}" if known is not None else safe_line(run.model, 40)
    following = "" if chosen is not None and chosen.name == run.model else f"next {next_one} · "
    return f"@{run.version}" if run.version is not None else "", told, following


def kept_text_told(error: LlmopsError) -> LlmopsError:
    """An error after a part of the answer; one about memory stays as it is, since it says who holds that."""
    if error.code == "memory_short":
        return error
    return LlmopsError(error.code, f"{error.message}; the text so far is kept", error.hint, error.exit_code)
