"""The terms of texts and queries for BM25: words, which SQLite cuts and stems, and what its tokenizer has no words for.

Two kinds of terms go into a column of their own: writings such as ``C++``, ``E-1042``, ``-5`` and ``node.js``, of which a
tokenizer by letters keeps parts, and pairs of characters of scripts without spaces, of which it makes whole sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from llmops_tui.retrieval.chunking import UNSPACED

_WORD = re.compile(r"\w+")
_SIGNS = r"+#\-_./:@&"
# A letter or digit with a sign at it: before, within or behind.
_SIGNED = re.compile(rf"(?:(?<![\w{_SIGNS}])[+\-#.@])?\w+(?:[{_SIGNS}]+\w+)*[+#]*")
_RUN = re.compile(f"[{UNSPACED}]+")

# A query with more different terms than this is one for its first.
MOST_TERMS = 256
_PREFIX = "zq"


@dataclass(frozen=True)
class Term:
    """A term of a query.

    Attributes:
        said: as the query has it.
        column: where it is looked for.
        written: as it is written there.
        begins: whether it may go on there.
    """

    said: str
    column: Literal["text", "codes"]
    written: str
    begins: bool = False

    @property
    def expression(self) -> str:
        """The term as FTS5 is asked for it."""
        return f'{self.column} : "{self.written}"{" *" if self.begins else ""}'


def coded_terms(text: str) -> str:
    """What goes into the column of coded terms: signed writings and pairs of characters, with spaces between."""
    found = [_coded(writing) for writing in _signed(text)]
    for run in _runs(text):
        # The last one stands for itself, too, so that each character begins a term.
        found += [*(run[at : at + 2] for at in range(len(run) - 1)), run[-1]]
    return " ".join(found)


def query_terms(query: str) -> list[Term]:
    """The different terms of a query, in its order."""
    found: dict[str, Term] = {}
    for word in _WORD.findall(_RUN.sub(" ", query)):
        said = word.lower()
        # An underscore separates words for the tokenizer.
        if said.strip("_"):
            found.setdefault(said, Term(word, "text", said))
    for writing in _signed(query):
        found.setdefault(writing.lower(), Term(writing, "codes", _coded(writing)))
    for run in _runs(query):
        if len(run) == 1:
            found.setdefault(run, Term(run, "codes", run, begins=True))
        for at in range(len(run) - 1):
            pair = run[at : at + 2]
            found.setdefault(pair, Term(pair, "codes", pair))
    return list(found.values())[:MOST_TERMS]


def _signed(text: str) -> list[str]:
    return [found for found in _SIGNED.findall(text) if not found.replace("_", "a").isalnum()]


def _coded(writing: str) -> str:
    """A writing in letters and digits alone, another for each; small letters, as the tokenizer makes them."""
    spelled = "".join("qq" if c == "q" else c if c.isalnum() else f"q{ord(c):x}q" for c in writing.lower())
    return f"{_PREFIX}{spelled}"


def _runs(text: str) -> list[str]:
    return _RUN.findall(text)
