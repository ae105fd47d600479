"""Prompt lookup decoding: drafts tokens that followed the last few tokens earlier in the text.

Prompt-lookup decoding: a guess costs nothing but a wider step, and a guess is kept only where the sampler chooses the
same token, so what is generated has the same distribution with and without it.
"""

from __future__ import annotations

_NGRAM = 3
_DRAFT = 4
_FIRST_LOOK = 32
_MIN_ACCEPTANCE = 0.4


class Draft:
    """The guesser of one request; gives up where fewer than 40 % of its guesses were right."""

    def __init__(self) -> None:
        self.drafted = 0
        self.accepted = 0

    @property
    def off(self) -> bool:
        """Whether it guessed too badly to go on."""
        return self.drafted >= _FIRST_LOOK and self.accepted < _MIN_ACCEPTANCE * self.drafted

    def propose(self, tokens: list[int], room: int) -> list[int]:
        """Guesses for what follows ``tokens``, at most ``room``."""
        raise NotImplementedError

    def learn(self, drafted: int, accepted: int) -> None:
        """Count how a step's guesses fared."""
        self.drafted += drafted
        self.accepted += accepted


class NgramDraft(Draft):
    """Guesses from the text itself."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    def propose(self, tokens: list[int], room: int) -> list[int]:
        """Guesses for what follows ``tokens``, at most ``room``; none where the last tokens are new."""
        if self.off or len(tokens) <= _NGRAM:
            return []
        # The last n-gram itself is looked up before it is indexed, so that it never finds itself.
        for end in range(max(self._indexed, _NGRAM), len(tokens)):
            self._ends[tuple(tokens[end - _NGRAM : end])] = end
        self._indexed = len(tokens)
        at = self._ends.get(tuple(tokens[-_NGRAM:]))
        return [] if at is None else tokens[at : at + min(_DRAFT, room)]
