"""What packages bring, on the screens: a theme is chosen and drawn, a judge and a format can be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.theme import BUILTIN_THEMES

from llmops_tui import themes
from llmops_tui.settings import Settings
from screens.plugin_themes import register_plugin_themes
from screens.theme import THEMES
from tests.plugin_packages import put_example, put_package, use
from tests.screens.conftest import OpenApp, notices, settle


def test_the_names_that_are_taken_are_those_of_the_app_and_of_what_draws_it() -> None:
    assert {theme.name for theme in THEMES} | set(BUILTIN_THEMES) == themes.BUILT_IN


@pytest.mark.slow
async def test_a_theme_of_a_package_is_chosen_in_the_settings_and_drawn(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_example(tmp_path / "site")
    use(monkeypatch, tmp_path / "site")
    async with open_app(settings=Settings(theme="forest")) as pilot:
        await settle(pilot)
        assert pilot.app.theme == "forest"
        assert pilot.app.screen.styles.background.hex == "#10160F"
        assert pilot.app.get_css_variables()["muted"] == "#8a9a84"


@pytest.mark.slow
async def test_the_palette_offers_it_and_choosing_it_keeps_it(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_example(tmp_path / "site")
    use(monkeypatch, tmp_path / "site")
    async with open_app() as pilot:
        assert "forest" not in pilot.app.available_themes
        await pilot.press("ctrl+p")
        await settle(pilot)
        assert "forest" in pilot.app.available_themes
        await pilot.press(*"Theme:forest", "enter")
        await settle(pilot)
        assert pilot.app.theme == "forest"
        assert pilot.app.services.settings.theme == "forest"  # type: ignore[attr-defined]


async def test_a_broken_theme_is_named_and_the_app_opens_in_its_own(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "from llmops_tui.themes import ThemeColours\nRED = ThemeColours(True, *(['red'] * 10))\n"
    put_package(tmp_path / "site", "half-made", {"llmops_tui.themes": {"reddish": "reds:RED"}}, {"reds.py": module})
    use(monkeypatch, tmp_path / "site")
    async with open_app(settings=Settings(theme="reddish")) as pilot:
        await settle(pilot)
        assert pilot.app.theme == "llmops-dark"
        assert "'reddish' of half-made 1.0: ValueError: accent is 'red', not a colour" in notices(pilot)
        register_plugin_themes(pilot.app)
        assert "reddish" not in pilot.app.available_themes
