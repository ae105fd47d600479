"""Concatenation of datasets, and mixing by weight."""

from __future__ import annotations

import math

from llmops_tui.counts import agree, counted
from llmops_tui.datasets.column_types import EXACT
from llmops_tui.datasets.operations.base import Made, Work
from llmops_tui.datasets.parts import SQL_TYPES
from llmops_tui.datasets.records import ROW, Column, Type
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import quote_name, quote_text, reading


def concat(work: Work) -> Made:
    """All rows of all inputs, in their order."""
    columns, selects = _aligned(work)
    parts = [f"SELECT {s}, {i} AS part, {ROW} FROM {_stored(i)}" for i, s in enumerate(selects)]
    names = ", ".join(quote_name(c.name) for c in columns)
    text = f"SELECT {names} FROM ({' UNION ALL '.join(parts)}) ORDER BY part, {ROW}"
    return work.write(text, columns, _kind(work), " + ".join(v.ref for v in work.inputs))


def mix(work: Work) -> Made:
    """``rows`` rows, of each input the share its number in ``weights`` has of all weights, shuffled by ``seed``.

    Without ``rows`` as many as can be had without taking a row twice. An input that has too few gives its rows again.
    """
    weights = [float(w) for w in work.parameter("weights")]
    seed = int(work.parameter("seed", 0))
    if len(weights) != len(work.inputs):
        raise InputRefusedError(
            "bad_weights",
            f"{counted(len(work.inputs), 'input')} {agree(len(work.inputs), 'requires', 'require')} as many weights,"
            f" and there {agree(len(weights), 'is', 'are')} {len(weights)}",
            "Give each dataset a weight.",
        )
    for version, weight in zip(work.inputs, weights, strict=True):
        if not 0 < weight < math.inf:
            told = f"the weight of {version.ref} is {weight:g}, and has to be a number above 0"
            raise InputRefusedError("bad_weights", told, "Leave out a dataset of which no row is wanted.")
        if not version.rows:
            raise InputRefusedError("empty_input", f"{version.ref} has no rows to mix in", "Leave it out.")
    shares = [w / sum(weights) for w in weights]
    whole = min(int(v.rows / s) for v, s in zip(work.inputs, shares, strict=True))
    total = int(work.parameters.get("rows") or whole)
    columns, selects = _aligned(work)
    counts = _apportioned(total, shares)
    parts = []
    for index, (chosen, count, version) in enumerate(zip(selects, counts, work.inputs, strict=True)):
        times = -(-count // version.rows)
        order = f"md5({quote_text(f'{seed}:{index}:')} || {ROW} || ':' || turn)"
        parts.append(
            f"(SELECT {chosen}, {order} AS place FROM {_stored(index)}, range({times}) AS turns(turn)"
            f" ORDER BY turn, place LIMIT {count})"
        )
    names = ", ".join(quote_name(c.name) for c in columns)
    text = f"SELECT {names} FROM ({' UNION ALL '.join(parts)}) ORDER BY place"
    said = ", ".join(f"{count:,} of {v.ref}" for count, v in zip(counts, work.inputs, strict=True))
    return work.write(text, columns, _kind(work), said)


def _apportioned(total: int, shares: list[float]) -> list[int]:
    """Whole numbers that are as near to the shares of a total as can be, and together are the total."""
    counts = [int(total * share) for share in shares]
    left = sorted(range(len(shares)), key=lambda i: counts[i] - total * shares[i])
    for index in left[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _stored(index: int) -> str:
    return "stored" if index == 0 else f"stored{index}"


def _kind(work: Work) -> str:
    kinds = {v.kind for v in work.inputs}
    if len(kinds) > 1:
        raise InputRefusedError(
            "kinds_differ",
            f"the inputs are of different kinds: {', '.join(sorted(kinds))}",
            "Convert them to one format first.",
        )
    return kinds.pop()


def _of_both(work: Work, name: str, left: Type, right: Type) -> Type:
    """The type that holds the values of both, an integer too large for a double among them."""
    if {left, right} != {"integer", "number"}:
        return "json"
    whole = [v for v in work.inputs if Column(name, "integer") in v.columns]
    return "json" if any(_largest(version, name) > EXACT for version in whole) else "number"


def _largest(version: DatasetVersion, name: str) -> int:
    with reading(version.files) as connection:
        column = quote_name(name)
        found = connection.execute(f"SELECT max({column}), min({column}) FROM {version.source}").fetchone()
    return max((abs(int(value)) for value in found or () if value is not None), default=0)


def _aligned(work: Work) -> tuple[list[Column], list[str]]:
    """The columns of all inputs together, and for each input the SQL that gives them."""
    types: dict[str, Type] = {}
    for version in work.inputs:
        for column in version.columns:
            before = types.get(column.name, column.type)
            types[column.name] = before if before == column.type else _of_both(work, column.name, before, column.type)
    columns = [Column(name, kind) for name, kind in types.items()]
    selects = []
    for version in work.inputs:
        own = {c.name: c.type for c in version.columns}
        parts = []
        for column in columns:
            name = quote_name(column.name)
            if column.name not in own:
                parts.append(f"CAST(NULL AS {SQL_TYPES[column.type]}) AS {name}")
            elif own[column.name] == column.type:
                parts.append(name)
            else:
                value = f"to_json({name})" if column.type == "json" else name
                parts.append(f"CAST({value} AS {SQL_TYPES[column.type]}) AS {name}")
        selects.append(", ".join(parts) or "1 AS nothing")
    return columns, selects
