"""Replacement of personal data and secrets in a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from llmops_tui.privacy.detection import KINDS, find_personal

_PASSES = 4


def replace_in_text(
    text: str, stand_in: Callable[[str, str], str], kinds: tuple[str, ...] = KINDS
) -> tuple[str, Counter[str]]:
    """A text with everything personal replaced by ``stand_in(kind, value)``, and how much of each kind there was.

    It is looked through again until nothing is found, since what is left may only then look like something.
    """
    counts: Counter[str] = Counter()
    for _ in range(_PASSES):
        spans = find_personal(text, kinds)
        if not spans:
            break
        for span in reversed(spans):
            text = text[: span.start] + stand_in(span.kind, text[span.start : span.end]) + text[span.end :]
            counts[span.kind] += 1
    return text, counts


def mark(kind: str, _value: str) -> str:
    """What stands for something that was taken out, such as ``[EMAIL]``."""
    return f"[{kind.upper()}]"
