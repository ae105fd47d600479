"""Texts that templates write, taken apart where their marks begin and end, so that no mark is ever cut in two."""

from __future__ import annotations

import re

# What stands together: a control mark, also one whose name is still to come (`<function=`), blanks, a word, a sign.
_TOKEN = re.compile(
    r"<\|open\|>[^<>]*<\|sep\|>|<\|close\|>[^<>]*<\|sep\|>"
    r"|<\|[^<>|\n]*\|?>|<[^<>|\s]*\|>|<｜[^<>｜\n]*｜>|</?[^<>\s=\"']+>|</?[^<>\s=\"']+"
    r"|\]~!?b[\[\]]|\[e~\[|\[/?[A-Z][A-Z_ ]*\]|〈\|[^〈〉\n]*〉|\s+|\w+|."
)
_MARK = re.compile(
    r"(?:<\|open\|>[^<>]*<\|sep\|>|<\|close\|>[^<>]*<\|sep\|>"
    r"|<\|[^<>|\n]*\|?>|<[^<>|\s]*\|>|<｜[^<>｜\n]*｜>|</?[^<>\s\"']*[^<>]*>"
    r"|\]~!?b[\[\]]|\[e~\[|\[/?[A-Z][A-Z_ ]*\]|〈\|[^〈〉\n]*〉)"
)

_RUN = re.compile(r"([^\w\s])\1\1")


def tokens(text: str) -> list[str]:
    """A text's marks, words, blanks and signs, in order; together they are the text."""
    return _TOKEN.findall(text)


def is_mark(token: str) -> bool:
    """Whether a token is one that people do not write in passing."""
    return _MARK.fullmatch(token) is not None


def has_mark(text: str) -> bool:
    """Whether a text has a mark in it, so that finding it within an answer is no coincidence."""
    named = any(len(token) > 2 and not token.isspace() and not token.isalnum() for token in tokens(text))
    return named or _RUN.search(text) is not None


def shared_start(one: str, other: str) -> str:
    """What two texts begin with, to the end of a mark, word or run of blanks."""
    found = []
    for a, b in zip(tokens(one), tokens(other), strict=False):
        if a != b:
            break
        found.append(a)
    return "".join(found)


def shared_end(one: str, other: str) -> str:
    """What two texts end with, from the beginning of a mark, word or run of blanks."""
    found: list[str] = []
    for a, b in zip(reversed(tokens(one)), reversed(tokens(other)), strict=False):
        if a != b:
            break
        found.insert(0, a)
    return "".join(found)


def first_mark(text: str) -> tuple[str, str]:
    """The first mark of a text, and what is behind it; nothing and the text itself where it has none."""
    at = 0
    for token in tokens(text):
        at += len(token)
        if is_mark(token):
            return token, text[at:]
    return "", text


def spelled(template: str, text: str) -> list[str]:
    """The marks that a text spells and a template writes, each once."""
    return list(dict.fromkeys(token for token in tokens(text) if is_mark(token) and token in template))
