"""Pairs of a query and a document as a model that ranks reads them: by its own template, or one behind the other.

They are put together from token ids, so that no query and no document can spell the mark between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import llama_cpp

_PLACES = re.compile(r"\{(query|document)\}")
Piece = str | int
"""A text of the template, or the id of one of its control tokens."""


@dataclass(frozen=True)
class PairFacts:
    """What a vocabulary says of pairs. ``bos``, ``end`` and ``between`` are token ids, -1 where none is put there.

    ``template`` is the file's own, with ``{query}`` and ``{document}`` in it; empty where it has none.
    """

    bos: int = -1
    end: int = -1
    between: int = -1
    template: str = ""


def pair_facts(model: Any, vocab: Any) -> PairFacts:
    """The facts of a model of llama.cpp's."""
    own = llama_cpp.llama_model_chat_template(model, b"rerank")
    end, between = int(llama_cpp.llama_vocab_eos(vocab)), int(llama_cpp.llama_vocab_sep(vocab))
    return PairFacts(
        bos=int(llama_cpp.llama_vocab_bos(vocab)) if llama_cpp.llama_vocab_get_add_bos(vocab) else -1,
        end=(end if end >= 0 else between) if llama_cpp.llama_vocab_get_add_eos(vocab) else -1,
        between=between if llama_cpp.llama_vocab_get_add_sep(vocab) else -1,
        template=own.decode("utf-8", "replace") if own else "",
    )


@dataclass(frozen=True)
class PairWriter:
    """Makes the tokens of pairs.

    Attributes:
        spell: the tokens of a text, in which nothing is a control token.
        controls: the control tokens of a text in order, each with its own text.
    """

    facts: PairFacts
    spell: Callable[[str], list[int]]
    controls: Callable[[str], Sequence[tuple[int, str]]]
    _read: list[Piece] = field(default_factory=list, repr=False)

    def tokens(self, query: str, document: str) -> list[int]:
        """The tokens of one pair."""
        facts = self.facts
        if facts.template:
            return self._by_template({"query": query, "document": document})
        parts = [[facts.bos], self.spell(query), [facts.end], [facts.between], self.spell(document), [facts.end]]
        return [token for part in parts for token in part if token >= 0]

    def _by_template(self, given: dict[str, str]) -> list[int]:
        """Texts between control tokens are spelled as a whole, with what was given in its place, as llama.cpp does."""
        if not self._read:
            self._read.extend(self._pieces(self.facts.template))
        found: list[int] = []
        for piece in self._read:
            if isinstance(piece, int):
                found.append(piece)
            elif piece:
                found += self.spell(_PLACES.sub(lambda place: given[place[1]], piece))
        return found

    def _pieces(self, template: str) -> list[Piece]:
        pieces: list[Piece] = []
        for token, text in self.controls(template):
            before, mark, template = template.partition(text)
            pieces += [before, token] if mark else [before]
        return [*pieces, template]
