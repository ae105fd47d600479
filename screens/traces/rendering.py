"""Rendering of traces: a line of the list, and one trace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.figures import figure
from llmops_tui.moments import moment_words
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import diff_words
from llmops_tui.traces.retrieved import retrieval_words, retrieved_of
from screens.widgets.diff_text import diff_parts

if TYPE_CHECKING:
    from llmops_tui.traces.store import Trace

HELP_LIST = (
    "All requests, newest first; s puts the slowest first, > and < sort by any column. "
    "u and d rate the answer, e writes the correct answer, n adds a comment. "
    "r shows the review queue: a accepts, x dismisses. space selects several."
)
HELP_TRACE = "The request and the answer, timings and feedback. w shows parameters and the record as JSON."
NO_TRACES = "No requests yet.\nThey come from the playground, from evaluations, and through llmops serve."
NO_MATCH = "No trace matches “{}”.\nesc clears the filter."


def said_of(traces: list[str], what: dict[str, str]) -> str:
    """What was said of so many traces, in a sentence; of a text only that there is one."""
    told = "correction" if "correction" in what else "comment" if "comment" in what else ", ".join(what.values())
    return f"Said of {counted(len(traces), 'trace') if len(traces) > 1 else traces[0]}: {told}."


def conversation(trace: Trace) -> Content:
    """What was asked and answered, and what was said of it."""
    parts: list[Content | str | tuple[str, str]] = []
    for message in trace.messages:
        parts += [
            (f"{safe_line(str(message.get('role')))}\n", "$accent"),
            safe_text(str(message.get("content") or "")),
            "\n\n",
        ]
    if trace.line.content == "off":
        parts.append(("Its content was not stored: setting trace_content.\n\n", "$muted"))
    if trace.thinking:
        told = f", {trace.reasoning_tokens:,} tokens" if trace.reasoning_tokens else ""
        parts += [(f"thinking{told}\n", "$accent"), (safe_text(trace.thinking), "$muted"), "\n\n"]
    parts.append(("answer\n", "$accent"))
    correction = trace.line.correction
    if correction:
        parts += [
            *diff_parts(diff_words(trace.output, correction)),
            ("\n(with the changes of the correction)", "$muted"),
        ]
    else:
        parts.append(safe_text(trace.output) or Content.styled("(nothing)", "$muted"))
    if trace.line.error:
        parts += ["\n\n", (safe_text(trace.line.error), "$error")]
    if trace.line.content == "redacted":
        parts.append(("\n\nPersonal data was redacted before it was stored.", "$muted"))
    return Content.assemble(*parts, *_said(trace))


def _said(trace: Trace) -> list[Content | str | tuple[str, str]]:
    parts: list[Content | str | tuple[str, str]] = []
    for said in trace.said:
        when = moment_words(said["said_at"], "%b %d %H:%M")
        words = [
            {1: "thumb up", -1: "thumb down"}.get(said["score"] or 0),
            "a correction" if said["correction"] else None,
            said["comment"],
            said["verdict"],
        ]
        text = " · ".join(safe_text(str(word)) for word in words if word)
        parts += ["\n" if parts else "\n\n", (f"{when}  {safe_line(said['source'])}  ", "$muted"), text]
    return parts


def figures(trace: Trace) -> Content:
    """Times, tokens, parameters and where it came from."""
    line = trace.line
    rows = [
        ("trace", line.id),
        ("when", moment_words(line.started_at)),
        ("model", line.model),
        ("file", (trace.model_sha256 or "")[:16]),
        ("engine", trace.engine or ""),
        ("prompt", line.asked_with),
        ("client", trace.client_words),
        *(("retrieved", retrieval_words(one)) for one in retrieved_of(trace.client)),
        ("end", line.finish_reason),
        ("first token", _milliseconds(line.ttft_ms)),
        ("total time", _milliseconds(line.total_ms)),
        ("speed", f"{line.tokens_per_s:,.0f} tok/s" if line.tokens_per_s else ""),
        (
            "prompt tokens",
            f"{line.prompt_tokens:,}" + (f", {trace.reused_tokens:,} reused" if trace.reused_tokens else "")
            if line.prompt_tokens is not None
            else "",
        ),
        ("answer tokens", f"{line.completion_tokens:,}" if line.completion_tokens is not None else ""),
        ("of them thinking", f"{trace.reasoning_tokens:,}" if trace.reasoning_tokens else ""),
        *(
            (name, figure(value, name))
            for name, value in sorted(trace.parameters.items())
            if value not in (None, [], "")
        ),
        *((f"variable {name}", str(value)) for name, value in sorted(trace.variables.items())),
    ]
    parts: list[tuple[str, str] | str] = []
    for name, value in rows:
        if value:
            parts += [(f"{safe_line(name):20} ", "$muted"), safe_text(value), "\n"]
    return Content.assemble(*parts)


def as_json(trace: Trace) -> Content:
    """The whole record."""
    return Content(safe_text(json.dumps(trace.as_dict(), indent=2, ensure_ascii=False)))


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} ms"
