"""The last lines of a dialog: its keys, each with what it does; none is cut where the terminal is narrow."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

_BETWEEN = "   "
_WIDEST = 10_000


class KeysLine(Static):
    """Keys in one line, and what does not fit in further ones. ``told`` stands behind them."""

    def __init__(self, *keys: tuple[str, str], told: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__("", id=id, classes="dialog-keys", markup=False)
        self._keys, self._told = keys, told
        self._draw()

    def show(self, *keys: tuple[str, str], told: str = "") -> None:
        """Other keys from now on."""
        self._keys, self._told = keys, told
        self._draw()

    def on_resize(self) -> None:
        """A line is broken between two keys."""
        self._draw()

    def _draw(self) -> None:
        room, taken = self.size.width or _WIDEST, 0
        parts: list[tuple[str, str]] = []
        for key, does in [*self._keys, ("", self._told)]:
            needed = cell_len(f"{key} {does}" if key else does)
            if not needed:
                continue
            if parts:
                broken = taken + len(_BETWEEN) + needed > room
                parts.append(("\n" if broken else _BETWEEN, ""))
                taken = 0 if broken else taken + len(_BETWEEN)
            taken += needed
            parts += [(key, "$accent bold"), (f" {does}" if key else does, "$muted")]
        self.update(Content.assemble(*parts))
