"""Where JSON stands in a text that grows: each character is read once, however deep it opens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_OPENS = re.compile(r"[{\[]")
_WORD = frozenset("-+.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
# As Python reads it, which knows some numbers more.
_NAMED = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]*)?)?")
# Python takes no longer numbers.
_LONGEST_WORD = 4300
# So often what begins as JSON may be none before the rest is taken for prose.
_MOST_TRIES = 200


@dataclass
class _Reading:
    """One object or list that begins at ``start``, read up to some place; ``opened`` are the places of its open brackets."""

    start: int
    opened: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    need: str = "value"
    key: bool = False
    quoted: bool = False
    escaped: bool = False
    word: str = ""

    def take(self, at: int, letter: str) -> bool:
        """Go on with a character; false where this is no JSON. It is whole where nothing is open any more."""
        if self.quoted:
            return self._in_text(letter)
        if self.word:
            if letter in _WORD:
                self.word += letter
                return len(self.word) <= _LONGEST_WORD and _may_be(self.word)
            self.word, self.need = "", "comma"
        if letter in " \t\r\n":
            return True
        return self._outside(at, letter)

    def _in_text(self, letter: str) -> bool:
        if self.escaped:
            self.escaped = False
        elif letter == "\\":
            self.escaped = True
        elif letter == '"':
            self.quoted, self.need = False, "colon" if self.key else "comma"
        return letter >= " "

    def _outside(self, at: int, letter: str) -> bool:
        if letter in "]}":
            return self._close(letter)
        if self.need == "colon":
            self.need = "value"
            return letter == ":"
        if self.need == "comma":
            self.need = "key" if self.kinds[-1] == "}" else "value"
            return letter == ","
        if letter == '"':
            self.quoted, self.key = True, self.need.startswith("key")
            return True
        if self.need.startswith("key"):
            return False
        if letter in "[{":
            self.opened.append(at)
            self.kinds.append("]" if letter == "[" else "}")
            self.need = "value or end" if letter == "[" else "key or end"
            return True
        self.word = letter
        return letter in _WORD and _may_be(letter)

    def _close(self, letter: str) -> bool:
        if self.kinds.pop() != letter or not (self.need == "comma" or self.need.endswith("or end")):
            return False
        self.opened.pop()
        self.need = "comma"
        return True


def _may_be(word: str) -> bool:
    return _NUMBER.fullmatch(word) is not None or any(name.startswith(word) for name in _NAMED)


@dataclass
class GrowingJson:
    """The objects and lists of a text that grows: those that are whole, and the one that is not yet."""

    read: int = 0
    whole: list[tuple[int, int]] = field(default_factory=list)
    _reading: _Reading | None = None
    _failed: set[int] = field(default_factory=set)
    _tries: int = 0

    def grow(self, text: str) -> None:
        """Read on to the end of a text, which begins as it did."""
        while self._tries < _MOST_TRIES:
            if self._reading is None and not self._begin(text):
                break
            assert self._reading is not None
            reading = self._reading
            for at in range(self.read, len(text)):
                if not reading.take(at, text[at]):
                    # None of the brackets that are open there begins JSON either; one behind them may.
                    self._failed |= {reading.start, *reading.opened}
                    self._tries += 1
                    self.read, self._reading = reading.start + 1, None
                    break
                if not reading.opened:
                    self.whole.append((reading.start, at + 1))
                    self.read, self._reading = at + 1, None
                    break
            else:
                self.read = len(text)
                return
        self.read = len(text)

    def _begin(self, text: str) -> bool:
        for match in _OPENS.finditer(text, self.read):
            if match.start() not in self._failed:
                self.read, self._reading = match.start(), _Reading(match.start())
                return True
        return False

    def cut(self, place: int) -> int:
        """The last place up to this one that is within no JSON, be it whole or not yet; what is before is not asked again."""
        if self._reading is not None:
            place = min(place, self._reading.start)
        within = [begin for begin, end in self.whole if begin < place < end]
        place = min([place, *within])
        self.whole = [one for one in self.whole if one[1] > place]
        return place
