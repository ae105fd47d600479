"""Put things away from the lists of a screen, and take them back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual.widget import Widget

from screens.widgets.archive_table import ArchiveTable

if TYPE_CHECKING:
    from screens.services import Services
    from screens.shell.shell import Shell

_MOST_NAMED = 3


async def show_archive(services: Services, tables: Sequence[ArchiveTable[Any]], *, shows: bool) -> None:
    """Have the tables of a screen leave out what is put away, or show it."""
    if not tables:
        return

    def read() -> list[frozenset[str]]:
        archived = services.archive.by_kind()
        return [archived.get(table.kind, frozenset()) for table in tables]

    for table, names in zip(tables, await asyncio.to_thread(read), strict=True):
        table.put_away(names, shows=shows)


async def archive(shell: Shell, table: Widget | None) -> bool:
    """Put away what is selected in the table with the focus, or the row under the cursor; all that are away come back.

    Whether anything was.
    """
    from llmops_tui.maintenance.archiving import Archivable

    if not isinstance(table, ArchiveTable):
        shell.say("Go to a list first: what is under the cursor there is archived.", severity="warning")
        return False
    names = table.picked_keys
    if not names:
        return False
    away = not set(names) <= table.away
    await asyncio.to_thread(shell.services.undo.archive, Archivable(table.kind), names, away=away)
    table.select(())
    told = ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} of them"
    said = "archived; % shows what is" if away else "back in the list"
    shell.say(f"{told}: {said}; z undoes.")
    return True
