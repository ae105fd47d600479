"""Counts in messages: a number with its noun, and the words that agree with it."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """A count with its noun: ``1 file``, ``1,200 files``; ``several`` is a plural that is not made with an s."""
    return f"{number:,} {agree(number, one, several or one + 's')}"


def agree(number: int, one: str, several: str) -> str:
    """Of two words the one that goes with the number, such as ``is`` or ``are``."""
    return one if number == 1 else several
