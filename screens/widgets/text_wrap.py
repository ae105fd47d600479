"""Incremental word wrap: only the last line changes when text is appended."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

_WORDS = re.compile(r"\s*\S+\s*|\s+")
_TAB = "    "


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
