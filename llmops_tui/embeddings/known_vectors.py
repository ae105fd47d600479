"""The vectors that there are already, by the hash of their text: of other versions, and of this one's rows so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmops_tui.embeddings.vector_file import KEY_BYTES, Keys, VectorFile

# So many rows are looked up one by one before they join the others in order.
_RECENT = 1 << 16

Half = npt.NDArray[np.float16]
Halves = npt.NDArray[np.uint64]


class KnownVectors:
    """Finds vectors by the hash of their text. A row takes 26 bytes of memory, and the vectors stay in their files."""

    def __init__(self, others: Sequence[VectorFile], own: VectorFile) -> None:
        self._files = [own, *others]
        self._vectors = [file.vectors() for file in self._files]
        self._recent: dict[bytes, int] = {}
        self._heads, self._tails = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self._places, self._of = np.zeros(0, np.int64), np.zeros(0, np.uint16)
        for number, file in enumerate(self._files):
            keys = file.text_keys()
            self._join(keys, np.arange(len(keys)), number)
        self._sort()

    def note(self, keys: Sequence[bytes], first: int) -> None:
        """Rows of this version that have their vectors now, the first with this number."""
        for place, key in enumerate(keys):
            self._recent.setdefault(key, first + place)
        if len(self._recent) >= _RECENT:
            raw = np.frombuffer(b"".join(self._recent), f"V{KEY_BYTES}")
            self._join(raw, np.fromiter(self._recent.values(), np.int64, len(self._recent)), 0)
            self._recent = {}
            self._sort()

    def get(self, key: bytes) -> Half | None:
        """The vector of a text by its hash."""
        row = self._recent.get(key)
        if row is not None:
            return self._own(row)
        head, tail = np.frombuffer(key, np.uint64)
        at = int(np.searchsorted(self._heads, head))
        while at < len(self._heads) and self._heads[at] == head:
            if self._tails[at] == tail:
                number, place = int(self._of[at]), int(self._places[at])
                return self._own(place) if number == 0 else np.asarray(self._vectors[number][place])
            at += 1
        return None

    def _own(self, row: int) -> Half:
        if row >= len(self._vectors[0]):
            # It was written since.
            self._vectors[0] = self._files[0].vectors()
        return np.asarray(self._vectors[0][row])

    def _join(self, keys: Keys, places: npt.NDArray[np.int64], number: int) -> None:
        halves: Halves = keys.view(np.uint64).reshape(-1, 2)
        self._heads = np.concatenate([self._heads, halves[:, 0]])
        self._tails = np.concatenate([self._tails, halves[:, 1]])
        self._places = np.concatenate([self._places, places])
        self._of = np.concatenate([self._of, np.full(len(keys), number, np.uint16)])

    def _sort(self) -> None:
        order = np.argsort(self._heads, kind="stable")
        self._heads, self._tails = self._heads[order], self._tails[order]
        self._places, self._of = self._places[order], self._of[order]
