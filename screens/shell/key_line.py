"""The last line of every screen: the keys that do something where the focus is, as many as fit.

Each action is shown with the key that works there: its letter, as all texts of the app call it, and while text is written the
one that does not write. Those that are the same on all screens stand at its end, where they stay.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, TextArea

from screens.actions import ALWAYS

# What shows everything else stays where there is room for little; the first of them the longest.
_STAY = ("app.help", "app.palette", "app.quit_app", "app.jump")
_GAP = 2


class _Key(NamedTuple):
    key: str
    shown: str
    text: str
    enabled: bool
    stays: int
    everywhere: bool

    @property
    def width(self) -> int:
        return Content(self.shown).cell_length + 1 + Content(self.text).cell_length + _GAP


def _rank(binding: Binding, *, writing: bool) -> int:
    """Which of the keys of an action is shown: the one with the least, and of several of those the first."""
    if binding.key == "escape":
        return 0
    always, held = (binding.id or "").endswith(ALWAYS), "+" in binding.key
    if writing:
        return 1 if always else 2 if held else 3
    return 3 if held else 1 + always


class KeyLine(Widget):
    """One widget for all keys.

    What is active changes with each move of the focus; a widget for each key would cost more than the pane that got it.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key", "key-line--text"}

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[_Key, ...] = ()

    def on_mount(self) -> None:
        """Follow what is active."""
        self.screen.bindings_updated_signal.subscribe(self, self._follow)

    def _follow(self, _changed: object) -> None:
        writing = isinstance(self.screen.focused, Input | TextArea)
        found: dict[str, _Key] = {}
        ranks: dict[str, int] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if binding.show:
                name = (binding.id or "").removesuffix(ALWAYS)
                stays = len(_STAY) - _STAY.index(name) if name in _STAY else 0
                everywhere = name in _STAY
                rank = _rank(binding, writing=writing or everywhere)
                if rank < ranks.get(binding.action, rank + 1):
                    ranks[binding.action] = rank
                    shown = self.app.get_key_display(binding)
                    found[binding.action] = _Key(binding.key, shown, binding.description, enabled, stays, everywhere)
        keys = tuple(sorted(found.values(), key=lambda key: key.everywhere))
        if keys != self._keys:
            self._keys = keys
            self.refresh()

    def fitting(self) -> list[_Key]:
        """The keys that fit, whole: the last go first, that for the palette late, and that for help never."""
        keys = list(self._keys)
        while len(keys) > 1 and sum(key.width for key in keys) - _GAP > self.size.width:
            keys.remove(min(reversed(keys), key=lambda key: key.stays))
        return keys

    def _placed(self) -> list[tuple[int, _Key]]:
        """The keys that fit, each with the column where it begins."""
        keys = self.fitting()
        free = self.size.width - sum(key.width for key in keys) + _GAP
        placed, at, moved = [], 0, False
        for key in keys:
            if key.everywhere and not moved:
                at, moved = at + max(0, free), True
            placed.append((at, key))
            at += key.width
        return placed

    def render(self) -> Content:
        """The keys and what they do."""
        key_style, text_style = self.get_visual_style("key-line--key"), self.get_visual_style("key-line--text")
        parts: list[tuple[str, object] | str] = []
        end = 0
        for begin, key in self._placed():
            parts += [
                " " * (begin - end),
                (key.shown, key_style if key.enabled else text_style),
                (f" {key.text}", text_style),
            ]
            end = begin + key.width - _GAP
        return Content.assemble(*parts)  # type: ignore[arg-type]

    def on_click(self, event: events.Click) -> None:
        """A click on a key presses it."""
        for begin, key in self._placed():
            if begin <= event.x < begin + key.width - _GAP:
                if key.enabled:
                    self.app.simulate_key(key.key)
                else:
                    self.app.bell()
                return
