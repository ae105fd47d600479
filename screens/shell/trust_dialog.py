"""The trust dialog: what a workspace would be allowed; trust it or withdraw the trust."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.workspace.layout import Workspace
from screens.shell.shell import Shell
from screens.shell.workspace_status import workspace_status
from screens.widgets.fields import Field
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.maintenance.trust_review import Request

TRUST, WITHDRAW = "trust", "withdraw"
_MEANING = {TRUST: "allows this", WITHDRAW: "withdraws the trust"}


async def ask_for_trust(shell: Shell) -> None:
    """Show what the workspace is or would be allowed, and do what the word says that is typed."""
    from llmops_tui.maintenance.trust_review import inspect

    workspace = shell.services.workspace
    request = await asyncio.to_thread(inspect, workspace)
    word = await shell.ask(TrustDialog(request, workspace.name))
    if word is not None:
        told = await asyncio.to_thread(_kept, workspace, request, word)
        shell.show_status(replace(shell.status, workspace_status=workspace_status(workspace)))
        shell.say(told, seconds=12.0)


def _kept(workspace: Workspace, request: Request, word: str) -> str:
    """Allow what was shown, or allow it no longer; returns what is told of it."""
    from llmops_tui.maintenance.trust_review import consent
    from llmops_tui.workspace.trust import withdraw

    try:
        if word == WITHDRAW:
            withdraw(workspace)
            return f"{workspace.name} is no longer trusted: its remote models, keys and commands are disabled."
        aside = consent(workspace, request)
    except OSError as error:
        raise LlmopsError(
            "trust_not_kept",
            f"nothing was changed: {error}",
            "Check that the settings folder and the workspace are writable.",
        ) from error
    told = f"{workspace.name} is trusted now."
    if aside is not None:
        told += (
            f" Others may know the API key of its servers: the key file was renamed to {aside.name}, "
            "and the next server makes a new key."
        )
    return told


class TrustDialog(Modal[str | None]):
    """What a workspace is or would be allowed; gives the word that was typed, or nothing."""

    asks = True
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel"),
        Binding("down", "scroll(1)", show=False, priority=True),
        Binding("up", "scroll(-1)", show=False, priority=True),
    ]

    def __init__(self, request: Request, name: str) -> None:
        super().__init__()
        self._request = request
        self._about = name
        new, trusted = request.is_new, not request.why
        self._words = [word for word, holds in ((TRUST, new), (WITHDRAW, trusted)) if holds]

    def compose(self) -> ComposeResult:
        """The name, what it is about, the field, and the words that it takes."""
        from llmops_tui.maintenance.trust_review import describe

        title = f"{safe_line(self._about, 40)} is {'trusted' if not self._request.why else 'not trusted'}"
        with Vertical(classes="dialog dialog-trust"):
            yield Static(Content(title), classes="dialog-title")
            with TextScroll(id="allowed"):
                yield Static(Content("\n".join(map(safe_line, describe(self._request)))), id="request")
            yield Field(id="word", compact=True, placeholder=f"type {' or '.join(self._words)}")
            yield Static(self._hint(), classes="dialog-text")

    def on_mount(self) -> None:
        """The word is typed; what it is about scrolls all the same."""
        self.query_one("#allowed").can_focus = False
        self.query_one(Field).focus()

    def _hint(self) -> Content:
        parts: list[tuple[str, str] | str] = []
        for word in self._words:
            parts += [(word, "$accent bold"), f" and enter {_MEANING[word]}   "]
        return Content.assemble(*parts, ("esc", "$accent bold"), " changes nothing")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        word = event.value.strip().lower()
        if word in self._words:
            self.dismiss(word)
        else:
            hint = self.query_one(".dialog-text", Static)
            hint.update(Content.assemble(("Nothing was changed. ", "$warning"), self._hint()))

    def action_scroll(self, step: int) -> None:
        """Scroll what it is about while the field keeps the focus."""
        self.query_one("#allowed").scroll_relative(y=step, animate=False)

    def action_give_up(self) -> None:
        """Close without a word."""
        self.dismiss(None)
