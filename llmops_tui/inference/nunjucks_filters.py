"""Filters of Nunjucks, and promptfoo's ``load``, for values of JSON."""

from __future__ import annotations

import html
import json
import math
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from llmops_tui.inference.nunjucks_values import (
    BLANKS,
    NOTHING,
    JsList,
    arithmetic,
    compare,
    from_json,
    is_undefined,
    json_text,
    length,
    member,
    number,
    text,
    written,
)

_LEADING_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_LEADING_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def _string(value: Any, name: str) -> str:
    """A text; nothing for what is not there or false, as Nunjucks does."""
    if value is None or is_undefined(value) or value is False:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {text(value)} is no text")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{name}: {written(value) or 'nothing'} is no list")
    return value


def _inside(value: Any, name: Any) -> Any:
    found = member(value, name)
    return None if found is NOTHING else found


def _abs(value: Any) -> float:
    return abs(number(value))


def _capitalize(value: Any) -> str:
    low = _string(value, "capitalize").lower()
    return low[:1].upper() + low[1:]


def _default(value: Any, other: Any = "", false_too: Any = False) -> Any:
    missing = is_undefined(value) or (bool(false_too) and not value)
    return other if missing else value


def _dump(value: Any, indent: Any = None) -> str:
    if is_undefined(value):
        return ""
    return json_text(value, min(10, int(number(indent))) if indent else None)


def _escape(value: Any) -> str:
    return html.escape(written(value)).replace("&#x27;", "&#39;").replace("\\", "&#92;")


def _first(value: Any) -> Any:
    return _inside(value, 0)


def _last(value: Any) -> Any:
    return _inside(value, len(value) - 1) if isinstance(value, list | str) else None


def _float(value: Any, other: Any = None) -> Any:
    found = _LEADING_NUMBER.match(text(value).lstrip(BLANKS))
    return float(found.group()) if found else other


def _int(value: Any, other: Any = None) -> Any:
    found = _LEADING_INTEGER.match(text(value).lstrip(BLANKS))
    return int(found.group()) if found else other


def _indent(value: Any, width: Any = 4, first_too: Any = False) -> str:
    margin = " " * int(number(width) or 4)
    lines = _string(value, "indent").split("\n")
    if lines == [""]:
        return ""
    return "\n".join(line if not i and not first_too else margin + line for i, line in enumerate(lines))


def _join(value: Any, between: Any = "", attribute: Any = None) -> str:
    parts = _list(value, "join")
    if attribute:
        parts = [_inside(part, attribute) for part in parts]
    return text(between or "").join(written(part) for part in parts)


def _length(value: Any) -> int | None:
    if value is True or (isinstance(value, int | float) and value is not False):
        return None  # a number has no such member
    return length(value) if isinstance(value, str | list | dict) else 0


def _as_list(value: Any) -> JsList:
    if isinstance(value, dict):
        return JsList(from_json({"key": name, "value": one}) for name, one in value.items())
    return JsList(value if isinstance(value, str) else _list(value, "list"))


def _lower(value: Any) -> str:
    return _string(value, "lower").lower()


def _nl2br(value: Any) -> str:
    return re.sub(r"\r\n|\n", "<br />\n", written(value))


def _replace(value: Any, old: Any, new: Any, count: Any = -1) -> Any:
    if isinstance(old, bool) or not isinstance(old, str | int | float):
        return value
    whole = text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(whole, str):
        return value
    if text(old) == "":
        return text(new) + text(new).join(whole) + text(new)
    return whole.replace(text(old), text(new), int(number(count)))


def _reverse(value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else JsList(reversed(_list(value, "reverse")))


def _round(value: Any, places: Any = 0, method: Any = "") -> float:
    factor = 10.0 ** int(number(places or 0))
    scaled = number(value) * factor
    rounded = (
        math.ceil(scaled) if method == "ceil" else math.floor(scaled) if method == "floor" else math.floor(scaled + 0.5)
    )
    return float(rounded / factor)


def _selected(wanted: bool) -> Callable[[Any, Any], JsList]:
    def chosen(value: Any, attribute: Any) -> JsList:
        return JsList(one for one in _list(value, "selectattr") if bool(_inside(one, attribute)) == wanted)

    return chosen


def _sort(value: Any, backwards: Any = False, case_sensitive: Any = False, attribute: Any = None) -> JsList:
    import functools

    def by(one: Any) -> Any:
        found = _inside(one, attribute) if attribute else one
        return found.lower() if isinstance(found, str) and not case_sensitive else found

    def order(one: Any, other: Any) -> int:
        left, right = by(one), by(other)
        sign = -1 if compare(left, "<", right) else 1 if compare(left, ">", right) else 0
        return -sign if backwards else sign

    return JsList(sorted(_list(value, "sort"), key=functools.cmp_to_key(order)))


def _sum(value: Any, attribute: Any = None, start: Any = 0) -> Any:
    total: Any = 0
    for one in _list(value, "sum"):
        total = arithmetic(total, "+", _inside(one, attribute) if attribute else one)
    return arithmetic(start, "+", total)


def _title(value: Any) -> str:
    return " ".join(_capitalize(word) for word in _string(value, "title").split(" "))


def _trim(value: Any) -> str:
    return _string(value, "trim").strip(BLANKS)


def _upper(value: Any) -> str:
    return _string(value, "upper").upper()


def _quoted(value: Any) -> str:
    return urllib.parse.quote(text(value), safe="-_.!~*'()")


def _urlencode(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    pairs = value.items() if isinstance(value, dict) else _list(value, "urlencode")
    return "&".join(f"{_quoted(name)}={_quoted(one)}" for name, one in pairs)


def _wordcount(value: Any) -> Any:
    words = re.findall(r"\w+", _string(value, "wordcount"), re.ASCII)
    return len(words) or None


def _load(value: Any) -> Any:
    return from_json(json.loads(_string(value, "load")))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": _abs, "capitalize": _capitalize, "default": _default, "d": _default, "dump": _dump, "escape": _escape,
    "e": _escape, "first": _first, "float": _float, "indent": _indent, "int": _int, "join": _join, "last": _last,
    "length": _length, "list": _as_list, "load": _load, "lower": _lower, "nl2br": _nl2br, "rejectattr": _selected(False),
    "replace": _replace, "reverse": _reverse, "round": _round, "safe": written, "selectattr": _selected(True),
    "sort": _sort, "string": written, "sum": _sum, "title": _title, "trim": _trim, "upper": _upper,
    "urlencode": _urlencode, "wordcount": _wordcount,
}  # fmt: skip
