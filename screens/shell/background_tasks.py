"""Background tasks of the app: the status feed and scheduled backups."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from screens.services import Services
    from screens.shell.shell import Shell

_KIND = "backup"
_ENTRY = "llmops_tui.maintenance.tasks:back_up"
_FIRST_SECONDS = 30.0
_SECONDS = 600.0
# A backup that failed is tried again, and its trouble told, so often.
_AGAIN_SECONDS = 3600.0


def begin(app: Shell) -> None:
    """Begin both, until the app ends."""
    from screens.shell.status_feed import StatusFeed

    app.run_worker(StatusFeed(app).run(), group="status", exit_on_error=False)
    app.run_worker(make_backups(app), group="scheduled", exit_on_error=False)


async def make_backups(app: Shell, *, first: float = _FIRST_SECONDS) -> None:
    """Look now and then whether a backup is due, until the app ends."""
    await asyncio.sleep(first)
    tried = float("-inf")
    while True:
        if time.monotonic() - tried >= _AGAIN_SECONDS:
            try:
                if await asyncio.to_thread(start_if_due, app.services):
                    tried = time.monotonic()
            except (LlmopsError, OSError, sqlite3.Error) as error:
                tried = time.monotonic()
                told = error.told if isinstance(error, LlmopsError) else f"no backup can be made: {error}"
                app.say(told, severity="warning")
        await asyncio.sleep(_SECONDS)


def start_if_due(services: Services) -> bool:
    """Start the job where a backup is due and none is at work; blocks, for a thread.

    Raises:
        LlmopsError: it cannot be made, and why.
    """
    workspace = services.workspace
    if workspace.read_only or not services.settings.backup_folder:
        # Loading what makes backups takes a third of a second, for which keys would wait.
        return False
    from llmops_tui.maintenance.series import is_due

    if not is_due(workspace, services.settings, time.time()):
        return False
    if any(job.kind == _KIND for job in services.jobs.store.all(1000) if not job.state.final):
        return False
    services.jobs.start(kind=_KIND, title="backup", entry=_ENTRY, arguments={})
    return True
