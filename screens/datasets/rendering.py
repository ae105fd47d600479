"""Rendering of datasets, versions, columns and problems; help texts of the panes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.content import Content

from llmops_tui.datasets.profile_record import ColumnStatistics
from llmops_tui.datasets.reports import Problem
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets import units
from screens.widgets.columns import Column, Part, fit

HELP_DATASETS = "Enter opens a dataset. i imports files, after a preview."
HELP_VERSIONS = "Each operation makes a version. Enter opens it, d compares it with its parent, t tags it."
HELP_COLUMNS = "The distinct values of each column and their distribution. Left and right in the table choose a column."
HELP_ROWS = (
    "The rows of the open version. / filters: text, ~ a regular expression, = SQL, ? full-text search, ?? search by meaning. "
    "M embeds the rows, and shows their topics, duplicates and outliers; a shows rows that are like this one. "
    "s sorts by the column under the cursor. Space flags a row, e edits it in your editor, backspace removes it."
)
HELP_RECORD = "w switches between conversation, tokens, rendered template and JSON. m chooses the model."
HELP_CHECKS = "Problems in the data. Enter shows the rows; f fixes them all in a new version, z undoes that."
NO_DATASETS = "No datasets yet.\ni imports files: JSONL, CSV, Parquet, SQLite, texts and more."
NO_ROWS = "No rows.\nesc clears the filter."
CHECKING = "Checking {rows} … {seconds:.0f} s"
NO_CHECKS = "Not checked yet. F5 checks all rows: duplicates, broken turns, personal data and more."
# Values of a column that are listed.
_TOP = 8
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"


def spark(counts: list[int], *, blocks: bool, width: int = 12) -> str:
    """Counts as a line of bars, the highest as high as there is."""
    if not counts:
        return ""
    if len(counts) > width:
        step = len(counts) / width
        counts = [sum(counts[int(i * step) : int((i + 1) * step)]) for i in range(width)]
    marks = _BLOCKS if blocks else _ASCII
    top = max(counts) or 1
    return "".join(marks[0 if c == 0 else max(1, round(c / top * 8))] for c in counts)


DATASET_COLUMNS: list[Column[DatasetVersion]] = [
    Column("dataset", lambda version: safe_line(version.dataset, 120), share=3, least=12, names=True),
    Column("@", lambda version: str(version.number), lambda version: version.number, right=True, least=2),
    Column("rows", lambda version: short_count(version.rows), lambda version: version.rows, right=True, falling=True, least=5),
    Column("kind", lambda version: (version.kind, "muted"), rank=2),
    Column("size", lambda version: units.size(version.size_bytes), lambda version: version.size_bytes,
        right=True, falling=True, rank=4),
    Column("changed", lambda version: units.moment(version.created_at), lambda version: version.created_at, falling=True, rank=3),
]  # fmt: skip


@dataclass(frozen=True)
class VersionRow:
    """A version in its list: how many rows it added or took away, and the share that nobody wrote."""

    version: DatasetVersion
    change: int
    origins: str


def _change(row: VersionRow) -> Part:
    return f"{row.change:+,}".replace("-", "−") if row.change else "", "good" if row.change > 0 else "warn"


def version_columns() -> list[Column[VersionRow]]:
    """The columns of the list of versions."""
    return [
        Column("@", lambda row: str(row.version.number), lambda row: row.version.number, right=True, falling=True, least=2),
        Column("made by", lambda row: row.version.recipe.operation, share=1, least=7),
        Column("rows", lambda row: short_count(row.version.rows), lambda row: row.version.rows, right=True, falling=True, rank=3),
        Column("change", _change, lambda row: row.change, right=True, falling=True, most=9, rank=4),
        Column("tags", lambda row: (" ".join(row.version.tags), "good"), share=1, least=4, rank=1, spare=True),
        Column("written by", lambda row: (row.origins, "warn"), share=1, least=5, rank=2, spare=True),
        Column("note", lambda row: (safe_line(row.version.note, 120), "muted"), share=1, least=14, rank=5),
        Column("made", lambda row: units.moment(row.version.created_at), lambda row: row.version.created_at,
            falling=True, rank=6),
        Column("size", lambda row: units.size(row.version.size_bytes), lambda row: row.version.size_bytes,
            right=True, falling=True, chosen=False, rank=7),
    ]  # fmt: skip


def short_count(count: int) -> str:
    """A number of rows in few characters."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:.1f}k" if count < 1e6 else f"{count / 1e6:.1f}M"


def column_facts(columns: list[ColumnStatistics], current: str, *, blocks: bool) -> Content:
    """The columns, and more about the current one."""
    head = f"{'column':11} {'spread':8} {'distinct':>8}\n"
    parts: list[str | tuple[str, str]] = [(head, "bold $muted")] if columns else []
    for column in columns:
        here = column["name"] == current
        bars = [n for _, n in column["top"]] if column.get("top") else column.get("histogram", [])
        bars = bars or column.get("length", {}).get("histogram", [])
        parts += [(f"{fit(safe_line(column['name'], 40), 11)} ", "bold $accent" if here else "")]
        parts += [
            (f"{spark(bars, blocks=blocks, width=8):8}", "$accent"),
            (f" {short_count(column['distinct']):>8}", "$muted"),
            "\n",
        ]
        if here:
            parts += _facts_of(column)
    return Content.assemble(*parts)


def _facts_of(column: ColumnStatistics) -> list[str | tuple[str, str]]:
    facts = column if "p50" in column else column.get("length", {})
    about = "" if column.get("exact") else "about "
    lines = [f"{column['type']}, {about}{column['distinct']:,} distinct"]
    lines += [f"{column['missing']:,} missing"] if column["missing"] else []
    if "p50" in facts:
        unit = "" if "p50" in column else " characters"
        lines += (
            [f"all {facts['min']:,.4g}{unit}"]
            if facts["min"] == facts["max"]
            else [
                f"{facts['min']:,.4g} – {facts['max']:,.4g}{unit}",
                f"median {facts['p50']:,.4g}, p95 {facts['p95']:,.4g}",
            ]
        )
    parts: list[str | tuple[str, str]] = [(f"  {line}\n", "$muted") for line in lines]
    for value, count in _telling(column):
        parts += [f"  {fit(safe_line(str(value), 200), 20, middle=True)}", (f" {count:,}\n", "$muted")]
    return parts


def _telling(column: ColumnStatistics) -> list[list[Any]]:
    """The values that are the most frequent; none where more than fit here are as frequent."""
    top = column.get("top", [])[:_TOP]
    return [] if column["distinct"] > _TOP and top and top[0][1] == top[-1][1] else top


def check_columns(of: int) -> list[Column[Problem]]:
    """The columns of the problems of a version with ``of`` rows."""

    def part(problem: Problem) -> Part:
        return (f"{problem['rows'] / of * 100:.1f}", "muted") if problem["rows"] and of else ("–", "muted")

    return [
        Column("problem", lambda problem: safe_line(problem["title"], 120), share=2, least=12),
        Column("rows", lambda problem: units.whole(problem["rows"] or None), lambda problem: problem["rows"] or None,
            right=True, falling=True),
        Column("share", part, lambda problem: problem["rows"], unit="%", right=True, falling=True, rank=1),
        Column("f fixes it", _help, share=3, least=12, rank=2, spare=True),
    ]  # fmt: skip


def _help(problem: Problem) -> Part:
    """What is done about a problem, or why nothing was found: one of the two is empty."""
    told = (problem["fix"] or "nothing; enter shows them") if problem["rows"] else problem["note"]
    return safe_line(told, 160), "muted"


def problem_told(problem: Problem) -> str:
    """A problem in whole: why it is one, and what is done about it; or why nothing was found."""
    if not problem["rows"]:
        return safe_text(f"{problem['title']}: {problem['note']}")
    done = f"f: {problem['fix']}." if problem["fix"] else "No automatic fix; enter shows the rows."
    return safe_text(f"{problem['why']} {done}")


def check_mark(problem: Problem, of: int) -> Part:
    """How grave a problem is."""
    return "●", "bad" if problem["rows"] > of / 20 else "warn" if problem["rows"] else "muted"
