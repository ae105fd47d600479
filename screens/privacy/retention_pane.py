"""The rules of retention, and what is due by them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from screens.shell.job_progress import follow_job
from screens.shell.pane import Pane
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.maintenance.retention import Due

ENTRY = "llmops_tui.maintenance.tasks:keep_retention"
_NONE = (
    'No rules yet. 9 opens the settings: "retention" takes them, such as "traces 90d; datasets 2y where is:untagged".\n'
    "a deletes here what is older, after asking."
)
_SHOWN = 8
_DAY = 86_400


class RetentionPane(Pane):
    """Rules, and below each what is due."""

    def __init__(self) -> None:
        super().__init__(
            title="Retention",
            jump_key="r",
            id="privacy-retention",
            help_text="What is older than the rules of the settings let it be. a deletes what nothing needs.",
        )
        self._due: list[Due] = []

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="retention-scroll"):
            yield Static("", id="retention-text", markup=False)

    async def load(self) -> None:
        """Look what is due by the rules as they are."""
        from llmops_tui.maintenance.retention import plan_retention
        from llmops_tui.retention_rules import read_rules

        settings = self.services.settings
        rules = [rule.told for rule in read_rules(settings.retention)]
        self._due = await asyncio.to_thread(plan_retention, self.services.workspace, settings) if rules else []
        parts: list[tuple[str, str] | str] = [] if rules else [(_NONE, "$muted")]
        for rule in rules:
            parts.append((f"{rule}\n", "bold"))
            due = [one for one in self._due if one.rule.told == rule]
            parts += [_line(one) for one in due[:_SHOWN]] or [("  nothing is due\n", "$muted")]
            parts += [(f"  and {len(due) - _SHOWN:,} more\n", "$muted")] if len(due) > _SHOWN else []
        self.query_one("#retention-text", Static).update(Content.assemble(*parts))
        self.set_note(f"{self._going:,} due" if self._going else "")

    @property
    def _going(self) -> int:
        return sum(not one.stays for one in self._due)

    def action_apply(self) -> None:
        """Ask, then delete what is due."""
        if self._going:
            self.ask_by("apply", self._apply)
        else:
            self.shell.say("Nothing is due.")

    async def _apply(self) -> None:
        shown = [f"{one.what} ({one.rule.told})" for one in self._due if not one.stays][:_SHOWN]
        question = f"Delete {counted(self._going, 'thing')} by the rules of retention?"
        if not await self.shell.ask(DangerDialog(question, "\n".join(shown))):
            return
        job = await asyncio.to_thread(
            lambda: self.services.jobs.start(kind="retention", title="keep retention", entry=ENTRY, arguments={})
        )
        found = await follow_job(self.services, self, job)
        self.shell.say(f"{counted(int(found.get('removed', 0)), 'thing')} deleted.")
        await self.load()


def _line(due: Due) -> tuple[str, str]:
    why = f"  stays: {due.stays}" if due.stays else ""
    return f"  {safe_line(due.what)}, {due.age / _DAY:,.0f} days{safe_line(why)}\n", "$muted" if due.stays else ""
