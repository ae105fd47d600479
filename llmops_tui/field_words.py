"""What a value of a field is called where people read it: 0 may be never, none or whatever the app finds best."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Word:
    """Annotates a field of a model: ``word`` is said, and understood, for ``value``. Files have the value."""

    value: object
    word: str


def word_of(info: FieldInfo, value: object) -> str | None:
    """What a value of a field is called; none where it has no word of its own."""
    return next((one.word for one in info.metadata if isinstance(one, Word) and one.value == value), None)


def value_of(info: FieldInfo, text: str) -> object | None:
    """The value that a word of a field stands for; none where it is no word of the field."""
    said = text.strip().casefold()
    return next((one.value for one in info.metadata if isinstance(one, Word) and one.word.casefold() == said), None)
