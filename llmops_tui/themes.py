"""Colour themes from plugins; the app makes its themes of them."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from llmops_tui.plugins import Plugins

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
# The app's own themes, and those of the library that draws it, which is not imported here; a test compares both.
BUILT_IN = frozenset({
    "llmops-dark", "llmops-light", "colour-blind-dark", "colour-blind-light", "ansi-dark", "ansi-light", "atom-one-dark",
    "atom-one-light", "catppuccin-frappe", "catppuccin-latte", "catppuccin-macchiato", "catppuccin-mocha", "dracula",
    "flexoki", "gruvbox", "monokai", "nord", "rose-pine", "rose-pine-dawn", "rose-pine-moon", "solarized-dark",
    "solarized-light", "textual-dark", "textual-light", "tokyo-night",
})  # fmt: skip


@dataclass(frozen=True)
class ThemeColours:
    """A theme: the colours of the app as ``#rrggbb``. Its entry point names an object of this class.

    Attributes:
        dark: whether light text stands on a dark background.
        accent: what has the focus, is chosen, or is a key to press.
        success: what is good, and ``warning`` and ``error`` what is not.
        foreground: text; on ``background``, on ``surface`` of fields and on ``panel`` of what stands out.
        line: frames, and ``muted`` text that matters less.
    """

    dark: bool
    accent: str
    success: str
    warning: str
    error: str
    foreground: str
    background: str
    surface: str
    panel: str
    line: str
    muted: str


def _accept(name: str, given: object) -> ThemeColours:
    del name
    if not isinstance(given, ThemeColours):
        raise TypeError(f"it is not a {ThemeColours.__module__}.ThemeColours")
    for field, value in asdict(given).items():
        if field != "dark" and not (isinstance(value, str) and _COLOUR.fullmatch(value)):
            raise ValueError(f"{field} is {value!r}, not a colour such as #7aa2f7")
    return given


PLUGINS: Plugins[ThemeColours] = Plugins("themes", _accept, lambda: BUILT_IN)
