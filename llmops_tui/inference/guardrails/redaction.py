"""Places taken out of a text; what is JSON in it stays JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from llmops_tui.inference.guardrails.detectors import Place

_DECODER = json.JSONDecoder()
_OPENS = re.compile(r"[{\[]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z]+')
_PART = re.compile(r"\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)
_MOST_TRIES = 200


def islands(text: str, start: int = 0) -> list[tuple[int, int]]:
    """Where JSON stands in a text: objects and lists that are whole."""
    found = []
    place, tries = start, 0
    while (match := _OPENS.search(text, place)) is not None and tries < _MOST_TRIES:
        try:
            _, end = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            place, tries = match.end(), tries + 1
            continue
        found.append((match.start(), end))
        place = end
    return found


def redacted(text: str, places: Iterable[Place]) -> str:
    """A text without these places, each replaced by its mark; no part of one is left, and JSON stays JSON."""
    merged = _merged(places)
    if not merged:
        return text
    inside = islands(text)
    whole = [token for begin, end in inside for token in _tokens(text, begin, end)]
    cuts: list[tuple[int, int, str]] = []
    for place in merged:
        cuts += _cuts(text, place, inside, whole)
    parts, done = [], 0
    for start, end, said in sorted(set(cuts)):
        begin = max(start, done)
        if end <= begin:
            continue
        parts += [text[done:begin], said if begin == start else ""]
        done = end
    return "".join([*parts, text[done:]])


def _merged(places: Iterable[Place]) -> list[Place]:
    found: list[Place] = []
    for place in sorted(places, key=lambda one: (one.start, -one.end)):
        if found and place.start < found[-1].end:
            found[-1] = Place(found[-1].start, max(found[-1].end, place.end), found[-1].mark)
        else:
            found.append(place)
    return found


def _tokens(text: str, begin: int, end: int) -> list[tuple[int, int]]:
    return [match.span() for match in _TOKEN.finditer(text, begin, end)]


def _cuts(
    text: str, place: Place, inside: Sequence[tuple[int, int]], tokens: Sequence[tuple[int, int]]
) -> list[tuple[int, int, str]]:
    """What is cut out for a place: all of it in prose, and of JSON only within its texts, or whole numbers."""
    found = []
    at = place.start
    for begin, end in inside:
        if end <= at or begin >= place.end:
            continue
        if at < begin:
            found.append((at, begin, place.mark))
        for start, stop in tokens:
            if begin <= start < end and start < place.end and stop > at:
                found.append(_within(text, start, stop, at, min(place.end, end), place.mark))
        at = max(at, end)
    if at < place.end:
        found.append((at, place.end, place.mark))
    return [cut for cut in found if cut[1] > cut[0]]


def _within(text: str, start: int, stop: int, at: int, until: int, said: str) -> tuple[int, int, str]:
    """The cut in one token: in a text between its quotes, with escapes whole; a number goes whole, and becomes a text."""
    if text[start] != '"':
        return start, stop, json.dumps(said)
    first, last = max(at, start + 1), min(until, stop - 1)
    for part in _PART.finditer(text, start + 1, stop - 1):
        if part.start() < first < part.end():
            first = part.start()
        if part.start() < last < part.end():
            last = part.end()
    return first, last, said
