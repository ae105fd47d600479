"""Thinking before an answer that is held to a form: it stays outside of the form."""

from __future__ import annotations

import json
from typing import TypedDict

# Any text; a lazy rule that begins with it ends where the mark behind it does.
ANY_TEXT = "TEXT: /(.|\\n)*/\n"


class Thought(TypedDict):
    """The marks around thinking, whether the prompt opened it, and what follows it before the answer."""

    before: str
    after: str
    open: bool
    follow: str


def thinking_before(thought: Thought | None) -> tuple[list[str], str]:
    """Rules of what may be thought first, or has to end where the prompt opened it, and what the answer's rule begins with.

    The rules need :data:`ANY_TEXT`.
    """
    if thought is None:
        return [], ""
    opened = "" if thought["open"] else json.dumps(thought["before"])
    rule = f"thought[lazy]: {opened} TEXT {json.dumps(thought['after'])}"
    behind = json.dumps(thought["follow"]) if thought["follow"] else '("\\n\\n" | "\\n")?'
    return [rule], f"thought {behind} " if thought["open"] else f"(thought {behind})? "


def held_answer(written: str, content: str) -> str:
    """A rule's body for an answer that is ``written`` so, behind the mark of contents where a format has one."""
    return f"({json.dumps(content)})? {written}" if content else written
