"""Turn token bytes into text as they arrive: incremental UTF-8 and stop strings on a bounded tail."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class StreamingText:
    """Decode bytes to text that is safe to show, holding back only what may yet become a stop string.

    The cost of a token does not depend on how many came before it.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tail = ""
        self.stopped_by: str | None = None
        """The stop string that ended the text; none while it goes on."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string ended the text."""
        return self.stopped_by is not None

    @property
    def held(self) -> int:
        """How many characters are held back now."""
        return len(self._tail)

    def feed(self, data: bytes) -> str:
        """Add one token's bytes; returns the text that is now certain."""
        if self.stopped:
            return ""
        return self._release(self._decoder.decode(data), final=False)

    def finish(self) -> str:
        """End the stream; returns the text that was held back."""
        if self.stopped:
            return ""
        return self._release(self._decoder.decode(b"", final=True), final=True)

    def _release(self, text: str, *, final: bool) -> str:
        if not self._stop:
            return text
        self._tail += text
        hits = [(at, s) for at, s in ((self._tail.find(s), s) for s in self._stop) if at >= 0]
        if hits:
            first, self.stopped_by = min(hits, key=lambda hit: hit[0])
            certain, self._tail = self._tail[:first], ""
            return certain
        held = 0 if final else max(self._overlap(s) for s in self._stop)
        cut = len(self._tail) - held
        certain, self._tail = self._tail[:cut], self._tail[cut:]
        return certain

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the tail that begins ``stop``."""
        for length in range(min(len(stop) - 1, len(self._tail)), 0, -1):
            if self._tail.endswith(stop[:length]):
                return length
        return 0
