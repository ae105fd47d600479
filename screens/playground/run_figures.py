"""The figures of a run, in lines that break between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.widgets.text_wrap import join_parts

# The colours of ends that are not good.
_COLOURS = {"error": "$error", "cancelled": "$error", "length": "$warning", "": "$muted"}

if TYPE_CHECKING:
    from llmops_tui.inference.client import StreamEnd
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.run_history import RunRecord
    from llmops_tui.prompts.tool_rounds import CallStep


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


def figures(run: RunRecord | None, width: int) -> Content:
    """The figures of a run in lines of so many cells: how it ended, tokens, first token, speed, prompt."""
    if run is None:
        return Content("")
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
    end = _end(run)
    told = Content("\n".join(join_parts([end, *parts], width))).stylize("$muted")
    return told.stylize(_COLOURS.get(run.finish_reason, "$success"), 0, len(end))


def _end(run: RunRecord) -> str:
    """How a run ended, and what to do where its answer is not whole."""
    if run.finish_reason != "length":
        return run.finish_reason or "…"
    used = (run.prompt_tokens or 0) + (run.completion_tokens or 0)
    full = run.context is not None and used >= run.context
    return "cut off: the context is full" if full else "cut off: p raises max tokens"


def source_of(run: RunRecord | None, chosen: Model | None, models: Sequence[Model]) -> tuple[str, str, str]:
    """Of the answer that is shown: its version, and the model that gave it; and what answers next where that is another."""
    next_one = f"{chosen.name} {chosen.quantization}" if chosen is not None else "no model: F9 5 adds one, F4 chooses"
    if run is None:
        return "", next_one, ""
    known = next((model for model in models if model.name == run.model), None)
    told = f"{known.name} {known.quantization}" if known is not None else safe_line(run.model, 40)
    following = "" if chosen is not None and chosen.name == run.model else f"next {next_one} · "
    return f"@{run.version}" if run.version is not None else "", told, following


# What is asked about where memory is short says so itself.
_MEMORY_SHORT = "memory_short"
NO_ANSWER = "No answer; the Answer pane says why. F5 runs it again."


def told_in_pane(error: LlmopsError, height: int) -> bool:
    """Whether a pane of so many lines tells an error by itself; nothing is seen of one that is hidden."""
    return height > 0 and error.code != _MEMORY_SHORT


def kept_text_told(error: LlmopsError) -> LlmopsError:
    """An error after a part of the answer; one about memory stays as it is, since it says who holds that."""
    if error.code == _MEMORY_SHORT:
        return error
    return LlmopsError(error.code, f"{error.message}; the text so far is kept", error.hint, error.exit_code)
