"""The privacy screen: find and forget a person, receipts, retention, and the report on personal data."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from llmops_tui.errors import InputRefusedError
from llmops_tui.safe_text import safe_line
from llmops_tui.user_files import with_home
from screens.actions import bindings_of
from screens.privacy.erasures_pane import ErasuresPane
from screens.privacy.plan_pane import PlanPane
from screens.privacy.retention_pane import RetentionPane
from screens.shell.base import BaseScreen
from screens.widgets.dialogs import LineDialog

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> PrivacyScreen:
    """Make the screen."""
    return PrivacyScreen(services, profile)


class PrivacyScreen(BaseScreen):
    """Erasures and retention at the left, the plan or a receipt at the right."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("privacy")  # type: ignore[assignment]
    AUTO_FOCUS = "#plan-scroll"
    scope = "privacy"
    about = (
        "Find a person in everything that the workspace has, see what forgetting them would do, and erase them from every "
        "byte; keep to rules of age; report on personal data."
    )

    def compose_body(self) -> ComposeResult:
        """Three panes."""
        with Horizontal(id="columns"):
            with Vertical(classes="column"):
                yield ErasuresPane()
                yield RetentionPane()
            yield PlanPane()

    def on_screen_resume(self) -> None:
        """Read the ledger, and what is due."""
        super().on_screen_resume()
        self.action_look()

    def action_look(self) -> None:
        """Look now."""
        self.act("load", self._load)

    async def _load(self, select: str = "") -> None:
        await self.query_one(ErasuresPane).load(select)
        await self.query_one(RetentionPane).load()

    @on(ErasuresPane.CursorMoved)
    def _cursor_moved(self, event: ErasuresPane.CursorMoved) -> None:
        self.query_one(PlanPane).show_receipt(event.erasure)

    @on(ErasuresPane.Resumed)
    def _resumed(self) -> None:
        self.action_look()

    @on(PlanPane.Forgot)
    def _forgot(self, event: PlanPane.Forgot) -> None:
        self.act("load", self._show_receipt, event.erasure)

    async def _show_receipt(self, erasure: str) -> None:
        await self._load(erasure)
        current = self.query_one(ErasuresPane).current
        if current is not None:
            self.query_one(PlanPane).show_receipt(current)

    def action_report(self) -> None:
        """Write the report into a file."""
        self.ask_by("report", self._report)

    async def _report(self) -> None:
        name = time.strftime("personal-data-%Y%m%d.md")
        given = await self.shell.ask(
            LineDialog("Write the report on personal data to", "A new Markdown file.", name, path=True)
        )
        if given:
            path = await asyncio.to_thread(_write, self.services, given)
            self.shell.say(f"The report is in {safe_line(str(path))}.")

    def cli_command(self) -> str:
        """``llmops privacy find``."""
        return "llmops privacy find WHO"


def _write(services: Services, given: str) -> Path:
    from llmops_tui.maintenance.privacy_report import as_markdown, make_report
    from llmops_tui.workspace.files import write_atomic

    path = with_home(given)
    if path.exists():
        raise InputRefusedError("file_exists", f"{path} exists", "Give another file.")
    write_atomic(path, as_markdown(make_report(services.workspace, services.settings)))
    return path.resolve()
