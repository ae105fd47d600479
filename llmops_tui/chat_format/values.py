"""Values as models write them in calls: JSON to the letter, Python's literals, and objects whose keys are not quoted.

A reader that has not seen enough of a text yet says so by :class:`MoreError`, whatever follows; one that has seen
enough to know that it is wrong, by :class:`WrongError`. So a text read in pieces is read as the whole of it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from llmops_tui.chat_format.json_names import Arguments

_BLANKS = re.compile(r"\s*")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_WORDS = {"True": True, "False": False, "None": None}


class MoreError(Exception):
    """The text ends before the value does."""


class WrongError(Exception):
    """What stands there cannot become what was expected."""


def over_blanks(text: str, at: int) -> int:
    """The place of the next character that is no blank."""
    found = _BLANKS.match(text, at)
    assert found is not None
    return found.end()


def balanced(text: str, at: int, quotes: str = '"') -> int:
    """Where a bracketed text that begins at a place ends; brackets within quotes do not count.

    Raises:
        MoreError: it does not end yet.
        WrongError: no bracket begins there, or one is closed that is not open.
    """
    if at >= len(text):
        raise MoreError
    if text[at] not in _PAIRS:
        raise WrongError
    open_: list[str] = []
    while at < len(text):
        sign = text[at]
        if sign in quotes:
            at = _quoted(text, at)
            continue
        at += 1
        if sign in _PAIRS:
            open_.append(_PAIRS[sign])
        elif sign in ")]}":
            if sign != open_.pop():
                raise WrongError
            if not open_:
                return at
    raise MoreError


def _quoted(text: str, at: int) -> int:
    """Where a quoted text that begins at a place ends."""
    quote, at = text[at], at + 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == quote:
            return at + 1
        at += 1
    raise MoreError


def json_object(text: str, at: int) -> tuple[Arguments, str, int]:
    """A JSON object at a place: its value, its text, where it ends.

    Raises:
        MoreError, WrongError: as said above.
    """
    end = balanced(text, at)
    written = text[at:end]
    try:
        value = json.loads(written, strict=False)
    except (ValueError, RecursionError) as error:
        raise WrongError from error
    if not isinstance(value, dict):
        raise WrongError
    return value, written, end


def members(written: str) -> dict[str, str]:
    """The members of a JSON object, each as it is written."""
    decoder = json.JSONDecoder(strict=False)
    found: dict[str, str] = {}
    at = over_blanks(written, 1)
    while written[at] == '"':
        key, at = decoder.raw_decode(written, at)
        start = over_blanks(written, over_blanks(written, at) + 1)
        _, end = decoder.raw_decode(written, start)
        found[key] = written[start:end]
        at = over_blanks(written, end)
        at = over_blanks(written, at + 1) if written[at] == "," else at
    return found


def json_text(text: str, at: int) -> tuple[str, int]:
    """A JSON string at a place and where it ends.

    Raises:
        MoreError, WrongError: as said above.
    """
    if at < len(text) and text[at] != '"':
        raise WrongError
    place = at + 1
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == '"':
            try:
                return str(json.loads(text[at : place + 1], strict=False)), place + 1
            except ValueError as error:
                raise WrongError from error
        place += 1
    raise MoreError


def python_arguments(text: str, at: int) -> tuple[Arguments, int]:
    """Arguments by name in round brackets, as Python writes them; JSON's words are understood too.

    Raises:
        MoreError, WrongError: as said above.
    """
    end = balanced(text, at, "\"'")
    try:
        read = ast.parse("f" + text[at:end], mode="eval").body
        if not isinstance(read, ast.Call) or read.args or any(word.arg is None for word in read.keywords):
            raise WrongError
        return {str(word.arg): _literal(word.value) for word in read.keywords}, end
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise WrongError from error


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[node.id]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_literal(key): _literal(value) for key, value in pairs if key is not None}
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    return ast.literal_eval(node)


def bare_value(text: str, at: int, quote: str) -> tuple[Any, int]:
    """A value whose objects have keys without quotes and whose texts stand between ``quote``.

    Raises:
        MoreError, WrongError: as said above.
    """
    at = over_blanks(text, at)
    rest = text[at:]
    if not rest or (len(rest) < len(quote) and quote.startswith(rest)):
        raise MoreError
    if rest.startswith(quote):
        end = text.find(quote, at + len(quote))
        if end < 0:
            raise MoreError
        return text[at + len(quote) : end], end + len(quote)
    if rest[0] in "{[":
        return _bare_items(text, at, quote)
    word = re.match(r"[^,{}\[\]:<\s]*", rest)
    assert word is not None
    if at + word.end() == len(text):
        raise MoreError
    if not word.group():
        raise WrongError
    return typed(word.group(), None), at + word.end()


def _bare_items(text: str, at: int, quote: str) -> tuple[Any, int]:
    mapping = text[at] == "{"
    close = "}" if mapping else "]"
    found: list[Any] = []
    at += 1
    while True:
        at = over_blanks(text, at)
        if at >= len(text):
            raise MoreError
        if text[at] == close:
            return (dict(found) if mapping else found), at + 1
        if text[at] == ",":
            at += 1
            continue
        if mapping:
            key, at = _bare_key(text, at, quote)
            value, at = bare_value(text, at, quote)
            found.append((key, value))
        else:
            value, at = bare_value(text, at, quote)
            found.append(value)


def _bare_key(text: str, at: int, quote: str) -> tuple[str, int]:
    if text.startswith(quote, at) or quote.startswith(text[at:]):
        value, at = bare_value(text, at, quote)
        at = over_blanks(text, at)
        if at >= len(text):
            raise MoreError
        if text[at] != ":":
            raise WrongError
        return str(value), at + 1
    end = text.find(":", at)
    if end < 0:
        raise MoreError
    return text[at:end].strip().strip('"'), end + 1


def typed(written: str, schema: Mapping[str, Any] | None) -> Any:
    """A value that was written without saying what it is: by the tool's schema, else what it looks like.

    Python's words for true, false and nothing are understood, as some templates write them.
    """
    kinds = _kinds(schema)
    if kinds == {"string"}:
        return written
    word = written.strip()
    value: Any = written
    if word in _WORDS:
        value = _WORDS[word]
    else:
        try:
            value = json.loads(word, strict=False)
        except (ValueError, RecursionError):
            if word[:1] in {"{", "["}:
                try:
                    value = _literal(ast.parse(word, mode="eval").body)
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    value = written
    if kinds and "string" in kinds and not _fits(value, kinds):
        return written
    return value


def _kinds(schema: Mapping[str, Any] | None) -> set[str]:
    kind = schema.get("type") if schema else None
    if isinstance(kind, list):
        return {str(one) for one in kind}
    if kind is None and schema and isinstance(schema.get("enum"), list):
        return {"string"} if all(isinstance(one, str) for one in schema["enum"]) else set()
    return {str(kind)} if kind else set()


def _fits(value: Any, kinds: set[str]) -> bool:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    name = names.get(type(value), "null")
    return name in kinds or (name == "integer" and "number" in kinds)
