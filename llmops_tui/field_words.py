"""What a value of a field is called where people read it: 0 may be never, none or whatever the app finds best."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Word:
    """Annotates a field of a model: ``word`` is said, and understood, for ``value``. Files have the value."""

    value: object
    word: str


@dataclass(frozen=True)
class ByteCount:
    """Annotates a number of bytes: it is said with a unit where that says the same, and understood with any. Files have bytes."""


# A comma parts thousands only: of "1,5" it is not known what is meant.
_SIZE = re.compile(r"((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*([kmgt])(i?)b?", re.IGNORECASE)
_POWERS = "kmgt"


def size_words(size: int) -> str | None:
    """A number of bytes in the largest of KiB, MiB, GiB, TiB of which it is a whole number; none where it is of no one."""
    for power in range(len(_POWERS), 0, -1):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power:,} {_POWERS[power - 1].upper()}iB"
    return None


def size_of(text: str) -> int | None:
    """The bytes that a text such as ``1.5 GiB`` or ``500 MB`` says; none where it is no number with such a unit."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    number, unit, binary = match.groups()
    base: int = 1024 if binary else 1000
    power: int = base ** (_POWERS.index(unit.lower()) + 1)
    return round(float(number.replace(",", "")) * power)


def is_byte_count(info: FieldInfo) -> bool:
    """Whether a field is a number of bytes."""
    return any(isinstance(one, ByteCount) for one in info.metadata)


def word_of(info: FieldInfo, value: object) -> str | None:
    """What a value of a field is called; none where it has no word of its own."""
    return next((one.word for one in info.metadata if isinstance(one, Word) and one.value == value), None)


def value_of(info: FieldInfo, text: str) -> object | None:
    """The value that a word of a field stands for; none where it is no word of the field."""
    said = text.strip().casefold()
    return next((one.value for one in info.metadata if isinstance(one, Word) and one.word.casefold() == said), None)
