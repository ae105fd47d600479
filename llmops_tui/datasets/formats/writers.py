"""Writers of row formats; reading their output gives the same canonical rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmops_tui.datasets.formats.readers import KIND_OF, ROLE_OF, RowRefusedError, reader
from llmops_tui.datasets.records import Message, Row, dump_json

_FROM = {"user": "human", "assistant": "gpt", "tool": "observation"}


def formats_for(kind: str) -> list[str]:
    """The formats that can hold rows of a kind; the first is the one to take where nothing else is asked for."""
    own = [form for form, target in KIND_OF.items() if target == kind]
    return own if kind == "tabular" else [*own, "tabular"]


def writer(form: str, kind: str) -> Callable[[Row], Row]:
    """The function that turns a canonical row of ``kind`` into one of format ``form``.

    It raises :class:`RowRefusedError` for a row that the format cannot hold without losing something: what it wrote is
    read again and compared.
    """
    if form in {"tabular", kind}:
        return dict
    shape = {"sharegpt": _sharegpt, "alpaca": _alpaca}[form]
    again = reader(form)

    def write(row: Row) -> Row:
        out = shape(dict(row))
        back = again({key: _copy(value) for key, value in out.items()})
        if back != row:
            raise RowRefusedError(f"{form} cannot hold it: {_difference(row, back)}")
        return out

    return write


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value


def _difference(row: Row, back: Row) -> str:
    for key in row:
        if key not in back:
            return f"{key} would be lost"
        if row[key] != back[key]:
            return f"{key} would change"
    return "fields would be added"


def _sharegpt(row: Row) -> Row:
    messages = row.pop("messages")
    if "tools" in row:
        # Programs that read this format expect a text here.
        row["tools"] = dump_json(row["tools"])
    return {"conversations": [_turn(m) for m in messages], **row}


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


def _alpaca(row: Row) -> Row:
    turns = list(row.pop("messages"))
    for name in ("instruction", "input", "output", "system", "history"):
        if name in row:
            raise RowRefusedError(f"the column {name} has a meaning of its own there")
    out: Row = {}
    if turns and turns[0].get("role") == "system":
        out["system"] = turns.pop(0).get("content")
    answer = turns.pop() if turns and turns[-1].get("role") == "assistant" else None
    if not turns or turns[-1].get("role") != "user":
        raise RowRefusedError("there is no question before the answer")
    question = turns.pop()
    content, given = question.get("content"), question.get("input")
    if not isinstance(content, str):
        raise RowRefusedError("the question is not a text")
    if isinstance(given, str) and given and content.endswith("\n\n" + given):
        content = content[: -len(given) - 2]
    else:
        given = ""
    pairs = list(zip(turns[::2], turns[1::2], strict=False))
    if len(turns) % 2 or any((q.get("role"), a.get("role")) != ("user", "assistant") for q, a in pairs):
        raise RowRefusedError("the turns do not alternate")
    out = {"instruction": content, "input": given} | ({} if answer is None else {"output": answer.get("content")}) | out
    if pairs:
        out["history"] = [[q.get("content"), a.get("content")] for q, a in pairs]
    return out | row
