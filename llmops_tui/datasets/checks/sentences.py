"""Sentences of a text, and a text without what it quotes."""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.!?…。])\s+|\n+")
_QUOTED = re.compile(r"[\"“”„«][^\"“”„«»\n]*[\"“”»]|(?<!\w)[‘'‚](?:[^‘’'\n]|(?<=\w)[’'](?=\w))*[’'](?!\w)")


def sentences(text: str) -> list[str]:
    """They in order, without the blanks between them."""
    return [part.strip() for part in _END.split(text) if part.strip()]


def unquoted(text: str) -> str:
    """The text with what stands in quotation marks left out; the marks stay."""
    return _QUOTED.sub("“”", text)
