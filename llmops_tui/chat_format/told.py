"""What is told of an answer: text of a kind, calls, and what could not be read as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmops_tui.chat_format.written import Call

Kind = Literal["content", "thinking", "call", "problem"]


@dataclass(frozen=True)
class Event:
    """What a piece of an answer turned out to be: text of a kind, or a call."""

    kind: Kind
    text: str = ""
    call: Call | None = None


@dataclass
class Parsed:
    """A whole answer.

    Attributes:
        content: what is said, without any marks.
        thinking: what was thought before.
        calls: the calls of tools, in order.
        problems: what begins like a call and cannot be read as one, to the letter.
    """

    content: str = ""
    thinking: str = ""
    calls: list[Call] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, events: Sequence[Event]) -> None:
        """Take in what a reader told."""
        for event in events:
            if event.kind == "content":
                self.content += event.text
            elif event.kind == "thinking":
                self.thinking += event.text
            elif event.call is not None:
                self.calls.append(event.call)
            else:
                self.problems.append(event.text)
