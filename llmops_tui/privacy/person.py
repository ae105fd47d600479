"""A person by identifiers: where they stand in a text, however it is written, and what stands for them afterwards.

Texts are searched as they lie in files: plain, as JSON once or several times over, or as parts of addresses of the web. So
a search needs no parser, and what it replaces leaves JSON what it was.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from llmops_tui.errors import InputRefusedError
from llmops_tui.privacy.replacement import mark

IdentifierKind = Literal["name", "email", "phone", "pseudonym", "id"]
KINDS: tuple[IdentifierKind, ...] = get_args(IdentifierKind)
# What is shorter stands in too many texts that have nothing to do with the person.
SHORTEST = 3
_FEWEST_DIGITS = 6
_MOST = 100
_LONGEST = 200
# A surname with fewer letters is a word of its own too often.
_LEAST_SURNAME = 4
_SPELT = {
    "ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "å": "aa", "Å": "Aa", "ø": "oe", "Ø": "Oe",
    "æ": "ae", "Æ": "Ae", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D",
}  # fmt: skip
# Texts up to so many characters are searched as a whole.
_SHORT = 300
_PSEUDONYM = re.compile(r"\[?([A-Z_]+)-([0-9a-z]{10,20})\]?")
_DIGITS_ONLY = re.compile(r"[\d\s().+/\u00a0-]+")
# Between the words of a name: blanks, also as JSON or an address of the web writes them, and the signs of user names.
_GAP = r"(?:[\s\u00a0._+-]|\\+[nrt]|\\+u00a0|%20|&nbsp;){1,4}"
# Between the digits of a number.
_SEPARATOR = r"(?:[\s\u00a0().\u2011/_-]|\\+u00a0|\\+[nrt]|%20){0,3}"
# A letter before is none of the text's where it ends an escape of JSON.
_ESCAPED = r"(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4})"
_BLANKS_WITH_DIGITS = re.compile(rb"u00a0|%20", re.IGNORECASE)
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_NO_BLANKS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


@dataclass(frozen=True)
class Identifier:
    """Something that a person is known by."""

    kind: IdentifierKind
    value: str

    @property
    def mark(self) -> str:
        """What stands for it where it was taken out, such as ``[NAME]``."""
        found = _PSEUDONYM.fullmatch(self.value) if self.kind == "pseudonym" else None
        return mark(found.group(1) if found is not None else self.kind, self.value)


@dataclass(frozen=True)
class Mention:
    """Where an identifier stands in a text, in characters."""

    identifier: Identifier
    start: int
    end: int


def read_identifier(given: str) -> Identifier:
    """An identifier as it was given: its kind before a colon, such as ``id:4711``, or told by its form.

    Raises:
        InputRefusedError: ``identifier_unfit``: it is too short, too long, or not of its kind.
    """
    word, colon, rest = given.strip().partition(":")
    stated = next((kind for kind in KINDS if colon and word == kind), None)
    value = " ".join(unicodedata.normalize("NFC", rest if stated else given).split())
    kind = stated or _kind_of(value)
    digits = sum(c.isdigit() for c in value)
    fault = ""
    if len(value) < SHORTEST and not _NO_BLANKS.search(value):
        fault = f"has fewer than {SHORTEST} characters, and would be found everywhere"
    elif len(value) > _LONGEST:
        fault = f"has more than {_LONGEST} characters"
    elif kind == "phone" and digits < _FEWEST_DIGITS:
        fault = f"has fewer than {_FEWEST_DIGITS} digits"
    elif kind == "email" and not re.fullmatch(r"[^\s@]+@[^\s@]+", value):
        fault = "is no e-mail address"
    elif kind == "pseudonym" and not _PSEUDONYM.fullmatch(value):
        fault = "is no pseudonym such as [NAME-k3v9x2ab1c]"
    elif not any(c.isalnum() for c in value):
        fault = "has neither letters nor digits"
    if fault:
        raise InputRefusedError(
            "identifier_unfit",
            f"{value[:40]!r} {fault}",
            f"Give a name, an address, a number or an id; its kind before a colon where it is not told: {', '.join(KINDS)}.",
        )
    return Identifier(kind, value)


def _kind_of(value: str) -> IdentifierKind:
    if "@" in value and " " not in value and not value.startswith("@"):
        return "email"
    if _PSEUDONYM.fullmatch(value):
        return "pseudonym"
    if _DIGITS_ONLY.fullmatch(value) and (not value.isdecimal() or value.startswith("0")):
        return "phone"
    return "name" if not any(c.isdigit() or c == "_" for c in value) else "id"


class Person:
    """Who is meant: identifiers of one person."""

    def __init__(self, identifiers: Iterable[Identifier]) -> None:
        self.identifiers = tuple(dict.fromkeys(identifiers))
        if not self.identifiers:
            raise InputRefusedError(
                "nobody_named", "nobody is named", "Give a name, an address, a number, a pseudonym or an id."
            )
        if len(self.identifiers) > _MOST:
            raise InputRefusedError("identifier_unfit", f"more than {_MOST} identifiers are given", "Give fewer.")

    @classmethod
    def read(cls, given: Sequence[str]) -> Person:
        """Whom some texts name; blank ones are left out."""
        return cls(read_identifier(text) for text in given if text.strip())

    @cached_property
    def _ordered(self) -> tuple[Identifier, ...]:
        # The longest first: an address that contains a name is an address.
        return tuple(
            sorted(self.identifiers, key=lambda one: (one.kind not in {"email", "pseudonym"}, -len(one.value)))
        )

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = (f"(?P<i{n}>{_PATTERNS[one.kind](one.value)})" for n, one in enumerate(self._ordered))
        return re.compile("|".join(parts), re.IGNORECASE)

    @cached_property
    def _seeds(self) -> tuple[tuple[str, ...], re.Pattern[str] | None]:
        """What every mention has in it and is found many times faster: runs of its letters, and a pattern of the others."""
        cores = [(one, _core(one)) for one in self.identifiers]
        runs = dict.fromkeys(core for _, core in cores if core is not None and not core.isdecimal())
        others = [
            _spelt(one.value) if core is None else _SEPARATOR.join(core)
            for one, core in cores
            if core is None or core.isdecimal()
        ]
        return tuple(runs), re.compile("|".join(dict.fromkeys(others)), re.IGNORECASE) if others else None

    def _seed_places(self, text: str) -> list[tuple[int, int]]:
        """Where a text has a seed, in its order."""
        runs, others = self._seeds
        found = [match.span() for match in others.finditer(text)] if others is not None else []
        lower = text.lower()
        if len(lower) != len(text):
            # A letter whose small form has two characters: places would not be the same.
            found += [m.span() for run in runs for m in re.finditer(run, text, re.IGNORECASE)]
            return sorted(found)
        for run in runs:
            at = lower.find(run)
            while at >= 0:
                found.append((at, at + len(run)))
                at = lower.find(run, at + 1)
        return sorted(found)

    def find(self, text: str) -> Iterator[Mention]:
        """Where a text has an identifier, in its order."""
        done = 0
        for begin, end in self._windows(text):
            # What was found ends before the next window begins, or within it.
            for match in self._pattern.finditer(text, max(begin, done), end):
                done = match.end()
                yield Mention(self._ordered[int(str(match.lastgroup)[1:])], *match.span())

    def _windows(self, text: str) -> Iterator[tuple[int, int]]:
        """The stretches of a text in which mentions may be, in their order, none touching the next."""
        if len(text) <= _SHORT:
            yield 0, len(text)
            return
        begin = end = 0
        for first, last in self._seed_places(text):
            if first - self.longest > end:
                if end:
                    yield begin, min(end, len(text))
                begin = first - self.longest
            end = last + self.longest
        if end:
            yield max(0, begin), min(end, len(text))

    def named_in(self, text: str) -> bool:
        """Whether a text has an identifier."""
        return next(self.find(text), None) is not None

    def redact(self, text: str) -> tuple[str, Counter[str]]:
        """A text with a mark for each identifier, and how many there were of each kind."""
        counts: Counter[str] = Counter()
        parts, at = [], 0
        for mention in self.find(text):
            counts[mention.identifier.kind] += 1
            parts += [text[at : mention.start], mention.identifier.mark]
            at = mention.end
        return ("".join([*parts, text[at:]]), counts) if counts else (text, counts)

    def may_be_in(self, data: bytes) -> bool:
        """Whether bytes may have an identifier: quick, and seldom wrong."""
        lower, digits = data.lower(), b""
        for core in map(_core, self.identifiers):
            if core is None or (not core.isdecimal() and core.encode() in lower):
                return True
            if core.isdecimal():
                # Digits of what stands for a blank are none of the number's.
                digits = digits or b" ".join(
                    said.translate(None, _NO_DIGITS) for said in (data, _BLANKS_WITH_DIGITS.sub(b"", data))
                )
                if core.encode() in digits:
                    return True
        return False

    @property
    def codes(self) -> set[str]:
        """The codes of the pseudonyms among the identifiers."""
        found = (_PSEUDONYM.fullmatch(one.value) for one in self.identifiers if one.kind == "pseudonym")
        return {match.group(2) for match in found if match is not None}

    @property
    def longest(self) -> int:
        """The most characters that an identifier takes where it stands in a file: all of it escaped several times over."""
        return max(len(one.value) for one in self.identifiers) * 16 + 64

    def sql_filter(self, columns: Sequence[str]) -> str:
        """A condition on columns of text, as SQL names them, that holds wherever an identifier may be, and seldom elsewhere."""
        wanted = [_core(one) for one in self.identifiers]
        if not columns or any(core is None for core in wanted):
            return "true"
        found = []
        for core in dict.fromkeys(filter(None, wanted)):
            for column in columns:
                said = (
                    [f"regexp_replace({column}, '{left_out}', '', 'gi')" for left_out in ("[^0-9]", "u00a0|%20|[^0-9]")]
                    if core.isdecimal()
                    else [f"lower({column})"]
                )
                found += [f"contains({one}, '{core}')" for one in said]
        return " OR ".join(found)


def _core(identifier: Identifier) -> str | None:
    """A part of an identifier that all its forms have: ASCII letters, or digits of a number; none where there is none."""
    if identifier.kind == "phone":
        return "".join(c for c in identifier.value if c.isascii() and c.isdigit())[-_FEWEST_DIGITS:] or None
    # A number in an id is written in one piece; what is searched for among digits alone is found there, too.
    runs = re.findall(r"[A-Za-z]{2,}|[0-9]{3,}", identifier.value)
    return max(runs, key=len, default="").lower() or None


class PerhapsPerson(Person):
    """Texts that may mean a person: a surname alone, and names as they are written without their own letters.

    What names the person for sure is no part of it. Raises as :class:`Person` where there is nothing weaker to look for.
    """

    def __init__(self, person: Person) -> None:
        names = [one.value for one in person.identifiers if one.kind == "name"]
        weaker = dict.fromkeys(form for name in names for form in _weaker(name))
        super().__init__(Identifier("name", form) for form in weaker if form.casefold() not in map(str.casefold, names))
        self._sure = person

    def find(self, text: str) -> Iterator[Mention]:
        """Where a text has such a form outside of what surely is the person's."""
        sure: list[Mention] | None = None
        for mention in super().find(text):
            sure = list(self._sure.find(text)) if sure is None else sure
            if not any(mention.start < one.end and one.start < mention.end for one in sure):
                yield mention


def _weaker(name: str) -> Iterator[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    spelt = "".join(_SPELT.get(c, c) for c in unicodedata.normalize("NFC", name))
    for form in (name, plain, spelt):
        yield form
        words = form.replace(",", " ").split()
        if len(words) > 1 and len(words[-1]) >= _LEAST_SURNAME:
            yield words[-1]


# ── patterns ──


def _letter(char: str) -> str:
    """A character in the forms that files have it in: composed or not, escaped in JSON, or in an address of the web."""
    if char.isascii():
        return re.escape(char)
    forms = dict.fromkeys(
        form for case in (char, char.lower(), char.upper()) for form in (case, unicodedata.normalize("NFD", case))
    )
    spelt = []
    for form in forms:
        units = form.encode("utf-16-be")
        escapes = (units[at : at + 2].hex() for at in range(0, len(units), 2))
        plain = [c if c.isascii() else None for c in form]
        spelt.append("".join(re.escape(c) if c else r"\\+u" + e for c, e in zip(plain, escapes, strict=False)))
        spelt.append("".join(f"%{byte:02x}" for byte in form.encode()))
    return f"(?:{'|'.join([*map(re.escape, forms), *spelt])})"


def _bounded(pattern: str, value: str, before: str, after: str) -> str:
    """A pattern that does not begin or end within a word; scripts without blanks have no such borders."""
    front = "" if _NO_BLANKS.match(value[0]) else f"(?:(?<!{before})|{_ESCAPED})"
    back = "" if _NO_BLANKS.match(value[-1]) else f"(?!{after})"
    return f"{front}{pattern}{back}"


def _spelt(text: str) -> str:
    return "".join(map(_letter, text))


def _name(value: str) -> str:
    words = [word for word in re.split(r"[\s,]+", value) if word]
    # An initial or a second name of one letter may stand between.
    between = rf"(?:{_GAP}\w\.?)?{_GAP}"
    pattern = between.join(map(_spelt, words))
    if len(words) > 1:
        first = between.join(map(_spelt, words[:-1]))
        pattern = rf"(?:{pattern}|{_spelt(words[-1])}(?:,|%2c)?{_GAP}{first})"
    return _bounded(pattern, value, r"[^\W\d_]", r"[^\W\d_]")


def _email(value: str) -> str:
    local, _, domain = value.rpartition("@")
    return _bounded(rf"{_spelt(local)}(?:@|%40|\\+u0040){_spelt(domain)}", value, r"[\w.+%-]", r"[\w-]|\.\w")


def _phone(value: str) -> str:
    said = value.replace("(0)", "")
    digits = "".join(c for c in said if c.isdigit())
    country, national = "", digits
    if said.startswith(("+", "00")):
        country, national = _country_of(digits[2:] if said.startswith("00") else digits)
    national = national.lstrip("0") or national
    number = _SEPARATOR.join(national)
    prefix = rf"(?:\+|00|%2b|\\+u002b)?{_SEPARATOR.join(country)}" if country else r"(?:\+|00|%2b)\d{1,3}"
    # Short numbers without their country are anybody's.
    optional = "?" if len(national) >= _FEWEST_DIGITS else ""
    return rf"(?<!\d)(?:{prefix}{_SEPARATOR}(?:\(?0\)?{_SEPARATOR})?|\(?0{_SEPARATOR}){optional}{number}(?!\d)"


def _country_of(digits: str) -> tuple[str, str]:
    import phonenumbers

    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return "", digits
    code = str(number.country_code)
    return code, digits[len(code) :]


def _pseudonym(value: str) -> str:
    found = _PSEUDONYM.fullmatch(value)
    assert found is not None
    # The code alone is the person's, whatever kind stands before it.
    return rf"\[?(?<![A-Za-z0-9])[A-Z_]+-{found.group(2)}(?![0-9a-z])\]?"


def _id(value: str) -> str:
    return _bounded(_spelt(value).replace(r"\ ", _GAP), value, r"\w", r"\w")


_PATTERNS = {"name": _name, "email": _email, "phone": _phone, "pseudonym": _pseudonym, "id": _id}


def as_texts(value: Any) -> Iterator[str]:
    """All that can be searched in a JSON value: texts, keys and numbers."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from as_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from as_texts(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield repr(value)
