"""Texts in one form, so that a rule finds what is written in another: lower case, no marks, no look-alikes, nothing hidden.

Each character is mapped for itself, so the form of a beginning is the beginning of the form: what is found in a stream does
not depend on how it is cut, and every place in the form has its place in the text.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

# Letters of other scripts that read as Latin ones. Of Unicode's confusables (UTS 39), those with a whole letter's likeness.
_LOOK_ALIKES = {
    look: letter
    for letter, looks in {
        "a": "аαɑᴀ", "b": "ʙƅ", "c": "сϲᴄ", "d": "ԁᴅđ", "e": "еᴇҽ", "f": "ꜰƒ", "g": "ɡɢց", "h": "һʜн", "i": "іιıɪ", "j": "јᴊ",
        "k": "кκᴋ", "l": "ӏʟł", "m": "мᴍ", "n": "ոɴη", "o": "оοօᴏø", "p": "рρᴘ", "q": "ԛզ", "r": "ʀг", "s": "ѕꜱ", "t": "тτᴛ",
        "u": "υսᴜ", "v": "νᴠѵ", "w": "ԝωᴡ", "x": "хχ", "y": "уʏγ", "z": "ᴢ",
    }.items()
    for look in looks
}  # fmt: skip
_HIDDEN = {"Cf", "Cc", "Cs", "Co", "Mn", "Me"}
_BLANKS = {"Zs", "Zl", "Zp"}
_ROUNDS = 4
# Runs that may be text in base64 or as hexadecimal digits; shorter ones are words.
_SHORTEST = 16
_ENCODED = re.compile(rf"[A-Za-z0-9+/_-]{{{_SHORTEST},}}={{0,2}}")
_JOINED = re.compile(r"[+/_-]")
MOST_ENCODED = 4096
"""So much of a run is decoded: what comes behind is not looked at as encoded text."""
_DEEPEST = 2
_READABLE = 0.9


@functools.lru_cache(maxsize=20_000)
def canonical_character(character: str) -> str:
    """What stands for one character; empty where it is not seen. What it gives stays as it is."""
    text = character
    for _ in range(_ROUNDS):
        fresh = "".join(_plain(one) for one in text)
        if fresh == text:
            break
        text = fresh
    return text


def _plain(character: str) -> str:
    if character in "\n\t\r":
        return " "
    parts = unicodedata.normalize("NFKD", character.casefold())
    found = []
    for one in parts:
        kind = unicodedata.category(one)
        if kind in _BLANKS:
            found.append(" ")
        elif kind not in _HIDDEN:
            found.append(_LOOK_ALIKES.get(one, one))
    return "".join(found)


@dataclass
class CanonicalText:
    """A text that grows, and its form; ``at`` is where in the text each character of the form comes from."""

    raw: str = ""
    form: str = ""
    at: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> CanonicalText:
        """A whole text."""
        made = cls()
        made.add(text)
        return made

    def add(self, more: str) -> None:
        """Go on with it."""
        begun = len(self.raw)
        parts = []
        for place, character in enumerate(more, begun):
            if said := canonical_character(character):
                parts.append(said)
                self.at += [place] * len(said)
        self.raw += more
        self.form += "".join(parts)

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text a part of the form stands, with what is hidden in it."""
        return self.at[start], self.at[end - 1] + 1

    def form_place(self, raw: int) -> int:
        """How much of the form comes from before a place in the text."""
        return bisect.bisect_left(self.at, raw)


def canonical(text: str) -> str:
    """The form of a text; that of a form is itself."""
    return "".join(map(canonical_character, text))


def encoded_runs(text: str, start: int = 0) -> list[tuple[int, int]]:
    """Where text stands that may be encoded, from a place on."""
    return [match.span() for match in _ENCODED.finditer(text, start)]


def decoded(run: str, depth: int = 0) -> str:
    """The text that a run stands for in base64 or hexadecimal digits; empty where it is none."""
    said = []
    for found in dict.fromkeys(_readings(run[:MOST_ENCODED].rstrip("="))):
        said.append(found)
        if depth < _DEEPEST and (match := _ENCODED.fullmatch(found.strip())):
            said.append(decoded(match[0], depth + 1))
    return " ".join(filter(None, said))


def _readings(part: str) -> Iterator[str]:
    """What a run reads as. Letters before it that belong to it by chance, such as of an address, shift or precede it."""
    for shift in range(4):
        for read in (_hexadecimal, _base64):
            if found := read(part[shift:]):
                yield found
    for piece in _JOINED.split(part):
        if _SHORTEST <= len(piece) < len(part) and (found := _hexadecimal(piece) or _base64(piece)):
            yield found


def _hexadecimal(part: str) -> str:
    if len(part) % 2 or not re.fullmatch(r"[0-9a-fA-F]+", part):
        return ""
    return _readable(bytes.fromhex(part))


def _base64(part: str) -> str:
    body = part.replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1:
        body = body[:-1]
    try:
        return _readable(base64.b64decode(body + "=" * (-len(body) % 4), validate=True))
    except (binascii.Error, ValueError):
        return ""


def _readable(raw: bytes) -> str:
    text = raw.decode("utf-8", "ignore")
    # Cut anywhere, the last character may be half; anything else that is no text is none.
    if len(text.encode()) < len(raw) - 3 or not text:
        return ""
    good = sum(one.isalnum() or one in " .,;:!?'\"-_/\n()" for one in text)
    return text if good >= _READABLE * len(text) else ""
