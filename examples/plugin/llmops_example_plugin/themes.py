"""Colours of the app."""

from __future__ import annotations

from llmops_tui.themes import ThemeColours

FOREST = ThemeColours(
    dark=True,
    accent="#7fb069",
    success="#a3c586",
    warning="#e6aa68",
    error="#ca5d5d",
    foreground="#e4ebdd",
    background="#10160f",
    surface="#182117",
    panel="#223021",
    line="#3a4d38",
    muted="#8a9a84",
)
