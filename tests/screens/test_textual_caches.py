"""What Textual keeps of widgets that are gone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from textual._styles_cache import StylesCache
from textual.color import Color
from textual.css import stylesheet
from textual.css.model import RuleSet
from textual.css.types import CSSLocation
from textual.style import Style
from textual.widget import Widget
from textual.widgets import TextArea

from screens.textual_caches import keep_no_widgets
from screens.widgets.dialogs import LineDialog
from tests.screens.conftest import PARSE_RULES, OpenApp, settle, until


def test_the_lines_of_a_widget_go_with_it() -> None:
    """Each dialog that was ever shown stayed with all its lines until a thousand others had come."""
    for _ in range(2):
        keep_no_widgets()
    base, own = Color(10, 20, 30), Color(200, 100, 0, 0.5)
    drawn = StylesCache()
    inner, outer = drawn.get_inner_outer(base, own)
    assert (inner, outer) == (Style(background=base + own), Style(background=base))
    gone = weakref.ref(drawn)
    del drawn
    gc.collect()
    assert gone() is None
    # And the colours are still kept, for all widgets.
    assert StylesCache().get_inner_outer(base, own)[0] is inner


@pytest.mark.slow
async def test_dialogs_and_notices_leave_nothing_they_drew(open_app: OpenApp) -> None:
    """Seven of them were kept in each round of writing, saving and running."""
    async with open_app() as pilot:
        for number in range(3):
            pilot.app.screen.query_one("#user", TextArea).focus()
            await pilot.press("end", *f"text {number}", "ctrl+s")
            await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
            await pilot.press("n", "enter")
            await settle(pilot)
        gc.collect()
        objects = gc.get_objects()
        own = {id(widget._styles_cache) for widget in objects if isinstance(widget, Widget)}
        kept = [cache for cache in objects if isinstance(cache, StylesCache) and id(cache) not in own]
        assert kept == []


async def test_a_screen_that_is_shown_for_the_first_time_has_no_sheet_parsed_again(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were, three times: with its sheet, with its first widgets, and since a new screen seemed to be of another theme."""
    parsed: list[str] = []
    parse = stylesheet.parse

    def counted(scope: str, css: str, read_from: CSSLocation, **others: Any) -> Iterable[RuleSet]:
        parsed.append(Path(read_from[0]).parent.name)
        return parse(scope, css, read_from, **others)

    monkeypatch.setattr(stylesheet, "parse", counted)
    monkeypatch.setattr(stylesheet.Stylesheet, "_parse_rules", PARSE_RULES)
    async with open_app() as pilot:
        for name in ("jobs", "models"):
            parsed.clear()
            pilot.app.go_to_screen(name)
            await until(pilot, lambda: pilot.app.current_mode == name)  # noqa: B023  it is awaited here
            await settle(pilot)
    assert parsed == ["models"]
