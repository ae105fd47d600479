"""Templates that mention marks and do not write them: those that have tools and no calls, or only speak of thinking."""

from __future__ import annotations

import re
from dataclasses import replace

from llmops_tui.chat_format.record import CallFormat, ChatFormat, Gap, Marks, Thinking

_THINKING = (("<think>", "</think>"), ("<|START_THINKING|>", "<|END_THINKING|>"), ("[THINK]", "[/THINK]"))
_CALLS = (
    ("<tool_call>", CallFormat("object", Marks(), ("<tool_call>\n", Gap("arguments"), "\n</tool_call>"), "\n")),
    ("[TOOL_CALLS]", CallFormat("object", Marks("[TOOL_CALLS]"), ("", Gap("arguments"), ""), ", ", listed=True)),
    (
        "<|python_tag|>",
        CallFormat("object", Marks(), ("<|python_tag|>", Gap("arguments"), ""), arguments_key="parameters"),
    ),
    ("", CallFormat("object", Marks(), ("", Gap("arguments"), ""), arguments_key="parameters", parallel=False)),
)


def with_mentioned(found: ChatFormat) -> ChatFormat:
    """A format with what its template mentions, where it was not read off it: calls where it knows tools, and thinking."""
    source = found.template
    if found.calls is None and re.search(r"\btools\b", source) is not None:
        found = replace(found, calls=next(calls for mark, calls in _CALLS if mark in source))
    if found.thinking is None:
        marks = next((Marks(*pair) for pair in _THINKING if pair[1] in source), None)
        found = replace(found, thinking=Thinking("", marks, past=True) if marks else None)
    return found
