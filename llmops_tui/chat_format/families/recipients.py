"""Answers that name their recipient in their first line, `>>>all` for people and `>>>name` for a function."""

from __future__ import annotations

from dataclasses import replace

from llmops_tui.chat_format.record import ChatFormat, Gap, Marks

_SIGN = ">>>"


def is_one(found: ChatFormat) -> bool:
    """Whether the prompt ends with the sign before a recipient."""
    return bool(found.prompts) and found.prompts[0].endswith(_SIGN)


def completed(found: ChatFormat) -> ChatFormat:
    """With the sign as a part of the answer, of which the prompt has written it."""
    begin = found.assistant.before.removesuffix(_SIGN)
    calls = found.calls
    if calls is not None:
        calls = replace(calls, section=Marks(), pieces=(_SIGN, Gap("name"), "\n", Gap("arguments"), ""), between="")
    return replace(
        found,
        assistant=Marks(begin, found.assistant.after),
        openings=(_SIGN,),
        content=Marks(f"{_SIGN}all\n"),
        content_begins=(),
        calls=calls,
    )
