"""Writers of row formats; reading their output gives the same canonical rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.registry import all_formats, calls, find_format
from llmops_tui.datasets.records import Row


def formats_for(kind: str) -> list[str]:
    """The formats that can hold rows of a kind; the first is the one to take where nothing else is asked for."""
    own = [form.name for form in all_formats() if form.kind == kind]
    return own if kind == "tabular" else [*own, "tabular"]


def writer(form: str, kind: str) -> Callable[[Row], Row]:
    """The function that turns a canonical row of ``kind`` into one of format ``form``.

    It raises :class:`RowRefusedError` for a row that the format cannot hold without losing something: what it wrote is
    read again and compared.

    Raises:
        InputRefusedError: ``unknown_format``.
    """
    if form in {"tabular", kind}:
        return dict
    called = calls(find_format(form))

    def write(row: Row) -> Row:
        out = called.write(_copy(row))
        back = called.read(_copy(out))
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
