"""What a proposed instruction must not be: a copy of rows, a template, too long, or one that was there before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmops_tui.improvement.candidates import has_tags
from llmops_tui.words import WORDS

COPIED_WORDS = 5
"""So many words in a row that stand in a row of data are a copy of it."""


def ngrams(text: str, width: int = COPIED_WORDS) -> set[tuple[str, ...]]:
    """All runs of so many words of a text, case and punctuation left out."""
    words = [word.lower() for word in WORDS.findall(text)]
    return {tuple(words[n : n + width]) for n in range(len(words) - width + 1)}


class CopyCheck:
    """Finds words of rows in instructions; what the seed's instruction says already, and what many rows say, is no copy.

    A run of words that more than a tenth of the rows have, such as a greeting or the form of all answers, is of the task
    and not of a row.
    """

    def __init__(self, rows: Mapping[str, str], seed: str) -> None:
        """``rows`` are texts by the names of their rows."""
        own = ngrams(seed)
        found: dict[tuple[str, ...], list[str]] = {}
        for name, text in rows.items():
            for gram in ngrams(text) - own:
                found.setdefault(gram, []).append(name)
        most = max(1, len(rows) // 10)
        self._of = {gram: names[0] for gram, names in found.items() if len(names) <= most}

    def copied(self, text: str) -> tuple[str, str] | None:
        """The row that a text copies, by its name, and the words; none where it copies none."""
        for gram in sorted(ngrams(text)):
            if gram in self._of:
                return self._of[gram], " ".join(gram)
        return None


def why_not(text: str, seed: str, known: Sequence[str], check: CopyCheck, most_words: int) -> str:
    """Why an instruction is no candidate, in words; empty where it is one."""
    if not text.strip():
        return "empty: the reflector wrote no instruction"
    if has_tags(text):
        return "has signs of the template language, which only the prompt's author writes"
    if text.strip() == seed.strip():
        return "the same as the seed's instruction"
    if text in known:
        return "the same as another candidate's"
    if (length := len(text.split())) > most_words:
        return f"too long: {length:,} words, and {most_words:,} are allowed"
    if found := check.copied(text):
        return f"copies {found[0]}: “{found[1]}”"
    return ""
