"""Style sheets hold in the whole app: what a screen lays out must not reach another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.css.model import SelectorType
from textual.css.stylesheet import Stylesheet

from screens.actions import SCREEN_KEYS
from screens.app import LlmopsApp
from screens.theme import THEMES, VARIABLE_DEFAULTS
from screens.widgets.panel import Panel
from tests.screens.conftest import OpenApp, settle

SCREENS = Path(__file__).resolve().parents[2] / "screens"


@pytest.mark.parametrize("name", sorted(SCREEN_KEYS.values()))
def test_each_rule_of_a_screen_holds_below_a_screen_alone(name: str) -> None:
    sheet = Stylesheet(variables=VARIABLE_DEFAULTS | THEMES[0].to_color_system().generate())
    sheet.read(str(SCREENS / name / "screen.tcss"))
    sheet.parse()
    assert sheet.rules
    for rule in sheet.rules:
        for selectors in rule.selector_set:
            first = selectors.selectors[0]
            assert first.type is SelectorType.TYPE, rule.css
            assert first.name.endswith(("Screen", "Form")), rule.css


@pytest.mark.slow
async def test_a_screen_looks_the_same_whichever_were_visited_before(open_app: OpenApp) -> None:
    def regions(app: LlmopsApp) -> dict[str, tuple[int, ...]]:
        return {panel.id or "": tuple(panel.region) for panel in app.screen.query(Panel)}

    async with open_app(size=(80, 24)) as pilot:
        app = pilot.app
        assert isinstance(app, LlmopsApp)
        seen: dict[str, dict[str, tuple[int, ...]]] = {}
        names = list(SCREEN_KEYS.values())
        for name in [*names, *reversed(names)]:
            app.go_to_screen(name)
            await settle(pilot)
            app.screen.set_focus(None)
            await settle(pilot)
            now = regions(app)
            assert seen.setdefault(name, now) == now, name
