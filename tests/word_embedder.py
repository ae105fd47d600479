"""An embedder that is made of words and no model: texts with words in common are near."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from llmops_tui.embeddings.embedder import EmbedderSpec, TextEmbedder, unit
from llmops_tui.jobs.worker import JobCancelledError

SPEC = EmbedderSpec("words", "0" * 64)


def vector(text: str) -> npt.NDArray[np.float32]:
    """A text's words, each in a direction of its own: the same for texts with the same words in another order."""
    found = np.zeros(64, np.float32)
    for word in text.lower().split():
        seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        found += np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    return unit(found)


class Words(TextEmbedder):
    """An embedder without a model, which counts what it is asked."""

    def __init__(self, spec: EmbedderSpec = SPEC, fail_after: int | None = None) -> None:
        self.spec = spec
        self.cut = 0
        self.asked: Counter[str] = Counter()
        self._fail_after = fail_after

    async def rows(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self._fail_after is not None and sum(self.asked.values()) >= self._fail_after:
            raise JobCancelledError
        self.asked.update(text for text in texts if text != ".")
        return np.stack([vector(text) for text in texts])

    async def query(self, text: str) -> npt.NDArray[np.float32]:
        return vector(text)
