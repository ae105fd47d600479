"""The columns of the list of traces, and the bars of how long they took."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.sparkline import sparkline

if TYPE_CHECKING:
    from llmops_tui.traces.orders import TraceTimes
    from llmops_tui.traces.store import TraceLine

_SHOWN = 300
# Cells in which the question and the answer begin to say something; names and figures make room for that.
_READABLE = 18
_ENDS = {"error": "bad", "cancelled": "warn", "length": "warn"}
# What ended as it should says nothing, as nearly all do.
_STATES = {"stop": "", "error": "failed", "length": "cut off", "tool_calls": "tool call"}


def trace_columns(*, utf8: bool) -> list[Column[TraceLine]]:
    """All that can be shown of a trace; sorted by the store, which knows the columns by the same names."""
    up, down, note, fixed = ("▲", "▼", "✎", "✔") if utf8 else ("+", "-", "n", "c")

    def said(line: TraceLine) -> Part:
        score = up if line.score == 1 else down if line.score == -1 else ""
        more = fixed if line.correction else note if line.comment else ""
        return score + more, "good" if line.score == 1 else "bad" if line.score == -1 else "accent"

    def question(line: TraceLine) -> Part:
        return safe_line(line.question or "", _SHOWN), "muted"

    figure = partial(Column, right=True, falling=True)
    extra = partial(figure, spare=True, extra=True)
    return [
        Column("time", lambda line: units.moment(line.started_at), falling=True, least=8, rank=1),
        Column("state", _state, spare=True, rank=5),
        Column("said", said, spare=True, rank=2, falling=True),
        Column("prompt", _prompt, rank=3, most=12, names=True, told=True),
        Column("model", lambda line: safe_line(line.model, 200), rank=6, most=14, names=True, told=True),
        Column("question", question, share=2, least=_READABLE, good=30, rank=4),
        Column("answer", _answer, share=3, least=_READABLE, good=40),
        figure("took", lambda line: units.whole(line.total_ms), unit="ms"),
        extra("first", lambda line: units.whole(line.ttft_ms), unit="ms", rank=11),
        extra("tokens", lambda line: units.whole(line.completion_tokens), rank=10),
        figure("prompt tokens", lambda line: units.whole(line.prompt_tokens), chosen=False),
        extra("speed", lambda line: units.whole(line.tokens_per_s), unit="tok/s", rank=12),
    ]  # fmt: skip


def _state(line: TraceLine) -> Part:
    return _STATES.get(line.finish_reason, safe_line(line.finish_reason, 12)), _ENDS.get(line.finish_reason, "muted")


def _prompt(line: TraceLine) -> Part:
    # A run's name says that it is one, and the word before it would leave no room for the name.
    return (
        (safe_line(line.asked_with.removeprefix("evaluation "), 200), "accent") if line.asked_with else ("–", "muted")
    )


def _answer(line: TraceLine) -> Part:
    if line.error:
        return safe_line(line.error, _SHOWN), "bad"
    return safe_line(line.output, _SHOWN), "plain"


def times_of(times: TraceTimes, width: int, rows: int, *, utf8: bool) -> Content:
    """How long the traces took: bars from the fastest to the slowest, each bar of the same factor; percentiles beside."""
    bars, least, most = times.histogram(max(8, min(48, width - 58)))
    if not bars:
        return Content("")
    drawn = sparkline([float(bar) for bar in bars], len(bars), rows, utf8=utf8, from_zero=True)
    low, high = units.duration(least / 1000).strip(), units.duration(most / 1000).strip()
    # Of few requests a percentile is the slowest of them.
    known = [share for share in (50, 95, 99) if times.count * (100 - share) >= 100]
    percentiles = "  ".join(f"p{share} {units.duration(times.quantile(share / 100) / 1000).strip()}" for share in known)
    # One line has no room to say of how many; the title of the pane does.
    told = f"time of {counted(times.count, 'request')}" if rows > 1 else "took"
    parts: list[tuple[str, str] | str] = []
    for row, line in enumerate(drawn):
        last = row == len(drawn) - 1
        parts += [(f"{low if last else '':>8} ", "$muted"), (line, "$accent")]
        beside = f"   {told if row == 0 else ''}"
        parts += [(f" {high}" if last else " " * (1 + len(high)), "$muted"), (beside, "$muted")]
        parts += [f"{'  ' if row == 0 else ''}{percentiles}" if last else "\n"]
    return Content.assemble(*parts)
