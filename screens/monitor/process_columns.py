"""The columns of the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.safe_text import safe_line
from screens.widgets import units
from screens.widgets.columns import Column, Part

if TYPE_CHECKING:
    from llmops_tui.hardware.processes import ProcessLoad

# What the key for it sorts by, in turn.
SORTS = ("cpu", "memory", "gpu memory", "process")


def process_columns() -> list[Column[ProcessLoad]]:
    """Name, load and memory; the command can be chosen, and is searched in any case."""
    colours = {True: "accent", False: "plain"}

    def cpu(row: ProcessLoad) -> Part:
        return ("–" if row.cpu is None else f"{row.cpu:.0f}"), "plain" if (row.cpu or 0) >= 0.5 else "muted"

    def memory(value: float | None) -> Part:
        return ("–", "muted") if value is None else (units.size(value), "plain")

    return [
        # Our own come first.
        Column("process", lambda row: (safe_line(row.name, 200), colours[bool(row.role)]),
            lambda row: f"{not row.role:d}{row.name.casefold()}", share=1, least=12),
        Column("pid", lambda row: (str(row.pid), "muted"), lambda row: row.pid, right=True, rank=3),
        # Of those that do as little as others, the largest.
        Column("cpu", cpu, lambda row: round(row.cpu or 0) + min(0.99, (row.memory or 0) / 1e13), unit="%", right=True,
            falling=True),
        Column("memory", lambda row: memory(row.memory), lambda row: row.memory, right=True, falling=True),
        Column("gpu memory", lambda row: memory(row.gpu_memory), lambda row: row.gpu_memory, right=True, falling=True,
            spare=True, rank=2),
        Column("what", lambda row: (row.role, "muted"), rank=4, chosen=False),
        Column("command", lambda row: (safe_line(row.command, 300), "muted"), share=2, least=12, rank=5, chosen=False),
    ]  # fmt: skip
