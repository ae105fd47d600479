"""Incremental word wrap: only the last line changes when text is appended."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells

_WORDS = re.compile(r"\s*\S+\s*|\s+")
_TAB = "    "


def join_parts(parts: Iterable[str], width: int, between: str = " · ") -> list[str]:
    """Lines of as many parts as fit, none of which is broken: a figure stays with its unit."""
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1] + between + part) <= width:
            lines[-1] += between + part
        else:
            lines.append(part)
    return lines


def hanging(text: str, width: int, indent: int) -> str:
    """A text whose further lines begin below its first word; ``indent`` cells before that are somebody else's."""
    lines = wrap_line(text, max(1, width - indent))
    return ("\n" + " " * indent).join(line.rstrip() for line in lines)


def wrap_line(text: str, width: int) -> list[str]:
    """Lines of one logical line; joined they are ``text`` with tabs expanded.

    Blanks at a break stay at the end of the line before it, so wrapping the last line again together with text that
    was added gives what wrapping everything anew would.
    """
    text = text.replace("\t", _TAB)
    if width <= 0 or cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    line = ""
    for word in _WORDS.findall(text):
        if cell_len(line) + cell_len(word.rstrip()) <= width:
            line += word
            continue
        if line:
            lines.append(line)
        line = word
        core = word.rstrip()
        if cell_len(core) > width:
            *full, last = [part for part in chop_cells(core, width) if part]
            lines += full
            line = last + word[len(core) :]
    return [*lines, line]
