"""Texts and token ids as requests have them, alone or in lists, and whether the ids are in a model's vocabulary."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator

from llmops_tui.inference.server.fields import FieldRefusedError, refuse

MAX_PROMPTS = 2048
_MAX_TOKENS = 2_000_000
_LARGEST = 2**31 - 1


def _ids(value: list[Any], at: str = "") -> list[int]:
    if len(value) > _MAX_TOKENS:
        refuse(at, f"has {len(value):,} token ids, more than {_MAX_TOKENS:,}")
    if value and (set(map(type, value)) != {int} or min(value) < 0 or max(value) > _LARGEST):
        place = next(n for n, t in enumerate(value) if type(t) is not int or not 0 <= t <= _LARGEST)
        refuse(f"{at}[{place}]", f"{str(value[place])[:40]!r} is no token id", "An id is a whole number from 0 on.")
    return value


def _texts(value: Any) -> list[str | list[int]]:
    """What ``prompt`` and ``input`` may be — a text, its tokens, or a list of either — as a list."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        refuse("", "must be a text, its token ids, or a list of either that is not empty")
    if not isinstance(value[0], str | list):
        return [_ids(value)]
    if len(value) > MAX_PROMPTS:
        refuse("", f"has {len(value):,} texts, more than the {MAX_PROMPTS:,} of one request", "Send several requests.")
    found: list[str | list[int]] = []
    for n, one in enumerate(value):
        if not isinstance(one, str | list):
            refuse(f"[{n}]", "must be a text or a list of token ids")
        found.append(one if isinstance(one, str) else _ids(one, f"[{n}]"))
    return found


Texts = Annotated[
    list[str | list[int]], PlainValidator(_texts, json_schema_input_type=str | list[int] | list[str] | list[list[int]])
]


def check_vocabulary(ids: list[int], size: int, at: str, *, named: bool = False) -> None:
    """Refuse the first token id that is not in a vocabulary of ``size`` tokens; 0 where it is not known yet.

    ``named`` says that the ids are the names of an object's members, and not in a list.

    Raises:
        FieldRefusedError: ``bad_token``.
    """
    if size and ids and not 0 <= min(ids) <= max(ids) < size:
        place = next(n for n, t in enumerate(ids) if not 0 <= t < size)
        raise FieldRefusedError(
            f"{at}.{ids[place]}" if named else f"{at}[{place}]",
            f"the token id {ids[place]:,} is not in the model's vocabulary",
            f"Ids go from 0 to {size - 1:,}; other models' tokens are others. Send text instead.",
            "bad_token",
        )


def _listed(value: Any) -> list[int]:
    if not isinstance(value, list):
        refuse("", "must be a list of token ids")
    return _ids(value)


TokenIds = Annotated[list[int], PlainValidator(_listed, json_schema_input_type=list[int])]
