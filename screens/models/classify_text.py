"""Ask for a text, and show the labels that a model gives it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.inference.wire import Classified, Reply
    from llmops_tui.models.registry import Model
    from screens.services import Services
    from screens.shell.shell import Shell


async def classify_text(shell: Shell, model: Model) -> None:
    """The labels, the likeliest first; another text is asked for until there is none."""
    text: str | None = ""
    while text := await shell.ask(LineDialog(f"Classify by {model.name}", "a text that gets its labels", text or "")):
        reply = await _ask(shell.services, model, text)
        (found,) = cast("list[Classified]", reply["data"])
        ranked = sorted(zip(reply["labels"], found["probs"], strict=True), key=lambda one: -one[1])
        choices = [Choice(label, label, f"{share:.3f}") for label, share in ranked]
        await shell.ask(ChoiceDialog(f"{found['label'] or 'none'}: {text}", choices))


async def _ask(services: Services, model: Model, text: str) -> Reply:
    from llmops_tui.inference.client import ModelClient

    endpoint = await asyncio.to_thread(services.ensure_server, model)
    async with ModelClient(endpoint) as client:
        return await client.complete("/v1/classify", {"input": text})
