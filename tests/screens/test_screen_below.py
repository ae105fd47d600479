"""What is seen of a screen below a dialog is what Textual would draw, and costs what changed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from textual._compositor import Compositor
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.pilot import Pilot
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widgets import Input, Static

from screens.widgets import screen_below
from screens.widgets.dialogs import LineDialog
from screens.widgets.modal import Modal
from screens.widgets.screen_below import LayeredScreen
from screens.widgets.stream_view import StreamView
from tests.screens.conftest import DRAW, PAUSE, PROFILE


class _Below(LayeredScreen[None]):
    """Two texts that grow, and a line."""

    CSS = "#hidden { display: none; }"

    def compose(self) -> ComposeResult:
        yield Static("a line\nand another")
        with Horizontal():
            yield StreamView(PROFILE, id="left")
            yield StreamView(PROFILE, id="right")
            yield StreamView(PROFILE, id="hidden")


class _Small(Modal[None]):
    """A dialog that another one is asked from."""

    CSS = "_Small #told { dock: top; width: 20; height: 1; background: $surface; }"

    def compose(self) -> ComposeResult:
        yield Static("first", id="told")


class _App(App[None]):
    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"muted": "#888888"}

    async def on_mount(self) -> None:
        await self.push_screen(_Below())

    def add(self, where: str, text: str) -> None:
        """Let a text below go on."""
        view = self.screen_stack[1].query_one(where, StreamView)
        view.hold(text)
        view.flush()


def _waits(screen: Screen[object]) -> bool:
    """Whether anything of a screen is to be drawn, or told to the one above it."""
    asked = screen._layout_required or screen._scroll_required or screen._repaint_required
    return bool(asked or screen._dirty_widgets or screen._compositor._dirty_regions)


async def _at_rest(pilot: Pilot[None]) -> None:
    """Each screen tells the one above it with the next message that it gets: until none has anything to tell, twice."""
    quiet = 0
    while quiet < 2:
        for screen in pilot.app.screen_stack[1:]:
            screen.check_idle()
        await PAUSE(pilot)
        busy = any(_waits(screen) for screen in pilot.app.screen_stack[1:])
        quiet = 0 if busy else quiet + 1
        DRAW(pilot.app.screen)


@contextmanager
def _drawn_by_textual() -> Iterator[None]:
    """All of every screen is drawn anew, in Textual's own way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LayeredScreen, "_render_content", Screen._render_content)
        yield


def _cells(app: App[None]) -> list[list[tuple[str, object]]]:
    """All cells with their colours, as the compositor of the screen in front has them."""
    from textual._context import visible_screen_stack

    visible_screen_stack.set(app._background_screens)
    strips: list[Strip] = app.screen._compositor.render_strips()
    return [
        [(sign, (style.color, style.bgcolor, style.bold)) for text, style, _ in strip if style for sign in text]
        for strip in strips
    ]


def _text(app: App[None]) -> str:
    return "\n".join("".join(sign for sign, _ in line) for line in _cells(app))


def _as_textual_draws(app: App[None]) -> list[list[tuple[str, object]]]:
    with _drawn_by_textual():
        for screen in app.screen_stack[1:]:
            if isinstance(screen, ModalScreen):
                screen._set_dirty()
        return _cells(app)


async def test_what_goes_on_below_is_seen_as_textual_draws_it() -> None:
    app = _App()
    async with app.run_test(size=(80, 24)) as pilot:
        await _at_rest(pilot)
        app.add("#left", "one two three\n")
        await app.push_screen(LineDialog("Which?", "A name."))
        await _at_rest(pilot)
        before = _cells(app)
        assert before == _as_textual_draws(app)
        # Lines that come, lines beside the dialog, more of them than there is room for, and a theme.
        for n in range(12):
            app.add("#left", f"word {n}\n\n")
            app.add("#right", "sign ")
            await pilot.press("a")
            await _at_rest(pilot)
        app.theme = "textual-light"
        await _at_rest(pilot)
        now = _cells(app)
        assert now != before
        assert now == _as_textual_draws(app)


async def test_a_dialog_above_another_one_shows_what_changes_below_both() -> None:
    app = _App()
    async with app.run_test(size=(80, 24)) as pilot:
        await _at_rest(pilot)
        await app.push_screen(_Small())
        await _at_rest(pilot)
        await app.push_screen(LineDialog("Which?", "A name."))
        await _at_rest(pilot)
        app.add("#left", "lowest")
        app.screen_stack[2].query_one("#told", Static).update("second")
        await _at_rest(pilot)
        assert "lowest" in _text(app)
        assert "second" in _text(app)
        app.pop_screen()
        app.pop_screen()
        await _at_rest(pilot)
        assert "lowest" in _text(app)


async def test_of_what_is_below_only_lines_that_changed_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[int]] = []
    plain = screen_below._Below.draw

    def draw(below: screen_below._Below, compositor: Compositor, rows: set[int]) -> None:
        drawn.append(rows)
        plain(below, compositor, rows)

    monkeypatch.setattr(screen_below._Below, "draw", draw)
    app = _App()
    async with app.run_test(size=(80, 24)) as pilot:
        await _at_rest(pilot)
        await app.push_screen(LineDialog("Which?", "A name."))
        await _at_rest(pilot)
        drawn.clear()
        app.add("#left", "word ")
        await _at_rest(pilot)
        assert drawn == [{2}]
        # What changed once is not drawn with every later frame, and a key draws nothing of it.
        await pilot.press(*"name")
        await _at_rest(pilot)
        assert drawn == [{2}]
        assert app.screen.query_one(Input).value == "name"


async def test_a_text_that_grows_lays_out_the_screen_only_where_its_bar_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    app = _App()
    async with app.run_test(size=(80, 24)) as pilot:
        await _at_rest(pilot)
        asked: list[bool] = []
        plain = StreamView.refresh

        def refresh(view: StreamView, *regions: object, layout: bool = False, **named: bool) -> StreamView:
            asked.append(layout)
            return plain(view, *regions, layout=layout, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(StreamView, "refresh", refresh)
        for n in range(60):
            app.add("#left", f"line {n}\n")
            await PAUSE(pilot)
        await _at_rest(pilot)
        view = app.screen.query_one("#left", StreamView)
        assert sum(asked) == 2  # for the bar, and for the text that is narrower by it
        assert view.vertical_scrollbar.window_virtual_size == view.virtual_size.height == 61
        assert view.scroll_offset.y == view.max_scroll_y == 61 - 22


async def test_a_text_that_is_not_seen_is_wrapped_once_it_is() -> None:
    app = _App()
    async with app.run_test(size=(80, 24)) as pilot:
        await _at_rest(pilot)
        app.add("#hidden", "not seen so far")
        view = app.screen.query_one("#hidden", StreamView)
        assert view.text == "not seen so far"
        view.styles.display = "block"
        await _at_rest(pilot)
        assert view.render_line(0).text.rstrip() == "not seen so far"
