"""Chat templates read by what they render: their format, the spans of answers, and answers taken apart again.

:func:`read_format` renders conversations of known words with a template and gives a :class:`ChatFormat`;
:func:`assistant_spans` says which characters of a rendered conversation an assistant wrote; :func:`parse` and
:class:`AnswerReader` take a model's answer apart, whole or piece by piece; :func:`as_wanted` gives messages the form that
the template takes, and :func:`rendered` says what of a conversation came from outside. What renders is handed in, so that
this room needs none of the others.
"""

from __future__ import annotations

from llmops_tui.chat_format.answers import AnswerReader, parse
from llmops_tui.chat_format.foreign import ControlTexts, Rendered, rendered
from llmops_tui.chat_format.reading import read_format
from llmops_tui.chat_format.record import CallFormat, ChatFormat, Marks, Thinking
from llmops_tui.chat_format.spans import Lost, Span, Spans, assistant_spans
from llmops_tui.chat_format.told import Event, Parsed
from llmops_tui.chat_format.turns import as_wanted
from llmops_tui.chat_format.written import Call

__all__ = [
    "AnswerReader",
    "Call",
    "CallFormat",
    "ChatFormat",
    "ControlTexts",
    "Event",
    "Lost",
    "Marks",
    "Parsed",
    "Rendered",
    "Span",
    "Spans",
    "Thinking",
    "as_wanted",
    "assistant_spans",
    "parse",
    "read_format",
    "rendered",
]
