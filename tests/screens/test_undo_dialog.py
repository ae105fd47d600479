"""The dialog of what was done, without an app: it takes back what it showed, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from llmops_tui.keymap_file import write_keymap
from llmops_tui.maintenance.acts import Act
from screens.shell.undo import show_history, step


async def test_what_was_done_while_the_dialog_was_open_is_not_taken_back() -> None:
    acts = [Act(1.0, "label", "p", "live", None, 1)]
    said: list[str] = []

    async def ask(_dialog: object) -> str:
        acts.insert(0, Act(2.0, "tag", "rows", "gold", None, 1))
        return "0"

    # It has no undo: to call it would fail.
    undo = SimpleNamespace(acts=lambda: list(acts))
    shell: Any = SimpleNamespace(
        services=SimpleNamespace(undo=undo), ask=ask, say=lambda text, **_options: said.append(text)
    )
    await show_history(shell)
    assert "meanwhile" in said[0]


async def test_keys_that_are_taken_back_hold_at_once() -> None:
    write_keymap({"home.look": "f5,x"})
    used: list[dict[str, str]] = []
    act = Act(1.0, "keys", "home.look", "f5", 1, 1, undone=True)
    shell: Any = SimpleNamespace(
        services=SimpleNamespace(undo=SimpleNamespace(undo=lambda: act)),
        screen=None,
        say=lambda _text, **_options: None,
        unsay=lambda _gone: None,
        user_keymap={"home.look": "f5"},
        use_keymap=used.append,
    )
    await step(shell, undo=True)
    assert used == [{"home.look": "f5,x"}]
