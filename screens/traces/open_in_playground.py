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
    from llmops_tui.prompts.drafts import Draft

    store, drafts = services.prompts, services.drafts
    line = trace.line
    variables = {str(name): str(value) for name, value in trace.variables.items()}
    if line.prompt and line.version is not None:
        try:
            version = store.get(f"{line.prompt}@{line.version}")
        except NotFoundError:
            pass
        else:
            before = drafts.load(line.prompt)
            if before is not None and before.template.strip():
                store.save(
                    line.prompt,
                    template=before.template,
                    system=before.system,
                    parent=before.base,
                    note="draft saved when a trace was opened",
                )
            drafts.save(line.prompt, Draft(version.system, version.template, variables, version.number))
            return line.prompt
    system = next((str(m.get("content") or "") for m in trace.messages if m.get("role") == "system"), "")
    asked = [str(m.get("content") or "") for m in trace.messages if m.get("role") != "system"]
    name = f"trace-{line.id.partition('_')[2] or line.id}"
    made, _ = store.save(
        name, template=_plain(asked[-1] if asked else " "), system=_plain(system), note=f"from {line.id}"
    )
    drafts.save(name, Draft(made.system, made.template, {}, made.number))
    return name


def _plain(text: str) -> str:
    """A text as a template that renders to itself."""
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    return "{% raw %}" + text.replace("{% endraw %}", "") + "{% endraw %}"
