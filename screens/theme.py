"""The colours of the app: one accent, and colours that mean good, warn, bad and muted; decided here alone."""

from __future__ import annotations

from textual.theme import Theme

DEFAULT_THEME = "llmops-dark"

DARK = Theme(
    name="llmops-dark",
    primary="#7aa2f7",
    secondary="#7aa2f7",
    accent="#7aa2f7",
    success="#8fc98a",
    warning="#e3b35c",
    error="#e8707a",
    foreground="#d6dae2",
    background="#12151b",
    surface="#181c24",
    panel="#212734",
    dark=True,
    variables={
        "line": "#333b4b",
        "muted": "#7f8a9e",
        "footer-background": "#181c24",
        "input-selection-background": "#7aa2f7 35%",
    },
)

LIGHT = Theme(
    name="llmops-light",
    primary="#2c5fc4",
    secondary="#2c5fc4",
    accent="#2c5fc4",
    success="#2f7d32",
    warning="#96640a",
    error="#b3261e",
    foreground="#20242c",
    background="#fbfbf9",
    surface="#f1f1ee",
    panel="#e4e4e0",
    dark=False,
    variables={
        "line": "#c3c5c9",
        "muted": "#6a707b",
        "footer-background": "#f1f1ee",
        "input-selection-background": "#2c5fc4 25%",
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
    variables={"line": "#444444", "muted": "#9a9a9a", "footer-background": "#1a1a1a"},
)

SAFE_LIGHT = Theme(
    name="colour-blind-light",
    primary="#0072b2",
    secondary="#0072b2",
    accent="#0072b2",
    success="#0072b2",
    warning="#7a5c00",
    error="#b34700",
    foreground="#1c1c1c",
    background="#ffffff",
    surface="#f2f2f2",
    panel="#e3e3e3",
    dark=False,
    variables={"line": "#bbbbbb", "muted": "#666666", "footer-background": "#f2f2f2"},
)

THEMES = (DARK, LIGHT, SAFE_DARK, SAFE_LIGHT)

# Themes from elsewhere know nothing of our two variables: greys that read on dark and light alike.
VARIABLE_DEFAULTS = {"line": "#6b7280", "muted": "#858d9b"}
ANSI_DEFAULTS = {"line": "ansi_bright_black", "muted": "ansi_bright_black"}
