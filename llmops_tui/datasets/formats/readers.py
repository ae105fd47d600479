"""Readers of row formats: each row becomes the canonical row of its kind, with no field lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from llmops_tui.datasets.records import Message, Row

# What each format becomes.
KIND_OF: dict[str, str] = {
    "messages": "messages", "sharegpt": "messages", "alpaca": "messages", "prompt-completion": "prompt-completion",
    "preference": "preference", "kto": "kto", "text": "text", "tabular": "tabular",
}  # fmt: skip
FORMATS = tuple(KIND_OF)

ROLE_OF = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system", "observation": "tool",
    "tool": "tool", "function_response": "tool",
}  # fmt: skip
# What a column may be mapped to, and the kind a table becomes by it.
MAPPING_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("chosen", "rejected"), "preference"),
    (("prompt", "completion", "label"), "kto"),
    (("prompt", "completion"), "prompt-completion"),
    (("user",), "messages"),
    (("text",), "text"),
)
MAPPING_ROLES = ("system", "user", "assistant", "prompt", "completion", "chosen", "rejected", "label", "text")


class RowRefusedError(ValueError):
    """A row that is not what its format says; the text says why."""


def mapped_kind(mapping: Mapping[str, str]) -> str:
    """The kind that a mapping of roles to columns makes of a table."""
    for needed, kind in MAPPING_KINDS:
        if all(role in mapping for role in needed):
            return kind
    return "tabular"


def reader(form: str, mapping: Mapping[str, str] | None = None) -> Callable[[Row], Row]:
    """The function that turns a source's row of format ``form`` into a canonical row.

    It may change the row it is given, and raises :class:`RowRefusedError` for one that does not fit.
    """
    if form == "tabular":
        return _identity if not mapping else lambda row: _mapped(row, mapping)
    return _READERS[form]


def _identity(row: Row) -> Row:
    return row


def _structured(value: Any) -> Any:
    """Lists and objects that a table holds as JSON text."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _messages(row: Row) -> Row:
    row["messages"] = [_ordered(m) for m in _checked(_structured(row.get("messages")), "messages")]
    if "tools" in row:
        row["tools"] = _structured(row["tools"])
    return row


def _checked(value: Any, name: str) -> list[Message]:
    if not isinstance(value, list):
        raise RowRefusedError(f"{name} is {_kind_name(value)}, not a list of messages")
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise RowRefusedError(f"{name}[{index}] is {_kind_name(message)}, not an object with role and content")
    return value


def _ordered(message: Message) -> Message:
    """A message with role and content first, so that the same message is always written the same."""
    keys = iter(message)
    if next(keys, "") == "role" and next(keys, "") == "content":
        return message
    if "content" not in message or "role" not in message:
        return message
    return {"role": message["role"], "content": message["content"]} | message


def _kind_name(value: Any) -> str:
    if value is None:
        return "missing"
    names = {str: "a text", int: "a number", float: "a number", bool: "true or false", list: "a list"}
    return names.get(type(value), "an object")


def _sharegpt(row: Row) -> Row:
    turns = _checked(_structured(row.pop("conversations", None)), "conversations")
    messages = [_turn(turn) for turn in turns]
    system = row.pop("system", None)
    if isinstance(system, str) and system:
        messages.insert(0, {"role": "system", "content": system})
    elif system is not None and system != "":
        row["system"] = system
    if "tools" in row:
        row["tools"] = _structured(row["tools"])
    return {"messages": messages, **row}


def _turn(turn: Message) -> Message:
    rest = {k: v for k, v in turn.items() if k not in {"from", "value", "role", "content"}}
    said_by = turn.get("from", turn.get("role"))
    value = turn.get("value", turn.get("content"))
    if said_by == "function_call" and isinstance(value, str):
        call = _structured(value)
        if isinstance(call, dict) and set(call) == {"name", "arguments"}:
            return {"role": "assistant", "tool_calls": [{"type": "function", "function": call}], **rest}
    message: Message = {"role": ROLE_OF.get(str(said_by), said_by)}
    if "value" in turn or "content" in turn:
        message["content"] = value
    return message | rest


def _question(row: Row) -> Message:
    instruction = row.pop("instruction", None)
    given = row.pop("input", None)
    if not isinstance(instruction, str):
        raise RowRefusedError(f"instruction is {_kind_name(instruction)}")
    if given is None or given == "":
        return {"role": "user", "content": instruction}
    if not isinstance(given, str):
        raise RowRefusedError(f"input is {_kind_name(given)}")
    return {"role": "user", "content": f"{instruction}\n\n{given}", "input": given}


def _alpaca_prompt(row: Row) -> list[Message]:
    messages: list[Message] = []
    system = row.pop("system", None)
    if isinstance(system, str) and system:
        messages.append({"role": "system", "content": system})
    for pair in _structured(row.pop("history", None)) or []:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise RowRefusedError("history is not a list of pairs of question and answer")
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return [*messages, _question(row)]


def _alpaca(row: Row) -> Row:
    messages = _alpaca_prompt(row)
    answer = row.pop("output", None)
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages, **row}


def _said(value: Any, name: str) -> str | list[Message]:
    value = _structured(value)
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and ("content" in value or "value" in value):
        return [_turn(value)]
    return [_ordered(m) for m in _checked(value, name)]


def _prompt_completion(row: Row) -> Row:
    prompt, completion = _said(row.pop("prompt", None), "prompt"), _said(row.pop("completion", None), "completion")
    return {"prompt": prompt, "completion": completion, **row}


def _preference(row: Row) -> Row:
    chosen, rejected = _said(row.pop("chosen", None), "chosen"), _said(row.pop("rejected", None), "rejected")
    prompt: str | list[Message] | None = None
    if "conversations" in row:
        prompt = [_turn(turn) for turn in _checked(_structured(row.pop("conversations")), "conversations")]
    elif "instruction" in row:
        prompt = _alpaca_prompt(row)
    elif row.get("prompt") is not None:
        prompt = _said(row.pop("prompt"), "prompt")
    if isinstance(chosen, list) and isinstance(rejected, list) and (prompt is None or isinstance(prompt, str)):
        same = _common_prefix(chosen, rejected)
        if prompt is None or (same and same[-1].get("content") == prompt):
            prompt, chosen, rejected = same or None, chosen[len(same) :], rejected[len(same) :]
    row.pop("prompt", None)
    return ({} if prompt is None else {"prompt": prompt}) | {"chosen": chosen, "rejected": rejected, **row}


def _common_prefix(left: list[Message], right: list[Message]) -> list[Message]:
    count = 0
    # The answers themselves stay, even where both are the same.
    while count < min(len(left), len(right)) - 1 and left[count] == right[count]:
        count += 1
    return left[:count]


def _kto(row: Row) -> Row:
    label = row.pop("kto_tag") if "kto_tag" in row else row.pop("label", None)
    if isinstance(label, str) and label.lower() in {"true", "false"}:
        label = label.lower() == "true"
    if not isinstance(label, bool) and label not in (0, 1):
        raise RowRefusedError(f"label is {_kind_name(label)}, not true or false")
    if "prompt" in row:
        made = _prompt_completion(row)
    else:
        turns = _turns_of(row)
        if len(turns) < 2:
            raise RowRefusedError("there is no answer to judge")
        made = {"prompt": turns[:-1], "completion": turns[-1:], **row}
    return {"prompt": made.pop("prompt"), "completion": made.pop("completion"), "label": bool(label), **made}


def _turns_of(row: Row) -> list[Message]:
    """The conversation of a row, taken out of it."""
    inner = _sharegpt(row) if "conversations" in row else _alpaca(row) if "instruction" in row else _messages(row)
    turns: list[Message] = inner.pop("messages")
    row.clear()
    row.update(inner)
    return turns


def _text(row: Row) -> Row:
    if not isinstance(row.get("text"), str):
        raise RowRefusedError(f"text is {_kind_name(row.get('text'))}")
    return row


def _mapped(row: Row, mapping: Mapping[str, str]) -> Row:
    """A table's row as its mapping of roles to columns says; columns that are not mapped stay beside."""
    kind = mapped_kind(mapping)
    taken = {role: row.pop(column, None) for role, column in mapping.items()}
    if kind == "messages":
        messages = [
            {"role": role, "content": taken[role]}
            for role in ("system", "user", "assistant")
            if taken.get(role) is not None
        ]
        if not any(m["role"] == "user" for m in messages):
            raise RowRefusedError(f"{mapping['user']} is missing")
        return {"messages": messages, **row}
    if kind == "text":
        return _text({"text": taken["text"], **row})
    taken = {role: value for role, value in taken.items() if value is not None}
    return _READERS[kind]({**taken, **row})


_READERS: dict[str, Callable[[Row], Row]] = {
    "messages": _messages, "sharegpt": _sharegpt, "alpaca": _alpaca, "prompt-completion": _prompt_completion,
    "preference": _preference, "kto": _kto, "text": _text,
}  # fmt: skip
