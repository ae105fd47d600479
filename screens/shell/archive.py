"""Put things away from the lists of a screen, and take them back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from screens.widgets.archive_table import ArchiveTable

if TYPE_CHECKING:
    from screens.shell.base import BaseScreen

_MOST_NAMED = 3


async def show_archive(screen: BaseScreen) -> None:
    """Have the tables of a screen leave out what is put away, or show it."""
    tables = list(screen.query(ArchiveTable))
    if not tables:
        return
    services = screen.services

    def read() -> list[frozenset[str]]:
        from llmops_tui.maintenance.archiving import Archivable, Archive

        archive = Archive(services.event_log)
        return [archive.names(Archivable(table.kind)) for table in tables]

    for table, names in zip(tables, await asyncio.to_thread(read), strict=True):
        table.put_away(names, shows=screen.shows_archived)


async def archive(screen: BaseScreen) -> None:
    """Put away what is selected in the table that has the focus, or the row under the cursor; all that are away come back."""
    from llmops_tui.maintenance.archiving import Archivable

    table = screen.focused
    if not isinstance(table, ArchiveTable):
        screen.shell.say("Go to a list first: what is under the cursor there is archived.", severity="warning")
        return
    names = table.picked_keys
    if not names:
        return
    away = not set(names) <= table.away
    await asyncio.to_thread(screen.services.undo.archive, Archivable(table.kind), names, away=away)
    table.select(())
    await show_archive(screen)
    told = ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} of them"
    said = "archived; % shows what is" if away else "back in the list"
    screen.shell.say(f"{told}: {said}; z undoes.")
