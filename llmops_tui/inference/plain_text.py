"""A prompt cut for the tokenizer where text from outside spells control tokens, and nowhere else.

llama.cpp's tokenizer takes a text apart at its special tokens, the longest first, and tokenizes what is between two of
them for itself. So a prompt may be handed over in pieces that are cut there: their tokens are those of the whole. What lies
between two control tokens of the template, and has the spelling of one in it, is handed over as text alone. Tokens that a
vocabulary's author defined are looked for even then; where one is spelled that is a mark, the text is cut within it.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmops_tui.chat_format import ControlTexts
from llmops_tui.chat_format.marks import is_mark

# What isspace of C takes for blanks.
_BLANKS = " \t\n\v\f\r"
_PLAIN, _TAKEN = 1, 2


@dataclass(frozen=True)
class Special:
    """A token that llama.cpp looks for in texts.

    Attributes:
        text: its text.
        control: whether it is looked for only where control tokens are read as such.
        strips_before, strips_behind: whether blanks around it are no part of the text.
    """

    text: str
    control: bool
    strips_before: bool = False
    strips_behind: bool = False


_NO_TOKEN = Special("", control=True)


@dataclass(frozen=True)
class Piece:
    """A part of a prompt; ``special`` says whether control tokens in it are such."""

    text: str
    special: bool


class SpecialTokens:
    """The special tokens of one vocabulary."""

    def __init__(self, specials: Iterable[Special]) -> None:
        # As llama.cpp looks for them; it counts bytes.
        self._specials = sorted((one for one in specials if one.text), key=lambda one: -len(one.text.encode()))
        self._texts = ControlTexts(one.text for one in self._specials)

    @property
    def controls(self) -> list[str]:
        """The texts of control tokens, the longest first."""
        return [one.text for one in self._specials if one.control]

    @property
    def marks(self) -> list[str]:
        """The texts of other special tokens that a template may use as marks, such as ``<think>``."""
        return [one.text for one in self._specials if not one.control and is_mark(one.text)]

    def pieces(self, text: str, plain: Sequence[Sequence[int]]) -> list[Piece]:
        """The parts of a text, of which the characters in the spans ``plain`` are part of no control token."""
        taken, spelled = self._found(text, plain) if plain else ([], [])
        if not spelled:
            return [Piece(text, special=True)]
        pieces: list[Piece] = []
        begin = 0
        bounds = [(0, 0, _NO_TOKEN), *taken, (len(text), len(text), _NO_TOKEN)]
        for (_, start, before), (end, _, behind) in itertools.pairwise(bounds):
            first, last = bisect.bisect_left(spelled, (start,)), bisect.bisect_left(spelled, (end,))
            if first == last:
                continue
            pieces.append(Piece(text[begin:start], special=True))
            cuts = [start, *(at + 1 for at, control in spelled[first:last] if not control), end]
            parts = [text[one:other] for one, other in itertools.pairwise(cuts)]
            parts[0] = parts[0].lstrip(_BLANKS) if before.strips_behind else parts[0]
            parts[-1] = parts[-1].rstrip(_BLANKS) if behind.strips_before else parts[-1]
            pieces += [Piece(part, special=False) for part in parts]
            begin = end
        return [piece for piece in [*pieces, Piece(text[begin:], special=True)] if piece.text]

    def _found(
        self, text: str, plain: Sequence[Sequence[int]]
    ) -> tuple[list[tuple[int, int, Special]], list[tuple[int, bool]]]:
        """The control tokens of a text in order, and where it spells some that are none, and whether these are control tokens."""
        here = self._texts.within(text)
        whole = {(start, end) for start, end in plain}
        state = bytearray(len(text))
        for start, end in plain:
            state[start:end] = bytes([_PLAIN]) * (end - start)
        taken: list[tuple[int, int, Special]] = []
        spelled: list[tuple[int, bool]] = []
        for special in (one for one in self._specials if one.text in here):
            size = len(special.text)
            at = text.find(special.text)
            while at >= 0:
                end = at + size
                if state.find(_TAKEN, at, end) >= 0:
                    at = text.find(special.text, at + 1)
                elif special.control and state.find(_PLAIN, at, end) >= 0:
                    spelled.append((at, True))
                    at = text.find(special.text, at + 1)
                else:
                    # What an author defined is also what people write, such as blanks: only a whole one was spelled.
                    if special.control:
                        taken.append((at, end, special))
                    elif size > 1 and (at, end) in whole:
                        spelled.append((at, False))
                    state[at:end] = bytes([_TAKEN]) * size
                    at = text.find(special.text, end)
        return sorted(taken, key=lambda one: one[0]), sorted(spelled)
