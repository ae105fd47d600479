"""Texts in one form, so that a rule finds what is written in another: lower case, no marks, no look-alikes, nothing hidden.

Each character is mapped for itself, so the form of a beginning is the beginning of the form: what is found in a stream does
not depend on how it is cut, and every place in the form has its place in the text. What JSON escapes by its number, as in
the arguments of calls of tools, is the character that it stands for.
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

from llmops_tui.inference.guardrails.coded import CodedText

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
# Letters in filled circles and boxes, and those of flags, of which Unicode does not say what they are made of.
_LOOK_ALIKES |= {
    chr(first + place): letter
    for first in (0x1F150, 0x1F170, 0x1F1E6)
    for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
}
_BLANK_LOOKS = {"\u2800"}
_HIDDEN = {"Cf", "Cc", "Cs", "Co", "Mn", "Me"}
_UNREAD = {"Cf", "Cc", "Cs", "Co"}
_BLANKS = {"Zs", "Zl", "Zp"}
_ROUNDS = 4
# Runs that may be text in base64 or as hexadecimal digits; shorter ones are words.
_SHORTEST = 16
# Signs that are not seen, which may be strewn into such a run.
UNSEEN = "".join(
    chr(one)
    for begin, end in (
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
        (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
        (0xFFF9, 0xFFFB), (0xE0000, 0xE01EF),
    )
    for one in range(begin, end + 1)
)  # fmt: skip
_ENCODED = re.compile(rf"(?:[A-Za-z0-9+/_-][{UNSEEN}]*+){{{_SHORTEST},}}(?:=[{UNSEEN}]*+){{0,2}}")
_NO_UNSEEN = dict.fromkeys(map(ord, UNSEEN))
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
# What may become an escape when the text goes on; half of a pair of escapes stands for no character of its own.
_BEGUN = re.compile(r"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?\\(?:u[0-9a-fA-F]{0,3})?\Z|\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_LONGEST_ESCAPE = 12
_LETTER = r"[^\W\d_]"
APART = re.compile(rf"(?<![^\W_]){_LETTER}(?P<sign>[\W_]{{1,3}}){_LETTER}(?:(?P=sign){_LETTER}){{2,}}(?![^\W_])")
"""Four letters or more, one by one with the same signs between them."""
# So much of the end shows that letters before it stand apart.
_LONGEST_APART = 40
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
        if kind in _BLANKS or one in _BLANK_LOOKS:
            found.append(" ")
        elif kind not in _HIDDEN:
            found.append(_LOOK_ALIKES.get(one, one))
    return "".join(found)


@dataclass
class CanonicalText:
    """A text that grows, and its form; ``at`` and ``to`` are where in the text each character of the form comes from.

    ``decoded`` is the form as far as it is decided with entities and percent signs undone, ``decoded_at`` and ``decoded_to``
    its places; letters that stand apart stand apart in it.
    """

    raw: str = ""
    form: str = ""
    at: list[int] = field(default_factory=list)
    to: list[int] = field(default_factory=list)
    # How much of the text has its form: the end may be half of an escape.
    formed: int = 0
    decoded: str = ""
    decoded_at: list[int] = field(default_factory=list)
    decoded_to: list[int] = field(default_factory=list)
    coded: CodedText = field(default_factory=CodedText)
    # Where in the decoded form letters end that were the last to stand apart.
    apart: int = -1

    @classmethod
    def of(cls, text: str) -> CanonicalText:
        """A whole text."""
        made = cls()
        made.add(text)
        made.end()
        return made

    def add(self, more: str) -> None:
        """Go on with it."""
        self.raw += more
        begun = _BEGUN.search(self.raw, max(self.formed, len(self.raw) - _LONGEST_ESCAPE))
        self._form(begun.start() if begun is not None else len(self.raw))

    def end(self) -> None:
        """Nothing follows: what might have become an escape is none."""
        self._form(len(self.raw), whole=True)

    def _form(self, until: int, *, whole: bool = False) -> None:
        # What is not seen hides neither an entity nor a letter.
        seen = [one for one in _characters(self.raw, self.formed, until) if canonical_character(one[0])]
        self.formed = max(self.formed, until)
        text, at, to = "".join(one for one, _, _ in seen), [one for _, one, _ in seen], [one for _, _, one in seen]
        form, form_at, form_to = _formed(text, at, to)
        self.form += form
        self.at += form_at
        self.to += form_to
        if not self.coded.passes(text):
            form, form_at, form_to = _formed(*self.coded.add(text, at, to, whole=whole))
        begin = max(0, len(self.decoded) - _LONGEST_APART)
        self.decoded += form
        for match in APART.finditer(self.decoded, begin):
            self.apart = match.end()
        self.decoded_at += form_at
        self.decoded_to += form_to

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text a part of the form stands, with what is hidden in it."""
        return self.at[start], self.to[end - 1]

    def form_place(self, raw: int) -> int:
        """How much of the form comes from before a place in the text."""
        return bisect.bisect_left(self.at, raw)


def _formed(text: str, at: list[int], to: list[int]) -> tuple[str, list[int], list[int]]:
    """The form of a text, with the places of its characters."""
    parts = [canonical_character(one) for one in text]
    if all(len(one) == 1 for one in parts):
        return "".join(parts), at, to
    lengths = [len(one) for one in parts]
    return (
        "".join(parts),
        [one for one, length in zip(at, lengths, strict=True) for _ in range(length)],
        [one for one, length in zip(to, lengths, strict=True) for _ in range(length)],
    )


def _characters(raw: str, place: int, until: int) -> Iterator[tuple[str, int, int]]:
    """The characters of a part of a text, what is escaped as what it stands for; with where each begins and ends."""
    while place < until:
        character, after = raw[place], place + 1
        if character == "\\" and (escape := _PAIR.match(raw, place, until) or _ESCAPE.match(raw, place, until)):
            character, after = _meant(escape), escape.end()
        yield character, place, after
        place = after


@functools.lru_cache(maxsize=20_000)
def shown_character(character: str) -> str:
    """A character as it is read, in its own case and script; empty where it is not seen."""
    kind = unicodedata.category(character)
    if character in "\n\t\r":
        return character
    if kind in _UNREAD or ord(character) in _NO_UNSEEN:
        return ""
    return " " if kind in _BLANKS else unicodedata.normalize("NFKC", character)


@dataclass(frozen=True)
class ShownText:
    """A text as it is read: nothing hidden, nothing wide or styled, no escapes; upper case, marks and scripts stay."""

    text: str
    at: list[int]
    to: list[int]

    @classmethod
    def of(cls, raw: str) -> ShownText:
        """That of a whole text."""
        parts: list[str] = []
        at: list[int] = []
        to: list[int] = []
        for character, place, after in _characters(raw, 0, len(raw)):
            said = shown_character(character)
            parts.append(said)
            at += [place] * len(said)
            to += [after] * len(said)
        return cls("".join(parts), at, to)

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text a part of it stands, with what is hidden in it."""
        return self.at[start], self.to[end - 1]


def characters_of(raw: str) -> Iterator[tuple[str, int, int]]:
    """All characters of a text, what is escaped as what it stands for; with where each begins and ends."""
    return _characters(raw, 0, len(raw))


def _meant(escape: re.Match[str]) -> str:
    """The character that an escape of JSON, or a pair of them, stands for."""
    units = [int(one, 16) for one in escape.groups()]
    return chr(0x10000 + ((units[0] - 0xD800) << 10) + units[1] - 0xDC00) if len(units) == 2 else chr(units[0])


def canonical(text: str) -> str:
    """The form of a text; that of a form is itself."""
    return "".join(map(canonical_character, text))


def encoded_runs(text: str, start: int = 0) -> list[tuple[int, int]]:
    """Where text stands that may be encoded, from a place on."""
    return [match.span() for match in _ENCODED.finditer(text, start)]


def decoded(run: str, depth: int = 0) -> str:
    """The text that a run stands for in base64 or hexadecimal digits; empty where it is none."""
    said = []
    for found in dict.fromkeys(_readings(run.translate(_NO_UNSEEN)[:MOST_ENCODED].rstrip("="))):
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
