"""Conversations as Gemini's API and its tuning files have them: contents of parts."""

from __future__ import annotations

from typing import Any

from llmops_tui.datasets.formats.base import Format, RowRefusedError, checked_messages, has, structured
from llmops_tui.datasets.records import Message, Row, dump_json

_ROLE_OF = {"user": "user", "model": "assistant"}
_FROM = {role: name for name, role in _ROLE_OF.items()}
_SYSTEM = ("systemInstruction", "system_instruction")


class Gemini(Format):
    """``{"contents": [{"role": "user", "parts": [{"text": …}]}, {"role": "model", …}]}``, with ``systemInstruction``."""

    name = "gemini"
    kind = "messages"
    columns = frozenset({"contents", *_SYSTEM})
    sign = "have 'contents'"
    turns = "contents"

    def recognises(self, row: Row) -> bool:
        """By contents that have parts."""
        contents = row.get("contents")
        return has(row, "contents") and isinstance(contents, list) and "parts" in (contents[:1] or [{}])[0]

    def read(self, row: Row) -> Row:
        """Contents as messages, the instruction as the first of them."""
        turns = checked_messages(structured(row.pop("contents", None)), "contents")
        messages = [m for index, turn in enumerate(turns) for m in _messages(turn, f"contents[{index}]")]
        name = next((name for name in _SYSTEM if row.get(name) is not None), "")
        if name:
            system = row.pop(name)
            text = system if isinstance(system, str) else _text(structured(system), name)
            messages.insert(0, {"role": "system", "content": text})
        return {"messages": messages, **row}

    def write(self, row: Row) -> Row:
        """Messages as contents."""
        messages = list(row.pop("messages"))
        out: Row = {}
        if messages and messages[0].get("role") == "system":
            out["systemInstruction"] = {"parts": _parts(messages.pop(0))}
        contents = []
        for message in messages:
            if message.get("role") not in _FROM:
                raise RowRefusedError(f"it has no role for {message.get('role')!r}")
            contents.append({"role": _FROM[message["role"]], "parts": _parts(message)})
        return out | {"contents": contents} | row


def _messages(turn: Message, place: str) -> list[Message]:
    """A turn as messages: its calls beside its text, and each result of a call as a message of its own."""
    rest = {name: value for name, value in turn.items() if name not in {"role", "parts"}}
    parts = turn.get("parts")
    parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    results = [part["functionResponse"] for part in parts if set(part) == {"functionResponse"}]
    if results and len(results) == len(turn["parts"]):
        return [_result(result, place) | rest for result in results]
    calls = [_call(part["functionCall"], place) for part in parts if set(part) == {"functionCall"}]
    role = str(turn.get("role", "user"))
    message: Message = {"role": _ROLE_OF.get(role, role)}
    if not calls:
        return [message | {"content": _text(turn, place)} | rest]
    said = [part for part in turn["parts"] if not (isinstance(part, dict) and set(part) == {"functionCall"})]
    content = {"content": _text({"parts": said}, place)} if said else {}
    return [message | content | {"tool_calls": calls} | rest]


def _call(call: Any, place: str) -> Message:
    if not (isinstance(call, dict) and isinstance(call.get("name"), str) and set(call) <= {"id", "name", "args"}):
        raise RowRefusedError(f"{place} has a functionCall that is not a name with args")
    made = {"type": "function", "function": {"name": call["name"], "arguments": call.get("args") or {}}}
    return made | ({"id": call["id"]} if "id" in call else {})


def _result(result: Any, place: str) -> Message:
    if not (isinstance(result, dict) and {"name", "response"} <= set(result) <= {"id", "name", "response"}):
        raise RowRefusedError(f"{place} has a functionResponse that is not a name with a response")
    made: Message = {"role": "tool", "content": dump_json(result["response"]), "name": result["name"]}
    return made | ({"tool_call_id": result["id"]} if "id" in result else {})


def _text(turn: Any, place: str) -> str:
    parts = turn.get("parts") if isinstance(turn, dict) else None
    if not isinstance(parts, list) or not parts:
        raise RowRefusedError(f"{place} has no parts")
    for part in parts:
        if not (isinstance(part, dict) and set(part) == {"text"} and isinstance(part["text"], str)):
            raise RowRefusedError(
                f"{place} has a part that is not a text; only texts, calls and their results can be imported"
            )
    # Several parts are one text, cut where it was streamed.
    return "".join(part["text"] for part in parts)


def _parts(message: Message) -> list[dict[str, str]]:
    if set(message) != {"role", "content"} or not isinstance(message["content"], str):
        raise RowRefusedError("a turn has more than a text")
    return [{"text": message["content"]}]
