"""Contextual help: the pane, its keys, and the matching command."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_text
from screens.action import Action
from screens.actions import actions_of
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll
from screens.widgets.panel import Panel
from screens.widgets.table import Table

# Columns of the keys, before what they do.
_KEYS = 24


_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "underscore": "_",
    "equals_sign": "=",
    "colon": ":",
    "comma": ",",
    "full_stop": ".",
    "plus": "+",
    "minus": "-",
    "asterisk": "*",
    "ampersand": "&",
    "percent_sign": "%",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "vertical_line": "|",
}


# Few keyboards have these.
_RARE = frozenset(f"f{number}" for number in range(13, 25))


def show_key(key: str) -> str:
    """A key as people read it, with what is held beside it, such as ``alt+.``."""
    held, _, last = key.rpartition("+")
    return f"{held}+{_NAMES.get(last, last)}" if held else _NAMES.get(key, key)


def show_keys(action: Action, keymap: dict[str, str], *, usual: bool = False) -> str:
    """The keys of an action as people read them, the user's where they differ; ``usual``: of ours those of all keyboards."""
    keys = keymap.get(action.id, action.keys).split(",")
    found = [key for key in keys if not usual or action.id in keymap or key not in _RARE]
    return "  ".join(show_key(key) for key in found or keys)


def _table_keys() -> list[tuple[str, str] | str]:
    keys = (
        ("> <", "sort by a column"), ("S", "turn the order round"), ("/", "filter"), ("space V ctrl+a", "select"),
        ("|", "choose columns"),
    )  # fmt: skip
    parts: list[tuple[str, str] | str] = []
    for key, does in keys:
        parts += [(key, "$accent"), f" {does}  "]
    return parts


@dataclass(frozen=True)
class Topic:
    """What help is about: a screen by its scope and its text, the pane with the focus, and the same as a command."""

    scope: str
    about: str
    panel: Panel | None
    command: str


class HelpScreen(Modal[None]):
    """Help about one screen and the pane that had the focus."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [Binding("escape,f1,q,question_mark", "close", "Close")]  # noqa: RUF012  declared so by Textual

    def __init__(self, topic: Topic, keymap: dict[str, str]) -> None:
        super().__init__()
        self._topic = topic
        self._keymap = keymap

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(classes="dialog dialog-help"):
            # The dialog's own width, without its border, padding and scroll bar.
            yield Static(self._content(min(100, self.app.size.width * 94 // 100) - 8))

    def action_close(self) -> None:
        """Close help."""
        self.dismiss(None)

    def _content(self, width: int = 92) -> Content:
        topic = self._topic
        parts: list[Content | str | tuple[str, str]] = [(topic.scope.capitalize(), "bold $accent"), "\n", topic.about]
        panel = topic.panel
        if panel is not None:
            parts += ["\n\n", (f"{panel.title} ({panel.jump_key} after jump)", "bold"), "\n", panel.help_text]
            if panel.query(Table):
                parts += ["\n", ("In this table: ", "$muted"), *_table_keys()]
        for title, scope in (("Keys of this screen", topic.scope), ("Keys everywhere", "app")):
            parts += ["\n\n", (title, "bold"), "\n"]
            for action in actions_of(scope):
                keys = show_keys(action, self._keymap, usual=True)
                told = textwrap.wrap(action.help, max(20, width - _KEYS - 1), break_on_hyphens=False)
                parts += [(f"{keys:{_KEYS}}", "$accent"), " ", f"\n{' ' * (_KEYS + 1)}".join(told), "\n"]
        if topic.command:
            parts += ["\n", ("The same from a shell", "bold"), "\n", safe_text(topic.command), "\n"]
        parts += ["\n", ("esc closes this help.", "$muted")]
        return Content.assemble(*parts)
