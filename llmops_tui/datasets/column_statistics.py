"""Figures of each column of a version, of all its rows, taken by DuckDB for all columns together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.datasets.profile_record import ColumnStatistics, Numbers
from llmops_tui.datasets.records import Column
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.workspace.sandbox import open_sandbox, quote_name

if TYPE_CHECKING:
    import duckdb

BINS = 24
_NUMBERS = frozenset({"integer", "number"})
_TEXTS = frozenset({"text", "json"})
# A column of so few different values is listed by value.
_FEW, _LISTED = 200, 100
# Of so few rows different values are counted; of more they are estimated, in a memory that does not grow with them.
_COUNTED = 20_000


def column_statistics(version: DatasetVersion) -> list[ColumnStatistics]:
    """Of each column: values, missing, different ones, and the common ones or a histogram.

    The number of different values is an estimate where there are more than a hundred of more than 20,000 rows, which
    ``exact`` tells, and so are the quantiles of numbers; all else is counted. Lengths are in characters.
    """
    if not version.columns:
        return []
    connection = open_sandbox(version.files, memory="512MB")
    try:
        asked = [_asked(column, counted=version.rows <= _COUNTED) for column in version.columns]
        text = ", ".join(expression for expressions in asked for expression in expressions)
        (values,) = connection.execute(f"SELECT {text} FROM {version.source}").fetchall()
        told = iter(values)
        answers = [[next(told) for _ in expressions] for expressions in asked]
        histograms = _histograms(connection, version, answers)
        return [
            _facts(connection, version, column, answer, histograms.get(column.name))
            for column, answer in zip(version.columns, answers, strict=True)
        ]
    finally:
        connection.close()


def _asked(column: Column, *, counted: bool) -> list[str]:
    """SQL for what is asked of a column in the first pass over all rows."""
    name = quote_name(column.name)
    asked = [f"count({name})", f"count(DISTINCT {name})" if counted else f"approx_count_distinct({name})"]
    if column.type in _NUMBERS:
        finite = f" FILTER (isfinite({name}))" if column.type == "number" else ""
        asked += [f"{call}{finite}" for call in (f"min({name})", f"max({name})", f"avg({name})")]
        asked.append(f"approx_quantile({name}, [0.5, 0.95]){finite}")
    elif column.type in _TEXTS:
        asked.append(f"histogram(length({name}))")
    return asked


def _histograms(
    connection: duckdb.DuckDBPyConnection, version: DatasetVersion, answers: list[list[Any]]
) -> dict[str, list[int]]:
    """The histogram of each column of numbers that has two different ones, from a second pass."""
    wanted: dict[str, str] = {}
    bounds: list[float] = []
    for column, answer in zip(version.columns, answers, strict=True):
        if column.type in _NUMBERS and answer[2] is not None and answer[3] > answer[2]:
            low, high = float(answer[2]), float(answer[3])
            value = f"{quote_name(column.name)}::DOUBLE"
            bin_of = f"least({BINS - 1}, floor(({value} - ?) / ? * {BINS}))::UTINYINT"
            # FILTER would be looked at after the cast.
            wanted[column.name] = f"histogram(CASE WHEN isfinite({value}) THEN {bin_of} END)"
            bounds += [low, high - low]
    if not wanted:
        return {}
    (values,) = connection.execute(f"SELECT {', '.join(wanted.values())} FROM {version.source}", bounds).fetchall()
    return {
        name: [int(counts.get(place, 0)) for place in range(BINS)] for name, counts in zip(wanted, values, strict=True)
    }


def _facts(
    connection: duckdb.DuckDBPyConnection,
    version: DatasetVersion,
    column: Column,
    answer: list[Any],
    histogram: list[int] | None,
) -> ColumnStatistics:
    count, different = int(answer[0]), int(answer[1])
    facts: ColumnStatistics = {
        "name": column.name,
        "type": column.type,
        "values": count,
        "missing": version.rows - count,
        "distinct": min(count, different),
        "exact": version.rows <= _COUNTED,
    }
    if column.type in _NUMBERS and answer[2] is not None:
        facts = cast("ColumnStatistics", {**facts, **_of_numbers(answer[2:], histogram)})
    elif column.type in _TEXTS:
        facts["length"] = of_counts(answer[2] or {})
    if column.type in {"text", "boolean", "integer"} and 0 < facts["distinct"] <= _FEW:
        name = quote_name(column.name)
        top = connection.execute(
            f"SELECT {name}, count(*) AS n FROM {version.source} WHERE {name} IS NOT NULL GROUP BY 1"
            f" ORDER BY n DESC, 1 LIMIT {_LISTED}"
        ).fetchall()
        facts["top"] = [[v, int(n)] for v, n in top]
        facts["distinct"] = max(len(top), facts["distinct"]) if len(top) == _LISTED else len(top)
        facts["exact"] = facts["exact"] or len(top) < _LISTED
    return facts


def _of_numbers(answer: list[Any], histogram: list[int] | None) -> Numbers:
    low, high, mean, quantiles = answer
    out: Numbers = {
        "min": float(low),
        "max": float(high),
        "mean": float(mean),
        "p50": float(quantiles[0]),
        "p95": float(quantiles[1]),
    }
    if histogram is not None:
        out["histogram"] = histogram
    return out


def of_counts(counts: Mapping[int, int]) -> Numbers:
    """Figures of whole numbers by how often each occurs; a quantile is the smallest that so large a share does not exceed."""
    if not counts:
        return {}
    values = sorted(counts.items())
    low, high, total = values[0][0], values[-1][0], sum(counts.values())
    out: Numbers = {
        "min": float(low),
        "max": float(high),
        "mean": sum(value * count for value, count in values) / total,
        "p50": _quantile(values, 0.5 * total),
        "p95": _quantile(values, 0.95 * total),
    }
    if high > low:
        bins = [0] * BINS
        for value, count in values:
            bins[min(BINS - 1, int((value - low) / (high - low) * BINS))] += count
        out["histogram"] = bins
    return out


def _quantile(values: list[tuple[int, int]], rank: float) -> float:
    seen = 0
    for value, count in values:
        seen += count
        if seen >= rank:
            return float(value)
    return float(values[-1][0])
