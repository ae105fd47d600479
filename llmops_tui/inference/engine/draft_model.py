"""Speculative decoding with a draft model of the same vocabulary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.engine.parameters import EngineOptions
from llmops_tui.inference.engine.prefix_cache import common_prefix
from llmops_tui.inference.engine.prompt_lookup import Draft
from llmops_tui.models.engine_settings import LARGEST_VOCABULARY_GAP, EngineSettings, draft_settings, part

_GUESSES = 6
# A guess the small model is less sure of ends the draft: evaluating it would mostly be in vain.
_SURE = 0.5


class DraftModel:
    """The small model and what it has evaluated; one text at a time.

    Raises:
        LlmopsError: ``bad_draft``: another vocabulary, or a model that cannot go back.
    """

    def __init__(self, options: EngineOptions, target: NativeModel) -> None:
        settings = part(EngineSettings, draft_settings(options))
        self._native = NativeModel(replace(options, **settings | {"context": target.n_ctx}, path=options.draft))
        # Where it does not fit this machine it dies here, and not under a request.
        self._native.check()
        self._shared = min(self._native.n_vocab, target.n_vocab)
        self._tokens: list[int] = []
        if not self._native.can_trim:
            raise _refuse(options, "it cannot go back to an earlier token")
        apart = abs(self._native.n_vocab - target.n_vocab)
        pieces = (t for t in range(self._shared) if self._native.raw_piece(t) != target.raw_piece(t))
        if apart > LARGEST_VOCABULARY_GAP or next(pieces, None) is not None:
            raise _refuse(options, "its vocabulary differs")

    def propose(self, tokens: list[int], room: int) -> list[int]:
        """The tokens it would go on with, at most ``room``; none while it still catches up with a long text."""
        native = self._native
        room = min(room, _GUESSES, native.n_ctx - len(tokens))
        if room <= 0:
            return []
        known = common_prefix(self._tokens, tokens, min(len(self._tokens), len(tokens) - 1))
        if known < len(self._tokens) and not native.trim(0, known):
            known = 0
        chunk = tokens[known : known + native.batch]
        if max(chunk) >= self._shared:
            self._tokens = tokens[:known]
            return []
        last = known + len(chunk) == len(tokens)
        self._evaluate(chunk, known)
        self._tokens = tokens[: known + len(chunk)]
        guesses: list[int] = []
        while last and len(guesses) < room:
            row = native.logits(1)[0][: self._shared]
            likeliest = int(row.argmax())
            if likeliest in native.ends or np.exp(row - row[likeliest]).sum() * _SURE > 1:
                break
            guesses.append(likeliest)
            if len(guesses) < room:
                self._evaluate([likeliest], len(self._tokens))
                self._tokens.append(likeliest)
        return guesses

    def forget(self) -> None:
        """Give up what was evaluated."""
        self._native.trim(0, 0)
        self._tokens = []

    def _evaluate(self, tokens: list[int], start: int) -> None:
        count = len(tokens)
        self._native.decode(tokens, list(range(start, start + count)), [0] * count, [0] * (count - 1) + [1])


class ModelDraft(Draft):
    """The guesses of a small model for one request."""

    def __init__(self, model: DraftModel) -> None:
        super().__init__()
        self._model = model
        self._broken = False

    def propose(self, tokens: list[int], room: int) -> list[int]:
        """Its guesses; none where it guessed too badly."""
        if self.off or self._broken:
            return []
        try:
            return self._model.propose(tokens, room)
        except LlmopsError:
            # The answer goes on without guesses; llama.cpp's log has the cause.
            self._broken = True
            self._model.forget()
            return []


def _refuse(options: EngineOptions, why: str) -> LlmopsError:
    return LlmopsError(
        "bad_draft",
        f"{options.draft} cannot draft for {options.path}: {why}",
        "A draft model is a small model of the same family; omit --draft to run without one.",
    )
