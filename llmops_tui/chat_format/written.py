"""Reads one call out of what a model wrote, in the format that was read off its template.

Blanks count as little as models take them: where the template writes some, there may be others or none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmops_tui.chat_format import values
from llmops_tui.chat_format.json_names import Arguments
from llmops_tui.chat_format.marks import is_mark, tokens
from llmops_tui.chat_format.parameters import KEY
from llmops_tui.chat_format.record import CallFormat, Gap, Parameters, ValueMarks
from llmops_tui.chat_format.values import MoreError, WrongError, over_blanks

_NAME = re.compile(r"\s*([\w.\-]+)")
_ID = re.compile(r"\s*([^\s<>\[\]{}\"]+)")
_INDEX = re.compile(r"\s*(\d+)")
_LONGEST_KEY = 400
_NAME_KEYS = ("name", "tool_name", "function_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args")
_ID_KEYS = ("id", "tool_call_id", "call_id")


@dataclass(frozen=True)
class Call:
    """A call of a tool.

    Attributes:
        name: the tool's.
        arguments: by their names.
        id: the call's, where the model wrote one.
        written: the arguments as JSON: to the letter where the model wrote that, since numbers, read and written again,
            could become others.
    """

    name: str
    arguments: Arguments
    id: str = ""
    written: str = ""

    @property
    def as_json(self) -> str:
        """The arguments as JSON."""
        return self.written or json.dumps(self.arguments, ensure_ascii=False)


def literal(text: str, at: int, written: str, *, last: bool = False) -> int:
    """Where a literal that begins at a place ends; blanks are not compared. With ``last`` the text may end within it.

    Raises:
        MoreError: the text ends within it.
        WrongError: something else stands there.
    """
    for part in written.split():
        at = over_blanks(text, at)
        rest = text[at : at + len(part)]
        if rest == part:
            at += len(part)
        elif part.startswith(rest) and at + len(rest) == len(text):
            if last:
                return len(text)
            raise MoreError
        else:
            raise WrongError
    return at


def read_call(
    calls: CallFormat, text: str, at: int, schemas: Mapping[str, Mapping[str, Any]], *, last: bool
) -> tuple[Call, int]:
    """One call at a place and where it ends.

    Args:
        calls: how they are written.
        text: what the model wrote.
        at: where the call begins.
        schemas: the parameters of each tool, by its name.
        last: whether nothing follows, so that what ends a call may be missing.

    Raises:
        MoreError: it does not end yet.
        WrongError: it is no such call.
    """
    if calls.style == "object":
        return _object(calls, text, at, last=last)
    found: Arguments = {}
    pieces = list(calls.pieces)
    for n, piece in enumerate(pieces):
        following = pieces[n + 1] if n + 1 < len(pieces) else ""
        if isinstance(piece, Gap):
            at = _gap(calls, piece, text, at, found, schemas, last=last)
        elif calls.loose and "name" in found and "arguments" not in found:
            at = _past_last_mark(text, at, piece)
        else:
            try:
                at = literal(text, at, piece, last=last and n == len(pieces) - 1)
            except WrongError:
                # Ids and numbers are left out by some models of a family.
                if not (isinstance(following, Gap) and following.what in {"id", "index"}):
                    raise
                pieces[n + 1] = ""
    return Call(found["name"], found["arguments"], found.get("id", ""), found.get("written", "")), at


def _past_last_mark(text: str, at: int, piece: str) -> int:
    mark = next((token for token in reversed(tokens(piece)) if is_mark(token)), piece.strip())
    end = text.find(mark, at)
    if end < 0:
        raise MoreError
    return end + len(mark)


def _gap(
    calls: CallFormat,
    gap: Gap,
    text: str,
    at: int,
    found: Arguments,
    schemas: Mapping[str, Mapping[str, Any]],
    *,
    last: bool,
) -> int:
    if gap.what == "arguments":
        start = over_blanks(text, at)
        found["arguments"], at = _arguments(calls, text, at, schemas.get(found.get("name", "")), last=last)
        if calls.style == "json" and text[start] == "{":
            found["written"] = text[start:at]
        return at
    pattern = {"name": _NAME, "id": _ID, "index": _INDEX}[gap.what]
    match = pattern.match(text, at)
    if match is None:
        if text[at:].strip():
            raise WrongError
        raise MoreError
    if match.end() == len(text) and not last:
        raise MoreError
    if gap.what == "name" and found.setdefault("name", match.group(1)) != match.group(1):
        raise WrongError
    found[gap.what] = match.group(1)
    return match.end()


def _arguments(
    calls: CallFormat, text: str, at: int, schema: Mapping[str, Any] | None, *, last: bool
) -> tuple[Arguments, int]:
    if calls.style == "parameters":
        assert calls.parameters is not None
        return _by_parameters(calls.parameters, text, at, schema, last=last)
    at = over_blanks(text, at)
    if calls.style == "python":
        return values.python_arguments(text, at)
    if calls.style == "bare":
        value, at = values.bare_value(text, at, calls.quote)
        if not isinstance(value, dict):
            raise WrongError
        return value, at
    if text[at : at + 1] == '"':
        written, at = values.json_text(text, at)
        return _dictionary(written), at
    value, _, at = values.json_object(text, at)
    return value, at


def _dictionary(value: Any) -> Arguments:
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}", strict=False)
        except (ValueError, RecursionError) as error:
            raise WrongError from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WrongError
    return value


def _object(calls: CallFormat, text: str, at: int, *, last: bool) -> tuple[Call, int]:
    before, after = calls.pieces[0], calls.pieces[-1]
    assert isinstance(before, str)
    assert isinstance(after, str)
    at = over_blanks(text, literal(text, at, before))
    value, written, at = values.json_object(text, at)
    at = literal(text, at, after, last=last)
    return _call_of(calls, value, written), at


def _call_of(calls: CallFormat, value: Arguments, written: str) -> Call:
    if not calls.name_key:
        if len(value) != 1:
            raise WrongError
        ((name, arguments),) = value.items()
        return Call(name, _dictionary(arguments), "", _object_text(written, name))
    outer, _, inner = calls.name_key.rpartition(".")
    member = value.get(outer, value) if outer else value
    if not isinstance(member, dict):
        raise WrongError
    called = next((member[key] for key in (inner, *_NAME_KEYS) if isinstance(member.get(key), str)), None)
    if called is None:
        raise WrongError
    keys = (calls.arguments_key.rpartition(".")[2], *_ARGUMENT_KEYS)
    key = next((key for key in keys if key in member), "")
    own_text = values.members(written).get(outer, written) if outer and outer in value else written
    own = next((value[key] for key in (calls.id_key, *_ID_KEYS) if isinstance(value.get(key), str)), "")
    return Call(called, _dictionary(member.get(key, {})), own, _object_text(own_text, key))


def _object_text(written: str, key: str) -> str:
    """The text of a member that is an object; nothing where it is none."""
    text = values.members(written).get(key, "")
    return text if text.startswith("{") else ""


def _pattern(written: str, *, tail: bool = False) -> str:
    """A literal as a pattern in which blanks are free; at its end they are at most those that it has, where values follow."""
    found = "".join(r"\s*" if token.isspace() else re.escape(token) for token in tokens(written.rstrip()))
    blanks = written[len(written.rstrip()) :]
    return found + (f"(?:{re.escape(blanks)})?" if tail and blanks else "")


def _by_parameters(
    marks: Parameters, text: str, at: int, schema: Mapping[str, Any] | None, *, last: bool
) -> tuple[Arguments, int]:
    found: Arguments = {}
    begin = marks.before.strip()
    kinds = "|".join(f"({_pattern(value.before, tail=True)})" for value in marks.values)
    head = re.compile(rf"{_pattern(begin)}\s*([^\s<>\"=\[\]]+?)(?:{kinds})")
    properties = (schema or {}).get("properties") or {}
    while True:
        start = over_blanks(text, at)
        if marks.between.strip() and text.startswith(marks.between.strip(), start):
            start = over_blanks(text, start + len(marks.between.strip()))
        rest = text[start : start + len(begin)]
        if rest != begin or (marks.key_again and text.startswith("/", start + len(begin))):
            if begin.startswith(rest) and start + len(rest) == len(text) and not last:
                raise MoreError
            return found, at
        match = head.match(text, start)
        if match is None or (match.end() == len(text) and not last):
            if len(text) - start > _LONGEST_KEY:
                raise WrongError
            if match is None and marks.key_again and ">" in text[start + len(begin) :]:
                return found, at
            raise MoreError
        kind = next(n for n in range(len(marks.values)) if match.group(n + 2) is not None)
        key = match.group(1)
        written, at = _value(marks.values[kind], key, text, match.end())
        if marks.key_again and begin in written:
            found[key] = _nested(marks, written, properties.get(key))
        elif len(marks.values) > 1:
            found[key] = written if marks.values[kind].text else values.typed(written, None)
        else:
            found[key] = values.typed(written, properties.get(key))


def _value(marks: ValueMarks, key: str, text: str, at: int) -> tuple[str, int]:
    after = marks.after.replace(KEY, key)
    end = text.find(after.strip(), at)
    if end < 0:
        raise MoreError
    written = text[at:end]
    blanks = after[: len(after) - len(after.lstrip())]
    return written.removesuffix(blanks) if blanks else written, end + len(after.strip())


def _nested(marks: Parameters, written: str, schema: Mapping[str, Any] | None) -> Any:
    """A value whose own members stand between marks like those of the arguments; a list's go by one name."""
    kind = marks.values[0]
    head = re.compile(rf"{_pattern(marks.before.strip())}\s*([^\s<>\"=\[\]/]+?){_pattern(kind.before, tail=True)}")
    found: list[tuple[str, Any]] = []
    properties = (schema or {}).get("properties") or {}
    items = (schema or {}).get("items")
    at = 0
    while (match := head.match(written, over_blanks(written, at))) is not None:
        key = match.group(1)
        inner, at = _value(kind, key, written, match.end())
        own = items if items is not None else properties.get(key)
        value = _nested(marks, inner, own) if marks.before.strip() in inner else values.typed(inner, own)
        found.append((key, value))
    names = {key for key, _ in found}
    if items is not None or (not properties and names == {"item"}):
        return [value for _, value in found]
    return dict(found)
