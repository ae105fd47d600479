"""Which answers in use are looked at: drawn by chance within each part of the traffic, the same ones whenever it is asked.

What is drawn follows from the hash of a trace's id, so nothing has to be kept of it, and nobody can choose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.model_graded import JUDGE_SYSTEM
from llmops_tui.quality.checks import Exchange
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.traces.orders import QUESTION
from llmops_tui.traces.retrieved import passages_of, retrieved_of
from llmops_tui.traces.store import TRACES, TraceFilter
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.events import TracedRetrieval

_LONGEST = 100_000
# Of each stratum that is seldom asked, where there is room; and where there is little.
_SEEN_AT_LEAST, _FEWEST_OF_EACH = 20, 2
_Row = tuple[str, str | None, str | None, str, str | None, str | None, str | None]


@dataclass(frozen=True)
class Drawn:
    """A stratum of the traffic: how many answers it has, and the traces that were drawn, in the order of chance."""

    stratum: str
    size: int
    traces: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """The strata of a stretch of traffic, and ``stream``: the traces of all of it in the order of chance, the first ones.

    ``without_content`` counts answers of which nothing was kept.
    """

    strata: tuple[Drawn, ...]
    stream: tuple[str, ...]
    without_content: int

    @property
    def size(self) -> int:
        """Answers in all."""
        return sum(one.size for one in self.strata)


def draw(catalog: Catalog, wanted: TraceFilter, begin: float, end: float, most: int, stream: int = 1000) -> Sample:
    """Draw at most so many answers from a moment to another, in seconds; strata are models with prompts.

    Each stratum has its share of ``most``, and a few where its share is less: so a prompt that is seldom asked is seen, too.
    Where there are too many strata for that, the smallest are one.
    """
    from llmops_tui.evaluation.pairwise import SYSTEM as PAIR_SYSTEM

    condition, values = wanted.sql()
    sql = (
        f"SELECT r.id, r.model, coalesce(r.prompt, ''), r.content FROM {TRACES} WHERE {condition} AND r.started_at >= ? "
        "AND r.started_at < ? AND r.finish_reason NOT IN ('error', 'cancelled') "
        # What a candidate said in the shadow nobody saw.
        "AND NOT (coalesce(json_extract_string(r.client, '$.experiment.arm'), '') = 'b' "
        "AND json_extract_string(r.client, '$.experiment.pair') IS NOT NULL) "
        # What a judge was asked by us is no answer to a user; whatever clients say has their statement beside it.
        "AND NOT (json_extract(r.client, '$.metadata') IS NULL "
        "AND coalesce(json_extract_string(r.messages, '$[0].content'), '') IN (?, ?))"
    )

    def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str | None]]:
        return connection.execute(sql, [*values, begin, end, JUDGE_SYSTEM, PAIR_SYSTEM]).fetchall()

    rows = catalog.read(work)
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for trace, model, prompt, content in rows:
        if content != "off":
            by_stratum[f"{model} {prompt}".strip()].append(trace)
    everything = sorted((one for traces in by_stratum.values() for one in traces), key=_chance)
    merged = _merged(by_stratum, most)
    counts = shares({name: len(traces) for name, traces in merged.items()}, most)
    strata = [
        Drawn(name, len(traces), tuple(sorted(traces, key=_chance)[: counts[name]]))
        for name, traces in sorted(merged.items())
    ]
    return Sample(tuple(strata), tuple(everything[:stream]), len(rows) - len(everything))


def _merged(by_stratum: Mapping[str, list[str]], most: int) -> dict[str, list[str]]:
    """The strata, the smallest of them as one where not two could be drawn of each: with one nobody knows how they differ."""
    largest_first = sorted(by_stratum, key=lambda name: (-len(by_stratum[name]), name))
    room = max(1, most // _FEWEST_OF_EACH)
    if len(largest_first) <= room:
        return dict(by_stratum)
    alone, together = largest_first[: room - 1], largest_first[room - 1 :]
    found = {name: by_stratum[name] for name in alone}
    return found | {f"{len(together)} together": [one for name in together for one in by_stratum[name]]}


def shares(sizes: Mapping[str, int], most: int) -> dict[str, int]:
    """How many of each stratum are drawn, ``most`` in all: its share, but a few at least where it has them.

    What the small ones have beyond their share is taken from all others in proportion.
    """
    fewest = min(_SEEN_AT_LEAST, most // max(1, len(sizes)))
    small: dict[str, int] = {}
    while True:
        left = most - sum(small.values())
        total = sum(size for name, size in sizes.items() if name not in small)
        drawn = {name: min(size, left * size // total) for name, size in sizes.items() if name not in small}
        below = {name: least for name, n in drawn.items() if n < (least := min(sizes[name], fewest))}
        if not below:
            return small | drawn
        small |= below


def _chance(trace: str) -> str:
    return sha256_text(f"quality {trace}")


@dataclass(frozen=True)
class Exchanges:
    """What was asked and answered, by trace; and of the traces that cannot be read, what is wrong with each."""

    found: Mapping[str, Exchange]
    damaged: Mapping[str, LlmopsError]


def read_exchanges(catalog: Catalog, traces: Sequence[str]) -> Exchanges:
    """What was asked and answered; traces that are gone are left out, those that are damaged are named."""
    sql = (
        f"SELECT r.id, {QUESTION}, r.messages, left(r.output, {_LONGEST}), r.variables, r.parameters, "
        f"r.client FROM {TRACES} "
        "WHERE list_contains(?, r.id)"
    )

    def work(connection: duckdb.DuckDBPyConnection) -> list[_Row]:
        return connection.execute(sql, [list(traces)]).fetchall()

    found, damaged = dict[str, Exchange](), {}
    searches: dict[str, list[TracedRetrieval]] = {}
    for row in catalog.read(work):
        try:
            found[row[0]], searches[row[0]] = _exchange(row)
        except LlmopsError as error:
            damaged[row[0]] = error
    texts = passages_of(IndexStore(catalog), [one for several in searches.values() for one in several])
    for trace, several in searches.items():
        if several:
            every = [texts(one) for one in several]
            whole = [one for one in every if one is not None]
            passages = tuple(text for one in whole for text in one) if len(whole) == len(every) else None
            found[trace] = replace(found[trace], passages=passages)
    return Exchanges(found, damaged)


def _exchange(row: _Row) -> tuple[Exchange, list[TracedRetrieval]]:
    trace, question, messages, output, variables, parameters, client = row
    turns, values, given, sender = (
        kept("requests", name, trace, value)
        for name, value in (
            ("messages", messages), ("variables", variables), ("parameters", parameters), ("client", client),
        )
    )  # fmt: skip
    one = Exchange(trace, question or "", tuple(turns or ()), output or "", values or {}, given or {})
    return one, retrieved_of(sender)
