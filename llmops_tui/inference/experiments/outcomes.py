"""Whether an answer failed, as it passes by: its status, an error within a stream, or a stream that breaks off.

What a client did wrong says nothing of a model: an answer of 400 to 499 is no failure, whatever stands in it.
"""

from __future__ import annotations

import re

# An error begins a line of a stream, in each API's form; within a text, JSON has no line break.
_ERROR = re.compile(rb'(?:^|\n)(?:event: error\r?\n|data: \{"error":|\{"error":)')
_TAIL = 32
_REFUSED = range(400, 500)


class AnswerOutcome:
    """What is known of one answer; ``failed`` is none where its client left before it ended, or asked what is refused."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._tail = b""
        self._broken = self._whole = False

    def see(self, piece: bytes) -> None:
        """Look at the next piece of it; what begins a line may be in two."""
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
        """Whether it failed, as far as that can be said."""
        if self._status in _REFUSED:
            return None
        if self._broken or self._status > _REFUSED[-1]:
            return True
        return False if self._whole else None
