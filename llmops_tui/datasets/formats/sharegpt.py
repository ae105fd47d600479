"""Conversations as ShareGPT has them: turns with ``from`` and ``value``."""

from __future__ import annotations

from llmops_tui.datasets.formats.base import Format, RowRefusedError, checked_messages, has, structured
from llmops_tui.datasets.records import Message, Row, dump_json

ROLE_OF = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system", "observation": "tool",
    "tool": "tool", "function_response": "tool",
}  # fmt: skip
_FROM = {"user": "human", "assistant": "gpt", "tool": "observation"}


class ShareGpt(Format):
    """``{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}, …]}``."""

    name = "sharegpt"
    kind = "messages"
    columns = frozenset({"conversations", "system", "tools"})
    sign = "have 'conversations'"
    turns = "conversations"

    def recognises(self, row: Row) -> bool:
        """By its column."""
        return has(row, "conversations")

    def read(self, row: Row) -> Row:
        """Turns as messages, a system text as the first of them."""
        turns = checked_messages(structured(row.pop("conversations", None)), "conversations")
        messages = [turn_message(turn) for turn in turns]
        system = row.pop("system", None)
        if isinstance(system, str) and system:
            messages.insert(0, {"role": "system", "content": system})
        elif system is not None and system != "":
            row["system"] = system
        if "tools" in row:
            row["tools"] = structured(row["tools"])
        return {"messages": messages, **row}

    def write(self, row: Row) -> Row:
        """Messages as turns."""
        messages = row.pop("messages")
        if "tools" in row:
            # Programs that read this format expect a text here.
            row["tools"] = dump_json(row["tools"])
        return {"conversations": [_turn(m) for m in messages], **row}


def turn_message(turn: Message) -> Message:
    """A turn as a message; one that is a message already stays one."""
    rest = {k: v for k, v in turn.items() if k not in {"from", "value", "role", "content"}}
    said_by = turn.get("from", turn.get("role"))
    value = turn.get("value", turn.get("content"))
    if said_by == "function_call" and isinstance(value, str):
        call = structured(value)
        if isinstance(call, dict) and set(call) == {"name", "arguments"}:
            return {"role": "assistant", "tool_calls": [{"type": "function", "function": call}], **rest}
    message: Message = {"role": ROLE_OF.get(str(said_by), said_by)}
    if "value" in turn or "content" in turn:
        message["content"] = value
    return message | rest


def _turn(message: Message) -> Message:
    rest = {k: v for k, v in message.items() if k not in {"role", "content"}}
    calls = rest.get("tool_calls")
    if message.get("role") == "assistant" and "content" not in message and isinstance(calls, list) and len(calls) == 1:
        call = calls[0]
        if isinstance(call, dict) and set(call) == {"type", "function"} and call["type"] == "function":
            rest.pop("tool_calls")
            return {"from": "function_call", "value": dump_json(call["function"]), **rest}
    role = message.get("role")
    out: Message = {"from": _FROM.get(str(role), role)}
    if role in ROLE_OF and role not in set(ROLE_OF.values()):
        raise RowRefusedError(f"the role {role!r} would be read as {ROLE_OF[str(role)]!r}")
    if "content" in message:
        out["value"] = message["content"]
    return out | rest
