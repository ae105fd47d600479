"""What all tellers do with the messages of the engine: one after the other, each in the words of its API."""

from __future__ import annotations

from typing import cast

from llmops_tui.inference.engine_wire import Generated, ScoredEvent, TextEvent
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.generation import Messages


class Telling:
    """The loop over an answer's messages. What a stream begins and ends with is nothing, unless an API says otherwise."""

    def opened(self, _messages: Messages, /) -> bytes:
        """What comes before the first message is told."""
        return b""

    def stream(self, choice: Choice, messages: Messages) -> bytes:
        """What some of the engine's messages are in a stream; may be nothing."""
        out: list[bytes] = []
        for message in messages:
            if message["event"] == "text":
                out += self._text(choice, message)
            elif message["event"] == "scored":
                out += self._scored(choice, message)
            elif message["event"] == "done":
                out += self._end(choice, cast("Generated", message["result"]))
        return b"".join(out)

    def closed(self, _choices: list[Choice], /) -> bytes:
        """What comes after the last message: the end of the choice says all."""
        return b""

    def _text(self, choice: Choice, message: TextEvent) -> list[bytes]:
        """A piece of text."""
        raise NotImplementedError

    def _scored(self, _choice: Choice, _message: ScoredEvent) -> list[bytes]:
        """Tokens of the given text, with their probabilities."""
        return []

    def _end(self, choice: Choice, result: Generated) -> list[bytes]:
        """The answer is over."""
        raise NotImplementedError
