"""Themes of installed packages, registered when the list of themes is requested."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.theme import Theme

from llmops_tui.themes import PLUGINS, ThemeColours


def register_plugin_themes(app: App[Any]) -> None:
    """Make the themes of packages known to the app; those that do not work are left out."""
    for name, colours in PLUGINS.all().items():
        if name not in app.available_themes:
            app.register_theme(_theme(name, colours))


def missing_theme(name: str) -> str:
    """Why there is no theme of a name, in one sentence."""
    return PLUGINS.problem(name) or f"{name!r} is not a theme"


def _theme(name: str, colours: ThemeColours) -> Theme:
    return Theme(
        name=name,
        primary=colours.accent,
        secondary=colours.accent,
        accent=colours.accent,
        success=colours.success,
        warning=colours.warning,
        error=colours.error,
        foreground=colours.foreground,
        background=colours.background,
        surface=colours.surface,
        panel=colours.panel,
        dark=colours.dark,
        variables={
            "line": colours.line,
            "muted": colours.muted,
            "footer-background": colours.surface,
            "input-selection-background": f"{colours.accent} {35 if colours.dark else 25}%",
        },
    )
