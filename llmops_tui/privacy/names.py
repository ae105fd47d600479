"""Names of people, recognised by lists and context; no model is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# A capitalised word of any script that has capitals, with the apostrophes and hyphens that names have.
_WORD = r"[^\W\d_a-z](?:[^\W\d_]|['’](?=[^\W\d_]))+(?:-[^\W\d_a-z][^\W\d_]+)?"
_PARTICLE = r"(?:van|von|de|der|den|da|di|del|la|le|al|el|bin|ibn|zu|dos|du)"
_FULL = rf"{_WORD}(?:[ ](?:[^\W\d_a-z]\.|{_PARTICLE}[ ](?:{_PARTICLE}[ ])?{_WORD}|{_WORD})){{0,3}}"
_TITLED = re.compile(
    rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sir|Madam|Herr|Herrn|Frau|Señor|Señora|Sr|Sra|Mme|Mlle|Monsieur|Madame|Signor|Signora)"
    rf"\.?[ ]({_FULL})"
)
_SAID = re.compile(
    rf"\b(?i:my name is|my name's|name is|name:|i am called|called me|ich heiße|mein name ist|je m'appelle|me llamo|"
    rf"mi chiamo|signed[,:]?|sincerely[,:]?|regards[,:]?|best wishes[,:]?|yours truly[,:]?|yours[,:]|cheers[,:]?|"
    rf"contact person[,:]?|customer[:]|patient[:]|employee[:]|applicant[:]|tenant[:]|attn[.:]|c/o)[ \n]+({_FULL})"
)
_GREETED = re.compile(rf"\b(?:Dear|Hi|Hello|Hey|Hallo|Liebe|Lieber|Bonjour|Hola|Ciao|Thanks|Thank you)[ ,]+({_FULL})")
_ANY = re.compile(rf"(?<![^\W_])({_FULL})")


def find_names(text: str) -> Iterator[tuple[int, int]]:
    """Where people are named, as (start, end); titles stay outside.

    A name is what follows a title, an introduction or a sign-off; after a greeting, or anywhere, it must begin with a
    known given name.
    """
    for pattern in (_TITLED, _SAID):
        for match in pattern.finditer(text):
            found = _trim(text, match.start(1), match.end(1))
            if found:
                yield found
    for pattern in (_GREETED, _ANY):
        for match in pattern.finditer(text):
            yield from _known(text, match.start(1), match.end(1))


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without words behind the name that are none; none where nothing is left."""
    kept = start
    for match in re.finditer(r"\S+", text[start:end]):
        if match.group() in _words("no_surnames"):
            break
        kept = start + match.end()
    return (start, kept) if kept > start else None


def _known(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The part of a run of capitalised words that begins with a given name."""
    for match in re.finditer(r"\S+", text[start:end]):
        word = match.group().rstrip("'’")
        if _is_given(word):
            found = _trim(text, start + match.start(), end)
            if found:
                yield found
            return


def _is_given(word: str) -> bool:
    first = word.partition("-")[0].lower()
    known = _words("given_names")
    return first in known or _plain(first) in known


def _plain(word: str) -> str:
    import unicodedata

    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


@cache
def _words(name: str) -> frozenset[str]:
    """A list of words beside this module: given names that hardly ever are another word, or words that follow a name."""
    return frozenset((Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8").split())


def known_names() -> int:
    """How many given names are known, for a report to say."""
    return len(_words("given_names"))
