"""Open the request of a trace in the playground, with the model that answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from screens.navigation import PromptPlace
from screens.services import Services
from screens.shell.shell import Shell

if TYPE_CHECKING:
    from llmops_tui.traces.store import Trace


async def open_in_playground(shell: Shell, trace: Trace) -> None:
    """Open the version with the values it was asked with; of a request without one a prompt is made."""
    services = shell.services
    name = await asyncio.to_thread(_prepare, services, trace)
    known = {m.name for m in await asyncio.to_thread(lambda: services.models.runnable())}
    shell.open_place(PromptPlace(name, trace.line.model if trace.line.model in known else ""))


def _prepare(services: Services, trace: Trace) -> str:
    """Make the draft that the playground opens; what was being written there is kept as a version first."""
    from llmops_tui.errors import NotFoundError
    from llmops_tui.prompts.asked_before import draft_of_messages, draft_of_version

    store, drafts = services.prompts, services.drafts
    line = trace.line
    if line.prompt and line.version is not None:
        try:
            version = store.get(f"{line.prompt}@{line.version}")
        except NotFoundError:
            pass
        else:
            return draft_of_version(store, drafts, version, trace.variables, "draft saved when a trace was opened")
    name = f"trace-{line.id.partition('_')[2] or line.id}"
    return draft_of_messages(store, drafts, name, trace.messages, f"from {line.id}")
