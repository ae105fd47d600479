"""How well a name answers to what was typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
_WORD = re.compile(r"[^\W_]+")
_EXACT, _START, _WORD_START, _INSIDE, _KIND, _NOTE, _SCATTERED = 100, 60, 45, 25, 15, 8, 4


def score(query: str, title: str, kind: str = "", note: str = "") -> int:
    """Points, 0 where it does not answer; each word has to be in the title, the kind or the note, or be spread in the title.

    ``kind: name`` asks for a kind.
    """
    wanted, _, rest = query.casefold().partition(":")
    if ":" in query and not rest.strip():
        return int(kind.casefold() == wanted.strip())
    words = rest.split() if rest and kind.casefold() == wanted.strip() else query.casefold().replace(":", " ").split()
    title, kind, note = title.casefold(), kind.casefold(), note.casefold()
    points = _EXACT if " ".join(words) == title else 0
    for word in words:
        found = _of_word(word, title) or (_KIND if kind.startswith(word) else 0) or (_NOTE if word in note else 0)
        if not found and not (found := _SCATTERED if _spread(word, title) else 0):
            return 0
        points += found
    return points or 1


def _of_word(word: str, title: str) -> int:
    at = title.find(word)
    if at < 0:
        return 0
    if at == 0:
        return _START
    return _WORD_START if any(match.group().startswith(word) for match in _WORD.finditer(title)) else _INSIDE


def _spread(word: str, title: str) -> bool:
    """Whether the letters come in this order, each begun in a word or behind the one before."""
    letters = iter(title)
    return len(word) > 1 and all(letter in letters for letter in word)


def ranked(
    query: str, items: Iterable[Item], texts: Callable[[Item], tuple[str, str, str]], recent: list[str]
) -> list[Item]:
    """The items that answer, the best first; of equals those that were chosen lately, then as they came.

    ``texts`` gives title, kind and note; ``recent`` are titles with their kinds, the newest last.
    """
    places = {name: place for place, name in enumerate(recent, 1)}
    found = []
    for number, item in enumerate(items):
        title, kind, note = texts(item)
        points = score(query, title, kind, note)
        if points:
            found.append((-points, -places.get(f"{kind} {title}", 0), number, item))
    return [item for *_, item in sorted(found, key=lambda entry: entry[:3])]
