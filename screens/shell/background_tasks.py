"""Background tasks of the app: the status feed, scheduled backups, and what other screens need."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from screens.actions import SCREEN_KEYS

if TYPE_CHECKING:
    from screens.services import Services
    from screens.shell.shell import Shell

# The first screen reads what it shows in its first second.
_QUIET_SECONDS = 2.0
_PAUSE_SECONDS = 0.05
_KIND = "backup"
_ENTRY = "llmops_tui.maintenance.tasks:back_up"
_FIRST_SECONDS = 30.0
_SECONDS = 600.0
# Seconds without a key after which nobody waits for the next frame, and how often that is looked at.
_CALM_SECONDS = 0.6
_LOOK_SECONDS = 0.25
_LATE_SECONDS = 0.05
# The oldest objects are searched unasked after so many searches of younger ones: where nobody ever rests.
_SELDOM = 100
_USUAL = 10
# A backup that failed is tried again, and its trouble told, so often.
_AGAIN_SECONDS = 3600.0


def begin(app: Shell) -> None:
    """Begin them, until the app ends."""
    from screens.shell.status_feed import StatusFeed

    app.run_worker(StatusFeed(app).run(), group="status", exit_on_error=False)
    app.run_worker(make_backups(app), group="scheduled", exit_on_error=False)
    app.run_worker(load_screens(), group="scheduled", exit_on_error=False)
    app.run_worker(collect_at_rest(lambda: app.last_input), group="scheduled", exit_on_error=False)


async def load_screens(*, first: float = _QUIET_SECONDS) -> None:
    """Import the screens one by one, in a thread, once the first one is at rest: who goes there need not wait for that."""
    await asyncio.sleep(first)
    for name in SCREEN_KEYS.values():
        await asyncio.to_thread(import_module, f"screens.{name}.screen")
        # Keys that were pressed meanwhile come first.
        await asyncio.sleep(_PAUSE_SECONDS)
    # The settings offer the themes of packages; finding those reads the metadata of all that is installed.
    from llmops_tui.themes import PLUGINS

    await asyncio.to_thread(PLUGINS.all)
    # What was imported stays until the end: it need not be searched for garbage again and again.
    gc.freeze()


async def collect_at_rest(
    last_input: Callable[[], float], *, calm: float = _CALM_SECONDS, every: float = _LOOK_SECONDS
) -> None:
    """Search all objects for garbage while nobody types, until the app ends: it takes as long as two changes of screen.

    Python does so in the middle of one, since that makes the most objects. ``last_input`` tells when the last key came, as
    :func:`time.monotonic` does; after ``calm`` seconds nobody waits.
    """
    usual = gc.get_threshold()
    gc.set_threshold(usual[0], usual[1], max(usual[2], _SELDOM))
    try:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(every)
            # Whoever was kept from waking up waits for the same work as the one who typed.
            is_busy = time.monotonic() - begun > every + _LATE_SECONDS
            is_due = gc.isenabled() and gc.get_count()[2] >= _USUAL
            if is_due and not is_busy and time.monotonic() - last_input() >= calm:
                gc.collect()
    finally:
        gc.set_threshold(*usual)


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
