"""Which kinds of values a field takes, by its type: JSON tells them apart, and none is read as another.

A validator would take ``"5"`` and ``true`` for numbers, and ``"no"`` and ``0`` for false.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, PlainValidator, WrapValidator

_WORDS = {bool: "true or false", float: "a number", str: "a text"}
_OWN_READERS = (BeforeValidator, PlainValidator, WrapValidator)


@dataclass(frozen=True)
class FieldType:
    """What a value may be, as far as nobody else looks.

    Attributes:
        scalars: of ``bool``, ``float`` for any number, and ``str``, those that it may be; none at all where others say that.
        items: of what type the items of a list are.
        members: of what type the members of an object are.
    """

    scalars: frozenset[type] = frozenset()
    items: FieldType | None = None
    members: FieldType | None = None

    def misfit(self, value: Any) -> tuple[str, str] | None:
        """The place within a value where one of another kind stands, and what is wrong there."""
        if isinstance(value, list) and self.items is not None:
            return _first((f"[{n}]", self.items.misfit(one)) for n, one in enumerate(value))
        if isinstance(value, dict) and self.members is not None:
            return _first((f".{str(name)[:60]}", self.members.misfit(one)) for name, one in value.items())
        kind = _kind(value)
        if kind is None or not self.scalars or kind in self.scalars:
            return None
        if kind is bool:
            return "", f"{str(value).lower()} is no number and no text"
        if kind is float and bool not in self.scalars:
            # A validator takes no number for a text.
            return None
        wanted = " or ".join(_WORDS[one] for one in _WORDS if one in self.scalars)
        shown = f'"{value[:40]}" is a text' if kind is str else f"{str(value)[:40]} is a number"
        return "", f"{shown}, and {wanted} is wanted"


def _first(found: Iterable[tuple[str, tuple[str, str] | None]]) -> tuple[str, str] | None:
    for place, wrong in found:
        if wrong is not None:
            return place + wrong[0], wrong[1]
    return None


def _kind(value: Any) -> type | None:
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float):
        return float
    return str if isinstance(value, str) else None


@functools.cache
def types_of(model: type[BaseModel]) -> dict[str, FieldType]:
    """The types of a model's fields, by the names that requests have for them."""
    return {
        field.alias or name: FieldType()
        if any(isinstance(one, _OWN_READERS) for one in field.metadata)
        else _read(field.annotation)
        for name, field in model.model_fields.items()
    }


def _read(annotation: Any) -> FieldType:
    parts = list(_options(annotation))
    if any(part is Any for part in parts):
        return FieldType()
    scalars: set[type] = set()
    items = members = None
    for part in parts:
        origin, arguments = get_origin(part), get_args(part)
        if origin is Literal:
            scalars |= {kind for one in arguments if (kind := _kind(one)) is not None}
        elif part in {bool, str, int, float}:
            scalars.add(float if part is int else part)
        elif origin is list:
            items = _read(arguments[0])
        elif origin is dict:
            members = _read(arguments[1])
        elif part is not type(None) and not (isinstance(part, type) and issubclass(part, BaseModel | list | dict)):
            # It is read by code of its own.
            return FieldType()
    return FieldType(frozenset(scalars), items, members)


def _options(annotation: Any) -> Iterable[Any]:
    """What a type is one of."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if any(isinstance(one, _OWN_READERS) for one in arguments[1:]):
            yield Any
        else:
            yield from _options(arguments[0])
    elif origin in {Union, types.UnionType}:
        for one in arguments:
            yield from _options(one)
    else:
        yield annotation
