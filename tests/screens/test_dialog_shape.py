"""What dialogs, the palette and notices look like: as tall as what they hold, notes below each other, a line of keys."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static, TextArea
from textual.widgets._toast import Toast, ToastRack

from llmops_tui.inference.sampling import SamplingParameters
from screens.compare.mark_dialog import MarkDialog
from screens.shell.help import show_key
from screens.shell.key_line import KeyLine
from screens.shell.palette import Palette
from screens.widgets.choose_columns import ColumnsDialog
from screens.widgets.dialogs import Choice, ChoiceDialog
from screens.widgets.form_dialog import FormDialog
from screens.widgets.line_list import LineList
from screens.widgets.modal import Modal
from tests.screens.conftest import OpenApp, notices, settle, until

_LONG = "import of a file with a name that is far longer than any dialog is wide, " * 3


def lines(dialog: ChoiceDialog) -> list[str]:
    options = dialog.query_one(OptionList)
    return [str(options.get_option_at_index(n).prompt) for n in range(options.option_count)]


async def shown(pilot: Pilot[int], choices: list[Choice]) -> ChoiceDialog:
    dialog = ChoiceDialog("Which?", choices)
    pilot.app.push_screen(dialog)
    await until(pilot, lambda: bool(dialog.query(OptionList)) and dialog.query_one(OptionList).option_count > 0)
    return dialog


async def test_a_choice_is_as_tall_as_what_it_offers_and_its_notes_stand_below_each_other(open_app: OpenApp) -> None:
    async with open_app(size=(120, 40)) as pilot:
        choices = [
            Choice("1", "short", "28 Nov 02:14"),
            Choice("2", _LONG, "28 Nov 02:13"),
            Choice("3", "[b]x", "note"),
        ]
        dialog = await shown(pilot, choices)
        assert dialog.query_one(OptionList).size.height == 3
        assert dialog.query_one(".dialog").size.height < 14
        assert len({line.index(choice.note) for line, choice in zip(lines(dialog), choices, strict=True)}) == 1
        room = dialog.query_one(OptionList).scrollable_content_region.width
        assert all(len(line) <= room for line in lines(dialog))
        assert "enter choose" in str(dialog.query(".dialog-keys").last(Static).content)
        # It does not shrink under what is typed.
        await pilot.press("s")
        await settle(pilot)
        assert (len(lines(dialog)), dialog.query_one(OptionList).size.height) == (2, 3)


async def test_a_choice_of_very_many_fits_the_terminal_with_its_keys(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        dialog = await shown(pilot, [Choice(str(n), f"choice {n}", "a note") for n in range(200)])
        box, keys = dialog.query_one(".dialog").region, dialog.query(".dialog-keys").last(Static).region
        assert box.bottom <= 24
        assert keys.area
        assert keys.bottom < box.bottom
        assert dialog.query_one(OptionList).size.height > 5


def _many() -> list[Modal[Any]]:
    choices = [Choice(str(n), f"choice {n}") for n in range(40)]
    names = [f"column {n}" for n in range(40)]
    return [
        MarkDialog("Mark", choices, 6),
        ColumnsDialog(names, names, names[:3]),
        FormDialog("Parameters", SamplingParameters(), told="What these do.\nIn two lines."),
    ]


async def test_dialogs_of_many_lines_keep_their_keys_in_sight_and_those_of_few_are_small(open_app: OpenApp) -> None:
    async with open_app(size=(80, 20)) as pilot:
        for dialog in [*_many(), MarkDialog("Mark", [Choice("1", "one")], 6), ColumnsDialog(["a"], ["a"], ["a"])]:
            pilot.app.push_screen(dialog)
            await until(pilot, lambda dialog=dialog: bool(dialog.query(".dialog-keys")))  # type: ignore[misc]
            await settle(pilot)
            box, keys = dialog.query_one(".dialog").region, dialog.query(".dialog-keys").last(Static).region
            assert keys.area
            assert box.y < keys.y < keys.bottom < box.bottom <= 20
            if len(getattr(dialog, "_choices", getattr(dialog, "_names", _LONG))) == 1:
                assert box.height < 12
            await pilot.press("escape")
            await settle(pilot)


async def test_what_is_told_stands_above_a_dialog_once_and_covers_no_tab(open_app: OpenApp) -> None:
    async with open_app(size=(120, 40)) as pilot:
        behind = pilot.app.screen
        pilot.app.notify("told before", timeout=60)
        await until(pilot, lambda: behind.query_one(ToastRack).display)
        dialog = await shown(pilot, [Choice("1", "one")])
        await until(pilot, lambda: any(toast.region.area for toast in dialog.query(Toast)))
        await settle(pilot)
        assert not behind.query_one(ToastRack).display
        assert all(toast.region.y >= 1 for toast in dialog.query(Toast))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is behind and behind.query_one(ToastRack).display)


async def test_what_was_read_on_a_screen_does_not_cover_the_next(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app(size=(120, 40)) as pilot:
        app, behind = pilot.app, pilot.app.screen
        app.notify("just told", timeout=60)
        app.notify("a failure", severity="error", timeout=60)
        await until(pilot, lambda: len(behind.query(Toast)) == 2)
        await pilot.press("f9", "8")
        await until(pilot, lambda: app.current_mode == "jobs")
        await settle(pilot)
        assert "just told" in notices(pilot)
        monkeypatch.setattr("screens.shell.notices.READ_SECONDS", 0.0)
        await pilot.press("f9", "1")
        await until(pilot, lambda: app.current_mode == "playground")
        assert "just told" not in notices(pilot)
        assert "a failure" in notices(pilot)


async def test_the_palette_offers_what_makes_sense_now_with_its_keys_in_a_column(open_app: OpenApp) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(pilot.app.screen, Palette))
        await settle(pilot)
        palette = pilot.app.screen
        assert isinstance(palette, Palette)
        titles = [entry.title for entry in palette._actions]
        assert "Tour" in titles
        assert "End tour" not in titles
        drawn = [palette._line_of(n, 100) for n in range(len(palette._shown))]
        # Keys stand below each other, at the right end.
        assert len({len("".join(text for text, _ in line[:-1])) for line in drawn}) == 1
        assert {len("".join(text for text, _ in line)) for line in drawn} == {99}
        assert [line[0][0].strip() for line in drawn].count("do") == 1
        assert not any("full_stop" in key for entry in palette._actions for key in entry.keys)
        # Of an action that of its keys which works in the editor that has the focus; all of them below the list.
        keys = {entry.title: entry.key for entry in palette._actions if entry.kind == "do"}
        assert (keys["Run"], keys["Blame"], keys["Model"]) == ("f5", "alt+l", "f4")
        await pilot.press("down", "down", "down")
        about = str(palette.query_one("#palette-about", Static).content)
        assert "in words or tokens." in about
        assert about.endswith("d  f3")
        assert str(len(palette._shown)) in str(palette.query_one("#palette-ways", Static).content)
        assert palette.query_one("#palette-found", LineList).size.height > 20
        await pilot.press("escape", "ctrl+n", "ctrl+p")
        await until(pilot, lambda: isinstance(pilot.app.screen, Palette))
        assert "End tour" in [entry.title for entry in pilot.app.screen._actions]  # type: ignore[attr-defined]


def test_keys_are_written_as_they_are_pressed() -> None:
    assert [show_key(key) for key in ("alt+full_stop", "alt+equals_sign", "plus", "shift+f6", "ctrl+p", "f5")] == [
        "alt+.",
        "alt+=",
        "+",
        "shift+f6",
        "ctrl+p",
        "f5",
    ]


async def test_both_ends_of_a_text_are_a_key_away(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        editor = pilot.app.screen.query_one("#user", TextArea)
        editor.load_text("one\ntwo\nthree")
        editor.focus()
        await pilot.press("ctrl+end", "x")
        assert editor.text == "one\ntwo\nthreex"
        await pilot.press("ctrl+home", "y")
        assert editor.text == "yone\ntwo\nthreex"
        await pilot.press("ctrl+shift+end")
        assert editor.selected_text == "one\ntwo\nthreex"


async def test_the_way_out_of_a_screen_without_a_tab_is_among_its_keys(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("alt+v")
        await until(pilot, lambda: pilot.app.current_mode == "compare" and bool(pilot.app.screen.query(KeyLine)))
        await settle(pilot)
        line = pilot.app.screen.query_one(KeyLine).render().plain
        for key in ("esc Back", "f1 Help", "^q Quit", "^p Palette"):
            assert key in line
