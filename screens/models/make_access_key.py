"""Make an access key: a form, and its secret, shown once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.errors import InputRefusedError
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.form_dialog import FormDialog
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from llmops_tui.inference.access.asked import KeyAsked
    from llmops_tui.inference.access.store import KeyStore, NewKey

_ONCE = "This is the only time it is shown: its hash is all that is kept."


class SecretDialog(Modal[None]):
    """A secret; y copies it again, escape closes it for good."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,enter", "close", "Close"),
        Binding("y", "copy", "Copy"),
    ]

    def __init__(self, shell: Shell, made: NewKey) -> None:
        super().__init__()
        self._shell = shell
        self._made = made

    def compose(self) -> ComposeResult:
        """The secret and its keys."""
        with Vertical(classes="dialog"):
            yield Static(Content(f"The key {safe_line(self._made.key.name, 60)!r}"), classes="dialog-title")
            yield Static(Content(self._made.secret), id="secret")
            yield Static(Content(_ONCE), classes="dialog-text")
            yield KeysLine(("y", "copy"), ("enter", "close"))

    def on_mount(self) -> None:
        """Copy it at once: nobody types it."""
        self.action_copy()

    def action_copy(self) -> None:
        """Copy it."""
        self._shell.copy_text("the key", self._made.secret)

    def action_close(self) -> None:
        """Close; it is gone."""
        self.dismiss(None)


async def show_secret(shell: Shell, made: NewKey) -> None:
    """Show a secret once, on the clipboard too."""
    await shell.ask(SecretDialog(shell, made))


async def make_access_key(shell: Shell, store: KeyStore) -> NewKey | None:
    """Ask what a key is to be for, make it and show its secret; none where it was left.

    The form comes again with what was filled in as long as something in it is refused.
    """
    from llmops_tui.chains.store import ChainStore
    from llmops_tui.inference.access.asked import KeyAsked, check_known, moment_of
    from llmops_tui.inference.access.endpoints import ENDPOINTS

    models = await asyncio.to_thread(shell.services.models.all)
    chains = await asyncio.to_thread(ChainStore(shell.services.catalog).served_names)
    kinds = {one.name: one.kind for one in models} | dict.fromkeys(chains, "chain")
    asked = KeyAsked()

    def make(given: KeyAsked) -> NewKey:
        check_known(given.scope, kinds)
        ends = moment_of(given.expires, time.time()) if given.expires.strip() else None
        return store.create(given.name.strip(), given.scope, owner=given.owner.strip(), expires_at=ends)

    while True:
        given = await shell.ask(
            FormDialog(
                "Make an access key",
                asked,
                told="For a client of llmops serve. Its secret is shown once.",
                takes="make",
                suggestions={
                    "models": tuple(name for name, kind in kinds.items() if kind in {"gguf", "chain"}),
                    "adapters": tuple(name for name, kind in kinds.items() if kind == "adapter"),
                    "endpoints": tuple(ENDPOINTS),
                },
            )
        )
        if given is None:
            return None
        asked = given
        try:
            made = await asyncio.to_thread(make, given)
        except InputRefusedError as error:
            shell.report(error)
            continue
        await show_secret(shell, made)
        return made
