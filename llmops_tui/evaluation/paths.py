"""Values inside a row by path, such as ``messages[1].content`` or ``expected.intent``."""

from __future__ import annotations

import re
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json

_PART = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")


def check_path(path: str) -> None:
    """Refuse what is no path.

    Raises:
        InputRefusedError: ``bad_path``.
    """
    if not path or "".join(m.group() for m in _PART.finditer(path)) != path:
        raise InputRefusedError(
            "bad_path", f"{path!r} is not a path", "Write for example messages[1].content, or a column's name."
        )


def value_at(row: Any, path: str) -> Any:
    """The value at a path. A text on the way that is JSON is looked into.

    Raises:
        KeyError: there is nothing; its argument says where the path ends.
    """
    value, gone = row, ""
    for match in _PART.finditer(path):
        name, number = match.group(1), match.group(2)
        if isinstance(value, str):
            try:
                value = parse_json(value)
            except ValueError:
                raise KeyError(f"{gone or 'the row'} is a text, not JSON") from None
        try:
            value = value[name] if number is None else value[int(number)]
        except (KeyError, IndexError, TypeError):
            known = f"; it has {', '.join(map(str, value))}"[:200] if isinstance(value, dict) else ""
            raise KeyError(f"{gone or 'the row'} has no {match.group().lstrip('.')}{known}") from None
        gone += match.group()
    return value
