"""Keys are changed on the settings screen, hold at once, and are in the file at the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.keymap_file import keymap_path
from screens.actions import BY_ID
from screens.key_names import key_name
from screens.keymap import check_keymap, load_keymap, save_keymap
from screens.settings.keys_screen import KeysScreen
from screens.settings.press_key import PressKeyDialog, refusal
from screens.settings.screen import SettingsScreen
from screens.shell.trust_dialog import TrustDialog
from tests.screens.conftest import OpenApp, notices, settle, until


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("f8", "f8 is taken by Defaults (settings.reset)"),
        ("question_mark", "? is taken by Help (app.help)"),
        ("t", "t is its key already"),
        ("j", "j does the same in all lists and fields"),
        ("ctrl+j", ""),
        ("x", ""),
    ],
)
def test_a_key_that_is_taken_is_refused_by_the_name_of_who_has_it(key: str, why: str) -> None:
    assert refusal(BY_ID["settings.theme"], key, {}) == why


def test_a_key_that_was_given_away_is_free_and_the_one_given_is_not() -> None:
    keymap = {"settings.reset": "ctrl+j"}
    assert refusal(BY_ID["settings.theme"], "f8", keymap) == ""
    assert refusal(BY_ID["settings.theme"], "ctrl+j", keymap) == "ctrl+j is taken by Defaults (settings.reset)"


def test_a_keymap_is_written_and_what_would_be_lost_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "keymap.toml"
    assert save_keymap({"app.help": "f1,ctrl+j"}, path) is None
    assert load_keymap(path) == ({"app.help": "f1,ctrl+j"}, [])
    assert path.stat().st_mode & 0o777 == 0o600
    assert save_keymap({"app.help": "f1"}, path) is None
    path.write_text('[keys]\n# mine\n"app.help" = "f1"\n')
    kept = save_keymap({}, path)
    assert kept is not None
    assert "# mine" in kept.read_text()
    path.write_text('[keys]\n"no.such" = "f1"\n')
    assert save_keymap({}, path) is not None
    assert load_keymap(path) == ({}, [])


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("alt+.", "alt+full_stop"), ("?", "question_mark"), ("alt++", "alt+plus"), ("+", "plus"), ("esc", "escape"),
        ("Alt+/", "alt+slash"), ("ctrl+ü", "ctrl+ü"), ("g g", "g g"), ("alt+F", "alt+F"), ("pgdn", "pagedown"),
        ("alt+full_stop", "alt+full_stop"), ("F5", "f5"), ("Escape", "escape"), ("PageUp", "pageup"), ("ctrl+S", "ctrl+s"), ("alt+S", "alt+S"),
        ("shift+a", "A"), ("latin_small_letter_a", "a"), (",", "comma"), ("f99", ""), ("ctrl+", ""), ("hold+a", ""), ("", ""), ("a nonsense", ""),
    ],
)  # fmt: skip
def test_keys_are_written_by_their_signs_or_names(written: str, named: str) -> None:
    assert key_name(written) == named


def test_every_key_of_an_action_is_one_by_its_name() -> None:
    for action in BY_ID.values():
        assert [key_name(key) for key in action.keys.split(",")] == [key.strip() for key in action.keys.split(",")]


def test_a_comma_is_a_key_too() -> None:
    for written in ("ctrl+,,f17", "f17,ctrl+,"):
        good, problems = check_keymap({"settings.theme": written})
        assert (sorted(good["settings.theme"].split(",")), problems) == (["ctrl+comma", "f17"], [])
    for written in (",,f17", "f17,,", "f17, ,"):
        good, problems = check_keymap({"settings.theme": written})
        assert (sorted(good["settings.theme"].split(",")), problems) == (["comma", "f17"], [])
    assert check_keymap({"settings.theme": ","}) == ({"settings.theme": "comma"}, [])


@pytest.mark.slow
async def test_another_key_holds_at_once_and_goes_back_to_the_first(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        app = pilot.app
        app.go_to_screen("settings")
        await settle(pilot)
        await pilot.press("f6")
        await settle(pilot)
        keys = app.screen
        assert isinstance(keys, KeysScreen)
        keys.table.fill(keys.table.rows, "app.trust")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PressKeyDialog))
        # Taken, and a key of the whole app, which does nothing else here.
        await pilot.press("f9")
        await pilot.pause()
        assert "f9 is taken by Jump (app.jump)" in str(app.screen.query_one("#pressed").render())
        await pilot.press("f19")
        await until(pilot, lambda: app.screen is keys)
        await settle(pilot)
        assert load_keymap() == ({"app.trust": "f19"}, [])
        assert keys.table.current is not None
        assert (keys.table.current.keys, keys.table.current.changed) == (("f19",), True)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        await pilot.press("T")
        await settle(pilot)
        assert isinstance(app.screen, SettingsScreen)
        await pilot.press("f19")
        await until(pilot, lambda: isinstance(app.screen, TrustDialog))
        await pilot.press("escape", "f6")
        await until(pilot, lambda: isinstance(app.screen, KeysScreen))
        await settle(pilot)
        app.screen.table.fill(app.screen.table.rows, "app.trust")  # type: ignore[attr-defined]
        await pilot.press("r")
        await settle(pilot)
        assert (load_keymap()[0], app.user_keymap) == ({}, {})  # type: ignore[attr-defined]
        # One that was written by hand holds when the settings are opened again.
        await pilot.press("escape")
        save_keymap({"app.trust": "f20", "no.such": "f3"}, keymap_path())
        app.go_to_screen("jobs")
        await settle(pilot)
        app.go_to_screen("settings")
        await settle(pilot)
        assert app.user_keymap == {"app.trust": "f20"}  # type: ignore[attr-defined]
        assert "no.such: unknown action" in notices(pilot)
