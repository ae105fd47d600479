"""The parts of an answer in their order, as APIs have it that list reasoning, texts and calls one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from llmops_tui.inference.server.conversation import Piece
from llmops_tui.inference.wire import ToolCall

Step = Literal["begun", "grown", "ended"]


@dataclass
class Block:
    """Reasoning, text or one call; ``index`` is its place in the answer, ``text`` for a call its arguments."""

    index: int
    kind: Literal["content", "reasoning", "call"]
    text: str = ""
    call: ToolCall | None = None


class Blocks:
    """Pieces of one kind that follow one another are one block; a call is one for itself."""

    def __init__(self) -> None:
        self.all: list[Block] = []
        self._open: Block | None = None

    def add(self, pieces: Sequence[Piece]) -> Iterator[tuple[Step, Block, str]]:
        """Take pieces in; tells what happens to which block, and what it grew by."""
        for piece in pieces:
            if piece.call is not None:
                yield from self._end()
                yield "begun", self._begin("call", piece.call), ""
                yield from self._grow(str(piece.call["function"]["arguments"]))
                yield from self._end()
            elif piece.text:
                if self._open is None or self._open.kind != piece.kind:
                    yield from self._end()
                    yield "begun", self._begin(piece.kind), ""
                yield from self._grow(piece.text)

    def ended(self, *, text: bool = False) -> Iterator[tuple[Step, Block, str]]:
        """The answer is over, and with it its last block; with ``text``, one that said nothing has an empty text."""
        if text and not self.all:
            yield "begun", self._begin("content"), ""
        yield from self._end()

    def _end(self) -> Iterator[tuple[Step, Block, str]]:
        if self._open is not None:
            ended, self._open = self._open, None
            yield "ended", ended, ""

    def _begin(self, kind: Literal["content", "reasoning", "call"], call: ToolCall | None = None) -> Block:
        self._open = Block(len(self.all), kind, call=call)
        self.all.append(self._open)
        return self._open

    def _grow(self, text: str) -> Iterator[tuple[Step, Block, str]]:
        assert self._open is not None
        self._open.text += text
        yield "grown", self._open, text
