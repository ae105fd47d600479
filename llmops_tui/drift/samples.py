"""What users said in a stretch of time, one row a request, with whom each row is alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.traces.orders import QUESTION
from llmops_tui.traces.store import TRACES, TraceFilter
from llmops_tui.workspace.catalog import Catalog

if TYPE_CHECKING:
    import duckdb

# A text is judged by its beginning: embedders read no more of it.
_MOST_CHARACTERS = 8000


@dataclass(frozen=True)
class Said:
    """What a user said last in a request. ``unit`` is the same for all requests of one conversation, and of one text."""

    request: str
    at: float
    unit: str
    text: str


@dataclass(frozen=True)
class Sample:
    """What was said in a stretch of time; ``without_content`` counts requests of which nothing can be said."""

    rows: tuple[Said, ...]
    without_content: int = 0

    @property
    def units(self) -> list[str]:
        """Of whom each row is."""
        return [row.unit for row in self.rows]

    @property
    def texts(self) -> list[str]:
        """The text of each row."""
        return [row.text for row in self.rows]


def read_sample(catalog: Catalog, wanted: TraceFilter, begin: float, end: float) -> Sample:
    """What was said from a moment until another, both in seconds, by the traces that a filter leaves.

    Conversations are told apart by how they begin: the system text and the first message of the user.

    Raises:
        LlmopsError: the catalog cannot be read.
    """
    condition, values = wanted.sql()
    first = (
        "coalesce(json_extract_string(r.messages, '$[0].role') || ':' || json_extract(r.messages, '$[0].content')::VARCHAR, '')"
        " || coalesce(CASE WHEN json_extract_string(r.messages, '$[0].role') = 'user' THEN '' "
        "ELSE json_extract(r.messages, '$[1].content')::VARCHAR END, '')"
    )

    def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, float, str, str | None]]:
        return connection.execute(
            f"SELECT r.id, r.started_at, md5({first}), left({QUESTION}, {_MOST_CHARACTERS}) FROM {TRACES} "
            f"WHERE ({condition}) AND r.started_at >= ? AND r.started_at < ? ORDER BY r.started_at, r.id",
            [*values, begin, end],
        ).fetchall()

    found = catalog.read(work)
    rows = tuple(Said(str(r[0]), float(r[1]), str(r[2]), r[3]) for r in found if r[3] and r[3].strip())
    return Sample(rows, len(found) - len(rows))


def thinned(sample: Sample, most: int) -> Sample:
    """At most so many rows, chosen by the hash of their request: the same ones whenever it is asked."""
    if len(sample.rows) <= most:
        return sample
    ordered: Sequence[Said] = sorted(sample.rows, key=lambda row: hashlib.sha256(row.request.encode()).digest())
    chosen = {row.request for row in ordered[:most]}
    return Sample(tuple(row for row in sample.rows if row.request in chosen), sample.without_content)
