"""Filter, sample, sort, select and compute columns, edit rows, and save the result of a query."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llmops_tui.counts import counted
from llmops_tui.datasets.operations.base import Made, Work
from llmops_tui.datasets.parts import typed_projection
from llmops_tui.datasets.records import REST, ROW, Row
from llmops_tui.datasets.row_sets import decode_rows
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import check_expression, check_select, quote_name, quote_text


def shuffled(seed: int, prefix: str = "") -> str:
    """An SQL expression that puts rows in an order that depends on the seed alone."""
    return f"md5({quote_text(f'{seed}:{prefix}')} || {ROW}), {ROW}"


def filter_rows(work: Work) -> Made:
    """Keep the rows for which ``where``, an SQL expression, is true, or those that ``rows`` is the set of."""
    if "rows" in work.parameters:
        if "where" in work.parameters:
            raise InputRefusedError("bad_filter", "where and rows exclude each other")
        chosen = decode_rows(str(work.parameters["rows"]), work.first.rows)
        made = work.without(np.flatnonzero(~chosen).tolist(), "")
        return replace(made, note=f"{counted(int(chosen.sum()), 'row')} that were chosen: {work.kept()}")
    where = check_expression(str(work.parameter("where")))
    made = work.select(where)
    return replace(made, note=f"where {work.parameters['where']}: {work.kept()}")


def sample(work: Work) -> Made:
    """Keep ``rows`` rows, or the share ``share`` of them, chosen by ``seed``; their order stays."""
    seed = int(work.parameter("seed", 0))
    share = float(work.parameter("share", 0.0))
    count = int(work.parameter("rows", round(share * work.first.rows)))
    if not 0 < count <= work.first.rows:
        raise InputRefusedError(
            "bad_sample",
            f"{counted(count, 'row')} cannot be taken from {work.first.rows:,}",
            "Give a number of rows or a share within the dataset.",
        )
    inner = f"SELECT {ROW} FROM stored ORDER BY {shuffled(seed)} LIMIT {count}"
    return work.select(inner, note=f"{counted(count, 'row')}, seed {seed}", views=False)


def sort(work: Work) -> Made:
    """Put the rows in the order of ``by``, an SQL expression; with ``descending`` the largest first."""
    by = check_expression(str(work.parameter("by")))
    direction = "DESC" if work.parameters.get("descending") else "ASC"
    names = ", ".join(quote_name(c.name) for c in work.first.columns)
    text = (
        f"SELECT {names} FROM stored JOIN (SELECT {ROW} AS sorted_row, {by} AS sorted_by FROM rows)"
        f" ON {ROW} = sorted_row ORDER BY sorted_by {direction} NULLS LAST, {ROW}"
    )
    return work.write(
        text, list(work.first.columns), work.first.kind, f"by {work.parameters['by']} {direction.lower()}"
    )


def select(work: Work) -> Made:
    """Keep the columns ``columns``, under the names in ``names`` where they are given."""
    wanted = list(work.parameter("columns"))
    names = dict(work.parameters.get("names") or {})
    known = {c.name for c in work.first.columns}
    unknown = [n for n in wanted if n not in known]
    if unknown:
        raise InputRefusedError(
            "unknown_column", f"there is no column {unknown[0]!r}", f"Columns: {', '.join(sorted(known))}"
        )

    becomes = [str(names.get(n, n)) for n in wanted]
    twice = next((n for n in becomes if becomes.count(n) > 1), None)
    if twice is not None:
        raise InputRefusedError(
            "same_name",
            f"two columns would be named {twice!r}",
            "A row keeps one value by a name: choose another name.",
        )

    def change(_number: int, row: Row) -> Row:
        made = {new: row[name] for name, new in zip(wanted, becomes, strict=True) if name in row and name != REST}
        # What is packed stands among a row's fields.
        packed = (
            {name: value for name, value in row.items() if name == REST or name not in known} if REST in wanted else {}
        )
        if packed and (new := becomes[wanted.index(REST)]) != REST:
            return made | {new: packed}
        if clash := next((name for name in packed if name in made), None):
            raise InputRefusedError(
                "same_name",
                f"two fields of a row would be named {clash!r}",
                "A row keeps one value by a name: choose another name.",
            )
        return made | packed

    made = work.rewrite(change, note=f"columns {', '.join(becomes)}")
    kept = {c.name for c in made.columns}
    from llmops_tui.datasets.records import KIND_COLUMNS

    whole = set(KIND_COLUMNS[work.first.kind]) <= kept
    return Made(made.columns, work.first.kind if whole else "tabular", made.note)


def map_column(work: Work) -> Made:
    """Set ``column`` to ``expression``, SQL over the row, in all rows."""
    column = str(work.parameter("column"))
    expression = check_expression(str(work.parameter("expression")))
    if column == ROW or not column:
        raise InputRefusedError("bad_column", f"{column!r} is not a valid column name")
    others = [c for c in work.first.columns if c.name != column]
    parts = [typed_projection(others)] if others else []
    text = f"SELECT {', '.join([*parts, f'{expression} AS {quote_name(column)}'])} FROM rows ORDER BY {ROW}"
    return work.write(text, None, work.first.kind, f"{column} = {work.parameters['expression']}")


def query(work: Work) -> Made:
    """Keep what a SELECT over ``rows`` gives, as a table."""
    text = check_select(str(work.parameter("sql")))
    return work.write(f"SELECT * FROM ({text}\n)", None, "tabular", "from a query")


def edit(work: Work) -> Made:
    """Change single rows: ``edits`` are whole rows by number, or nothing where a row goes."""
    edits = {int(number): row for number, row in work.parameter("edits").items()}
    outside = [n for n in edits if not 0 <= n < work.first.rows]
    if outside:
        raise InputRefusedError("no_such_row", f"there is no row {outside[0]:,}")
    removed = sum(row is None for row in edits.values())
    made = work.rewrite(lambda number, row: edits.get(number, row))
    return replace(made, note=f"{len(edits) - removed} changed{work.gone()}")
