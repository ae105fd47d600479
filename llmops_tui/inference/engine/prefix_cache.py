"""Prompts that were evaluated before: the longest common prefix of two, and saved states in an LRU by bytes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

# Evaluating fewer tokens than this again is quicker than copying a state.
WORTH_KEEPING = 32


def common_prefix(left: list[int], right: list[int], limit: int) -> int:
    """Length of the longest common beginning, at most ``limit``; by bisection over slices, which compare natively."""
    low, high = 0, min(len(left), len(right), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True)
class Snapshot:
    """A saved sequence: its tokens, the adapter they were evaluated with, and its state as bytes."""

    tokens: list[int]
    adapter: str
    state: Any


class PrefixCache:
    """Snapshots, the least recently used forgotten first when their bytes pass the limit."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._entries: OrderedDict[int, Snapshot] = OrderedDict()
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def covers(self, tokens: list[int], adapter: str) -> bool:
        """Whether a snapshot begins with all of these tokens."""
        return any(
            s.adapter == adapter and len(s.tokens) >= len(tokens) and s.tokens[: len(tokens)] == tokens
            for s in self._entries.values()
        )

    def add(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; those that are only a beginning of it go."""
        size = int(snapshot.state.nbytes)
        if size > self.limit_bytes:
            return
        for key, old in list(self._entries.items()):
            length = len(old.tokens)
            if (
                old.adapter == snapshot.adapter
                and length <= len(snapshot.tokens)
                and (old.tokens == snapshot.tokens[:length])
            ):
                self._drop(key)
        while self._entries and self.used_bytes + size > self.limit_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[self._next] = snapshot
        self._next += 1
        self.used_bytes += size

    def best(self, tokens: list[int], adapter: str, limit: int, *, whole: bool) -> tuple[int, Snapshot | None]:
        """The snapshot with the longest common prefix and that length; with ``whole`` only those used in full."""
        found, length = None, 0
        for key, snapshot in self._entries.items():
            if snapshot.adapter != adapter:
                continue
            common = common_prefix(snapshot.tokens, tokens, limit)
            if common > length and (not whole or common == len(snapshot.tokens)):
                found, length = key, common
        if found is None:
            return 0, None
        self._entries.move_to_end(found)
        return length, self._entries[found]

    def _drop(self, key: int) -> None:
        self.used_bytes -= int(self._entries.pop(key).state.nbytes)
