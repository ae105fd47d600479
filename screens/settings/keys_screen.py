"""All actions with their keys, to change: written to the user's keymap, and in force at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.user_entries import KEYS, EntryChange
from screens.action import Action
from screens.actions import ACTIONS
from screens.keymap import keys_of, save_keymap, taken_by
from screens.settings.press_key import PressKeyDialog
from screens.shell.help import show_key
from screens.shell.keymap_again import read_again
from screens.shell.node import ShellNode
from screens.widgets.columns import Column
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.table import Table


@dataclass(frozen=True)
class KeyRow:
    """An action, and the keys it has now."""

    action: Action
    keys: tuple[str, ...]
    changed: bool

    @property
    def screen(self) -> str:
        """Where it can be done."""
        return "everywhere" if self.action.scope == "app" else self.action.scope


COLUMNS: list[Column[KeyRow]] = [
    Column("screen", lambda row: (row.screen, "muted"), least=10),
    Column("action", lambda row: row.action.title, least=12),
    Column(
        "keys", lambda row: ("  ".join(map(show_key, row.keys)), "accent" if row.changed else "plain"), least=14, most=32
    ),
    Column("yours", lambda row: ("changed", "accent") if row.changed else "", spare=True, rank=3),
    Column("does", lambda row: (row.action.help, "muted"), share=1, least=12, rank=6),
    Column("id", lambda row: (row.action.id, "muted"), rank=7, chosen=False),
]  # fmt: skip


def key_rows(keymap: dict[str, str]) -> list[KeyRow]:
    """All actions, by screen, with the keys of a keymap."""
    return [KeyRow(action, tuple(keys_of(action, keymap)), action.id in keymap) for action in ACTIONS]


class KeysScreen(Modal[None], ShellNode):
    """A table of all actions. What is changed in it is written and holds at once."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("a", "press(True)", "Add a key"),
        Binding("r,backspace", "default", "As at first"),
        Binding("x", "drop", "Remove the last key"),
        Binding("escape,q", "close", "Close"),
    ]

    def compose(self) -> ComposeResult:
        """The table, and the keys of this dialog."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("Keys", classes="dialog-title")
            yield Table(COLUMNS, id="keys-table", key=lambda row: row.action.id, empty="No actions.", selects=False)
            keys = (
                ("enter", "another key"), ("a", "one more"), ("x", "one less"), ("r", "as at first"),
                ("/", "filter"), ("esc", "close"),
            )  # fmt: skip
            yield KeysLine(*keys)

    @property
    def table(self) -> Table[KeyRow]:
        """The actions."""
        return self.query_one("#keys-table", Table)

    def on_mount(self) -> None:
        """Show the keys as the file has them now: somebody may have changed it by hand."""
        self.table.focus()
        self.act("keys", self._show)

    async def _show(self) -> None:
        await read_again(self.shell)
        self.table.fill(key_rows(self.shell.user_keymap))

    def on_table_chosen(self, event: Table.Chosen) -> None:
        """Enter: another key in place of those it has."""
        event.stop()
        self.action_press(more=False)

    def action_press(self, more: bool) -> None:
        """Wait for a key."""
        if self.table.current is not None:
            self.ask_by("keys", self._press, self.table.current.action, more)

    async def _press(self, action: Action, more: bool) -> None:
        keymap = self.shell.user_keymap
        key = await self.shell.ask(PressKeyDialog(action, keymap, more=more))
        if key is not None:
            await self._keep(action, [*(keys_of(action, keymap) if more else ()), key])

    def action_drop(self) -> None:
        """Take the last key of an action from it; one stays."""
        row = self.table.current
        if row is None or len(row.keys) < 2:
            self.shell.say("An action keeps one key; enter gives it another.", severity="warning")
            return
        self.act("keys", self._keep, row.action, list(row.keys[:-1]))

    def action_default(self) -> None:
        """The keys that the action has by itself."""
        row = self.table.current
        if row is not None and row.changed:
            self.act("keys", self._keep, row.action, None)

    async def _keep(self, action: Action, keys: list[str] | None) -> None:
        """Give an action these keys, or its own with none, and write that."""
        keymap = {name: said for name, said in self.shell.user_keymap.items() if name != action.id}
        if keys is not None:
            keymap[action.id] = ",".join(keys)
        else:
            refuse_taken(action, keymap)
        if keymap.get(action.id) == action.keys:
            del keymap[action.id]
        try:
            kept = await asyncio.to_thread(save_keymap, keymap)
        except OSError as error:
            raise LlmopsError("keymap_unwritable", f"the keymap cannot be written: {error}") from None
        if kept is not None:
            self.shell.say(f"The keymap had comments or mistakes; it is kept as {kept}", severity="warning")
        change = EntryChange(KEYS, action.id, self.shell.user_keymap.get(action.id), keymap.get(action.id))
        await asyncio.to_thread(self.shell.services.undo.note_entries, change)
        self.shell.use_keymap(keymap)
        self.table.fill(key_rows(keymap), action.id)

    def action_close(self) -> None:
        """Close it."""
        self.dismiss(None)


def refuse_taken(action: Action, keymap: dict[str, str]) -> None:
    """Refuse the keys an action has by itself where the user gave one of them to another one.

    Raises:
        LlmopsError: ``key_taken``, with the other one.
    """
    for key in keys_of(action, {}):
        if (other := taken_by(action, key, keymap)) is not None:
            raise LlmopsError(
                "key_taken",
                f"{show_key(key)}, a key that {action.title} has at first, is now that of {other.title} ({other.id})",
                "Give that one another key first.",
            )
