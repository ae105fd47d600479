"""An index beside bare SQLite and bare numpy, on the same texts and vectors, in turns: ``retrieval.py [CHUNKS] [QUERIES]``.

Times are of the processor: others on the machine change the clock's. JSON comes out. ``index_ratio`` is what building (reading,
cutting, words, vectors) costs by what the FTS5 table alone does; ``query_ratio`` what a query costs by the bare statement, or by
the bare product of a matrix. Vectors are random, the hardest case, since nothing is near to anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmops_tui.embeddings.embedder import EmbedderSpec, TextEmbedder, unit
from llmops_tui.retrieval.build import build_index
from llmops_tui.retrieval.records import BuildRecord
from llmops_tui.retrieval.retriever import opened_retriever
from llmops_tui.retrieval.sources import source_of
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

_DIMENSIONS = 384
_WORDS = 20_000
_A_FILE = 500


class _Random(TextEmbedder):
    """Vectors that are drawn, so that no model is measured."""

    def __init__(self) -> None:
        self.spec = EmbedderSpec("random", "0" * 64)
        self.cut = 0
        self._rng = np.random.default_rng(1)

    async def rows(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return unit(self._rng.standard_normal((len(texts), _DIMENSIONS)))


def _paragraphs(count: int) -> list[str]:
    """Texts whose words are as frequent as those of languages are (Zipf)."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, _WORDS + 1)
    drawn = rng.choice(_WORDS, size=(count, 40), p=weights / weights.sum())
    return [" ".join(f"w{word}" for word in row) + "." for row in drawn]


def _used(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _each(work: Callable[[int], object], count: int) -> dict[str, float]:
    found = [_used(lambda n=n: work(n)) * 1000 for n in range(count)]
    return {"p50": round(float(np.median(found)), 2), "p95": round(float(np.quantile(found, 0.95)), 2)}


def _bare(path: Path, texts: list[str]) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='porter unicode61')")
    connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", enumerate(texts, 1))
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")
    connection.commit()
    connection.close()


def main(chunks: int = 100_000, queries: int = 40) -> dict[str, Any]:
    texts = _paragraphs(chunks)
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        folder = Path(name) / "documents"
        folder.mkdir()
        for begin in range(0, chunks, _A_FILE):
            (folder / f"{begin:07}.txt").write_text("\n\n".join(texts[begin : begin + _A_FILE]))
        store = IndexStore(Catalog(make_workspace(Workspace(Path(name) / "ws"))))
        # A paragraph is a chunk: two do not fit.
        asked: BuildRecord = {
            "source": source_of(store.catalog, str(folder)),
            "tokens": 60,
            "embedder": _Random().spec.as_dict(),
            "take_back": False,
        }
        bare = _used(lambda: _bare(Path(name) / "bare.db", texts))
        built = _used(lambda: asyncio.run(build_index(store, "many", asked, _Random(), lambda _share, _told: None)))
        index = store.get("many")
        drawn = [" ".join(text.split()[:8]).rstrip(".") for text in texts[: queries * 7 : 7]]
        vectors = dict(
            zip(drawn, unit(np.random.default_rng(2).standard_normal((len(drawn), _DIMENSIONS))), strict=True)
        )
        connection = sqlite3.connect(Path(name) / "bare.db")
        whole = np.asarray(index.vectors.vectors(), np.float32)

        def bare_words(n: int) -> None:
            said = " OR ".join(f'"{word}"' for word in drawn[n].split())
            connection.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT 10", (said,)).fetchall()

        def bare_vectors(n: int) -> None:
            np.argpartition(-(whole @ vectors[drawn[n]]), 10)[:10]

        with opened_retriever(store, index, lambda text: vectors[text]) as retriever:
            retriever.search(drawn[0], "hybrid", 10)
            found = {
                way: _each(lambda n, way=way: retriever.search(drawn[n], way, 10), len(drawn))
                for way in ("bm25", "vectors", "hybrid")
            }
        beside = {"bm25": _each(bare_words, len(drawn)), "vectors": _each(bare_vectors, len(drawn))}
    return {
        "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
        "chunks": index.record["chunks"],
        "bytes_per_chunk": round(index.record["bytes"] / index.record["chunks"]),
        "index_s": round(built, 2),
        "bare_index_s": round(bare, 2),
        "index_ratio": round(built / bare, 2),
        "query_processor_ms": found,
        "bare_query_processor_ms": beside,
        "query_ratio": {way: round(found[way]["p50"] / beside[way]["p50"], 2) for way in beside},
        "queries_per_s": {way: round(1000 / of["p50"]) for way, of in found.items()},
    }


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:3])), indent=2))
