"""Readers of row formats: each row becomes the canonical row of its kind, with no field lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.registry import calls, find_format
from llmops_tui.datasets.records import Row

# What a column may be mapped to, and the kind a table becomes by it; each kind has a format of its name.
MAPPING_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("chosen", "rejected"), "preference"),
    (("prompt", "completion", "label"), "kto"),
    (("prompt", "completion"), "prompt-completion"),
    (("user",), "messages"),
    (("text",), "text"),
)
MAPPING_ROLES = ("system", "user", "assistant", "prompt", "completion", "chosen", "rejected", "label", "text")


def mapped_kind(mapping: Mapping[str, str]) -> str:
    """The kind that a mapping of roles to columns makes of a table."""
    for needed, kind in MAPPING_KINDS:
        if all(role in mapping for role in needed):
            return kind
    return "tabular"


def kind_of(form: str, mapping: Mapping[str, str] | None = None) -> str:
    """The kind that rows of a format become.

    Raises:
        InputRefusedError: ``unknown_format``.
    """
    return mapped_kind(mapping) if form == "tabular" and mapping else find_format(form).kind


def reader(form: str, mapping: Mapping[str, str] | None = None) -> Callable[[Row], Row]:
    """The function that turns a source's row of format ``form`` into a canonical row.

    It may change the row it is given, and raises :class:`RowRefusedError` for one that does not fit.

    Raises:
        InputRefusedError: ``unknown_format``.
    """
    if form == "tabular" and mapping:
        return lambda row: _mapped(row, mapping)
    return calls(find_format(form)).read


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
    if kind != "text":
        taken = {role: value for role, value in taken.items() if value is not None}
    return reader(kind)({**taken, **row})
