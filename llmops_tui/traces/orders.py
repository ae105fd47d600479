"""The orders in which traces are listed, and how their times are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.errors import InputRefusedError

# What the user said last. Parts of a message that are no texts are left out.
_ASKED = "list_extract([m FOR m IN json_extract(r.messages, '$[*]') IF json_extract_string(m, '$.role') = 'user'], -1)"
QUESTION = f"coalesce(json_extract_string({_ASKED}, '$.content[0].text'), json_extract_string({_ASKED}, '$.content'))"

# For which work of this workspace a request was made, by the version of a prompt that it was made of where there is one.
MADE_FOR = (
    "coalesce(json_extract_string(r.client, '$.work.prompt'), json_extract_string(r.client, '$.chain.chain'), "
    "json_extract_string(r.client, '$.work.kind') || ' ' || json_extract_string(r.client, '$.work.name'))"
)

# Asked by somebody or by a client, and not by a run of an evaluation, a batch, a chain or the like.
OWN = "(json_extract(client, '$.work') IS NULL AND json_extract(client, '$.chain') IS NULL)"

# The columns that traces are sorted by, as screens and the command line call them.
_COLUMNS = {
    "time": "r.started_at", "took": "r.total_ms", "first": "r.ttft_ms", "speed": "r.tokens_per_s",
    "tokens": "r.completion_tokens", "prompt tokens": "r.prompt_tokens", "model": "r.model",
    "prompt": f"coalesce(r.prompt || '@' || lpad(r.prompt_version::VARCHAR, 9, '0'), {MADE_FOR})", "state": "r.finish_reason",
    "question": QUESTION, "answer": "r.output", "said": "f.score",
}  # fmt: skip
ORDERS = tuple(_COLUMNS)
# Each factor of two in ten steps, so that a percentile is off by 4 % at most.
_STEPS = 10
TIMES = (
    "SELECT CAST(floor(log2(greatest(r.total_ms, 0.01)) * " + str(_STEPS) + ") AS INTEGER) AS bin, count(*), "
    "max(r.total_ms) FROM {traces} WHERE {condition} AND r.total_ms IS NOT NULL GROUP BY bin ORDER BY bin"
)


@dataclass(frozen=True)
class TraceOrder:
    """An order of traces: a column of :data:`ORDERS`, and whether the greatest come first."""

    column: str
    falling: bool = True

    @classmethod
    def parse(cls, said: str) -> TraceOrder:
        """A column, the greatest first; with ``-`` before it the least.

        Raises:
            InputRefusedError: ``bad_order``.
        """
        name = said.removeprefix("-").replace("-", " ")
        if name not in _COLUMNS:
            known = ", ".join(column.replace(" ", "-") for column in ORDERS)
            raise InputRefusedError(
                "bad_order", f"{said}: unknown column", f"Use one of {known}; -took begins with the least."
            )
        return cls(name, not said.startswith("-"))

    @property
    def sql(self) -> str:
        """For ORDER BY; traces without a value come last, and equal ones the newest first."""
        way = "DESC" if self.falling else "ASC"
        return f"{_COLUMNS[self.column]} {way} NULLS LAST, r.started_at DESC, r.id DESC"


NEWEST = TraceOrder("time")


@dataclass(frozen=True)
class TraceTimes:
    """How long answers took, in milliseconds: counts by bins whose edges are powers of two, ten to each factor of two."""

    bins: tuple[tuple[int, int], ...] = ()
    slowest: float = 0.0

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> TraceTimes:
        """From the rows of :data:`TIMES`."""
        return cls(
            tuple((int(bin_), int(count)) for bin_, count, _ in rows), max((float(row[2]) for row in rows), default=0.0)
        )

    @property
    def count(self) -> int:
        """How many were measured."""
        return sum(count for _, count in self.bins)

    def quantile(self, share: float) -> float:
        """The time within which this share of them ended, 4 % at most above it."""
        left = math.ceil(self.count * share)
        for bin_, count in self.bins:
            left -= count
            if left <= 0:
                return min(2 ** ((bin_ + 1) / _STEPS), self.slowest)
        return 0.0

    def histogram(self, width: int) -> tuple[list[int], float, float]:
        """Counts in at most ``width`` bars of equal factors, with the least and the greatest time; no bars without traces."""
        if not self.bins:
            return [], 0.0, 0.0
        low, high = self.bins[0][0], self.bins[-1][0]
        bars = [0] * max(1, min(width, high - low + 1))
        for bin_, count in self.bins:
            bars[(bin_ - low) * len(bars) // (high - low + 1)] += count
        return bars, 2 ** (low / _STEPS), self.slowest
