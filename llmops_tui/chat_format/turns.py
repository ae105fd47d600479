"""Conversations as a template wants them: arguments as objects or texts, thinking in the field that it reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_tui.chat_format.json_names import Turn
from llmops_tui.chat_format.probes import in_parts
from llmops_tui.chat_format.record import ChatFormat
from llmops_tui.chat_format.thinking import PARTS

_FIELDS = ("reasoning_content", "thinking", "reasoning")


def as_wanted(chat: ChatFormat, messages: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """Messages in OpenAI's form, or near it, as the template takes them; the given ones stay as they are.

    Arguments of calls that are texts become objects where the template wants these, and the other way round; a text that
    is no JSON object stays one. Thinking goes by all its names, as transformers passes it, and into the content where the
    template reads it there. Ids of calls are made as long as it takes them.
    """
    return [_turn(chat, message) for message in messages]


def _turn(chat: ChatFormat, message: Mapping[str, Any]) -> Turn:
    turn = dict(message)
    thought = next((turn[name] for name in _FIELDS if turn.get(name)), None)
    thinking = chat.thinking
    if isinstance(thought, str) and turn.get("role") == "assistant":
        turn |= dict.fromkeys(("thinking", "reasoning_content", "reasoning"), thought)
        content = turn.get("content") or ""
        if thinking is not None and thinking.field == PARTS and isinstance(content, str):
            turn["content"] = [{"type": "thinking", "thinking": thought}, {"type": "text", "text": content}]
        elif thinking is not None and not thinking.field and thinking.past and isinstance(content, str):
            # Where the template takes thinking out of the content again, it need not be put in.
            marks = thinking.marks
            turn["content"] = f"{marks.before}\n{thought}\n{marks.after}\n\n{content}"
    length = chat.calls.id_length if chat.calls is not None else 0
    if turn.get("tool_call_id"):
        turn["tool_call_id"] = _id(turn["tool_call_id"], length)
    if turn.get("tool_calls"):
        turn["tool_calls"] = [_call(chat, call) for call in turn["tool_calls"]]
        if not turn.get("content"):
            turn["content"] = None if chat.calls is not None and chat.calls.null_content else ""
    return in_parts(turn) if chat.parts else turn


def _id(given: Any, length: int) -> Any:
    """An id as long as the template takes them, the same each time."""
    if not length or not isinstance(given, str) or (len(given) == length and given.isalnum()):
        return given
    return hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:length]


def _call(chat: ChatFormat, call: Mapping[str, Any]) -> Turn:
    if call.get("id") and chat.calls is not None:
        call = dict(call) | {"id": _id(call["id"], chat.calls.id_length)}
    function = call.get("function")
    if not isinstance(function, Mapping):
        return dict(call)
    arguments = function.get("arguments")
    wanted = chat.calls.arguments_as if chat.calls is not None else "object"
    if wanted == "text" and not isinstance(arguments, str):
        arguments = json.dumps(arguments if arguments is not None else {}, ensure_ascii=False)
    elif wanted != "text" and isinstance(arguments, str):
        try:
            read = json.loads(arguments or "{}")
        except ValueError:
            read = None
        arguments = read if isinstance(read, dict) else arguments
    return dict(call) | {"function": dict(function) | {"arguments": arguments}}
