"""Whether an answer failed, as it passes by: its status, an error within a stream, or a stream that breaks off."""

from __future__ import annotations

import re

# An error begins a line of a stream, in each API's form; within a text, JSON has no line break.
_ERROR = re.compile(rb'(?:^|\n)(?:event: error\r?\n|data: \{"error":|\{"error":)')
_TAIL = 32
_REFUSED, _SERVER = 400, 500


class AnswerOutcome:
    """What is known of one answer; ``failed`` is none where its client left before it ended."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._tail = b""
        self._broken = self._whole = False

    def see(self, piece: bytes) -> None:
        """Look at the next piece of it; what begins a line may be in two.

        The body of a refusal is one error, too, and its status has said all.
        """
        if self._status >= _REFUSED:
            return
        seen = self._tail + piece
        self._broken = self._broken or _ERROR.search(seen) is not None
        # A line break first: the tail is no beginning of the answer.
        self._tail = seen[-_TAIL:] if len(seen) <= _TAIL else b" " + seen[-_TAIL:]

    def break_off(self) -> None:
        """Its server died."""
        self._broken = True

    def end(self) -> None:
        """All of it was sent."""
        self._whole = True

    @property
    def failed(self) -> bool | None:
        """Whether it failed; what a client did wrong is no failure of a model's."""
        if self._broken or self._status >= _SERVER:
            return True
        return False if self._whole else None
