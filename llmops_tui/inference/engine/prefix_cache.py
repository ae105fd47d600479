"""The prefix cache: saved states of evaluated prompts, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable
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


# Finding the best of them looks at each; more than this would cost more than it saves.
MAX_SNAPSHOTS = 64


@dataclass(eq=False)
class Mark:
    """The windows of a sequence as they were after ``length`` tokens, from ``first`` on: a way back for models with some."""

    length: int
    first: int
    state: Any


@dataclass(eq=False)
class Snapshot:
    """A saved sequence: its tokens, the adapter they were evaluated with, its state as bytes, and whether it was of use.

    ``first`` is the earliest token that its windows have; ``mark`` the way back to an earlier one.
    """

    tokens: list[int]
    adapter: str
    state: Any
    used: bool = False
    first: int = 0
    mark: Mark | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.state.nbytes) + (int(self.mark.state.nbytes) if self.mark is not None else 0)


class PrefixCache:
    """Snapshots, bounded in bytes and in number.

    Those that were never of use are forgotten first, so that a stream of requests which have nothing in common does not push
    out the few prompts that somebody goes back and forth between; among equals the least recently used goes.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        # In the order of their last use.
        self._snapshots: list[Snapshot] = []

    def __len__(self) -> int:
        return len(self._snapshots)

    def covers(self, tokens: list[int], adapter: str) -> bool:
        """Whether a snapshot begins with all of these tokens."""
        return any(s.adapter == adapter and s.tokens[: len(tokens)] == tokens for s in self._snapshots)

    def add(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; those that are only a beginning of it go."""
        size = snapshot.size
        if size > self.limit_bytes:
            return
        for old in list(self._snapshots):
            if old.adapter == snapshot.adapter and old.tokens == snapshot.tokens[: len(old.tokens)]:
                snapshot.used = snapshot.used or old.used
                self._drop(old)
        while self._snapshots and (self.used_bytes + size > self.limit_bytes or len(self._snapshots) >= MAX_SNAPSHOTS):
            self._drop(next((s for s in self._snapshots if not s.used), self._snapshots[0]))
        self._snapshots.append(snapshot)
        self.used_bytes += size

    def best(
        self, tokens: list[int], adapter: str, limit: int, reach: Callable[[Snapshot, int], int]
    ) -> tuple[int, Snapshot | None]:
        """The snapshot of most use and how many tokens of it: what ``reach`` makes of their common beginning."""
        found, length = None, 0
        for snapshot in self._snapshots:
            if snapshot.adapter != adapter:
                continue
            common = common_prefix(snapshot.tokens, tokens, limit)
            if common > length and (usable := reach(snapshot, common)) > length:
                found, length = snapshot, usable
        return length, found

    def touch(self, snapshot: Snapshot) -> None:
        """A snapshot was of use."""
        snapshot.used = True
        self._snapshots.remove(snapshot)
        self._snapshots.append(snapshot)

    def _drop(self, snapshot: Snapshot) -> None:
        self._snapshots = [s for s in self._snapshots if s is not snapshot]
        self.used_bytes -= snapshot.size
