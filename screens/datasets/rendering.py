"""Rendering of datasets, versions, columns and problems; help texts of the panes."""

from __future__ import annotations

from textual.content import Content
from textual.widgets.option_list import Option

from llmops_tui.counts import counted
from llmops_tui.datasets.profile_record import ColumnStatistics
from llmops_tui.datasets.reports import Problem
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.safe_text import safe_line

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
NO_CHECKS = "Not checked yet. F5 checks all rows: duplicates, broken turns, personal data and more."
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


def dataset_option(version: DatasetVersion, *, current: bool) -> Option:
    """A dataset in the list."""
    return Option(
        Content.assemble(
            (safe_line(version.dataset), "bold" if current else ""),
            "  ",
            (f"@{version.number}", "$muted"),
            f"  {short_count(version.rows)}",
            (f"  {version.kind}", "$muted"),
        ),
        id=version.dataset,
    )


def version_option(version: DatasetVersion, parent: DatasetVersion | None, origins: str, *, current: bool) -> Option:
    """A version in the list: what made it, how many rows that added or took away, and the share that nobody wrote."""
    delta = version.rows - parent.rows if parent is not None else 0
    change = f" {delta:+,}" if delta else ""
    return Option(
        Content.assemble(
            (f"@{version.number}", "bold" if current else ""),
            f" {version.recipe.operation}",
            (change.replace("-", "−"), "$success" if delta > 0 else "$warning"),
            (f" {origins}" if origins else "", "$warning"),
            *((f" {tag}", "$success") for tag in version.tags),
            (f"  {safe_line(version.note, 60)}", "$muted"),
        ),
        id=version.ref,
    )


def short_count(count: int) -> str:
    """A number of rows in few characters."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:.1f}k" if count < 1e6 else f"{count / 1e6:.1f}M"


def column_facts(columns: list[ColumnStatistics], current: str, *, blocks: bool) -> Content:
    """The columns, and more about the current one."""
    parts: list[str | tuple[str, str]] = []
    for column in columns:
        here = column["name"] == current
        bars = [n for _, n in column["top"]] if column.get("top") else column.get("histogram", [])
        bars = bars or column.get("length", {}).get("histogram", [])
        name = safe_line(column["name"], 12)
        parts += [(f"{name:12.12}", "bold $accent" if here else ""), " "]
        parts += [
            (f"{spark(bars, blocks=blocks, width=10):10}", "$accent"),
            (f" {short_count(column['distinct'])}", "$muted"),
            "\n",
        ]
        if here:
            parts += _facts_of(column)
    return Content.assemble(*parts)


def _facts_of(column: ColumnStatistics) -> list[str | tuple[str, str]]:
    facts = column if "p50" in column else column.get("length", {})
    what = "" if "p50" in column else "length "
    lines = [f"{column['type']}, {column['distinct']:,} different"]
    lines += [f"{column['missing']:,} missing"] if column["missing"] else []
    if "p50" in facts:
        lines += [
            f"{what}p50 {facts['p50']:,.4g} p95 {facts['p95']:,.4g}",
            f"{what}{facts['min']:,.4g} – {facts['max']:,.4g}",
        ]
    parts: list[str | tuple[str, str]] = [(f"  {line}\n", "$muted") for line in lines]
    for value, count in column.get("top", [])[:8]:
        parts += [f"  {safe_line(str(value), 20):20.20}", (f" {count:,}\n", "$muted")]
    return parts


def check_option(problem: Problem, of: int) -> Option:
    """A problem in the list of checks."""
    share = counted(problem["rows"], "row") if problem["rows"] else problem["note"]
    level = "$error" if problem["rows"] > of / 20 else "$warning" if problem["rows"] else "$muted"
    parts: list[str | tuple[str, str]] = [("● ", level), problem["title"], "  ", (safe_line(share, 90), level)]
    if problem["fix"]:
        parts += [("   f: " + problem["fix"], "$muted")]
    return Option(Content.assemble(*parts), id=problem["kind"])
