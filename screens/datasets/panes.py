"""The panes of the datasets screen and how they stand: data and versions, columns, the table, the record, the checks."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.datasets.profile_record import ColumnStatistics
from llmops_tui.datasets.store import DatasetVersion
from llmops_tui.safe_text import safe_line
from screens.datasets.table import RowTable
from screens.widgets.fields import Field
from screens.widgets.panel import Panel

HELP = {
    "datasets": "Enter opens a dataset. i imports files: what they hold is shown before anything is read.",
    "versions": "Each operation made one. Enter looks at it; d compares it with its parent; t points a tag at it.",
    "columns": "Of each column: different values, and how they are spread. Left and right in the table choose one.",
    "rows": (
        "A window on any number of rows. / filters: text, ~ a regular expression, = SQL, ? words of a full-text search. "
        "s sorts by the column under the cursor. Space flags a row, e edits it in your editor, backspace takes it out."
    ),
    "record": "w goes on from the conversation to its tokens, the rendered template, and JSON. m chooses the model.",
    "checks": "What may be wrong. Enter shows the rows; f mends them all, as a new version, which z takes back.",
}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"


def panes() -> ComposeResult:
    """Left what there is, right what is in it."""
    with Horizontal(id="columns"):
        with Vertical(id="data-side", classes="column"):
            with Panel(title="Datasets", jump_key="d", id="datasets", help_text=HELP["datasets"]):
                yield OptionList(id="dataset-list", markup=False, compact=True)
            with Panel(title="Versions", jump_key="v", id="data-versions", help_text=HELP["versions"]):
                yield OptionList(id="data-version-list", markup=False, compact=True)
            with Panel(title="Columns", jump_key="o", id="data-columns", help_text=HELP["columns"]):
                with VerticalScroll(can_focus=True):
                    yield Static("", id="column-facts", markup=False)
        with Vertical(id="data-main", classes="column"):
            with Panel(title="Rows", jump_key="r", id="rows", help_text=HELP["rows"]):
                yield Field(
                    placeholder="text · ~regex · =SQL · ?words   enter filters, esc clears",
                    id="row-filter",
                    compact=True,
                )
                yield RowTable(id="row-table")
            with Panel(title="Record", jump_key="e", id="record", help_text=HELP["record"]):
                with VerticalScroll(id="record-scroll", can_focus=True):
                    yield Static("", id="record-text", markup=False)
            with Panel(title="Checks", jump_key="c", id="checks", help_text=HELP["checks"]):
                yield OptionList(id="check-list", markup=False, compact=True)


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
            (safe_line(version.dataset), "bold" if current else ""), "  ", (f"@{version.number}", "$muted"),
            f"  {short_count(version.rows)}", (f"  {version.kind}", "$muted"),
        ),
        id=version.dataset,
    )  # fmt: skip


def version_option(version: DatasetVersion, parent: DatasetVersion | None, *, current: bool) -> Option:
    """A version in the list: what made it, and how many rows that added or took away."""
    delta = version.rows - parent.rows if parent is not None else 0
    change = f" {delta:+,}" if delta else ""
    return Option(
        Content.assemble(
            (f"@{version.number}", "bold" if current else ""), f" {version.recipe.operation}",
            (change.replace("-", "−"), "$success" if delta > 0 else "$warning"),
            *((f" {tag}", "$success") for tag in version.tags), (f"  {safe_line(version.note, 60)}", "$muted"),
        ),
        id=version.ref,
    )  # fmt: skip


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


def check_option(problem: dict[str, Any], of: int) -> Option:
    """A problem in the list of checks."""
    share = f"{problem['rows']:,} rows" if problem["rows"] else problem["note"]
    level = "$error" if problem["rows"] > of / 20 else "$warning" if problem["rows"] else "$muted"
    parts: list[str | tuple[str, str]] = [("● ", level), problem["title"], "  ", (safe_line(share, 90), level)]
    if problem["fix"]:
        parts += [("   f: " + problem["fix"], "$muted")]
    return Option(Content.assemble(*parts), id=problem["kind"])
