"""A difference between two texts as content: colour with strokes, or marks where there is no colour."""

from __future__ import annotations

import os
from collections.abc import Sequence

from llmops_tui.safe_text import safe_text
from llmops_tui.text_diff import DiffPart, apart, marked

# Colour never stands alone: strokes tell removed from added, too.
_STYLES = {"same": "", "removed": "$error strike", "added": "$success underline"}
# A whole text is read, not passed over.
_WHOLE = {"same": "", "removed": "$error", "added": "$success"}


def diff_parts(changes: Sequence[DiffPart]) -> list[tuple[str, str] | str]:
    """The parts of a difference, for ``Content.assemble``.

    Marks around each word would be read as part of it, so they are only around whole texts, and where there is no colour.
    """
    whole = apart(changes)
    shown = marked(changes) if whole or os.environ.get("NO_COLOR") else [(one.change, one.text) for one in changes]
    styles = _WHOLE if whole else _STYLES
    return [(safe_text(text), styles[change]) for change, text in shown]
