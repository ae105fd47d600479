"""A branch of a chat as text for others: Markdown to read, messages as OpenAI's API has them, a row of training data."""

from __future__ import annotations

import json
import re

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.chats.tree import USER, Chat

FORMS = ("markdown", "messages", "jsonl")
_FENCE = re.compile(r"^`{3,}", re.MULTILINE)


def as_text(chat: Chat, form: str) -> str:
    """The branch that is shown, in one of ``FORMS``: ``messages`` is a list in JSON, ``jsonl`` one row of a dataset.

    Raises:
        LlmopsError: ``bad_form``. InputRefusedError: ``nothing_said``: there is no turn.
    """
    if form not in FORMS:
        raise LlmopsError("bad_form", f"there is no form {form!r}", f"It is one of {', '.join(FORMS)}.")
    if not chat.branch():
        raise InputRefusedError("nothing_said", f"nothing was said in {chat.name}", "Say something first.")
    if form == "markdown":
        return _markdown(chat)
    messages = chat.as_messages()
    if form == "jsonl":
        return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"
    return json.dumps(messages, ensure_ascii=False, indent=2) + "\n"


def _markdown(chat: Chat) -> str:
    parts = [f"# {chat.name}"]
    if chat.system.strip():
        parts.append("**system**\n\n" + _quoted(chat.system))
    for turn in chat.branch():
        who = "you" if turn.role == USER else turn.model or "assistant"
        parts.append(f"**{who}**\n\n" + "\n>\n".join([*map(_round, turn.rounds), _quoted(turn.text)]))
    return "\n\n".join(parts) + "\n"


def _round(message: ChatMessage) -> str:
    """What was called, and what came of it, as code; what was said beside a call before it."""
    calls = message.get("tool_calls") or []
    told = [f"called {call['function']['name']} {call['function']['arguments']}" for call in calls]
    content = str(message.get("content") or "")
    if message["role"] == "tool":
        told, content = [f"→ {content}"], ""
    lines = "\n".join(told)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", lines)), default=0))
    return "\n>\n".join([*([_quoted(content)] if content else []), _quoted(f"{fence}\n{lines}\n{fence}")])


def _quoted(text: str) -> str:
    """A text that stays whole between others: headings in it are its own, and a fence it leaves open is closed."""
    fences = _FENCE.findall(text)
    closed = text if len(fences) % 2 == 0 else f"{text}\n{fences[-1]}"
    return "\n".join(f"> {line}".rstrip() for line in closed.splitlines())
