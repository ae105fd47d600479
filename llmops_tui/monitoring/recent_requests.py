"""The newest requests for the home screen: each that was asked by itself, and those of one run of other work as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmops_tui.traces.orders import OWN
from llmops_tui.traces.store import TraceFilter, TraceLine, TraceStore

if TYPE_CHECKING:
    import duckdb

_WORK = """SELECT coalesce(json_extract_string(client, '$.work.kind'), 'chain') AS kind,
    coalesce(json_extract_string(client, '$.work.name'), json_extract_string(client, '$.chain.run'), '') AS name,
    coalesce(any_value(json_extract_string(client, '$.work.prompt')),
        any_value(json_extract_string(client, '$.chain.chain')), ''),
    count(*), count(*) FILTER (finish_reason = 'error'), max(started_at)
FROM requests WHERE NOT """


@dataclass(frozen=True)
class WorkRequests:
    """The requests of one run of an evaluation, a batch, a chain or the like, the newest of which began at ``started_at``.

    ``of`` is the version of a prompt, or the chain, that one of them is of; empty where none is known. ``title`` is that of the
    job by whose id the work is called, where it is known.
    """

    kind: str
    name: str
    of: str
    requests: int
    failed: int
    started_at: float
    title: str = ""

    @property
    def told(self) -> str:
        """What it is called where people read it."""
        return self.title or f"{self.kind} {self.name}"

    @property
    def wanted(self) -> str:
        """The filter that finds them in the list of traces."""
        return f"{'chain' if self.kind == 'chain' else 'work'}:{self.name}"


@dataclass(frozen=True)
class RecentRequests:
    """Both, the newest first."""

    own: list[TraceLine] = field(default_factory=list)
    work: list[WorkRequests] = field(default_factory=list)


def read_recent(
    traces: TraceStore, most: int, most_work: int, titles: Mapping[str, str] | None = None
) -> RecentRequests:
    """The newest requests that were asked by themselves, and the newest runs of other work; ``titles`` are of jobs by id."""
    own, _ = traces.page(TraceFilter(state="own"), most)

    def work(connection: duckdb.DuckDBPyConnection) -> list[WorkRequests]:
        rows = connection.execute(f"{_WORK} {OWN} GROUP BY ALL ORDER BY max(started_at) DESC LIMIT ?", [most_work])
        found = (WorkRequests(*row) for row in rows.fetchall())
        return [replace(one, title=(titles or {}).get(one.name, "")) for one in found]

    return RecentRequests(own, traces.catalog.read(work))
