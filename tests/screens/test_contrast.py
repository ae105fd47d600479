"""Every colour of the app's own themes can be read on everything it is drawn on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.color import Color
from textual.theme import Theme
from textual.widgets import Input, TextArea

from llmops_tui.settings import Settings
from screens.theme import THEMES
from screens.widgets.time_chart import STYLES
from tests.screens.conftest import OpenApp, settle

_LEAST = 4.5
# What the cursor is mixed from, as the style sheets say it.
_CURSOR = 0.20
_SHEETS = Path(__file__).resolve().parents[2] / "screens"


def luminance(color: Color) -> float:
    """Of WCAG 2.2: relative luminance."""
    parts = [value / 255 for value in (color.r, color.g, color.b)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Color, other: Color) -> float:
    """Of WCAG 2.2: from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast(Color.parse("#000000"), Color.parse("#ffffff")) == pytest.approx(21)
    assert contrast(Color.parse("#777777"), Color.parse("#ffffff")) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_colour_can_be_read_on_every_ground(theme: Theme) -> None:
    colours = {
        "foreground": theme.foreground, "muted": theme.variables["muted"], "accent": theme.accent, "success": theme.success,
        "warning": theme.warning, "error": theme.error,
    }  # fmt: skip
    grounds = {name: Color.parse(str(getattr(theme, name))) for name in ("background", "surface", "panel")}
    accent = Color.parse(str(theme.accent))
    for name in ("background", "surface"):
        grounds[f"the cursor on {name}"] = grounds[name].blend(accent, _CURSOR)
    grounds["the footer"] = Color.parse(theme.variables["footer-background"])
    faint = [
        f"{name} on {ground}: {found:.2f}"
        for name, colour in colours.items()
        for ground, behind in grounds.items()
        if (found := contrast(Color.parse(str(colour)), behind)) < _LEAST
    ]
    assert not faint


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_no_two_of_the_first_lines_of_a_chart_have_one_colour(theme: Theme) -> None:
    colours = [str(getattr(theme, style.removeprefix("$"))) for style in STYLES[:4]]
    assert len(set(colours)) == len(colours)


def test_the_cursor_is_mixed_as_it_is_tested() -> None:
    sheets = [*_SHEETS.rglob("*.tcss"), *_SHEETS.rglob("*.py")]
    found = {
        int(share) for sheet in sheets for share in re.findall(r"\$accent (\d+)%", sheet.read_text(encoding="utf-8"))
    }
    assert found == {round(_CURSOR * 100)}


@pytest.mark.parametrize("theme", ["llmops-dark", "llmops-light"])
async def test_what_a_field_says_before_anything_is_written_can_be_read(open_app: OpenApp, theme: str) -> None:
    async with open_app(settings=Settings(theme=theme)) as pilot:
        await pilot.app.switch_mode("chat")
        await settle(pilot)
        await pilot.app.screen.mount(Input(id="asked"))
        muted = Color.parse(pilot.app.theme_variables["muted"])
        for kind, parts in (
            (Input, ("input--placeholder", "input--suggestion")),
            (
                TextArea,
                ("text-area--placeholder", "text-area--suggestion", "text-area--gutter", "text-area--cursor-gutter"),
            ),
        ):
            field = pilot.app.screen.query(kind).first()
            assert [field.get_component_styles(part).color for part in parts] == [muted] * len(parts)
