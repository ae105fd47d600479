"""Families whose format says more than their templates render, found by what is rendered and never by a model's name."""

from __future__ import annotations

from llmops_tui.chat_format.families import harmony, recipients
from llmops_tui.chat_format.record import ChatFormat


def known_by(found: ChatFormat) -> ChatFormat:
    """A format with what is known of its family."""
    if harmony.is_one(found):
        return harmony.completed(found)
    if recipients.is_one(found):
        return recipients.completed(found)
    return found
