"""A step of chains: a function."""

from __future__ import annotations


def initials(name: str) -> str:
    """The first letters of a name's words."""
    return "".join(word[0].upper() for word in name.split())
