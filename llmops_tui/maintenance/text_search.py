"""Search for many texts at once in the bytes of files of any kind."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

# What is shorter is in too many places to say whose it is; eight bytes are compared at once as one number.
SHORTEST = 8
# A database or a log cuts long texts at its pages, so pieces are looked for and not the whole.
_PIECE = 32
_MOST_PIECES = 16
_AT_ONCE = 4 << 20


class TextSearch:
    """The pieces of some texts, as UTF-8 and as JSON writes them.

    Args:
        texts: what to look for; those shorter than :data:`SHORTEST` bytes are left out.
        common: texts that are in other places anyhow, such as the templates that prompts are made of; pieces of them say nothing.
    """

    def __init__(self, texts: Iterable[str], common: Iterable[str] = ()) -> None:
        ordinary = b"\n".join(form for text in common for form in _forms(text))
        self._pieces: dict[int, set[bytes]] = {}
        for text in texts:
            for form in _forms(text):
                for piece in _pieces_of(form):
                    if piece not in ordinary:
                        self._pieces.setdefault(int.from_bytes(piece[:SHORTEST], "little"), set()).add(piece)
        self._heads = np.array(sorted(self._pieces), dtype="<u8")

    def finds(self, data: bytes) -> bool:
        """Whether a piece of any text is in some bytes."""
        if not self._pieces:
            return False
        for offset in range(min(SHORTEST, max(0, len(data) - SHORTEST + 1))):
            count = (len(data) - offset) // SHORTEST
            windows = np.frombuffer(data, dtype="<u8", count=count, offset=offset)
            nearest = self._heads[np.minimum(np.searchsorted(self._heads, windows), len(self._heads) - 1)]
            for at in np.flatnonzero(nearest == windows).tolist():
                start = offset + at * SHORTEST
                if any(data.startswith(piece, start) for piece in self._pieces[int(windows[at])]):
                    return True
        return False

    def finds_in(self, path: Path) -> bool:
        """Whether a piece of any text is in a plain file; one that cannot be read has none that can be told."""
        with (
            contextlib.suppress(OSError),
            path.open("rb") as file,
        ):
            tail = b""
            while part := file.read(_AT_ONCE):
                if self.finds(tail + part):
                    return True
                tail = part[-_PIECE:]
        return False


def has_words(path: Path, words: str) -> bool:
    """Whether a plain file has some words, whole and in whatever case, as a filter takes them; short ones are not looked for."""
    cases = (words, words.lower(), words.upper(), words.title())
    forms = {form.lower() for each in cases for form in _forms(each) if len(form) >= SHORTEST}
    longest = max(map(len, forms), default=0)
    with contextlib.suppress(OSError), path.open("rb") as file:
        tail = b""
        while forms and (part := file.read(_AT_ONCE)):
            data = (tail + part).lower()
            if any(form in data for form in forms):
                return True
            tail = part[-longest:]
    return False


def _forms(text: str) -> set[bytes]:
    plain = text.strip()
    forms = (plain, json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1])
    return {form.encode("utf-8", "replace") for form in forms}


def _pieces_of(form: bytes) -> list[bytes]:
    if len(form) < SHORTEST:
        return []
    if len(form) <= _PIECE:
        return [form]
    # Evenly over all of it, the end included: of a text that was torn, any part may be left.
    count = min(_MOST_PIECES, -(-len(form) // _PIECE))
    starts = [round(n * (len(form) - _PIECE) / (count - 1)) for n in range(count)]
    # A line of dashes or blanks is nobody's.
    return [piece for start in starts if len(set(piece := form[start : start + _PIECE])) > 3]
