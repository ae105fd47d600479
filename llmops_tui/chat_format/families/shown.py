"""Calls of models whose template shows them tools and never writes a call: by what the tools are shown with."""

from __future__ import annotations

from llmops_tui.chat_format.record import CallFormat, Gap, Marks

# What the tools are shown with, and how the models that are shown it so write their calls.
_FAMILIES: tuple[tuple[str, CallFormat], ...] = (
    (
        "followed by a JSON list of tools",
        CallFormat("object", Marks("<|tool_call|>"), ("", Gap("arguments"), ""), ", ", listed=True, written=False),
    ),
    (
        "List of tools: ",
        CallFormat(
            "python",
            Marks("<|tool_call_start|>[", "]<|tool_call_end|>"),
            ("", Gap("name"), Gap("arguments"), ""),
            ", ",
            written=False,
        ),
    ),
)


def calls_shown(text: str) -> CallFormat | None:
    """How calls are written in answers to a prompt that shows tools; none where that is not known."""
    return next((calls for sign, calls in _FAMILIES if sign in text), None)
