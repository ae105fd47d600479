"""Values of fields as people read and type them."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llmops_tui.field_words import is_byte_count, size_of, size_words, value_of, word_of

# Up to here a number without a fraction is written without one.
_EXACT = 1e6


def to_text(value: Any) -> str:
    """A field's value as it is typed. Lists are written as JSON, so that a text may hold any character."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, dict)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else str(value)


def shown_text(info: FieldInfo, value: Any) -> str:
    """A field's value as the form shows it: by its word where it has one; nothing is an empty field with the word in it."""
    word = word_of(info, value) if value != "" else None
    if word is None and is_byte_count(info) and isinstance(value, int):
        word = size_words(value)
    return word if word is not None else to_text(value)


def from_text(info: FieldInfo, text: str) -> Any:
    """What was typed, as pydantic takes it."""
    meant = value_of(info, text)
    if meant is None and is_byte_count(info):
        meant = size_of(text)
    if meant is not None:
        return meant
    if get_origin(info.annotation) is tuple:
        text = text.strip()
        if not text:
            return ()
        try:
            return tuple(json.loads(text)) if text.startswith("[") else (text,)
        except (ValueError, TypeError):
            return (text,)
    if not text.strip() and type(None) in get_args(info.annotation):
        return None
    if get_origin(info.annotation) is dict:
        try:
            return json.loads(text or "{}")
        except ValueError:
            return text
    return text


def typed_of(value: BaseModel) -> dict[str, object]:
    """What a form of this value has in its fields, as pydantic takes it."""
    out: dict[str, object] = {}
    for name, info in type(value).model_fields.items():
        current = getattr(value, name)
        out[name] = bool(current) if info.annotation is bool else from_text(info, shown_text(info, current))
    return out
