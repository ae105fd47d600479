"""A long text in windows of at most 256 tokens, as guards that read texts are asked about them."""

from __future__ import annotations

import re

TOKENS = 256
OVERLAP = 64
# A token has at most one character of scripts without blanks, and about four letters of a word.
_UNIT = re.compile(r"[⺀-鿿가-힯぀-ヿ]|[^\s⺀-鿿가-힯぀-ヿ]{1,3}")


def windows(text: str, most: int, tokens: int = TOKENS) -> list[str]:
    """The windows of a text, each a quarter over the one before. Of more than ``most``, the first ones and the last."""
    places = [match.start() for match in _UNIT.finditer(text)]
    if len(places) <= tokens:
        return [text] if text.strip() else []
    step = tokens - OVERLAP
    begins = list(range(0, max(1, len(places) - OVERLAP), step))
    if len(begins) > most:
        begins = [*begins[: most - 1], begins[-1]] if most > 1 else begins[:1]
    ends = [*places, len(text)]
    return [text[places[begin] : ends[min(begin + tokens, len(places))]] for begin in begins]


def covered(text: str, most: int, tokens: int = TOKENS) -> bool:
    """Whether so many windows are all of a text."""
    return len(windows(text, most, tokens)) == len(windows(text, 10**9, tokens))
