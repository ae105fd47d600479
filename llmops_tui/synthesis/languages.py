"""Whether a text is in the language that it was to be translated into, and still says what it said."""

from __future__ import annotations

# Below it a text that was translated there and back is another one.
LEAST_ALIKE = 0.2
# Shorter texts are of no language that could be told.
_LEAST_LETTERS = 12


def language_of(text: str) -> str:
    """The language of a text as two letters (ISO 639-1); empty where it is too short to tell."""
    import py3langid

    return str(py3langid.classify(text)[0]) if _tells(text) else ""


def nearer_to(text: str, wanted: str, other: str) -> bool | None:
    """Whether a text is rather of one language than of another; none where it is too short to tell."""
    import py3langid

    if not _tells(text):
        return None
    ranked = [str(code) for code, _ in py3langid.rank(text)]
    return ranked.index(wanted) < ranked.index(other)


def alike(left: str, right: str) -> float:
    """How much two texts have in common, from 0 to 1: the Dice coefficient of their sequences of three characters.

    (Dice, "Measures of the amount of ecologic association between species", 1945.) What is translated there and back by a
    model that can keeps names, numbers and most words.
    """
    a, b = (
        {text[i : i + 3] for i in range(len(text) - 2)}
        for text in (f" {' '.join(t.lower().split())} " for t in (left, right))
    )
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


def known_language(code: str) -> bool:
    """Whether texts of a language can be recognised."""
    import py3langid

    return code in {str(found) for found, _ in py3langid.rank("a text in some language")}


def _tells(text: str) -> bool:
    return sum(c.isalpha() for c in text) >= _LEAST_LETTERS
