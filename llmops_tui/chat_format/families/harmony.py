"""Messages on channels, as gpt-oss writes them: models write the recipient of a call behind the channel, templates before."""

from __future__ import annotations

from dataclasses import replace

from llmops_tui.chat_format.record import ChatFormat, Marks, Thinking

_CHANNEL = "<|channel|>"
_THINKING = Marks("<|channel|>analysis<|message|>", "<|end|>")


def is_one(found: ChatFormat) -> bool:
    """Whether the content of answers stands on a channel of its own."""
    return found.content.before.startswith(f"{_CHANNEL}final")


def completed(found: ChatFormat) -> ChatFormat:
    """With the commentary that may precede calls, and both places of a call's recipient."""
    thought = found.thinking or Thinking("thinking", _THINKING, past=False)
    calls = found.calls
    if calls is not None:
        calls = replace(
            calls, loose=True, also=("<|channel|>commentary to=functions.", "<|channel|>analysis to=functions.")
        )
    begins = (
        *found.content_begins,
        "<|channel|>commentary<|message|>",
        "<|channel|>final <|constrain|>json<|message|>",
    )
    ends = tuple(dict.fromkeys((*found.ends, "<|return|>", "<|call|>", "<|end|>")))
    return replace(found, thinking=replace(thought, marks=_THINKING), calls=calls, content_begins=begins, ends=ends)
