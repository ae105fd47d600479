"""The choice when a model does not fit into memory: unload another, load it smaller, or wait."""

from __future__ import annotations

import asyncio

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.leases import MemoryShortError
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

_UNLOAD = "unload "


async def make_room(shell: Shell, error: LlmopsError) -> bool:
    """Where memory was short, ask what to do and do it; whether what failed is to be tried again."""
    if not isinstance(error, MemoryShortError):
        return False
    choices = [
        Choice(
            f"{_UNLOAD}{holder.name}", f"Unload {holder.name}", f"frees {holder.size / 1e9:.1f} GB of {error.device}"
        )
        for holder in error.holders
        if holder.lease is not None and holder.lease.kind == "server"
    ]
    smaller = error.smaller
    if smaller is not None:
        context, parallel = smaller
        note = f"context {context:,} tokens, {counted(parallel, 'request')} at once"
        choices.append(Choice("smaller", "Load it smaller", note))
    choices.append(Choice("wait", "Wait until there is room", "escape stops waiting"))
    chosen = await shell.ask(ChoiceDialog(error.message, choices))
    if chosen is None:
        return False
    if chosen == "smaller":
        shell.services.smaller = smaller
    elif chosen == "wait":
        shell.services.wait_for_memory = True
    else:
        try:
            await asyncio.to_thread(shell.services.servers.stop, chosen.removeprefix(_UNLOAD))
        except LlmopsError as trouble:
            shell.report(trouble)
            return False
    return True
