"""The dialog that waits for a key."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from screens.action import Action
from screens.keymap import keys_of, taken_by
from screens.shell.help import show_key
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import MOTION_KEYS
from screens.widgets.table import TABLE_KEYS

# What moves the focus and the cursor everywhere, or cannot be pressed by itself.
_MOVES = ("tab", "shift+tab", "up", "down", "left", "right", "home", "end", "pageup", "pagedown")
_FIXED = frozenset({*MOTION_KEYS, *TABLE_KEYS, *_MOVES})


class PressKeyDialog(Modal[str | None]):
    """The next key that is free for an action; escape gives none. One that is not free is named with who has it."""

    CSS_PATH = "../dialog.tcss"

    def __init__(self, action: Action, keymap: dict[str, str], *, more: bool) -> None:
        super().__init__()
        self._action, self._keymap, self._more = action, keymap, more

    def compose(self) -> ComposeResult:
        """What is asked for."""
        what = "Press one more key for" if self._more else "Press the new key for"
        with Vertical(classes="dialog"):
            yield Static(f"{what} {self._action.title} ({self._action.id})", classes="dialog-title", markup=False)
            yield Static("Any key that your terminal sends.", id="pressed", classes="dialog-told", markup=False)
            yield KeysLine(("esc", "leaves it as it is"))

    def take_key(self, event: events.Key) -> bool:
        """Every key is an answer here."""
        if event.key == "escape":
            self.dismiss(None)
        elif why := refusal(self._action, event.key, self._keymap):
            self.query_one("#pressed", Static).update(Content.styled(f"{why}. Press another one.", "$warning"))
        else:
            self.dismiss(event.key)
        return True


def refusal(action: Action, key: str, keymap: dict[str, str]) -> str:
    """Why an action cannot have a key; empty where it can."""
    shown = show_key(key)
    if key in keys_of(action, keymap):
        return f"{shown} is its key already"
    if key in _FIXED:
        return f"{shown} does the same in all lists and fields"
    if (other := taken_by(action, key, keymap)) is not None:
        return f"{shown} is taken by {other.title} ({other.id})"
    return ""
