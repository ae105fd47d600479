"""Ids that are short, sort by time of making, and are unambiguous by prefix."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

from llmops_tui.errors import InputRefusedError, NotFoundError

# Crockford's base 32: no i, l, o, u, so that ids can be read aloud and typed.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = 1_735_689_600  # 2025-01-01 UTC; 40 bits of milliseconds from here last until 2059
_TIME_LENGTH = 8
_RANDOM_LENGTH = 4


def _encode(value: int, length: int) -> str:
    out = []
    for _ in range(length):
        value, digit = divmod(value, 32)
        out.append(ALPHABET[digit])
    return "".join(reversed(out))


def new_id(prefix: str) -> str:
    """A new id such as ``run_0d3k9x2a7f1q``: kind, 40 bits of time in milliseconds, 20 random bits."""
    milliseconds = max(0, int((time.time() - _EPOCH) * 1000)) & (2**40 - 1)
    return f"{prefix}_{_encode(milliseconds, _TIME_LENGTH)}{_encode(secrets.randbits(20), _RANDOM_LENGTH)}"


def made_at(identifier: str) -> float | None:
    """When an id of :func:`new_id` was made, in seconds since 1970; none of what is no such id."""
    digits = identifier.rpartition("_")[2]
    if len(digits) != _TIME_LENGTH + _RANDOM_LENGTH or not set(digits) <= set(ALPHABET):
        return None
    milliseconds = 0
    for digit in digits[:_TIME_LENGTH]:
        milliseconds = milliseconds * 32 + ALPHABET.index(digit)
    return _EPOCH + milliseconds / 1000


def resolve_prefix(kind: str, given: str, ids: Iterable[str]) -> str:
    """The one id that ``given`` stands for: whole, or a prefix with or without the kind before it.

    Raises:
        NotFoundError: no id begins so.
        InputRefusedError: several do.
    """
    known = list(ids)
    if given in known:
        return given
    hits = [i for i in known if i.startswith(given) or i.partition("_")[2].startswith(given)] if given else []
    if len(hits) == 1:
        return hits[0]
    if not hits:
        raise NotFoundError(kind, given)
    shown = ", ".join(sorted(hits)[:5])
    raise InputRefusedError("ambiguous_id", f"{kind} {given!r} is ambiguous: {shown}", "Give more characters.")
