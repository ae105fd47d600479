"""What to do where a model does not fit into memory: unload another, load it smaller, or wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.leases import MemoryShortError
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from screens.base import BaseScreen


def offer_room(screen: BaseScreen, error: LlmopsError, retry: Callable[[], None]) -> None:
    """Ask what to do, do it, and ``retry``."""
    if not isinstance(error, MemoryShortError):
        screen.app.report(error)
        return
    choices = [
        Choice(f"unload {holder.name}", f"Unload {holder.name}", f"frees {holder.size / 1e9:.1f} GB of {error.device}")
        for holder in error.holders
        if holder.lease is not None and holder.lease.kind == "server"
    ]
    smaller = error.smaller
    if smaller is not None:
        context, parallel = smaller
        note = f"context {context:,} tokens, {parallel} request{'s' if parallel > 1 else ''} at once"
        choices.append(Choice("smaller", "Load it smaller", note))
    choices.append(Choice("wait", "Wait until there is room", "escape stops waiting"))

    async def unload(name: str) -> None:
        await asyncio.to_thread(screen.services.servers.stop, name)
        retry()

    def chosen(value: str | None) -> None:
        if value is None:
            screen.app.report(error)
        elif value == "smaller":
            screen.services.smaller = smaller
            retry()
        elif value == "wait":
            screen.services.wait_for_memory = True
            retry()
        else:
            screen.act("room", unload, value.removeprefix("unload "))

    screen.app.push_screen(ChoiceDialog(error.message, choices), chosen)
