"""The colours of the app: one accent, and colours that mean good, warn, bad and muted; decided here alone."""

from __future__ import annotations

from textual.theme import Theme

DEFAULT_THEME = "llmops-dark"


def _bars(thumb: str, track: str, accent: str) -> dict[str, str]:
    """Scroll bars as quiet as the lines around panes; the accent where one is held."""
    tracks = dict.fromkeys(("scrollbar-background", "scrollbar-background-hover", "scrollbar-background-active"), track)
    return tracks | {
        "scrollbar": thumb,
        "scrollbar-hover": accent,
        "scrollbar-active": accent,
        "scrollbar-corner-color": track,
    }


DARK = Theme(
    name="llmops-dark",
    primary="#7aa2f7",
    secondary="#7aa2f7",
    accent="#7aa2f7",
    success="#8fc98a",
    warning="#e3b35c",
    error="#ea7f88",
    foreground="#d6dae2",
    background="#12151b",
    surface="#181c24",
    panel="#212734",
    dark=True,
    variables={
        "line": "#333b4b",
        "muted": "#969faf",
        "footer-background": "#181c24",
        "input-selection-background": "#7aa2f7 35%",
        **_bars("#333b4b", "#12151b", "#7aa2f7"),
    },
)

LIGHT = Theme(
    name="llmops-light",
    primary="#2755b0",
    secondary="#2755b0",
    accent="#2755b0",
    success="#266629",
    warning="#795108",
    error="#ab241c",
    foreground="#20242c",
    background="#fbfbf9",
    surface="#f1f1ee",
    panel="#e4e4e0",
    dark=False,
    variables={
        "line": "#c3c5c9",
        "muted": "#545962",
        "footer-background": "#f1f1ee",
        "input-selection-background": "#2755b0 25%",
        **_bars("#c3c5c9", "#fbfbf9", "#2755b0"),
    },
)

# After Okabe and Ito: blue and orange instead of green and red, told apart with any colour vision.
SAFE_DARK = Theme(
    name="colour-blind-dark",
    primary="#56b4e9",
    secondary="#56b4e9",
    accent="#56b4e9",
    success="#56b4e9",
    warning="#f0e442",
    error="#e69f00",
    foreground="#e4e4e4",
    background="#111111",
    surface="#1a1a1a",
    panel="#262626",
    dark=True,
    variables={
        "line": "#444444",
        "muted": "#9e9e9e",
        "footer-background": "#1a1a1a",
        **_bars("#444444", "#111111", "#56b4e9"),
    },
)

SAFE_LIGHT = Theme(
    name="colour-blind-light",
    primary="#005e93",
    secondary="#005e93",
    accent="#005e93",
    success="#005e93",
    warning="#715500",
    error="#993d00",
    foreground="#1c1c1c",
    background="#ffffff",
    surface="#f2f2f2",
    panel="#e3e3e3",
    dark=False,
    variables={
        "line": "#bbbbbb",
        "muted": "#595959",
        "footer-background": "#f2f2f2",
        **_bars("#bbbbbb", "#ffffff", "#005e93"),
    },
)

THEMES = (DARK, LIGHT, SAFE_DARK, SAFE_LIGHT)

# Themes from elsewhere know nothing of our two variables: greys that read on dark and light alike.
VARIABLE_DEFAULTS = {"line": "#6b7280", "muted": "#858d9b"}
ANSI_DEFAULTS = {"line": "ansi_bright_black", "muted": "ansi_bright_black"}
