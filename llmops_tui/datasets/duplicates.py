"""Rows that are the same in all compared columns, found by DuckDB: by hashes first, then by the values themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.identity import Sameness, left_out
from llmops_tui.datasets.records import REST, ROW, Column
from llmops_tui.workspace.sandbox import open_sandbox, quote_name

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion


def repeated_rows(
    version: DatasetVersion, same: Sameness, folder: Path | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """The numbers of rows that are the same as an earlier one, and of that one, as :func:`identity.row_key` tells it.

    None where the values of a column alone do not tell: of JSON, whose keys may stand in another order, and of texts
    without case. ``folder`` is where a query that needs more memory may spill to.
    """
    keys = _keys(version, same)
    if not keys:
        return None
    hashed = f"hash({', '.join(keys)})"
    connection = open_sandbox(version.files, folder=folder, memory="1GB")
    try:
        hashes = connection.execute(f"SELECT {hashed} AS h FROM {version.source}").fetchnumpy()["h"]
        hashes.sort()
        twice = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if not len(twice):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        connection.register("twice", {"h": twice})
        found: dict[str, npt.NDArray[np.int64]] = connection.execute(
            f"SELECT * FROM (SELECT {ROW} AS number, min({ROW}) OVER (PARTITION BY {', '.join(keys)}) AS earliest"
            f" FROM {version.source} WHERE {hashed} IN (SELECT h FROM twice)) WHERE number > earliest ORDER BY number"
        ).fetchnumpy()
    finally:
        connection.close()
    return found["number"].astype(np.int64), found["earliest"].astype(np.int64)


def _keys(version: DatasetVersion, same: Sameness) -> list[str]:
    """SQL for what is compared; empty where DuckDB cannot compare it."""
    passed = set(left_out(version.kind, version.columns, same))
    compared = [column for column in version.columns if column.name not in passed]
    if same == "text" or any(column.type == "json" or column.name == REST for column in compared):
        return []
    return [key for column in compared for key in _key(column)]


def _key(column: Column) -> list[str]:
    name = quote_name(column.name)
    # For DuckDB 0 and -0 are the same, and so are all that are not a number.
    return [name, f"(signbit({name}) AND NOT isnan({name}))"] if column.type == "number" else [name]
