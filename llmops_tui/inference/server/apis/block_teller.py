"""Answers that are told as blocks one after the other: what the APIs have in common that do so."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from llmops_tui.inference.engine_wire import Generated, TextEvent
from llmops_tui.inference.server.apis.base import EVENTS
from llmops_tui.inference.server.apis.blocks import Block, Blocks, Step
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.conversation import Piece
from llmops_tui.inference.server.events import was_cut
from llmops_tui.inference.server.telling import Telling

Whole = TypeVar("Whole")


class BlockTeller(Telling, Generic[Whole]):
    """Tells one choice. Whoever extends it says what a step of a block is, what a ``Whole`` answer is, and what ends it."""

    media_type: ClassVar[str] = EVENTS
    says_something: ClassVar[bool]
    """Whether an answer without any block has one with an empty text."""

    def __init__(self) -> None:
        self._blocks = Blocks()

    def whole(self, choices: list[Choice]) -> Whole:
        """The answer to a request that does not stream."""
        (choice,) = choices
        self._add(choice.answer.pieces)
        list(self._blocks.ended(text=self.says_something))
        return self._answered(choice, choice.result)

    def _text(self, choice: Choice, message: TextEvent) -> list[bytes]:
        assert choice.reader is not None
        return self._add(choice.reader.feed(message["text"]).pieces)

    def _end(self, choice: Choice, result: Generated) -> list[bytes]:
        assert choice.reader is not None
        out = self._add(choice.reader.finish(cut=was_cut(result)).pieces)
        for step, block, grown in self._blocks.ended(text=self.says_something):
            out += self._step(step, block, grown)
        return out + self._last(choice, self._answered(choice, result))

    def _add(self, pieces: list[Piece]) -> list[bytes]:
        out: list[bytes] = []
        for step, block, grown in self._blocks.add(pieces):
            out += self._step(step, block, grown)
        return out

    def _answered(self, choice: Choice, result: Generated) -> Whole:
        """The whole answer, once its last block is over."""
        choice.calls = [block.call for block in self._blocks.all if block.call is not None]
        return self._done(choice, result)

    def _step(self, step: Step, block: Block, grown: str) -> list[bytes]:
        """The events of what happened to a block, and what it grew by."""
        raise NotImplementedError

    def _done(self, choice: Choice, result: Generated) -> Whole:
        """The whole answer; all of its calls are known."""
        raise NotImplementedError

    def _last(self, choice: Choice, done: Whole) -> list[bytes]:
        """The events that end a stream."""
        raise NotImplementedError
