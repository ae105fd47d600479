"""Access keys: who has which, what is left of their limits, and one key each to make, rotate and revoke one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.models.make_access_key import make_access_key, show_secret
from screens.monitor.rendering import bar
from screens.shell.shell import Shell
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmops_tui.inference.access.limiter import Standing
    from llmops_tui.inference.access.report import KeyReport
    from llmops_tui.inference.access.store import KeyStore
    from screens.services import Services

_EMPTY = (
    "No access keys yet. n makes one for a client of llmops serve, with its own scope, limits and end.\n"
    "The key in the workspace's api-key file is yours: it may do all."
)
_SECONDS = 5.0
_CELLS = 24
_STATES = {"active": "$success", "expired": "$warning", "revoked": "$muted", "foreign": "$warning"}


class AccessKeysScreen(Modal[None]):
    """The list, and what is known of the key under the cursor."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("n,f7", "make", "Make"),
        Binding("r,f6", "rotate", "Rotate"),
        Binding("D,x,f8", "revoke", "Revoke"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._reports: list[KeyReport] = []

    def compose(self) -> ComposeResult:
        """Title, list, facts and keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("Access keys", id="key-title", classes="dialog-title", markup=False)
            yield OptionList(id="key-list", markup=False)
            yield Static("", id="key-facts", markup=False)
            yield KeysLine(*(("n", "make"), ("r", "rotate"), ("D", "revoke"), ("esc", "close")))

    def on_mount(self) -> None:
        """Read, and read again while servers count."""
        self.query_one(OptionList).focus()
        self.set_interval(_SECONDS, self._look)
        self._look()

    def _look(self) -> None:
        if self.is_current:
            self._do(self._read, "look")

    def _do(self, work: Callable[[], Awaitable[None]], group: str = "act") -> None:
        # A look must not end what waits for an answer.
        self.run_worker(self._told(work), group=group, exclusive=True, exit_on_error=False)

    async def _told(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except LlmopsError as error:
            self.app.report(error)

    def _store(self) -> KeyStore:
        from llmops_tui.inference.access.store import KeyStore

        return KeyStore(self._services.event_log)

    async def _read(self, select: str = "") -> None:
        from llmops_tui.inference.access.report import reports

        here = select or (self._current.key.id if self._current is not None else "")
        found = await asyncio.to_thread(lambda: reports(self._store()))
        # Those that open something first, the newest of them first.
        self._reports = sorted(found, key=lambda one: (one.state != "active", -one.key.created_at))
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(self._line(one), id=one.key.id) for one in self._reports])
        places = [one.key.id for one in self._reports]
        options.highlighted = places.index(here) if here in places else 0 if places else None
        active = sum(one.state == "active" for one in found)
        self.query_one("#key-title", Static).update(f"Access keys · {active:,} of {len(found):,} active")
        if not found:
            self.query_one("#key-facts", Static).update(Content.styled(_EMPTY, "$muted"))

    @property
    def _current(self) -> KeyReport | None:
        at = self.query_one(OptionList).highlighted
        return self._reports[at] if at is not None and at < len(self._reports) else None

    def _line(self, report: KeyReport) -> Content:
        key = report.key
        used = "never used" if key.last_used is None else f"used {_moment(key.last_used)}"
        return Content.assemble(
            (f"{safe_line(key.name, 40):24} ", "bold"),
            (f"{report.state:8} ", _STATES[report.state]),
            (f"{safe_line(key.begins, 20)}  ", "$muted"),
            f"{used}  ",
            (safe_line(key.owner, 40), "$muted"),
        )

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if (report := self._current) is not None:
            self.query_one("#key-facts", Static).update(self._facts(report))

    def _facts(self, report: KeyReport) -> Content:
        from llmops_tui.inference.access.report import scope_in_words

        key = report.key
        ends = "never ends" if key.expires_at is None else f"ends {_moment(key.expires_at)}"
        parts: list[str | tuple[str, str]] = [
            ("for     ", "$muted"), f"{safe_line(scope_in_words(key))}\n",
            ("made    ", "$muted"), f"{_moment(key.created_at)}, {ends}",
            f", within {safe_line(report.within)}\n" if report.within else "\n",
            ("used    ", "$muted"),
            _used(report),
        ]  # fmt: skip
        for one in report.standings:
            parts += self._bar(one)
        if not report.standings:
            parts.append(("no limits\n", "$muted"))
        return Content.assemble(*parts)

    def _bar(self, one: Standing) -> list[str | tuple[str, str]]:
        drawn, colour = bar(1 - one.left / one.amount, _CELLS, utf8=self.app.profile.utf8)
        colours = {"accent": "$accent", "warn": "$warning", "bad": "$error"}
        told = f" {one.amount - one.left:,} of {one.amount:,} {one.unit} a {one.span}\n"
        return [("        ", ""), (drawn, colours.get(colour, "$muted")), told]

    # ── actions ──

    def action_make(self) -> None:
        """Ask what the key is to be for, and show its secret once."""
        self._do(self._make)

    async def _make(self) -> None:
        made = await make_access_key(self.app, self._store())
        if made is not None:
            await self._read(made.key.id)

    def action_rotate(self) -> None:
        """Give the key another secret, after asking."""
        if self._current is not None:
            self._do(self._rotate)

    async def _rotate(self) -> None:
        report = self._current
        assert report is not None
        question = f"Give the key {report.key.name!r} another secret?"
        if await self.app.ask(DangerDialog(question, "Whoever has the one before is let in no more, from now on.")):
            made = await asyncio.to_thread(self._store().rotate, report.key)
            await show_secret(self.app, made)
            await self._read()

    def action_revoke(self) -> None:
        """Revoke the key, after asking."""
        if self._current is not None:
            self._do(self._revoke)

    async def _revoke(self) -> None:
        report = self._current
        assert report is not None
        inside = sum(one.key.parent == report.key.id and one.state == "active" for one in self._reports)
        told = f" and {counted(inside, 'key')} within it" if inside else ""
        question = f"Revoke the key {report.key.name!r}{told}?"
        if await self.app.ask(DangerDialog(question, "Its clients are let in no more, at once.")):
            await asyncio.to_thread(self._store().revoke, report.key)
            await self._read()

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def _used(report: KeyReport) -> str:
    tokens = report.prompt_tokens + report.completion_tokens
    used = f"{counted(report.requests, 'request')}, {tokens:,} tokens, {report.seconds:,.1f} s"
    return f"{used}; {report.refused:,} turned away\n"


def _moment(at: float) -> str:
    return time.strftime("%d %b %Y %H:%M", time.localtime(at))
