"""Makes foreign text safe for a terminal, and its hidden characters visible.

Foreign text is whatever the application did not write itself: dataset cells, model tokens, file names, GGUF metadata,
log lines, exception texts. Every border where such text enters a screen or standard output calls :func:`safe_text`.
"""

from __future__ import annotations

import re

# C0 without tab and newline, DEL, C1, line and paragraph separators.
_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
# Bidirectional controls, zero-width characters, tags, and invisible operators: they hide or reorder text.
_HIDDEN = "\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_SURROGATE = "\ud800-\udfff"

_UNSAFE = re.compile(f"[{_CONTROL}{_HIDDEN}{_SURROGATE}]")
_UNSAFE_LINE = re.compile(f"[\t\n{_CONTROL}{_HIDDEN}{_SURROGATE}]")
# What may never stand in a frame: only characters that a terminal obeys or that reorder the row.
_FRAME = re.compile(f"[\t\n{_CONTROL}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069{_SURROGATE}]")
# A letter with more marks than any script needs piles up over its neighbours.
_MARKS = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
_VARIATION = re.compile("([\ufe00-\ufe0f])[\ufe00-\ufe0f]+")


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if code < 0x100:
        return f"\u27e8{code:02X}\u27e9"
    return f"\u27e8U+{code:04X}\u27e9"


def safe_text(text: str) -> str:
    """Replace every control, bidirectional, zero-width and lone-surrogate character by something visible.

    Tabs and newlines stay. Each character is judged alone, so an escape sequence that is split between two chunks of
    a stream is as harmless as a whole one.
    """
    text = text.replace("\r\n", "\n")
    text = _UNSAFE.sub(_visible, text)
    return _VARIATION.sub(r"\1", _MARKS.sub(r"\1", text))


def count_hidden(text: str) -> int:
    """How many characters :func:`safe_text` would have to make visible."""
    return len(_UNSAFE.findall(text))


def safe_line(text: str, limit: int = 500) -> str:
    """Foreign text for a place of one line: as :func:`safe_text`, newlines and tabs visible too, cut at ``limit``."""
    if len(text) > limit:
        text = text[:limit] + "…"
    text = text.replace("\n", "⏎").replace("\t", " ")
    return _VARIATION.sub(r"\1", _MARKS.sub(r"\1", _UNSAFE_LINE.sub(_visible, text)))


def strip_frame_controls(text: str) -> str:
    """The last filter where frames are written: drop what a terminal would obey.

    Such characters have no width, so dropping them leaves the layout of the frame as it was measured.
    """
    return _FRAME.sub("", text) if _FRAME.search(text) else text
