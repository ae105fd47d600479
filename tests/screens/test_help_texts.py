"""Help on each screen, without an app: what it says, and that it says all."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from screens.actions import ACTIONS, SCREEN_KEYS, actions_of
from screens.shell.base import BaseScreen
from screens.shell.help import HelpScreen, Topic, show_keys


def class_of(name: str) -> type[BaseScreen]:
    found = vars(import_module(f"screens.{name}.screen")).values()
    return next(one for one in found if isinstance(one, type) and issubclass(one, BaseScreen) and one.scope == name)


@pytest.mark.parametrize("name", SCREEN_KEYS.values())
def test_help_explains_each_screen_its_panes_and_all_keys(name: str) -> None:
    kind = class_of(name)
    panel: Any = SimpleNamespace(title="Pane [b]", jump_key="p", help_text="What it is.", query=lambda _kind: [])
    text = HelpScreen(Topic(kind.scope, kind.about, panel, "llmops \x1b[2J list"), {})._content().plain
    assert kind.about
    assert text.startswith(f"{name.capitalize()}\n{kind.about}\n")
    assert "Pane [b] (p after jump)\nWhat it is." in text
    assert "\x1b" not in text
    for action in (*actions_of(name), *actions_of("app")):
        # What does not fit on a line goes on below its beginning.
        assert f"{show_keys(action, {}, usual=True):24} {action.help}\n" in text.replace(f"\n{' ' * 25}", " ")


def test_keys_of_few_keyboards_are_told_where_somebody_chose_them() -> None:
    action = next(action for action in ACTIONS if action.id == "traces.back")
    assert show_keys(action, {}) == "esc  f13"
    assert show_keys(action, {}, usual=True) == "esc"
    assert show_keys(action, {action.id: "f13,b"}, usual=True) == "f13  b"
