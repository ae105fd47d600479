"""A budget of thinking: once it is spent, the mark that ends the thinking is the next token, whatever is likeliest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from llmops_tui.inference.engine_wire import ThinkingRecord

# So many tokens more where the budget ends within the mark itself, which the model is writing then.
_MARK_TOKENS = 8


class ThinkingBudget:
    """Follows one answer token by token, and says which token has to come next.

    Counted is what stands between the marks. What is forced is evaluated like any other token, so the cache is as if the
    model had written it.
    """

    def __init__(self, held: ThinkingRecord, tokenize: Callable[[str], list[int]]) -> None:
        self._before, self._after = held["before"].encode(), held["after"].encode()
        self._forced_text = held["after"] + held["follow"]
        self._budget = held["budget"]
        self._tokenize = tokenize
        self._state: Literal["before", "within", "over"] = "within" if held["open"] else "before"
        self._seen = b""
        self._count = 0
        self._forced: list[int] = []
        self.closed = False
        """Whether the budget ended the thinking."""

    def due(self) -> int | None:
        """The token that has to come now; none where the model chooses."""
        if self._forced:
            return self._forced.pop(0)
        if self._state != "within" or self._count < self._budget or self._writes_mark():
            return None
        self.closed, self._state = True, "over"
        self._forced = self._tokenize(self._forced_text)
        return self._forced.pop(0) if self._forced else None

    def take(self, piece: bytes) -> None:
        """Note the token that was chosen, by the bytes that it adds to the answer."""
        if self._state == "over":
            return
        self._seen += piece
        if self._state == "before":
            begun = self._seen.lstrip()
            if begun.startswith(self._before):
                self._state, self._seen = "within", begun[len(self._before) :]
            elif not self._before.startswith(begun):
                self._state = "over"
            return
        self._count += 1
        if self._after in self._seen:
            self._state = "over"
        self._seen = self._seen[-len(self._after) :]

    def _writes_mark(self) -> bool:
        """Whether the text ends with a beginning of the mark that may be it."""
        lengths = range(2, len(self._after))
        return self._count < self._budget + _MARK_TOKENS and any(self._seen.endswith(self._after[:n]) for n in lengths)
