"""One request as a bar of time: what came before the first token, thinking, and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from screens.widgets import units

if TYPE_CHECKING:
    from llmops_tui.traces.store import Trace

_WIDTH = 40


def stages(trace: Trace) -> list[tuple[str, float, str]]:
    """What a request went through, as (name, milliseconds, note), in its order; nothing where its times are not known.

    Queue and evaluated prompt are recorded as one: the time to the first token. Thinking has its share of the time by its
    share of the tokens, since only the whole is recorded.
    """
    line = trace.line
    if line.total_ms is None or line.ttft_ms is None:
        return []
    first = min(line.ttft_ms, line.total_ms)
    rest, tokens = line.total_ms - first, line.completion_tokens or 0
    reused = f", {trace.reused_tokens:,} reused" if trace.reused_tokens else ""
    found = [("queue and prompt", first, f"{line.prompt_tokens or 0:,} tokens{reused}")]
    thought = min(trace.reasoning_tokens or 0, tokens)
    if thought:
        found.append(("thinking", rest * thought / max(1, tokens), f"about, by {thought:,} of {tokens:,} tokens"))
        rest -= found[-1][1]
    speed = f", {line.tokens_per_s:,.0f} tok/s" if line.tokens_per_s else ""
    found.append(
        ("tool calls" if line.finish_reason == "tool_calls" else "answer", rest, f"{tokens - thought:,} tokens{speed}")
    )
    return found


def waterfall(trace: Trace, *, utf8: bool) -> Content:
    """The stages below each other, each where it was in the whole time."""
    found = stages(trace)
    total = sum(ms for _, ms, _ in found)
    if total <= 0:
        return Content("")
    full, colours = "█" if utf8 else "#", ("$muted", "$warning", "$accent")
    parts: list[tuple[str, str] | str] = []
    at = 0.0
    for (name, ms, note), colour in zip(found, (colours[0], *colours[-len(found) + 1 :]), strict=False):
        begin = round(at / total * _WIDTH)
        at += ms
        cells = max(1, round(at / total * _WIDTH) - begin)
        begin = min(begin, _WIDTH - cells)
        parts += [(f"{name:17}", "$muted"), " " * begin, (full * cells, colour), " " * (_WIDTH - begin - cells)]
        parts += [f" {units.duration(ms / 1000):>8}", (f"  {note}\n", "$muted")]
    return Content.assemble(*parts)


def in_one_line(trace: Trace, *, utf8: bool) -> Content:
    """The stages as one short bar, and below it the time of each, a line for each: a number is not torn from its unit."""
    found = stages(trace)
    total = sum(ms for _, ms, _ in found)
    if total <= 0:
        return Content("")
    marks = "░▒█" if utf8 else ".:#"
    bar: list[tuple[str, str] | str] = []
    below: list[tuple[str, str] | str] = []
    for place, (name, ms, _) in enumerate(found):
        mark = marks[0] if place == 0 else marks[2] if place == len(found) - 1 else marks[1]
        bar.append((mark * max(1, round(ms / total * 32)), "$accent"))
        below += [(f"\n{mark} ", "$accent"), (f"{name} {units.duration(ms / 1000).strip()}", "$muted")]
    return Content.assemble(*bar, *below, "\n\n")
