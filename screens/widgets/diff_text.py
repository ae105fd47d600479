"""A difference between two texts as content: colours, with markers in addition to colour."""

from __future__ import annotations

from collections.abc import Iterable

from llmops_tui.safe_text import safe_text
from llmops_tui.text_diff import DiffPart

_STYLES = {"same": "", "removed": "$error strike", "added": "$success underline"}
# Colour never stands alone: the marks tell removed from added without it.
_MARKS = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}


def diff_parts(changes: Iterable[DiffPart]) -> list[tuple[str, str] | str]:
    """The parts of a difference, for ``Content.assemble``."""
    out: list[tuple[str, str] | str] = []
    for change in changes:
        opening, closing = _MARKS[change.change]
        out.append((f"{opening}{safe_text(change.text)}{closing}", _STYLES[change.change]))
    return out
