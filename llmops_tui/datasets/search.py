"""Full-text search over a version, with an SQLite FTS5 index built once per content."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmops_tui.counts import counted
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.records import texts
from llmops_tui.datasets.reports import Indexed
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.files import make_folder_within

# What SQLite takes for no limit.
_ALL = -1


class SearchIndex:
    """The words of all texts of a version. The file is made under another name and renamed when it is whole."""

    def __init__(self, version: DatasetVersion) -> None:
        self._version = version
        self.path = version.folder.parent / "search" / f"{version.sha256}.db"

    @property
    def ready(self) -> bool:
        """Whether it was made."""
        return self.path.exists()

    def make(self, report: Report = no_report) -> SearchIndex:
        """Make the index, unless it is there."""
        if self.ready:
            return self
        make_folder_within(self.path.parent)
        fresh = self.path.with_suffix(".part")
        fresh.unlink(missing_ok=True)
        connection = sqlite3.connect(fresh)
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute(
                "CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='unicode61 remove_diacritics 2')"
            )
            done = 0
            for batch in self._version.read():
                connection.executemany(
                    "INSERT INTO words (rowid, text) VALUES (?, ?)",
                    ((n + 1, "\n".join(t for _, t in texts(self._version.kind, row))) for n, row in batch),
                )
                done += len(batch)
                report(done / max(1, self._version.rows), f"{done:,} of {counted(self._version.rows, 'row')} indexed")
            connection.commit()
        finally:
            connection.close()
        fresh.chmod(0o600)
        fresh.rename(self.path)
        return self

    def find(self, query: str) -> npt.NDArray[np.int64]:
        """The numbers of all rows that match, in ascending order: words, "a phrase", OR, NOT, word*.

        Raises:
            InputRefusedError: the query cannot be read.
        """
        return self._matching(query, "rowid", _ALL)

    def best(self, text: str, limit: int) -> list[int]:
        """The rows that have any of a text's words, the best by BM25 first, at most ``limit``."""
        words = dict.fromkeys(re.findall(r"\w+", text.lower()))
        query = " OR ".join(f'"{word}"' for word in words)
        return self._matching(query, "rank, rowid", limit).tolist() if query else []

    def _matching(self, query: str, order: str, limit: int) -> npt.NDArray[np.int64]:
        connection = sqlite3.connect(f"file:{_quoted(self.path)}?mode=ro", uri=True)
        try:
            found = connection.execute(
                f"SELECT rowid - 1 FROM words WHERE words MATCH ? ORDER BY {order} LIMIT ?", (query, limit)
            )
            return np.fromiter((row for (row,) in found), np.int64)
        except sqlite3.Error as error:
            raise InputRefusedError(
                "bad_search",
                f"the search query is not valid: {error}",
                'Use words, "a phrase", OR, NOT, and word* for prefixes.',
            ) from error
        finally:
            connection.close()


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path))


def run_index_job(context: object, ref: str) -> Indexed:
    """The job: make the full-text index of a version."""
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.workspace.catalog import Catalog

    store = DatasetStore(Catalog(context.workspace))  # type: ignore[attr-defined]
    index = SearchIndex(store.get(ref)).make(context.report)  # type: ignore[attr-defined]
    return {"version": ref, "bytes": index.path.stat().st_size}
