"""Memory use of each device as bars: models and jobs of llmops, other programs, and free memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane

_BAR_CELLS = 12
_HOLDER = "     ■ "
_MARKS = ("$accent", "$success", "$warning", "$secondary")


@dataclass(frozen=True)
class DeviceUse:
    """One device: its size, what can still be taken, and who holds how much; bytes."""

    device: str
    total: int
    available: int
    holders: tuple[tuple[str, int, bool], ...]


def inspect() -> list[DeviceUse]:
    """The devices now. Blocks; for a thread."""
    from llmops_tui.hardware.memory import devices
    from llmops_tui.inference.memory_reservation import ledger

    leases = ledger()
    found = []
    for device in devices():
        total, available, holders = leases.inspect(device)
        if not total:
            # It was lost since it was listed.
            continue
        found.append(DeviceUse(device, total, available, tuple((h.name, h.size, h.lease is not None) for h in holders)))
    return found


class MemoryPane(Pane):
    """Draws :class:`DeviceUse` of every device, one bar each, with its holders beneath."""

    def __init__(self) -> None:
        super().__init__(title="Memory", jump_key="e", id="memory", help_text="Memory use of each device, by holder.")

    def compose(self) -> ComposeResult:
        """The bars."""
        yield Static("", id="memory-bars", markup=False)

    async def inspect(self) -> dict[str, int]:
        """Look at all devices and draw them; returns what can be taken of each, in bytes."""
        uses = await asyncio.to_thread(inspect)
        blocks, width = self.shell.profile.utf8, self.query_one(Static).size.width
        parts: list[str | tuple[str, str]] = []
        for use in uses:
            parts += self._bar(
                use, "█" if blocks else "#", "░" if blocks else ".", width - len(_HOLDER) - len(" 999.99 GB")
            )
        self.query_one(Static).update(Content.assemble(*parts))
        return {use.device: use.available for use in uses}

    @staticmethod
    def _bar(use: DeviceUse, full: str, empty: str, room: int) -> list[str | tuple[str, str]]:
        ours = [h for h in use.holders if h[2]]
        parts: list[str | tuple[str, str]] = [(f"{use.device:5}", "bold")]
        cells = 0
        for number, (_, size, _) in enumerate(ours):
            width = min(_BAR_CELLS - cells, max(1, round(size / use.total * _BAR_CELLS)))
            parts.append((full * width, _MARKS[number % len(_MARKS)]))
            cells += width
        free = min(_BAR_CELLS - cells, round(use.available / use.total * _BAR_CELLS))
        parts.append((full * (_BAR_CELLS - cells - free), "$muted"))
        parts.append((empty * free, "$line"))
        parts.append(f" {use.available / 1e9:.1f}/{use.total / 1e9:.1f} GB free\n")
        for number, (name, size, _) in enumerate(ours):
            parts += [(_HOLDER, _MARKS[number % len(_MARKS)]), f"{safe_line(name, max(8, room))} {size / 1e9:.2f} GB\n"]
        for name, size, _ in [h for h in use.holders if not h[2]][:3]:
            parts += [(_HOLDER, "$muted"), (f"{safe_line(name, max(8, room))} {size / 1e9:.2f} GB\n", "$muted")]
        return parts
