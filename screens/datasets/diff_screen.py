"""The row-by-row difference of two versions, with changed words."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import diff_words
from screens.widgets.diff_text import diff_parts
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import Options, TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.diff import VersionDiff
    from llmops_tui.datasets.records import Row
    from llmops_tui.datasets.version import DatasetVersion

_LISTED = 1000


class VersionDiffScreen(Modal[None]):
    """A list of differences above, the one under the cursor below."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [Binding("escape,q,d", "close", "Close")]  # noqa: RUF012  declared so by Textual

    def __init__(self, before: DatasetVersion, after: DatasetVersion) -> None:
        super().__init__()
        self._before = before
        self._after = after
        self._entries: list[tuple[int | None, int | None]] = []

    def compose(self) -> ComposeResult:
        """Head, list, difference, keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content("comparing …"), classes="dialog-title", id="data-diff-head")
            yield Options(id="data-diff-list", markup=False, compact=True)
            with TextScroll(id="data-diff-scroll"):
                yield Static("", id="data-diff-text", markup=False)
            yield KeysLine(("↑↓", "rows"), ("esc", "close"))

    def on_mount(self) -> None:
        """Compare in a thread."""
        self.run_worker(self._compare(), group="diff", exit_on_error=False)

    async def _compare(self) -> None:
        from llmops_tui.datasets.diff import diff_versions

        found = await asyncio.to_thread(diff_versions, self._before, self._after)
        self._show(found)

    def _show(self, found: VersionDiff) -> None:
        how = f"by {found.key}" if found.key else "by content and order"
        self.query_one("#data-diff-head", Static).update(
            Content.assemble(
                (found.left, "$error bold"),
                " → ",
                (found.right, "$success bold"),
                f"   +{len(found.added):,} −{len(found.removed):,} ~{len(found.changed):,}  {found.same:,} the same",
                (f"  {how}", "$muted"),
            )
        )
        entries: list[tuple[int | None, int | None]] = [*found.changed]
        entries += [(n, None) for n in found.removed] + [(None, n) for n in found.added]
        self._entries = entries[:_LISTED]
        options = self.query_one("#data-diff-list", OptionList)
        marks = {(True, True): ("~ ", "$warning"), (True, False): ("− ", "$error"), (False, True): ("+ ", "$success")}
        for index, (a, b) in enumerate(self._entries):
            rows = f"{a:,} → {b:,}" if a is not None and b is not None else f"{a if a is not None else b:,}"
            options.add_option(
                Option(Content.assemble(marks[a is not None, b is not None], f"row {rows}"), id=str(index))
            )
        if len(entries) > _LISTED:
            options.add_option(Option(Content.styled(f"and {len(entries) - _LISTED:,} more", "$muted"), disabled=True))
        if not entries:
            self.query_one("#data-diff-text", Static).update(
                Content.styled("The rows are the same, in the same order.", "$success")
            )
        else:
            options.highlighted = 0
            options.focus()

    @on(OptionList.OptionHighlighted)
    def _cursor_moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_id is not None:
            self.run_worker(self._show_entry(int(event.option_id)), group="entry", exclusive=True, exit_on_error=False)

    async def _show_entry(self, index: int) -> None:
        a, b = self._entries[index]
        before = (await asyncio.to_thread(self._before.rows_at, [a]))[0] if a is not None else None
        after = (await asyncio.to_thread(self._after.rows_at, [b]))[0] if b is not None else None
        parts: list[tuple[str, str] | str] = []
        for name in dict.fromkeys([*(before or {}), *(after or {})]):
            old, new = _text(before, name), _text(after, name)
            parts.append((f"── {safe_line(name)} ──\n", "$accent"))
            parts += [safe_text(old)] if old == new else diff_parts(diff_words(old, new))
            parts.append("\n")
        self.query_one("#data-diff-text", Static).update(Content.assemble(*parts))

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def _text(row: Row | None, name: str) -> str:
    value = row.get(name) if row is not None else None
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(v, dict) and "content" in v for v in value):
        return "\n".join(f"{v.get('role')}: {v['content']}" for v in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
