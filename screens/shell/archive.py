"""Put things away from the lists of a screen, and take them back."""

from __future__ import annotations

import asyncio

from textual.screen import Screen

from screens.shell.shell import Shell
from screens.widgets.archive_table import ArchiveTable

_MOST_NAMED = 3


async def show_archive(shell: Shell, screen: Screen[None], *, shows: bool) -> None:
    """Have the tables of a screen leave out what is put away, or with ``shows`` show it."""
    tables = list(screen.query(ArchiveTable))
    if not tables:
        return
    services = shell.services

    def read() -> list[frozenset[str]]:
        from llmops_tui.maintenance.archiving import Archivable, Archive

        archive = Archive(services.event_log)
        return [archive.names(Archivable(table.kind)) for table in tables]

    for table, names in zip(tables, await asyncio.to_thread(read), strict=True):
        table.put_away(names, shows=shows)


async def archive(shell: Shell, screen: Screen[None], *, shows: bool) -> None:
    """Put away what is selected in the table that has the focus, or the row under the cursor; all that are away come back."""
    from llmops_tui.maintenance.archiving import Archivable

    table = screen.focused
    if not isinstance(table, ArchiveTable):
        shell.say("Go to a list first: what is under the cursor there is archived.", severity="warning")
        return
    names = table.picked_keys
    if not names:
        return
    away = not set(names) <= table.away
    await asyncio.to_thread(shell.services.undo.archive, Archivable(table.kind), names, away=away)
    table.select(())
    await show_archive(shell, screen, shows=shows)
    told = ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} of them"
    said = "archived; % shows what is" if away else "back in the list"
    shell.say(f"{told}: {said}; z undoes.")
