"""Names that people give: of prompts, datasets and suites, in the letters of any script."""

from __future__ import annotations

import unicodedata

MOST = 100
# What file systems take of one name is 255 bytes, and endings come behind it.
_MOST_BYTES = 200
_SIGNS = frozenset("._-")
RULE = f"Use letters and digits of any script, and . _ - (at most {MOST})."


def is_name(text: str) -> bool:
    """Whether a text can be a name: a letter or digit first, then letters, their marks, digits and ``. _ -``.

    One text is one name: letters and marks that stand for one character have to be that (Unicode's form NFC), or two names
    would look the same.
    """
    if not 0 < len(text) <= MOST or unicodedata.normalize("NFC", text) != text:
        return False
    kinds = [unicodedata.category(character)[0] for character in text]
    if kinds[0] not in "LN" or len(text.encode("utf-8", "surrogatepass")) > _MOST_BYTES:
        return False
    return all(kind in "LMN" or character in _SIGNS for kind, character in zip(kinds, text, strict=True))


def as_name(text: str) -> str:
    """A text as it was typed made a name as far as that is sure: no spaces, one form of each character."""
    return unicodedata.normalize("NFC", "-".join(text.split()))
