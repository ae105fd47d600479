"""Two answers to one case in two columns."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any

from textual.content import Content

_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*){2,}")


def beside(left: Content, right: Content, width: int) -> list[Any]:
    """The answers of baseline and candidate in two columns, so that a low pane shows the beginning of both."""
    half = (width - 2) // 2
    parts: list[Any] = [(f"{'baseline':<{half + 2}}candidate\n", "$accent")]
    for one, two in zip_longest(left.wrap(half), right.wrap(half), fillvalue=Content("")):
        parts += [one, " " * (half + 2 - one.cell_length), two, "\n"]
    return parts


def squeezed(text: str, most: int) -> str:
    """So many characters of a text whose several blank lines are one: they say nothing, and a low pane has room for little."""
    return _BLANK_LINES.sub("\n\n", text.strip("\n"))[:most]
